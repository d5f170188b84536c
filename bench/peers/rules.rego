# The base policies and all packs, in Rego: what is permitted and not forbidden.
package countersign

default allow := false

allow if {
	permit
	not forbid
}

specialists := {"specialist", "lead"}

# ── permits ──
permit if { input.agent; "change" in input.groups; input.level >= 3; input.opened }
permit if { input.action in {"do:cancel_order", "do:request_refund"}; input.level >= 2; input.opened }
permit if { input.agent; input.action == "do:end_freeze"; input.role in specialists; input.level >= 3 }
permit if { input.action == "speak:upcoming"; input.level >= 1; input.risk < 50 }
permit if { input.action in {"speak:name", "speak:orders"}; input.level >= 2; input.opened }
permit if { input.agent; "match" in input.groups; input.level >= 1 }
permit if { input.agent; input.action == "view:upcoming"; input.level >= 1; input.opened }
permit if { input.agent; input.action in {"view:name", "view:orders"}; input.level >= 2; input.opened }
permit if { input.agent; input.action in {"mask:phone", "mask:email"}; input.level >= 2; input.opened }
permit if {
	input.agent
	input.action in {"view:phone", "view:email", "view:address", "view:postal_code", "view:account_number"}
	input.level >= 3
	input.opened
}
permit if {
	input.agent
	input.action in {"view:name", "view:orders"}
	input.role == "lead"
	input.with_reason
	input.level >= 1
	input.opened
	not input.frozen
	not input.duress
}
permit if { "use" in input.groups; input.level >= 1 }
permit if { input.action == "reach:authenticated"; count(input.proofs) > 0 }
permit if { input.action == "reach:strong"; "knowledge" in input.classes; "possession" in input.classes }
permit if { input.action == "reach:strong"; "passkey" in input.proofs }

# ── forbids ──
forbid if { input.agent; input.action == "change:factors"; not input.role in specialists }
forbid if { not input.agent; "change" in input.groups }
forbid if { given; input.delegate; not input.delegate_covers; input.action != "speak:upcoming" }
forbid if { input.action in {"change:password", "change:factors"}; input.delegate }
forbid if { input.action in {"speak:address", "speak:postal_code", "speak:phone", "speak:email", "speak:account_number", "speak:date_of_birth"} }
forbid if { input.action in {"view:date_of_birth", "mask:date_of_birth"} }
forbid if { input.action in {"use:sms_code", "use:voice_code"}; input.stronger_set_up }
forbid if { input.agent; input.role == "admin" }
forbid if { "online_only" in input.groups }
forbid if { "sensitive" in input.groups; input.phone_lock }
forbid if { "sensitive" in input.groups; input.frozen; input.action != "do:end_freeze" }
forbid if { "disclose" in input.groups; input.frozen }
forbid if { "sensitive" in input.groups; input.duress; not "online_only" in input.groups }
forbid if { "identifying" in input.groups; input.duress }
forbid if { input.agent; input.role == "agent"; "change" in input.groups; input.risk >= 50 }
forbid if { "sensitive" in input.groups; input.risk >= 75; input.action != "do:end_freeze" }

given if "sensitive" in input.groups
given if "disclose" in input.groups

# ── packs ──
call_detail if input.action in {"view:orders", "mask:orders", "speak:orders"}
forbid if { call_detail; count({p | some p in input.proofs; p in {"pin", "verbal_password", "passkey", "callback"}}) == 0 }
forbid if { "sensitive" in input.groups; input.level <= 2 }
forbid if { input.agent; input.action in {"change:password", "change:factors"}; not input.role in specialists }
forbid if { "identifying" in input.groups; input.level <= 1 }
forbid if { given; input.delegate; not input.delegate_kind in {"guardian", "power_of_attorney"} }
forbid if { call_detail; input.level <= 2 }
forbid if { input.agent; input.action == "view:account_number"; not input.role in specialists }
forbid if { "reach" in input.groups; count(input.proofs) == 0 }
forbid if { input.action == "use:sms_code"; input.stronger_set_up }
forbid if { "reach" in input.groups; not "possession" in input.classes }
forbid if { input.action in {"use:sms_code", "use:voice_code"}; input.risk >= 50 }

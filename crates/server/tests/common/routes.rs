//! Every route of the server. A test compares this list with the sources: a new route is a failure
//! until somebody decides here who may call it.

use std::{collections::BTreeSet, fs, path::Path};

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Everybody.
    Anybody,
    /// Everybody, from a page of ours.
    OwnPage,
    /// Somebody at the desk.
    Desk,
    /// A lead or administrator.
    Admin,
    /// A lead, and nobody else.
    Lead,
    /// A signed-in customer.
    Portal,
    /// Whoever holds the secret in the address.
    Link,
    /// A program with its key.
    Program,
    /// A switch, at an address that we have signed.
    Switch,
    /// Twilio, by its signature.
    Twilio,
    /// Another telephone system, by its signature or key.
    Line,
    /// Whoever signs in at the company's own provider, where one is configured.
    Provider,
    /// Whoever plays with the demo.
    Demo,
}

pub const ROUTES: [(&str, &str, Who); 130] = [
    ("GET", "/", Who::Demo),
    ("GET", "/.well-known/openid-configuration", Who::Anybody),
    ("GET", "/admin", Who::Admin),
    ("GET", "/admin/calls/{id}", Who::Admin),
    ("GET", "/admin/drills", Who::Admin),
    ("POST", "/admin/policy/activate", Who::Lead),
    ("GET", "/admin/grade", Who::Admin),
    ("GET", "/admin/grade/methods.svg", Who::Admin),
    ("GET", "/admin/grade/verdicts.svg", Who::Admin),
    ("GET", "/admin/policy", Who::Admin),
    ("GET", "/admin/survey", Who::Lead),
    ("GET", "/admin/survey/export.csv", Who::Lead),
    ("GET", "/admin/survey/methods.svg", Who::Lead),
    ("GET", "/admin/survey/verdicts.svg", Who::Lead),
    ("GET", "/admin/risk", Who::Lead),
    ("GET", "/assets/{*path}", Who::Anybody),
    ("GET", "/clips/{adapter}/{name}", Who::Switch),
    ("GET", "/demo/app/liam", Who::Demo),
    ("GET", "/desk", Who::Desk),
    ("GET", "/desk/call/{id}", Who::Desk),
    ("GET", "/desk/call/{id}/panel", Who::Desk),
    ("GET", "/desk/events", Who::Desk),
    ("GET", "/desk/list", Who::Desk),
    ("GET", "/desk/sign-in", Who::Anybody),
    ("GET", "/handset", Who::Demo),
    ("GET", "/handset/calls/{id}/events", Who::Demo),
    ("GET", "/handset/inbox/{person}/events", Who::Demo),
    ("GET", "/healthz", Who::Anybody),
    ("GET", "/log/checkpoint", Who::Anybody),
    ("GET", "/log/keys", Who::Anybody),
    ("GET", "/log/tile/{*path}", Who::Anybody),
    ("GET", "/me", Who::Portal),
    ("GET", "/me/calls/{id}/receipt", Who::Portal),
    ("GET", "/me/service-code", Who::Portal),
    ("GET", "/me/code", Who::Portal),
    ("GET", "/me/enter", Who::Link),
    ("GET", "/me/events", Who::Portal),
    ("GET", "/me/live", Who::Portal),
    ("GET", "/me/phone", Who::Portal),
    ("GET", "/me/security", Who::Portal),
    ("GET", "/me/security/totp", Who::Portal),
    ("GET", "/me/security/totp.svg", Who::Portal),
    ("GET", "/me/sign-in", Who::Anybody),
    ("GET", "/metrics", Who::Anybody),
    ("GET", "/not-me/{token}", Who::Link),
    ("GET", "/oauth/jwks", Who::Anybody),
    ("GET", "/me/push/key", Who::Portal),
    ("GET", "/me/sign-in/callback", Who::Provider),
    ("GET", "/me/sign-in/provider", Who::Provider),
    ("GET", "/portal.webmanifest", Who::Anybody),
    ("GET", "/readyz", Who::Anybody),
    ("GET", "/sw.js", Who::Anybody),
    ("GET", "/twilio/stream/{token}", Who::Twilio),
    ("GET", "/undo/{token}", Who::Link),
    ("POST", "/admin/agents/{id}/sign-out", Who::Admin),
    ("POST", "/admin/survey", Who::Lead),
    ("POST", "/admin/survey/import", Who::Lead),
    ("POST", "/admin/survey/{id}/remove", Who::Lead),
    ("POST", "/admin/calls/{id}/fraud", Who::Lead),
    ("POST", "/admin/calls/{id}/not-fraud", Who::Lead),
    ("POST", "/admin/deny", Who::Lead),
    ("POST", "/admin/deny/remove", Who::Lead),
    ("POST", "/api/v1/authenticators/check", Who::Program),
    ("POST", "/api/v1/portal-sessions", Who::Program),
    ("POST", "/demo/sign-in/admin", Who::Demo),
    ("POST", "/demo/sign-in/desk/{name}", Who::Demo),
    ("POST", "/demo/sign-in/portal/{person}", Who::Demo),
    ("POST", "/desk/call/{id}/{verb}", Who::Desk),
    ("POST", "/desk/call-out", Who::Desk),
    ("POST", "/desk/sign-in", Who::OwnPage),
    ("POST", "/desk/sign-out", Who::OwnPage),
    ("POST", "/handset/calls", Who::Demo),
    ("POST", "/handset/calls/{id}/answer", Who::Demo),
    ("POST", "/handset/calls/{id}/hang-up", Who::Demo),
    ("POST", "/handset/calls/{id}/keys", Who::Demo),
    ("POST", "/handset/calls/{id}/silence", Who::Demo),
    ("POST", "/connect/event", Who::Line),
    ("POST", "/genesys/event", Who::Line),
    ("POST", "/handset/microphone", Who::Demo),
    ("POST", "/handset/microphone/{id}/dial", Who::Demo),
    ("POST", "/http/event", Who::Line),
    ("POST", "/jambonz/agent/{call}/{agent}", Who::Line),
    ("POST", "/jambonz/answered", Who::Line),
    ("POST", "/jambonz/call", Who::Line),
    ("POST", "/jambonz/now", Who::Line),
    ("POST", "/jambonz/status", Who::Line),
    ("POST", "/jambonz/step", Who::Line),
    ("POST", "/me/approvals/{challenge}/decline", Who::Portal),
    ("POST", "/me/approvals/{challenge}/not-me", Who::Portal),
    ("POST", "/me/approvals/{challenge}/passkey/finish", Who::Portal),
    ("POST", "/me/approvals/{challenge}/passkey/start", Who::Portal),
    ("POST", "/me/approvals/{challenge}/type", Who::Portal),
    ("POST", "/me/call-me", Who::Portal),
    ("POST", "/me/code", Who::Portal),
    ("POST", "/me/code/confirm", Who::Portal),
    ("POST", "/me/dial", Who::Portal),
    ("POST", "/me/freeze", Who::Portal),
    ("POST", "/me/security/codes", Who::Portal),
    ("POST", "/me/security/confirm", Who::Portal),
    ("POST", "/me/security/confirm/finish", Who::Portal),
    ("POST", "/me/security/confirm/start", Who::Portal),
    ("POST", "/me/security/download", Who::Portal),
    ("POST", "/me/security/passkey/finish", Who::Portal),
    ("POST", "/me/security/passkey/start", Who::Portal),
    ("POST", "/me/security/preferences", Who::Portal),
    ("POST", "/me/security/remove", Who::Portal),
    ("POST", "/me/security/rename", Who::Portal),
    ("POST", "/me/security/totp/confirm", Who::Portal),
    ("POST", "/me/security/totp/new", Who::Portal),
    ("POST", "/me/security/voice", Who::Portal),
    ("POST", "/me/security/word", Who::Portal),
    ("POST", "/me/sign-in/passkey/finish", Who::OwnPage),
    ("POST", "/me/sign-in/passkey/start", Who::OwnPage),
    ("POST", "/me/push/subscribe", Who::Portal),
    ("POST", "/me/push/unsubscribe", Who::Portal),
    ("POST", "/me/sign-out", Who::OwnPage),
    ("POST", "/not-me/{token}", Who::Link),
    ("POST", "/oauth/bc-authorize", Who::Program),
    ("POST", "/oauth/device_authorization", Who::Program),
    ("POST", "/oauth/token", Who::Program),
    ("POST", "/twilio/agent/{call}/{agent}", Who::Twilio),
    ("POST", "/twilio/answered", Who::Twilio),
    ("POST", "/twilio/heard", Who::Twilio),
    ("POST", "/twilio/inbound", Who::Twilio),
    ("POST", "/twilio/message", Who::Twilio),
    ("POST", "/twilio/resume", Who::Twilio),
    ("POST", "/twilio/status", Who::Twilio),
    ("POST", "/twilio/step", Who::Twilio),
    ("POST", "/twilio/voice", Who::Twilio),
    ("POST", "/undo/{token}", Who::Link),
];

/// The verbs of `/desk/call/{id}/{verb}`.
pub const VERBS: [&str; 16] = [
    "accept", "heard", "reveal", "request", "prove", "link", "word", "cancel", "voice-enrol", "voice-compare", "voice-remove", "perform", "speak-for", "switch", "hand-over", "end",
];

/// Those that the source knows.
pub fn verbs_in_source() -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/desk.rs")).unwrap();
    let arms = text.split("match verb {").nth(1).unwrap().split("_ => return Err(WebError::NotFound)").next().unwrap();
    arms.lines().filter_map(|line| Some(line.strip_prefix("        \"")?.split_once("\" =>")?.0.to_owned())).collect()
}

/// A route with something in the place of its parameters.
pub fn example(path: &str) -> String {
    path.replace("{*path}", "base.css").replace("/calls/{id}", "/calls/call_00000000000000000000000000000001")
        .replace("/call/{id}", "/call/call_00000000000000000000000000000001").replace("/agents/{id}", "/agents/agent_00000000000000000000000000000001")
        .replace("/survey/{id}", &format!("/survey/{}", "0".repeat(48)))
        .replace("{call}", "call_00000000000000000000000000000001").replace("{agent}", "agent_00000000000000000000000000000001").replace("{token}", &"0".repeat(64)).replace("{person}", "ana").replace("{name}", "Robin")
        .replace("{adapter}", "asterisk").replace("{verb}", "end").replace("{challenge}", "chal_00000000000000000000000000000001")
}

/// Method and path of every `.route(…)` in the sources.
pub fn in_sources() -> BTreeSet<(String, String)> {
    let mut out = BTreeSet::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut out);
    out
}

fn read(folder: &Path, out: &mut BTreeSet<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for part in text.split(".route(").skip(1) {
                let Some(route) = part.split('"').nth(1).filter(|r| r.starts_with('/')) else { continue };
                let (_, handlers) = part.split_once(',').unwrap();
                let handlers = handlers.split(".route(").next().unwrap().split(['\n', ';']).next().unwrap();
                for (method, mark) in [("GET", "get("), ("POST", "post("), ("PUT", "put("), ("PATCH", "patch("), ("DELETE", "delete("), ("ANY", "any(")] {
                    if handlers.contains(mark) {
                        out.insert((method.to_owned(), route.to_owned()));
                    }
                }
            }
        }
    }
}

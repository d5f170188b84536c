use countersign_core::{
    action::{Action, Field},
    call::{Queue, Stage},
    claim::{ClaimKind, Via},
    factor::FactorKind,
    id::AccountId,
    prompt::Lang,
    time::Span,
    view::{ActionView, ChallengeView, ClaimView, Disclosure, FieldView, Offer},
};

use crate::drills::{Ended, SavedDrill, SavedRun};
use countersign_survey::Verdict;

use super::{script::{Line, script}, *};

const NOW: Timestamp = Timestamp(1_780_000_000_000);
const CALL: CallId = CallId([7; 16]);

fn shell() -> Shell<'static> { Shell { company: "Northwind", user: Some(("Maya", Role::Lead)), demo: true } }

fn view() -> AgentView {
    AgentView {
        call: CALL, n: 3, stage: Stage::Talking, started: NOW - Span::minutes(4), waiting_since: None, queue: Some(Queue::Agents), mine: true,
        lang: Lang::En, music: None, level: Level::Anonymous, level_expires: None, level_policies: Vec::new(), proofs: Vec::new(),
        identified: false, opened: false, claims: Vec::new(), misses_left: 5, compared: Vec::new(), challenge: None, last_closed: None,
        factors: Vec::new(), fields: Vec::new(), actions: Vec::new(), risk: 0, band: Band::Low, shadow: false, risk_parts: Vec::new(), number_set_aside: false,
        contradictions: 0, frozen: false, phone_lock: false, delegate: None, intent: false, performed: Vec::new(), sent_online: Vec::new(),
        duress: false, ended: None, link: None, may_link: false, watchwords: None, voice: Default::default(), disowned: false, origin: Default::default(), access: Default::default(),
    }
}

fn action(name: &str, offer: Offer) -> ActionView {
    let plans = if offer == Offer::StepUp { vec![vec![FactorKind::SmsCode, FactorKind::Pin]] } else { Vec::new() };
    ActionView { action: name.parse::<Action>().unwrap(), offer, needs: None, plans, policies: vec!["some_policy".into()], why: "Because.".into(), asked: false, done: 0 }
}

fn field(field: Field, disclosure: Disclosure, value: &str) -> FieldView {
    let values = if value.is_empty() { Vec::new() } else { vec![value.to_owned()] };
    FieldView { field, disclosure, revealed: !values.is_empty(), values, opens_at: Some(Level::Strong), with_reason: true, policies: Vec::new(), why: String::new() }
}

/// Everything that a panel can show at once.
fn full() -> AgentView {
    AgentView {
        level: Level::Authenticated, level_expires: Some(NOW + Span::minutes(9)), identified: true, opened: true, frozen: true, duress: true,
        claims: vec![ClaimView { kind: ClaimKind::Email, via: Via::Agent, fits: Some(true), look_alike: true }],
        compared: vec![(Field::Email, false)],
        factors: vec![FactorKind::SmsCode, FactorKind::Pin],
        fields: vec![
            field(Field::Name, Disclosure::Speakable, "Ana <b>Torres</b>"),
            field(Field::Phone, Disclosure::Masked, "••• 43"),
            field(Field::Email, Disclosure::Visible, ""),
            field(Field::Address, Disclosure::CompareOnly, ""),
        ],
        actions: vec![
            action("change:phone", Offer::Now), action("change:address", Offer::Now), action("change:factors", Offer::Now), action("change:email", Offer::StepUp),
            action("change:password", Offer::Online), action("do:close_account", Offer::Specialist), action("do:cancel_order", Offer::Refused),
        ],
        ..view()
    }
}

fn panel(view: &AgentView) -> String { desk_panel(NOW, &seen(view.clone()), None).unwrap() }
fn seen(view: AgentView) -> Seen { Seen { view, story: Vec::new(), company: None, done: Vec::new() } }

/// Everything that can go on at once.
fn full_live(text: &str) -> LiveView {
    let words = countersign_core::factor::Pepper::new([1; 32]).watchwords(CALL, AccountId([2; 16]));
    LiveView {
        now: NOW,
        approvals: vec![ApprovalView {
            challenge: ChallengeId([3; 16]), from: text.into(), known: false, what: text.into(), expires: NOW, left: 1, started: NOW, typed: true,
            agent: Some(text.into()), said: Some(text.into()),
        }],
        calls: vec![LiveCallView { ours: true, from: text.into(), started: NOW, proved: true, agent: Some(text.into()), matter: Some(text.into()), for_you: true, words: Some(words) }],
        call_back: Some(CallBackView { key: 7, tail: "42".into(), answered: false }),
        numbers: vec![(ContactId([4; 16]), "42".into())], dials: true, passkeys: true,
    }
}

fn every_page() -> Vec<String> {
    let (shell, text) = (shell(), "<i>'\"&".to_owned());
    let line = StoryLine { at: NOW, text: text.clone() };
    let code = ServiceCodeView { code: "1234 5678".into(), expires: NOW, life_seconds: 60, now: NOW };
    let mut word = full();
    word.challenge = Some(ChallengeView {
        kind: FactorKind::VerbalPassword, keyed: false, expires: NOW, left: 1, action: None, then: Vec::new(), delivery: None, code: None,
    });
    let flash = Flash { kind: FlashKind::Bad, text: text.clone() };
    let item = QueueItem {
        call: CALL, stage: Stage::Waiting, queue: Some(Queue::Agents), since: NOW, level: Level::Anonymous, lang: Lang::En, band: Band::High, claims: 1,
        agent: Some(AgentId([1; 16])), may_take: true, duress: true,
    };
    let queued = Queued { item, who: Some(text.clone()), company: Some(text.clone()) };
    let demo = DemoView {
        people: vec![DemoPerson { id: "ana".into(), name: text.clone(), number: "+12025550143".into(), language: "es".into(), note: text.clone() }],
        agents: vec![("maya".into(), text.clone(), Role::Agent)],
        microphone: true,
    };
    let portal_view = PortalView {
        name: text.clone(), frozen: false, code, factors: vec![FactorKind::Pin], contacts: vec![(text.clone(), text.clone(), Some(NOW))],
        calls: vec![CallSummary { id: CALL, started: NOW, lines: vec![line.clone()], receipt: true }], notices: vec![line.clone()], live: full_live(&text), done: Some((false, "No.")),
        receipts: ReceiptWords { lang: "de", link: text.clone(), about: text.clone() },
    };
    let confirm = CodeConfirmView { code: Secret::new(text.clone()), from: text.clone(), known: false, started: NOW, client: Some(text.clone()), now: NOW };
    let admin_view = AdminView {
        now: NOW, version: "1".into(), policy_version: "2".into(), live: 1, waiting: 1, counters: vec![(text.clone(), text.clone())],
        alerts: vec![(NOW, "duress".into(), Some(CALL), None), (NOW, "reported".into(), None, Some(AccountId([3; 16])))],
        calls: vec![AdminCall { id: CALL, started: NOW, ended: None, level: Level::Anonymous, highest: Level::Strong, done: 2, band: Band::High, ending: Some(text.clone()) }],
        agents: vec![(text.clone(), Role::Agent, true, AgentId([1; 16]))], shared: vec![(text.clone(), Role::Specialist)], factors: vec![FactorStat { name: text.clone(), asked: 3, proved: 2 }],
    };
    let security_view = SecurityView {
        voice: Some(countersign_core::voice::OnFile { since: NOW, until: NOW + Span::days(730), text: "2026-05".into(), lang: Lang::En }),
        name: text.clone(), frozen: false, fresh: true, works: true, elsewhere: Some("//localhost:1".into()), app: Some(text.clone()), token: Some(text.clone()),
        passkeys: vec![PasskeyLine { id: text.clone(), name: text.clone(), added: NOW, from: Some(NOW) }], step_up: vec![FactorKind::Totp, FactorKind::Pin], waits: vec![(FactorKind::Pin, NOW)], pin: Some(text.clone()), verbal: Some(text.clone()),
        provider: Some(text.clone()), codes: Some((text.clone(), 10, NOW)), preferred: vec![(FactorKind::Pin, true)], never_sms: true, phone_lock: true,
        access: Default::default(), flash: Some(flash.clone()), sign_ins: vec![line.clone()],
    };
    let stale = SecurityView { fresh: false, elsewhere: None, ..security_view.clone() };
    let remove_view = RemoveView { id: text.clone(), what: text.clone(), name: Some(text.clone()), last_sign_in: true, last: true };
    let staged = Staged {
        version: text.clone(), schema: text.clone(), files: vec![], matrix: text.clone(), at: NOW, note: text.clone(),
        promises: vec![(text.clone(), text.clone(), format!("broken: {text}"))], holds: false, changes: vec![text.clone()],
    };
    let files = [(text.clone(), text.clone())];
    let policy_view = PolicyView {
        version: &text, since: Some((NOW, text.clone())), files: &files, matrix: &text, sets: std::slice::from_ref(&staged), lead: true,
        story: vec![line.clone()], flash: Some(flash.clone()),
    };
    let tallied = Tallied { at: "/admin/survey", of: "calls", methods: text.clone(), verdicts: text.clone(), calls: 2, graded: 1, counts: vec![(Verdict::OhNo, 1)], rows: vec![("proves", "PIN", 1)] };
    let pick = Pick { name: "pin", words: "PIN", on: true };
    let note_form = NoteForm {
        command: text.clone(), center: text.clone(), industry: text.clone(), date: text.clone(), remarks: text.clone(), reached: vec![pick.clone()], ways: vec![pick.clone()],
        identifiers: vec![pick.clone()], factors: vec![pick.clone()], given: vec![When { name: "given-name".into(), words: "name", options: vec![pick] }], changed: Vec::new(),
        asked_number: true, offered: true, faults: vec![text.clone()],
    };
    let note_line = NoteLine {
        id: text.clone(), center: text.clone(), industry: text.clone(), date: text.clone(), verdict: Some(Verdict::OhNo), reasons: vec![text.clone()], others: vec![text.clone()], remarks: text.clone(),
    };
    let survey_view = SurveyView { form: note_form, notes: vec![note_line], tallied: tallied.clone(), pasted: text.clone(), broken: vec![text.clone()], flash: Some(flash.clone()) };
    let grade_view = GradeView {
        most: 1000, tallied, calls: vec![CallGrade { id: CALL, started: NOW, verdict: None, reasons: vec![text.clone()] }],
        factors: vec![FactorLine { kind: FactorKind::Pin, asked: 3, proved: 2, median: Some(75), fell_back: 1, refused_falsely: 1 }],
    };
    let ended = [Ended::Stopped, Ended::GotThrough, Ended::NotApplicable, Ended::Broken];
    let drilled = ended.map(|ended| SavedDrill { name: text.clone(), story: text.clone(), ended, place: text.clone() });
    let drilled = SavedRun { at: NOW, program: "1".into(), policy: "2".into(), seed: 3, drills: drilled.into() };
    let call_risk = risk::CallRisk {
        id: CALL, fraud: false, line_listed: Some(false), on_file: true,
        accounts: vec![risk::Touched { id: AccountId([3; 16]), frozen: false }, risk::Touched { id: AccountId([4; 16]), frozen: true }],
        related: vec![risk::RelatedCall { id: CALL, at: NOW, why: text.clone(), fraud: true }],
    };
    let risk_view = risk::RiskPage {
        now: NOW, habits: vec!["misses"], agents: vec![risk::AgentRow { name: text.clone(), calls: 3, counts: vec![20], unusual: vec![text.clone()] }],
        denied: vec![risk::Denied { line: "0a".repeat(16), by: text.clone(), at: NOW, call: Some(CALL) }], configured: 1, shadow: true, listens: true,
        voices: vec![risk::VoiceRow { name: "2026-05".into(), month: crate::voice_months::Month { asked: 9, compared: 8, genuine: 6, sum: -9_000, squares: 60_000_000, digits: 4, digits_right: 3, ..Default::default() }, drift: Some(countersign_voice::drift::Moved { count: 60, stability_index: 0.5, chance: 0.3 }) }],
        reference: risk::Reference::There,
        points: vec![(text.clone(), "odd_hour", 5, 5), (text.clone(), "odd_country", 0, 15)], routes: vec![("specialist".into(), 50)],
    };
    let link_view = LinkView { title: text.clone(), what: text.clone(), button: Some(text.clone()), done: Some(text.clone()) };
    [
        desk(&shell, NOW, &[queued], Some(&Seen { story: vec![line.clone()], company: Some(text.clone()), ..seen(full()) }), &[(text.clone(), text.clone()), (text.clone(), text.clone())]),
        desk_panel(NOW, &seen(word), Some(&flash)),
        desk_list(NOW, &[]),
        sign_in(&shell, Some(&text)), portal(&shell, &portal_view), portal_code(&portal_view.code), link(&shell, &link_view), admin(&shell, &admin_view),
        drills(&shell, &text, None), drills(&shell, &text, Some(&drilled)),
        story(&shell, &text, NOW, &[line], Some(&call_risk)), risk::page(&shell, &risk_view), policy(&shell, &policy_view), landing(&shell, &demo),
        portal_live(&portal_view.live), portal_code_page(&shell, &text, Some(&text)), portal_code_confirm(&shell, &confirm), portal_dial(&shell, "tel:+12025550101,,1%23", 180),
        portal_sign_in(&shell, &SignInView { passkeys: true, elsewhere: None, provider: Some(&text) }),
        portal_sign_in(&shell, &SignInView { passkeys: true, elsewhere: Some("//localhost:1"), provider: None }),
        portal_security(&shell, &security_view), portal_security(&shell, &stale), portal_totp(&shell, &text, Some(&text)),
        survey(&shell, &survey_view), grade(&shell, &grade_view),
        portal_codes(&shell, NOW, std::slice::from_ref(&text), Some(NOW)), portal_remove(&shell, &remove_view),
        portal_receipt(&shell, "de", &text, &text), handset(&shell, &demo), error(&shell, 404, &text, &text, Some(("/me", &text))),
    ].into_iter().map(Result::unwrap).collect()
}

#[test]
fn no_page_needs_more_than_default_src_self() {
    for page in every_page() {
        for bad in [" style=", "<style", "javascript:", "src=\"data:", "href=\"data:", "http://", "https://", "//cdn"] {
            assert!(!page.contains(bad), "{bad} in {page}");
        }
        for (at, _) in page.match_indices("<script") {
            assert!(page[at..].starts_with("<script src=\"/assets/"), "inline script in {page}");
        }
        for tag in page.split('<') {
            let tag = tag.split('>').next().unwrap_or("");
            assert!(!tag.split_whitespace().skip(1).any(|a| a.starts_with("on") && a.contains('=')), "handler in <{tag}>");
        }
        assert!(!page.contains("<i>"), "not escaped: {page}");
    }
}

#[test]
fn no_template_turns_escaping_off() {
    let mut dirs = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/templates"))];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(!text.contains("|safe") && !text.contains("| safe") && !text.contains("autoescape"), "{}", path.display());
            }
        }
    }
}

#[test]
fn whoever_does_not_have_the_call_sees_nothing_of_the_account() {
    // The view does not carry fields then; if it ever did, the page still would not print them.
    for view in [AgentView { mine: false, ..full() }, AgentView { stage: Stage::Ended, ended: Some(NOW), ..full() }] {
        let page = panel(&view);
        assert!(!page.contains("Torres") && !page.contains("••• 43"));
        assert!(!page.contains("<form"), "{page}");
    }
    let page = panel(&full());
    assert!(page.contains("Ana &#60;b&#62;Torres") && page.contains("••• 43"));
}

#[test]
fn duress_is_on_the_page_only_when_it_is_in_the_view() {
    assert!(panel(&full()).to_lowercase().contains("duress"));
    assert!(!panel(&AgentView { duress: false, ..full() }).to_lowercase().contains("duress"));
}

#[test]
fn forms_use_the_routes_and_fields_that_the_desk_has() {
    let mut word = full();
    word.challenge = Some(ChallengeView {
        kind: FactorKind::VerbalPassword, keyed: false, expires: NOW, left: 1, action: None, then: Vec::new(), delivery: None, code: None,
    });
    let waiting = AgentView { mine: false, stage: Stage::Waiting, ..view() };
    let html = [full(), word, waiting].iter().map(panel).collect::<String>();
    let mut seen: Vec<String> = Vec::new();
    for form in html.split("<form ").skip(1) {
        let form = form.split("</form>").next().unwrap();
        let to = form.split(" action=\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(form.contains(&format!("hx-post=\"{to}\"")), "works with and without script: {form}");
        let mut fields: Vec<&str> = form.split(" name=\"").skip(1).map(|f| f.split('"').next().unwrap()).collect();
        fields.sort_unstable();
        fields.dedup();
        seen.push(format!("{} {}", to.rsplit('/').next().unwrap(), fields.join(" ")));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen, [
        "accept ", "cancel ", "end ", "hand-over queue", "heard value what", "perform action address postal_code", "perform action kind value",
        "perform action value", "prove action factors", "prove factors", "request action", "reveal field", "reveal field reason",
        "speak-for account_number", "switch reason", "word word",
    ]);
}

#[test]
fn the_record_is_readable_without_its_identifiers() {
    let id = "0123456789abcdef0123456789abcdef";
    for (text, expect) in [
        ("Asked for texted code (chal_ID).", "Asked for texted code."),
        ("Robin carried out change:phone (chg_ID). Reason: note_ID.", "Robin carried out change:phone. Reason: …abcdef."),
        ("Identified as acct_ID: two claims [view_when_strong].", "Identified as …abcdef: two claims [view_when_strong]."),
        ("nothing_here é_", "nothing_here é_"),
    ] {
        assert_eq!(words::tidy(&text.replace("ID", id)), expect);
    }
    assert_eq!((words::grouped("48219037"), words::grouped("493 817"), words::grouped("")), ("4821 9037".into(), "493 817".into(), String::new()));
}

#[test]
fn a_sentence_shows_local_times_and_short_identifiers() {
    let id = "chal_0123456789abcdef0123456789abcdef";
    let at = Timestamp(1_780_000_000_000);
    let (soon, later) = (at + Span::minutes(30), at + Span::days(400));
    let text = format!("Assurance: strong until {soon} ({id}). On file until {later}. é agent_12 x{soon}");
    let pieces = words::pieces(&text, &at);
    let shown: String = pieces.iter().map(|p| p.text.as_str()).collect();
    let (day, time) = (later.to_string().chars().take(10).collect::<String>(), later.to_string().chars().skip(11).take(5).collect::<String>());
    assert_eq!(shown, format!("Assurance: strong until {} UTC (chal_…abcdef). On file until {day} {time} UTC. é agent_12 x{soon}", &soon.to_string()[11..19]));
    let stamps: Vec<_> = pieces.iter().filter_map(|p| Some((p.stamp.clone()?, p.local))).collect();
    assert_eq!(stamps, [(soon.to_string(), "clock"), (later.to_string(), "moment")]);
    assert_eq!(pieces.iter().filter_map(|p| p.id.as_deref()).collect::<Vec<_>>(), [id], "whole for whoever points at it");
}

#[test]
fn what_holds_is_counted_only_while_the_call_goes_on() {
    let mut over = AgentView { stage: Stage::Ended, ended: Some(NOW), ..full() };
    assert!(panel(&full()).contains("Holds"));
    assert!(!panel(&over).contains("Holds"));
    over.performed = Vec::new();
    let html = desk_panel(NOW, &Seen { done: vec!["change:phone".parse().unwrap()], ..seen(over) }, None).unwrap();
    assert!(html.contains("Done on this call") && html.contains("Change phone number"), "also what was done before the account was given up");
}

#[test]
fn an_error_leads_on_only_where_there_is_something() {
    let with = error(&shell(), 404, "Nothing here", "Gone.", Some(("/me", "To your account"))).unwrap();
    assert!(with.contains("Northwind") && with.contains("href=\"/me\">To your account"));
    let without = error(&Shell { demo: false, ..shell() }, 404, "Nothing here", "Gone.", None).unwrap();
    assert!(!without.contains("href=\"/\"") && !without.contains("class=\"button\""));
}

#[test]
fn the_script_follows_the_call() {
    let line = |view: &AgentView| script(view).map(|s| s.line);
    let claim = ClaimView { kind: ClaimKind::Email, via: Via::Agent, fits: None, look_alike: false };
    let known = AgentView { identified: true, level: Level::Identified, factors: vec![FactorKind::Totp], ..view() };
    let open = AgentView { opened: true, ..known.clone() };
    let proved = AgentView { level: Level::Authenticated, ..open.clone() };
    let asked = |offer| AgentView { actions: vec![ActionView { asked: true, ..action("change:phone", offer) }], ..proved.clone() };
    for (view, expect) in [
        (view(), Some(Line::AccountNumber)),
        (AgentView { claims: vec![claim.clone()], ..view() }, Some(Line::AnotherDetail)),
        (AgentView { claims: vec![claim], misses_left: 0, ..view() }, Some(Line::Specialist)),
        (known.clone(), Some(Line::SecondDetail)),
        (AgentView { misses_left: 0, ..known }, Some(Line::Proof(FactorKind::Totp))),
        (open.clone(), Some(Line::Proof(FactorKind::Totp))),
        (AgentView { factors: Vec::new(), ..open.clone() }, Some(Line::NoFactor)),
        (AgentView { frozen: true, ..open }, Some(Line::Specialist)),
        (proved.clone(), Some(Line::Confirmed)),
        (asked(Offer::StepUp), Some(Line::OneMore)),
        (asked(Offer::Online), Some(Line::Online)),
        (asked(Offer::Refused), Some(Line::Refused)),
        (AgentView { mine: false, ..proved.clone() }, None),
        (AgentView { stage: Stage::Ended, ..proved }, None),
    ] {
        assert_eq!(line(&view), expect);
    }
    for lang in Lang::ALL {
        assert!(!Line::Keying.text(lang).chars().any(|c| c.is_ascii_digit()), "a script has no place for a value");
    }
}

//! Whole calls, to be read: what goes in, what is said, what the telephone does, what is on record.

use std::fmt::Write as _;

use countersign_core::{
    action::{Field, Role},
    call::{Command, Effect},
    claim::ClaimKind,
    factor::FactorKind::*,
    message::{Body, Change},
    prompt::{Directive, Prompt},
    risk::Verstat,
    story::{Reader, sentence},
    time::Span,
};

use crate::{
    shell::{AGENT, Do, LEAD, OTHER, Reply, Shell},
    world::{ALL, Who},
};

struct Tape { shell: Shell, text: String }

impl Tape {
    fn new(number: Option<&'static str>, verstat: Verstat, heading: &str) -> Self {
        let mut tape = Self { shell: Shell::new(), text: String::new() };
        tape.put(heading, Do::Ring { number, verstat, denied: false });
        tape
    }

    fn keys(&mut self, keys: &str) { self.put(&format!("caller keys {keys}"), Do::Keys(keys.into())); }
    fn answer(&mut self) {
        let right = self.shell.right().unwrap();
        self.put("caller keys the right code", Do::Keys(right));
    }
    fn agent(&mut self, what: &str, command: Command) { self.put(&format!("agent {what}"), Do::Desk(AGENT, Role::Agent, command)); }

    fn put(&mut self, heading: &str, what: Do) {
        let outcome = self.shell.put(what).map(|_| ());
        writeln!(self.text, "▸ {heading}").unwrap();
        if let Err(why) = outcome {
            writeln!(self.text, "    rejected: {why}").unwrap();
            return;
        }
        for deny in &self.shell.last.refused {
            writeln!(self.text, "    limit: {deny:?}").unwrap();
        }
        for event in &self.shell.last.events {
            writeln!(self.text, "    {}", short(&sentence(event, Reader::Lead))).unwrap();
        }
        for effect in &self.shell.last.effects {
            if let Some(line) = effect_line(effect) {
                writeln!(self.text, "  → {line}").unwrap();
            }
        }
        let said = self.shell.last.say.iter().map(prompt);
        let asked = self.shell.directives().into_iter().map(|d| match d {
            Directive::Say { prompt: p, .. } => prompt(&p),
            Directive::Gather { max, timeout, secret } => format!("[gather {max}, {timeout} s{}]", if secret { ", secret" } else { "" }),
            Directive::Listen { timeout, lang } => format!("[listen {timeout} s, {lang:?}]"),
            Directive::Record { seconds } => format!("[record, {seconds} s]"),
            Directive::Hold { music } => format!("[hold: {}]", music.name()),
            Directive::Bridge => "[bridge]".into(),
            Directive::HangUp => "[hang up]".into(),
        });
        let heard: Vec<String> = said.chain(asked).collect();
        writeln!(self.text, "  ♪ {}", heard.join(" ")).unwrap();
    }

    /// What is on the screen of whoever has the call.
    fn screen(&mut self) {
        assert!(self.shell.call.agent.is_some(), "nobody has the call:\n{}", self.text);
        let view = self.shell.mine();
        let fields: Vec<String> = view.fields.iter().map(|f| format!("{} {:?}{}", f.field.name(), f.disclosure, if f.values.is_empty() { String::new() } else { format!(" {:?}", f.values) })).collect();
        let actions: Vec<String> = view.actions.iter().map(|a| format!("{} {:?}", a.action, a.offer)).collect();
        writeln!(self.text, "  ▣ {} · risk {} · {}", view.level, view.risk, if view.opened { "opened" } else { "not opened" }).unwrap();
        writeln!(self.text, "  ▣ {}", fields.join(" · ")).unwrap();
        writeln!(self.text, "  ▣ {}", actions.join(" · ")).unwrap();
    }

    fn done(mut self, name: &str) {
        self.shell.restart();
        insta::with_settings!({ snapshot_path => "../tapes", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, self.text);
        });
    }
}

fn prompt(prompt: &Prompt) -> String {
    match prompt {
        Prompt::Recognised { upcoming: Some(day) } => format!("“Recognised, {day}”"),
        Prompt::Recognised { upcoming: None } => "“Recognised”".into(),
        Prompt::StepUp { action } => format!("“StepUp for {action}”"),
        other => short(&format!("“{other:?}”")),
    }
}

fn effect_line(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Send(m) => {
            let what = match &m.body {
                Body::Code { action, kind, .. } => format!("{kind}{}", action.as_ref().map(|a| format!(" for {a}")).unwrap_or_default()),
                Body::Summary { actions, .. } => format!("summary of {}", actions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
                Body::Online { action } => format!("the way to do {action} online"),
                Body::Changed { action, .. } | Body::ChangedOnline { action, .. } => format!("{action} was done"),
                Body::Ring { .. } => "a call of ours".into(),
            };
            short(&format!("message to {} of {}: {what}", m.to.contact, m.to.account))
        }
        Effect::Change(c) => short(&format!("change of {}: {}", c.account, c.change.action())),
        Effect::Alert(alert) => format!("alert: {alert:?}"),
        Effect::Note { .. } => "a sealed note".into(),
        Effect::ReportLink { account, .. } => short(&format!("a link that freezes {account}")),
        Effect::Wake { account, action, .. } => short(&format!("the devices of {account} wake{}", action.as_ref().map(|a| format!(" for {a}")).unwrap_or_default())),
        Effect::AskProvider { account, .. } => short(&format!("the sign-in provider asks {account}")),
        Effect::OpenLink { .. } => "the portal finds this call by its code".into(),
        Effect::CloseLink { .. } => "the code finds nothing any more".into(),
        Effect::RingBack { .. } => "the customer is rung back".into(),
    })
}

/// Names for those we know, four digits of every other id.
fn short(text: &str) -> String {
    let mut text = text.to_owned();
    for who in ALL {
        text = text.replace(&who.id().to_string(), &format!("{who:?}"));
    }
    for (id, name) in [(AGENT, "Agent Alba"), (OTHER, "Agent Otto"), (LEAD, "Lead Lena")] {
        text = text.replace(&id.to_string(), name);
    }
    let (mut out, mut digits) = (String::new(), 0);
    let mut after_prefix = false;
    for c in text.chars() {
        if after_prefix && c.is_ascii_hexdigit() {
            digits += 1;
            if digits > 4 {
                continue;
            }
        } else {
            after_prefix = c == '_' && ["chal", "msg", "cont", "auth", "chg", "note", "dlg"].iter().any(|p| out.ends_with(p));
            digits = 0;
        }
        out.push(c);
    }
    out
}

#[test]
fn a_call_that_passes() {
    let mut tape = Tape::new(Some(Who::Ana.phone()), Verstat::PassedA, "a call comes in from Ana's mobile");
    tape.keys("1");
    tape.keys("*");
    tape.keys("*");
    tape.answer();
    tape.keys("3");
    tape.agent("takes the call", Command::Accept);
    tape.screen();
    tape.agent("looks at the orders", Command::Reveal { field: Field::Orders, reason: None });
    tape.screen();
    tape.agent("calls the order off", Command::Perform { change: Change::CancelOrder, reason: None });
    tape.agent("ends the call", Command::End);
    tape.done("passes");
}

#[test]
fn a_call_that_steps_up() {
    let mut tape = Tape::new(Some(Who::Ana.phone()), Verstat::PassedA, "a call comes in from Ana's mobile");
    tape.keys("0");
    tape.keys("1");
    tape.agent("takes the call", Command::Accept);
    tape.agent("notes the account number", Command::Claim { kind: ClaimKind::AccountNumber, value: Who::Ana.number().into() });
    tape.screen();
    tape.agent("asks to change the telephone number", Command::Request { action: "change:phone".parse().unwrap() });
    tape.agent("asks for a texted code and the PIN", Command::Prove { action: Some("change:phone".parse().unwrap()), factors: vec![SmsCode, Pin] });
    tape.keys("000000");
    tape.answer();
    tape.answer();
    tape.screen();
    let number = || Change::Phone("+12025550100".into());
    tape.agent("changes the number", Command::Perform { change: number(), reason: None });
    tape.agent("hands over to a specialist", Command::HandOver { queue: countersign_core::call::Queue::Specialists });
    tape.put("a specialist takes the call", Do::Desk(OTHER, Role::Specialist, Command::Accept));
    tape.screen();
    tape.shell.wait(Span::minutes(31));
    tape.put("half an hour later", Do::Tick);
    tape.put("the specialist changes it again", Do::Desk(OTHER, Role::Specialist, Command::Perform { change: number(), reason: None }));
    tape.put("caller hangs up", Do::HungUp);
    tape.done("steps_up");
}

#[test]
fn a_call_that_is_refused() {
    let mut tape = Tape::new(Some("+12025559999"), Verstat::None, "a call comes in from an unknown number");
    tape.keys("1");
    tape.keys("2");
    tape.keys(Who::Liam.number());
    tape.keys("11111");
    tape.keys("2");
    tape.agent("takes the call", Command::Accept);
    tape.screen();
    tape.agent("notes a misheard name", Command::Claim { kind: ClaimKind::Name, value: "Lee Am O'Car".into() });
    tape.agent("compares an e-mail address", Command::Compare { field: Field::Email, value: "liam@example.com".into() });
    tape.agent("wants to look at the name", Command::Reveal { field: Field::Name, reason: None });
    tape.agent("wants to change the password", Command::Perform { change: Change::Password, reason: None });
    tape.agent("asks for a code to be texted", Command::Prove { action: None, factors: vec![SmsCode] });
    tape.put("caller hangs up", Do::HungUp);
    tape.done("refused");
}

/// `youtube_hybrid`, from the call to the portal, and a step-up by passkey.
#[test]
fn a_code_that_travels_to_the_portal() {
    let mut tape = Tape::new(Some("+12025559999"), Verstat::PassedA, "a call comes in from an unknown number");
    tape.keys("1");
    tape.keys("3");
    tape.put("nothing is keyed meanwhile", Do::NoKeys);
    tape.put("Dina, signed in, types another code", Do::Linked(Who::Dina, false));
    tape.put("Pia, signed in, types the code", Do::Linked(Who::Pia, true));
    tape.keys("2");
    tape.agent("takes the call", Command::Accept);
    tape.screen();
    tape.agent("asks for a passkey", Command::Prove { action: Some("change:phone".parse().unwrap()), factors: vec![Passkey] });
    tape.put("Pia types a code instead", Do::Approve(Who::Pia, None, Reply::Right));
    tape.put("Pia signs something else", Do::Approve(Who::Pia, None, Reply::Forged));
    tape.put("Pia signs", Do::Approve(Who::Pia, None, Reply::Signed));
    tape.screen();
    tape.agent("ends the call", Command::End);
    tape.done("travels");
}

/// `flex_push`, and "I am not on the phone".
#[test]
fn a_call_that_its_customer_disowns() {
    let mut tape = Tape::new(Some(Who::Pia.phone()), Verstat::PassedA, "a call comes in as from Pia's landline");
    tape.keys("1");
    tape.keys("*");
    tape.put("Pia's provider says no", Do::Provided(None));
    tape.keys("0");
    tape.keys("1");
    tape.agent("takes the call", Command::Accept);
    tape.agent("asks for an approval", Command::Prove { action: Some("change:phone".parse().unwrap()), factors: vec![Approval] });
    tape.put("somebody else answers it", Do::Approve(Who::Dina, None, Reply::Right));
    tape.put("Pia is not on the phone", Do::Approve(Who::Pia, None, Reply::NotMe));
    tape.screen();
    tape.agent("asks again", Command::Prove { action: None, factors: vec![Approval] });
    tape.agent("ends the call", Command::End);
    tape.done("disowned");
}

/// `walmart_call_me`.
#[test]
fn a_call_that_was_asked_for() {
    let mut tape = Tape { shell: Shell::new(), text: String::new() };
    let contact = tape.shell.brief(Some(Who::Pia.id())).unwrap().factors.iter().find_map(|f| f.contact).unwrap();
    tape.put("Pia asks in the portal to be rung", Do::CallOut { whom: Who::Pia, contact, agent: None });
    tape.put("somebody answers", Do::Answered);
    let key = tape.shell.key_to_press();
    tape.keys(if key == "1" { "2" } else { "1" });
    tape.keys(&key);
    tape.keys("1");
    tape.agent("takes the call", Command::Accept);
    tape.screen();
    tape.put("Pia hangs up", Do::HungUp);
    tape.done("asked_for");
}

#[test]
fn a_call_that_is_too_risky() {
    let mut tape = Tape::new(Some(Who::Ana.phone()), Verstat::Failed, "a call comes in as from Ana's mobile, its signature broken");
    tape.keys("2");
    tape.keys("000000");
    tape.keys("000000");
    tape.keys("000000");
    tape.put("caller keys on", Do::Keys("1".into()));
    tape.done("risky");
}

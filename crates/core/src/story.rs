//! A call as a story: one plain sentence per event, for `audit show`, the desk and the portal.

use crate::{
    action::{Decision, Outcome, WayOut},
    call::{Closed, Ending, Event, LevelCause, Origin, Queue, Stage},
    claim::Via,
    message::Delivery,
    risk::{Contribution, Route, Verstat},
    voice::{Comparison, Fault, Outcome as Heard, Stopped},
};

/// Who reads. A customer is told nothing that would help whoever is forcing them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reader {
    /// The lead and the auditor: everything.
    Lead,
    /// Agents and customers: no duress.
    Anyone,
}

/// What happened, in one sentence.
pub fn sentence(event: &Event, reader: Reader) -> String {
    // Which policies decided tells of duress by what is there or missing.
    let ids = |policies: &[String]| if reader == Reader::Lead { ids(policies) } else { String::new() };
    match event {
        Event::Started { origin: Origin::Client(name), .. } => format!("{name} asks for a proof on behalf of a caller on its own line."),
        Event::Started { adapter, origin: Origin::CallBack(contact), .. } => format!("The customer asked in the portal to be rung; we ring {contact} through {adapter}."),
        Event::Started { adapter, origin: Origin::Desk { agent, contact, matter, .. }, .. } => {
            let about = matter.as_ref().map(|m| format!(" about {m}")).unwrap_or_default();
            format!("{agent} rings the customer at {contact} through {adapter}{about}.")
        }
        Event::Started { adapter, origin: Origin::RingBack { contact, of }, .. } => {
            format!("We ring the customer back at {contact} through {adapter}: {of} was too risky to go on with.")
        }
        Event::Started { adapter, number, verstat, denied, origin: Origin::Caller } => {
            let number = if number.is_some() { "with a number" } else { "without a number" };
            let signed = match verstat {
                Verstat::None => "not signed",
                Verstat::PassedA => "signed, attestation A",
                Verstat::PassedB => "signed, attestation B",
                Verstat::PassedC => "signed, attestation C",
                Verstat::Failed => "its signature does not hold",
                Verstat::Unchecked => "its signature could not be checked",
            };
            let denied = if *denied { "; the number is on the deny list" } else { "" };
            format!("The call came in through {adapter} {number} ({signed}){denied}.")
        }
        Event::Asked { stage } => asked(*stage).to_owned(),
        Event::Silence => "Nothing usable was keyed or said.".into(),
        Event::LanguageChosen { lang } => format!("Language: {}.", lang.code()),
        Event::MusicChosen { music } => format!("The caller chose {} music.", music.name()),
        Event::IntentConfirmed => "The caller is calling about what is upcoming.".into(),
        Event::Claimed { claim } => {
            let via = match claim.via {
                Via::Network => "signalled by the network",
                Via::Keypad => "keyed",
                Via::Agent => "said to the agent",
                Via::Client => "named by the program that asks",
            };
            let fits = match claim.accounts.len() { 0 => "fits no account".into(), 1 => "fits one account".into(), n => format!("fits {n} accounts") };
            let alike = if claim.look_alike { "; one slip away from another customer's" } else { "" };
            format!("Claim: {}, {via}; {fits}{alike}.", words(claim.kind.name()))
        }
        Event::Contradicted { claim } => format!("A claim ({}) points at another account; the account of the call stays.", words(claim.kind.name())),
        Event::Identified { account, agreed, instead_of } => {
            let how = if *agreed { "two independent claims agree" } else { "by one claim only, nothing may be opened" };
            let instead = if instead_of.is_some() { " What pointed elsewhere before was set aside." } else { "" };
            format!("Identified as {account}: {how}. Nothing is proved by that.{instead}")
        }
        Event::Switched { agent, note } => format!("{agent} gave up the account of the call; everything starts again (reason: {note})."),
        Event::SpeaksFor { subject, delegation, kind, .. } => format!("The caller speaks for {subject} as {} ({delegation}).", words(kind)),
        Event::SpeakRefused { agent } => format!("{agent} asked whether the caller may speak for somebody else: no."),
        Event::Challenged { challenge } => {
            let why = challenge.action.as_ref().map(|a| format!(" for {a}")).unwrap_or_default();
            format!("Asked for {}{why} ({}).", challenge.kind.words(), challenge.id)
        }
        Event::ChallengeFailed { left, .. } => format!("Wrong entry; {left} left."),
        Event::ChallengeClosed { why, .. } => format!("The challenge ended without a proof: {}.", closed(*why)),
        Event::LinkOpened { link } => format!("Gave out a code for whoever types it in the portal ({}).", link.id),
        Event::LinkClosed { why } => format!("The code for the portal counts no more: {}.", closed(*why)),
        Event::Disowned { account } => format!("The customer ({account}), asked for an approval, says that they are NOT ON THE PHONE. Nothing proved on this call counts."),
        Event::Rang { message } => format!("The telephone on file rings ({message})."),
        Event::Answered => "Somebody answered.".into(),
        Event::FactorUnavailable { kind } => format!("Too many messages or wrong entries lately: {} cannot be used now.", kind.words()),
        Event::ServiceCodeFailed => "Wrong portal code.".into(),
        Event::ServiceCodeThrottled => "Too many wrong portal codes: none is taken now.".into(),
        Event::Proved { kind, duress, .. } => {
            let duress = if *duress && reader == Reader::Lead { " It was the DURESS word." } else { "" };
            format!("Proved: {}.{duress}", kind.words())
        }
        Event::LevelChanged { level, expires, cause, policies } => {
            let cause = match cause {
                LevelCause::Identification => "the account is known",
                LevelCause::Proof => "by what was proved",
                LevelCause::Expiry => "the proofs are too old",
                LevelCause::Switch => "the account was given up",
                LevelCause::Disowned => "the customer is not on this call",
            };
            let until = expires.map(|t| format!(" until {t}")).unwrap_or_default();
            format!("Assurance: {level}{until}, {cause}{}.", ids(policies))
        }
        Event::Delivered { message, delivery } => format!("Message {message}: {}.", match delivery {
            Delivery::Sent => "sent", Delivery::Delivered => "delivered", Delivery::Failed => "not delivered",
            Delivery::Unknown => "nobody knows whether it went; not sent again",
        }),
        Event::RiskScored { score, parts, route, shadow } => scored(*score, parts, *route, *shadow),
        Event::Signalled { history, number } => {
            let from = [history.as_ref().map(|_| "other calls"), number.as_ref().map(|_| "number intelligence")];
            format!("Heard from {}.", from.into_iter().flatten().collect::<Vec<_>>().join(" and "))
        }
        Event::Queued { queue, because } => {
            let why = if because.is_empty() { String::new() } else { format!(" because of risk: {}", because.iter().map(|b| words(b)).collect::<Vec<_>>().join(", ")) };
            format!("Waits for {}{why}.", people(*queue))
        }
        Event::Accepted { agent, role } => format!("{agent} ({}) took the call.", role.name()),
        Event::Compared { agent, field, matched } => format!("{agent} compared {}: {}.", words(field.name()), if *matched { "match" } else { "no match" }),
        Event::CompareThrottled { agent } => format!("{agent}: too many comparisons for this account; no more on this call."),
        Event::Revealed { agent, field, policies } => format!("{agent} looked at {}{}.", words(field.name()), ids(policies)),
        Event::Decided { agent, action, decision, level, .. } => {
            let who = agent.map_or_else(|| "The machine".to_owned(), |a| a.to_string());
            format!("{who} asked about {action} at {level}: {}{}.", decided(decision, reader), ids(&decision.policies))
        }
        Event::Performed { agent, action, change, held, note } => {
            let held = if *held && reader == Reader::Lead { " It only looks done: HELD for review." } else { "" };
            let note = note.map(|n| format!(" Reason: {n}.")).unwrap_or_default();
            format!("{agent} carried out {action} ({change}).{note}{held}")
        }
        Event::SentOnline { action } => format!("The way to do {action} signed in was sent to the contact on file."),
        Event::HandedOver { agent, queue } => format!("{agent} handed the call to {} with everything it carries.", people(*queue)),
        Event::AccountFrozen => "The account was frozen during the call.".into(),
        Event::SummarySent { actions } => {
            let list: Vec<String> = actions.iter().map(ToString::to_string).collect();
            format!("A summary of {} went to the contact on file.", list.join(", "))
        }
        Event::VoiceOffered { agent, text, .. } => format!("{agent} had the text of consent read out (version {text}): may the voice be taken?"),
        Event::VoiceConsented { text, lang, .. } => format!("The caller consented to that (version {text}, {}), with a key.", lang.code()),
        Event::VoiceTake { fault, .. } => match fault {
            None => "The phrase was said: a good take.".into(),
            Some(fault) => format!("The phrase was said: not good enough, {}.", take(*fault)),
        },
        Event::VoiceEnrolled { until, held, .. } => {
            let held = if *held && reader == Reader::Lead { " It only looks done: HELD for review." } else { "" };
            format!("The voice is on file until {until}.{held}")
        }
        Event::VoiceAsked { agent, .. } => format!("{agent} asked for the phrase, to compare the voice."),
        // How alike it was would tell a forger what to do better.
        Event::VoiceCompared { .. } if reader == Reader::Anyone => "The voice was compared. Nothing is proved by that.".into(),
        Event::VoiceCompared { comparison, .. } => compared(comparison),
        Event::DigitsAsked { saying, .. } => format!("Digits were asked for, to be {}.", if saying.learning.is_some() { "learnt" } else { "compared" }),
        Event::DigitsTake { fault, .. } => match fault {
            None => "The digits were said: a good answer.".into(),
            Some(fault) => format!("The digits were said: not good enough, {}.", take(*fault)),
        },
        Event::DigitsKept { held, .. } => {
            let held = if *held && reader == Reader::Lead { " It only looks done: HELD for review." } else { "" };
            format!("How the voice says digits is on file.{held}")
        }
        Event::DigitsChecked { .. } if reader == Reader::Anyone => "The digits were compared. Nothing is proved by that.".into(),
        Event::DigitsChecked { checked, .. } => {
            let nearer = checked.nearer.map(|n| format!(", {n} others nearer")).unwrap_or_default();
            let outcome = if checked.outcome == Heard::Alike { "as asked for" } else { outcome(checked.outcome) };
            format!("The digits were compared: {outcome}{nearer}. Nothing is proved by that.")
        }
        Event::VoiceStopped { why } => format!("Nobody listens any more: {}.", stopped(*why)),
        Event::VoiceRemoved { agent, .. } => format!("{agent} had the voice taken off the file, as the caller wanted."),
        Event::Marked { agent, fraud: true, note } => format!("{agent} marked this call as FRAUD (reason: {note})."),
        Event::Marked { agent, fraud: false, note } => format!("{agent} took the mark of fraud back (reason: {note})."),
        Event::Redacted { was } => format!("Taken away by a rule of retention: {}.", words(was)),
        Event::Ended { ending } => match ending {
            Ending::Caller => "The caller hung up.",
            Ending::Agent => "The agent ended the call.",
            Ending::Risk => "Ended politely: too risky.",
            Ending::NobodyFree => "Ended: nobody was free in time.",
            Ending::Silence => "Ended: the caller keyed nothing.",
            Ending::NotReached => "Ended: the customer was not reached.",
            Ending::Unanswered => "Ended: the customer did not approve.",
            Ending::Collected => "Ended: the program that asked has its answer.",
            Ending::CalledBack => "Ended: too risky to go on with; the customer is rung back at a number on file.",
            Ending::SelfService => "Ended: too risky for a person; the caller was told the way online.",
        }.into(),
    }
}

/// The same for the customer's own history: what matters to them, without ids of ours and without
/// anything that would help whoever is forcing them. `None`: nothing they need to read.
pub fn for_customer(event: &Event) -> Option<String> {
    Some(match event {
        Event::Started { origin: Origin::Client(name), .. } => format!("{name} asked us to have you prove who you are."),
        Event::Started { origin: Origin::CallBack(_), .. } => "We rang you, as you asked here.".into(),
        Event::Started { origin: Origin::Desk { agent, .. }, .. } => format!("{agent} rang you."),
        Event::Started { origin: Origin::RingBack { .. }, .. } => "We rang you back at a number on file, after a call in your name.".into(),
        Event::Started { number, .. } => if number.is_some() { "A call came in." } else { "A call came in with its number withheld." }.into(),
        Event::Identified { agreed: true, .. } => "What the caller said fits your account. Nothing was proved by that.".into(),
        Event::Identified { .. } => "Something the call gave is on your file. Nothing was proved by that.".into(),
        Event::SpeaksFor { kind, .. } => format!("The caller spoke for you as {}.", words(kind)),
        Event::Challenged { challenge } => format!("We asked for proof: {}.", challenge.kind.words()),
        Event::ChallengeClosed { why: Closed::Declined, .. } => "You declined.".into(),
        Event::Disowned { .. } => "You told us that you were not on the phone. Nothing proved on this call counted any more.".into(),
        Event::Answered => "Somebody answered.".into(),
        Event::ChallengeFailed { .. } | Event::ServiceCodeFailed => "The proof was wrong.".into(),
        Event::Proved { kind, .. } => format!("The caller proved to be you: {}.", kind.words()),
        Event::Accepted { agent, .. } => format!("{agent} took the call."),
        Event::Compared { agent, field, matched } => {
            format!("{agent} compared what the caller said with your {}: {}.", words(field.name()), if *matched { "match" } else { "no match" })
        }
        Event::Revealed { agent, field, .. } => format!("{agent} looked at your {}.", words(field.name())),
        Event::Performed { agent, action, .. } => format!("{agent} carried out {}.", words(&action.to_string().replace(':', " "))),
        Event::SentOnline { .. } => "We sent the way to do it online.".into(),
        Event::HandedOver { agent, queue } => format!("{agent} handed the call to {}.", people(*queue)),
        Event::VoiceConsented { .. } => "The caller agreed, with a key, that their voice may be taken.".into(),
        Event::VoiceEnrolled { .. } => "A voice was put on your file. If it was not yours, take it off under Security.".into(),
        Event::VoiceCompared { .. } => "The caller's voice was compared with the one on file. Nothing was proved by that.".into(),
        Event::VoiceRemoved { .. } => "The voice was taken off your file.".into(),
        Event::AccountFrozen => "Your account was frozen during the call.".into(),
        Event::Ended { .. } => "The call ended.".into(),
        _ => return None,
    })
}

fn scored(score: u8, parts: &[Contribution], route: Option<Route>, shadow: bool) -> String {
    let each = |p: &Contribution| {
        let evidence = if p.evidence.is_empty() { String::new() } else { format!(" ({})", p.evidence) };
        format!("{} +{}{evidence}", words(&p.name), p.points)
    };
    let parts: Vec<String> = parts.iter().map(each).collect();
    let shadow = if shadow { format!(" (shadow: nothing follows; it would lead to: {})", words(route.unwrap_or_default().name())) } else { String::new() };
    if parts.is_empty() { format!("Risk {score}{shadow}.") } else { format!("Risk {score}{shadow}: {}.", parts.join(", ")) }
}

fn asked(stage: Stage) -> &'static str {
    match stage {
        Stage::Ringing => "Ringing.",
        Stage::Language => "Asked for a language.",
        Stage::Recognised => "Greeted as a known number.",
        Stage::Menu => "Asked for a portal code, an account number, or an agent.",
        Stage::KeyingAccountNumber => "Asked for an account number.",
        Stage::KeyingPostalCode => "Asked for a postal code.",
        Stage::KeyingServiceCode => "Asked for the code that the portal shows.",
        Stage::Proving => "Asked for a proof.",
        Stage::KeyingToken => "Waits for the token that the portal dialled.",
        Stage::Approving => "Waits for the customer's answer elsewhere.",
        Stage::Linking => "Waits until the code is typed in the portal.",
        Stage::Dialing => "Rings.",
        Stage::Confirming => "Asked for the key that the portal shows.",
        Stage::Remote => "On the line of the program that asked.",
        Stage::VoiceConsent => "Asked whether the voice may be taken.",
        Stage::VoiceTaking | Stage::VoiceSaying => "Asked to say the phrase.",
        Stage::VoiceDigits => "Asked to say digits.",
        Stage::Music => "Asked for the hold music.",
        Stage::Waiting => "Waits.",
        Stage::Talking => "Back with the agent.",
        Stage::Ended => "Over.",
    }
}

fn closed(why: Closed) -> &'static str {
    match why {
        Closed::Exhausted => "no tries left",
        Closed::Expired => "its time ran out",
        Closed::CallerLeft => "the caller wanted another way",
        Closed::AgentLeft => "the agent called it off",
        Closed::NotDelivered => "the message did not arrive",
        Closed::Throttled => "too many wrong entries lately",
        Closed::CallMoved => "the call ended or moved on",
        Closed::Declined => "the customer said no",
        Closed::Disowned => "the customer is not on the phone",
    }
}

fn take(fault: Fault) -> &'static str {
    match fault {
        Fault::NoSpeech => "no speech was heard",
        Fault::TooShort => "too short",
        Fault::TooNoisy => "too noisy",
        Fault::Overdriven => "overdriven",
        Fault::OtherWords => "other words than before",
        Fault::SameRecording => "a recording of a take before",
        Fault::OtherVoice => "another voice than before",
        Fault::NotApart => "digits that run into each other",
        Fault::Failed => "it could not be listened to",
    }
}

fn outcome(outcome: Heard) -> &'static str {
    match outcome {
        Heard::Alike => "alike",
        Heard::Unlike => "not alike",
        Heard::OtherWords => "other words",
        Heard::OtherDigits => "OTHER digits",
        Heard::KnownRecording => "a RECORDING that is on file",
        Heard::Synthetic => "SYNTHETIC speech",
        Heard::NoSpeech => "not compared, no speech",
        Heard::TooShort => "not compared, too short",
        Heard::TooNoisy => "not compared, too noisy",
        Heard::Overdriven => "not compared, overdriven",
        Heard::NotCalibrated => "not compared, not calibrated",
        Heard::OtherNetwork => "not compared, enrolled with another speaker network: enrol again",
        Heard::Failed => "not compared, it failed",
    }
}

/// With the numbers: for the lead, who looks after them.
fn compared(comparison: &Comparison) -> String {
    let outcome = outcome(comparison.outcome);
    let number = |name: &str, value: Option<i64>| value.map(|v| format!(", {name} {}{}.{:03}", if v < 0 { "-" } else { "" }, v.abs() / 1000, v.abs() % 1000)).unwrap_or_default();
    let numbers = [number("score", comparison.score), number("threshold", comparison.threshold), number("likelihood", comparison.likelihood), number("spoof", comparison.spoof)].concat();
    let learnt = if comparison.learnt { " The template learnt from it." } else { "" };
    format!("The voice was compared: {outcome}{numbers}. Nothing is proved by that.{learnt}")
}

fn stopped(why: Stopped) -> &'static str {
    match why {
        Stopped::Declined => "the caller said no, and nothing worse follows",
        Stopped::NotHeard => "the caller cannot be heard here",
        Stopped::Tries => "too many takes that were not good enough",
        Stopped::AgentLeft => "the agent called it off",
        Stopped::CallMoved => "the call ended or moved on",
        Stopped::NotPermitted => "it is not permitted any more",
    }
}

fn decided(decision: &Decision, reader: Reader) -> String {
    if decision.outcome == (Outcome::Refuse { way_out: WayOut::Held }) && reader == Reader::Anyone {
        return "permitted".to_owned();
    }
    match &decision.outcome {
        Outcome::Permit => "permitted".to_owned(),
        Outcome::StepUp { to } => format!("needs {to}"),
        Outcome::Refuse { way_out: WayOut::Online } => "refused, online only".to_owned(),
        Outcome::Refuse { way_out: WayOut::Specialist } => "refused, a specialist may".to_owned(),
        Outcome::Refuse { way_out: WayOut::Held } => "HELD for review under duress".to_owned(),
        Outcome::Refuse { way_out: WayOut::None } => "refused".to_owned(),
    }
}

fn people(queue: Queue) -> &'static str {
    match queue { Queue::Agents => "an agent", Queue::Specialists => "a specialist" }
}

fn ids(policies: &[String]) -> String {
    if policies.is_empty() { String::new() } else { format!(" [{}]", policies.join(", ")) }
}

fn words(name: &str) -> String { name.replace('_', " ") }

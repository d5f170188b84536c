//! Policies that treat a claim as a proof, found by asking them. The policies are asked as they are
//! written, without the engine's own guard: what the guard would stop is still a mistake.

use std::collections::BTreeMap;

use countersign_core::{
    action::{Action, DelegateFacts, Facts, Field, Level, Role, Verb},
    claim::ClaimKind,
    factor::{Class, FactorKind},
    voice::Likeness,
};

use crate::{
    compile::{Compiled, Rule},
    eval::{Answer, Who},
    facts::{Reads, Situation},
    finding::Finding,
};

pub(super) fn check(compiled: &Compiled, files: &[(String, String)]) -> Vec<Finding> {
    let mut faults = Faults::default();
    voices_give_nothing(compiled, &mut faults);
    nothing_for_nothing(compiled, &mut faults);
    claims_add_nothing(compiled, &mut faults);
    strong_means_two_classes(compiled, &mut faults);
    let finding = |rule: &Rule| {
        let (fault, actions) = faults.of(&rule.id)?;
        let (name, text) = files.get(rule.file)?;
        Some(Finding::error(name, text, rule.chunk.head(), fault.message(actions)).policy(&rule.id).help(fault.help()))
    };
    compiled.rules.iter().filter_map(finding).collect()
}

/// A voice may take away, in a forbid. A permit that looks at it makes it count for something: it would
/// be half a proof.
fn voices_give_nothing(compiled: &Compiled, faults: &mut Faults) {
    for rule in compiled.rules.iter().filter(|rule| rule.permits() && rule.reads.has(Reads::VOICE)) {
        for action in &rule.covers {
            faults.add(std::slice::from_ref(&rule.id), Fault::VoiceCounts, action, Who::SelfService);
        }
    }
}

/// A caller of whom everything is known and who proved nothing, for every role and with every
/// circumstance that could be thought to excuse it.
fn nothing_for_nothing(compiled: &Compiled, faults: &mut Faults) {
    for excuse in excuses() {
        let situation = Situation::of(&excuse);
        for (action, slot) in &compiled.slots {
            for who in Who::ALL {
                // The one exception of the house: a lead who wrote down a reason, to look and not to touch.
                let excused = who == Who::Desk(Role::Lead) && excuse.with_reason && action.verb == Verb::View;
                if !needs_proof(action) || excused {
                    continue;
                }
                if let Answer::Permit(ids) = compiled.evaluate(who, slot, &situation) {
                    faults.add(&ids, Fault::ForNothing, action, who);
                }
            }
        }
    }
}

fn excuses() -> Vec<Facts> {
    let mut out = Vec::new();
    let delegates = [None, Some("guardian"), Some("power_of_attorney")];
    for level in [Level::Anonymous, Level::Identified] {
        for with_reason in [false, true] {
            for delegate in delegates {
                for odd in [false, true] {
                    out.push(Facts {
                        level,
                        with_reason,
                        delegate: delegate.map(|kind| DelegateFacts { kind: kind.into(), covers: true }),
                        opened: true,
                        frozen: odd,
                        duress: odd,
                        ..knows_everything(&[])
                    });
                }
            }
        }
    }
    out
}

/// At every level, what a caller may do is the same without the claims. Else they count as proof.
fn claims_add_nothing(compiled: &Compiled, faults: &mut Faults) {
    use FactorKind::{Pin, SmsCode, Totp, VerbalPassword};
    let proved: [(Level, &[FactorKind]); 5] = [
        (Level::Identified, &[]),
        (Level::Authenticated, &[Pin]),
        (Level::Authenticated, &[SmsCode]),
        (Level::Strong, &[Totp, Pin]),
        (Level::Strong, &[SmsCode, VerbalPassword]),
    ];
    for (level, proofs) in proved {
        let with = Facts { level, ..knows_everything(proofs) };
        let without = Facts { claims: Vec::new(), ..with.clone() };
        for (action, slot) in &compiled.slots {
            if !matches!(action.verb, Verb::Reach | Verb::Use | Verb::Change | Verb::Do) {
                continue;
            }
            for who in Who::ALL {
                let Answer::Permit(permits) = compiled.evaluate(who, slot, &Situation::of(&with)) else { continue };
                match compiled.evaluate(who, slot, &Situation::of(&without)) {
                    Answer::Permit(_) => {}
                    // Either a permit needed the claims, or a forbid was kept away by them.
                    Answer::Deny(forbids) if !forbids.is_empty() => faults.add(&forbids, Fault::ClaimsCount, action, who),
                    Answer::Deny(_) | Answer::Error => faults.add(&permits, Fault::ClaimsCount, action, who),
                }
            }
        }
    }
}

fn strong_means_two_classes(compiled: &Compiled, faults: &mut Faults) {
    let action = Action::new(Verb::Reach, Level::Strong.name());
    let Some(slot) = compiled.slots.get(&action) else { return };
    for class in [Class::Knowledge, Class::Possession] {
        let all: Vec<FactorKind> = FactorKind::ALL.into_iter().filter(|kind| kind.class() == class && !kind.is_multi_factor()).collect();
        for who in Who::ALL {
            for proofs in all.iter().map(std::slice::from_ref).chain([all.as_slice()]) {
                let facts = Facts { level: Level::Authenticated, ..knows_everything(proofs) };
                if let Answer::Permit(ids) = compiled.evaluate(who, slot, &Situation::of(&facts)) {
                    faults.add(&ids, Fault::OneClass, &action, who);
                }
            }
        }
    }
}

fn knows_everything(proofs: &[FactorKind]) -> Facts {
    Facts {
        level: Level::Identified, opened: true, claims: ClaimKind::ALL.to_vec(), proofs: proofs.to_vec(), risk: 0, frozen: false,
        phone_lock: false, duress: false, delegate: None, stronger_set_up: false, with_reason: false, voice: Likeness::Alike,
    }
}

/// What nobody may get for knowing much.
fn needs_proof(action: &Action) -> bool {
    match action.verb {
        Verb::Reach | Verb::Change | Verb::Do => true,
        Verb::View | Verb::Mask | Verb::Speak => action.object != Field::Upcoming.name(),
        Verb::Match | Verb::Use => false,
    }
}

/// Worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    ForNothing,
    ClaimsCount,
    OneClass,
    VoiceCounts,
}

impl Fault {
    fn message(self, actions: &BTreeMap<Action, &'static str>) -> String {
        let mut names = actions.iter().map(|(action, who)| format!("`{action}` ({who})"));
        let mut what = names.by_ref().take(3).collect::<Vec<_>>().join(", ");
        match names.count() {
            0 => {}
            more => what.push_str(&format!(" and {more} more")),
        }
        match self {
            Self::ForNothing => format!("permits {what} to a caller who proved nothing: identification is not authentication"),
            Self::ClaimsCount => format!("what the caller claims decides about {what}: identification is not authentication"),
            Self::OneClass => format!("gives {what} for factors of one class"),
            Self::VoiceCounts => "a voice is no proof: this permit looks at context.voice".to_owned(),
        }
    }
    fn help(self) -> &'static str {
        match self {
            Self::ForNothing => "asked as a caller who knows every number, name and date of the customer; require `context.level >= 2`, or 3 for what cannot be taken back",
            Self::ClaimsCount => "the same caller with the same proofs gets another answer when the claims are left out; ask for context.level, or for factors in context.proofs",
            Self::VoiceCounts => "write a forbid instead, such as `forbid … when { context.voice == \"not_alike\" }`: a voice may take away, and gives nothing",
            Self::OneClass => "strong means something known and something held: whoever takes over the telephone has every code that is sent to it",
        }
    }
}

/// What was found, by policy: each fault once, with the actions and one role each.
#[derive(Default)]
struct Faults(BTreeMap<String, BTreeMap<Fault, BTreeMap<Action, &'static str>>>);

impl Faults {
    fn add(&mut self, ids: &[String], fault: Fault, action: &Action, who: Who) {
        for id in ids {
            self.0.entry(id.clone()).or_default().entry(fault).or_default().entry(action.clone()).or_insert(who.name());
        }
    }
    /// The worst of a policy's faults: whoever mends that one sees the next.
    fn of(&self, id: &str) -> Option<(Fault, &BTreeMap<Action, &'static str>)> {
        self.0.get(id)?.first_key_value().map(|(fault, actions)| (*fault, actions))
    }
}

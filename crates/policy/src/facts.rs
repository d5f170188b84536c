//! Facts in the form in which policies see them, and in which decisions are remembered.

use cedar_policy::{Context, RestrictedExpression as Value};
use countersign_core::{
    action::{Facts, Level},
    claim::ClaimKind,
    factor::{Class, FactorKind},
    voice::Likeness,
};

/// Which attributes of `context` a policy looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reads(u16);

impl Reads {
    pub(crate) const ALL: Self = Self(u16::MAX);
    const OPENED: Self = Self(1);
    const FROZEN: Self = Self(1 << 1);
    const PHONE_LOCK: Self = Self(1 << 2);
    const DURESS: Self = Self(1 << 3);
    const DELEGATE: Self = Self(1 << 4);
    const DELEGATE_COVERS: Self = Self(1 << 5);
    const STRONGER_SET_UP: Self = Self(1 << 6);
    const WITH_REASON: Self = Self(1 << 7);
    const CLAIMS: Self = Self(1 << 8);
    const RISK: Self = Self(1 << 9);
    const DELEGATE_KIND: Self = Self(1 << 10);
    const PROOFS: Self = Self(1 << 11);
    const LEVEL: Self = Self(1 << 12);
    pub(crate) const VOICE: Self = Self(1 << 13);

    /// The attribute of this name. One that we do not know counts as all of them.
    pub(crate) fn attribute(name: &str) -> Self {
        match name {
            "opened" => Self::OPENED,
            "frozen" => Self::FROZEN,
            "phone_lock" => Self::PHONE_LOCK,
            "duress" => Self::DURESS,
            "delegate" => Self::DELEGATE,
            "delegate_covers" => Self::DELEGATE_COVERS,
            "stronger_set_up" => Self::STRONGER_SET_UP,
            "with_reason" => Self::WITH_REASON,
            "claims" => Self::CLAIMS,
            "risk" => Self::RISK,
            "delegate_kind" => Self::DELEGATE_KIND,
            "proofs" | "classes" => Self::PROOFS,
            "level" => Self::LEVEL,
            "voice" => Self::VOICE,
            _ => Self::ALL,
        }
    }
    pub(crate) fn and(self, other: Self) -> Self { Self(self.0 | other.0) }
    pub(crate) fn has(self, other: Self) -> bool { self.0 & other.0 != 0 }
    /// Whether the answer can become another one by proving more.
    pub(crate) fn change_by_proving(self) -> bool { self.has(Self(Self::LEVEL.0 | Self::PROOFS.0 | Self::OPENED.0)) }
    /// Whether it matters which factors were proved, beyond the level they gave.
    pub(crate) fn proofs(self) -> bool { self.has(Self::PROOFS) }
}

/// The facts, normalised: one value for all facts that no policy can tell apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Situation {
    pub(crate) level: Level,
    /// Bits by position in `FactorKind::ALL`.
    proofs: u16,
    /// Bits by position in `ClaimKind::ALL`.
    claims: u16,
    /// Those of the first eight bits of [`Reads`] that are true.
    flags: u16,
    risk: u8,
    delegate_kind: String,
    voice: Likeness,
}

impl Situation {
    pub(crate) fn of(facts: &Facts) -> Self {
        let proofs = facts.proofs.iter().fold(0, |bits, kind| bits | factor_bit(*kind));
        // A level is earned by proofs. One that comes without any is a mistake or a forgery.
        let level = if proofs == 0 { facts.level.min(Level::Identified) } else { facts.level };
        let flag = |on: bool, flag: Reads| if on { flag.0 } else { 0 };
        let delegate = facts.delegate.as_ref();
        Self {
            level,
            proofs,
            claims: facts.claims.iter().fold(0, |bits, kind| bits | claim_bit(*kind)),
            flags: flag(facts.opened, Reads::OPENED)
                | flag(facts.frozen, Reads::FROZEN)
                | flag(facts.phone_lock, Reads::PHONE_LOCK)
                | flag(facts.duress, Reads::DURESS)
                | flag(delegate.is_some(), Reads::DELEGATE)
                | flag(delegate.is_some_and(|d| d.covers), Reads::DELEGATE_COVERS)
                | flag(facts.stronger_set_up, Reads::STRONGER_SET_UP)
                | flag(facts.with_reason, Reads::WITH_REASON),
            // A score off the scale is a mistake somewhere, and counts as the worst.
            risk: u8::try_from(facts.risk).map_or(100, |risk| risk.min(100)),
            delegate_kind: delegate.map(|d| d.kind.clone()).unwrap_or_default(),
            voice: facts.voice,
        }
    }

    pub(crate) fn has_proof(&self) -> bool { self.proofs != 0 }

    /// As it would be at another level, nothing else changed.
    pub(crate) fn at(&self, level: Level) -> Self { Self { level, ..self.clone() } }

    /// As it would be after these factors succeeded: they also open the account.
    pub(crate) fn proving(&self, level: Level, kinds: &[FactorKind]) -> Self {
        let proofs = kinds.iter().fold(self.proofs, |bits, kind| bits | factor_bit(*kind));
        Self { level, proofs, flags: self.flags | Reads::OPENED.0, ..self.clone() }
    }

    /// The same without what no policy in question looks at. Level and proofs stay: the engine
    /// itself looks at them.
    pub(crate) fn only(mut self, reads: Reads) -> Self {
        self.flags &= reads.0;
        if !reads.has(Reads::CLAIMS) {
            self.claims = 0;
        }
        if !reads.has(Reads::RISK) {
            self.risk = 0;
        }
        if !reads.has(Reads::DELEGATE_KIND) {
            self.delegate_kind.clear();
        }
        if !reads.has(Reads::VOICE) {
            self.voice = Likeness::NotCompared;
        }
        self
    }

    /// The same without anything that the policies in question do not look at, level and proofs too:
    /// for a plain yes or no, where the engine itself looks at nothing.
    pub(crate) fn read_by(self, reads: Reads) -> Self {
        let mut narrow = self.only(reads);
        if !reads.proofs() {
            narrow.proofs = 0;
        }
        if !reads.has(Reads::LEVEL) {
            narrow.level = Level::Anonymous;
        }
        narrow
    }

    /// The facts as the schema declares them, as far as anybody looks at them: putting together
    /// the others would be half the time of a decision. `None`, which decides nothing, would take
    /// a name that is here twice.
    pub(crate) fn context(&self, reads: Reads) -> Option<Context> {
        let flag = |flag: Reads| Value::new_bool(self.flags & flag.0 != 0);
        let set = |names: &mut dyn Iterator<Item = &'static str>| Value::new_set(names.map(|name| Value::new_string(name.to_owned())));
        let proved = || FactorKind::ALL.into_iter().filter(|kind| self.proofs & factor_bit(*kind) != 0);
        let value = |name: &str| match name {
            "level" => Value::new_long(self.level.rank()),
            "claims" => set(&mut ClaimKind::ALL.into_iter().filter(|kind| self.claims & claim_bit(*kind) != 0).map(ClaimKind::name)),
            "proofs" => set(&mut proved().map(FactorKind::name)),
            "classes" => set(&mut CLASSES.into_iter().filter(|(class, _)| proved().any(|k| k.class() == *class)).map(|(_, name)| name)),
            "risk" => Value::new_long(i64::from(self.risk)),
            "delegate_kind" => Value::new_string(self.delegate_kind.clone()),
            "voice" => Value::new_string(self.voice.name().to_owned()),
            _ => flag(Reads::attribute(name)),
        };
        let read = ATTRIBUTES.into_iter().filter(|name| reads.has(Reads::attribute(name)));
        Context::from_pairs(read.map(|name| (name.to_owned(), value(name)))).ok()
    }
}

/// The attributes of `context`, as in the schema.
const ATTRIBUTES: [&str; 15] = [
    "level", "opened", "claims", "proofs", "classes", "risk", "frozen", "phone_lock", "duress", "delegate", "delegate_covers",
    "delegate_kind", "stronger_set_up", "with_reason", "voice",
];

const CLASSES: [(Class, &str); 2] = [(Class::Knowledge, "knowledge"), (Class::Possession, "possession")];

fn factor_bit(kind: FactorKind) -> u16 { bit(FactorKind::ALL.iter().position(|k| *k == kind)) }

fn claim_bit(kind: ClaimKind) -> u16 { bit(ClaimKind::ALL.iter().position(|k| *k == kind)) }

/// A kind that is missing from its `ALL` counts as absent: no proof, no claim.
fn bit(position: Option<usize>) -> u16 {
    position.and_then(|at| u32::try_from(at).ok()).and_then(|at| 1u16.checked_shl(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            level: Level::Anonymous, opened: false, claims: vec![], proofs: vec![], risk: 0, frozen: false, phone_lock: false,
            duress: false, delegate: None, stronger_set_up: false, with_reason: false, voice: Likeness::NotCompared,
        }
    }

    #[test]
    fn a_level_without_proof_is_not_believed() {
        let forged = Facts { level: Level::Strong, claims: ClaimKind::ALL.to_vec(), ..facts() };
        assert_eq!(Situation::of(&forged).level, Level::Identified);
        let earned = Facts { level: Level::Strong, proofs: vec![FactorKind::Pin], ..facts() };
        assert_eq!(Situation::of(&earned).level, Level::Strong);
    }

    #[test]
    fn order_and_repetition_do_not_matter() {
        let a = Facts { proofs: vec![FactorKind::Pin, FactorKind::Totp], ..facts() };
        let b = Facts { proofs: vec![FactorKind::Totp, FactorKind::Pin, FactorKind::Pin], ..facts() };
        assert_eq!(Situation::of(&a), Situation::of(&b));
    }

    #[test]
    fn a_score_off_the_scale_is_the_worst() {
        for risk in [-1, 101, i64::MAX, i64::MIN] {
            assert_eq!(Situation::of(&Facts { risk, ..facts() }).risk, 100);
        }
    }

    #[test]
    fn every_attribute_has_a_bit() {
        for name in ATTRIBUTES {
            assert_ne!(Reads::attribute(name), Reads::ALL, "{name}");
        }
        assert_eq!(Reads::attribute("ssn"), Reads::ALL);
    }

    #[test]
    fn every_kind_has_a_bit_of_its_own() {
        let factors = FactorKind::ALL.into_iter().fold(0, |all, kind| all | factor_bit(kind));
        let claims = ClaimKind::ALL.into_iter().fold(0, |all, kind| all | claim_bit(kind));
        assert_eq!((factors.count_ones(), claims.count_ones()), (13, 7));
    }
}

//! Claims → at most one account. A pure rule over what each claim matched.

use serde::{Deserialize, Serialize};

use crate::{claim::{ClaimKind, Via}, id::AccountId};

/// How many accounts one claim may match before it counts as matching nobody in particular.
pub const MAX_MATCHES: usize = 16;

/// A claim as the call remembers it: what kind, how it came, which accounts it fits. No value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRecord {
    /// What it is about.
    pub kind: ClaimKind,
    /// How it reached us.
    pub via: Via,
    /// The accounts whose data it equals, at most [`MAX_MATCHES`]; more are cut to none.
    pub accounts: Vec<AccountId>,
    /// Another customer's value differs by one slip of the ear or tongue: it may be theirs.
    pub look_alike: bool,
}

/// What the claims say together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// No claim fits any account.
    Nobody,
    /// The claims fit several accounts, or contradict each other: none may be opened.
    Unclear,
    /// One claim that counts points at one account: good for a greeting and for a challenge.
    Recognised(AccountId),
    /// At least two independent claims agree on one account.
    Agreed(AccountId),
}

impl Agreement {
    /// The account that is meant, if any.
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Self::Recognised(id) | Self::Agreed(id) => Some(*id),
            Self::Nobody | Self::Unclear => None,
        }
    }
}

/// Applies the house rule: two independent claims (two different kinds) must agree on one account,
/// and a look-alike never counts as one of them. Claims that fit nobody are neutral here; they are
/// counted as failed attempts elsewhere.
pub fn agree(claims: &[ClaimRecord]) -> Agreement {
    let fitting: Vec<&ClaimRecord> = claims.iter().filter(|c| !c.accounts.is_empty()).collect();
    let Some(first) = fitting.first() else { return Agreement::Nobody };
    let mut common = first.accounts.iter().copied().filter(|id| fitting.iter().all(|c| c.accounts.contains(id)));
    let (Some(account), None) = (common.next(), common.next()) else { return Agreement::Unclear };
    let mut kinds: Vec<ClaimKind> = fitting.iter().filter(|c| !c.look_alike).map(|c| c.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    match kinds.len() {
        0 => Agreement::Unclear,
        1 => Agreement::Recognised(account),
        _ => Agreement::Agreed(account),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(kind: ClaimKind, accounts: &[u8], look_alike: bool) -> ClaimRecord {
        ClaimRecord { kind, via: Via::Agent, accounts: accounts.iter().map(|n| AccountId([*n; 16])).collect(), look_alike }
    }

    #[test]
    fn the_rule_as_a_table() {
        use ClaimKind::*;
        let a = AccountId([1; 16]);
        for (claims, expect) in [
            (vec![], Agreement::Nobody),
            (vec![claim(Number, &[], false)], Agreement::Nobody),
            (vec![claim(Number, &[1], false)], Agreement::Recognised(a)),
            (vec![claim(Number, &[1, 2], false)], Agreement::Unclear),
            (vec![claim(Number, &[1, 2], false), claim(Name, &[1, 3], false)], Agreement::Agreed(a)),
            (vec![claim(Number, &[1], false), claim(Name, &[2], false)], Agreement::Unclear),
            (vec![claim(Email, &[1], true)], Agreement::Unclear),
            (vec![claim(Email, &[1], true), claim(Name, &[1], false)], Agreement::Recognised(a)),
            (vec![claim(Email, &[1], true), claim(Name, &[1], false), claim(PostalCode, &[1, 2], false)], Agreement::Agreed(a)),
            (vec![claim(Name, &[1], false), claim(Name, &[1], false)], Agreement::Recognised(a)),
        ] {
            assert_eq!(agree(&claims), expect, "{claims:?}");
        }
    }
}

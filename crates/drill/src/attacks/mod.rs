//! The shipped drills.

mod codes;
mod desks;
mod guessing;
mod identity;
mod policies;
mod states;
mod webhooks;

use crate::Drill;

/// All of them, in the order in which they are played.
const ALL: [&Drill; 24] = [
    &identity::WRONG_ACCOUNT_OPENED, &desks::DATA_READ_OUT, &codes::TEXT_TO_NEW_NUMBER, &identity::SPOOFED_NUMBER, &codes::SIM_SWAPPED_PHONE,
    &codes::RELAYED_CODE, &codes::PUSH_BOMBING, &guessing::VERBAL_PASSWORD_GUESSING, &desks::AGENT_FISHING, &desks::INSIDER_BROWSING,
    &identity::ACCOUNT_SWITCH, &identity::DELEGATE_OVERREACH, &webhooks::REPLAYED_WEBHOOK, &webhooks::FORGED_WEBHOOK, &guessing::THOUSAND_GUESSES,
    &codes::BACKUP_CODE_REUSE, &policies::PASSWORD_BY_PHONE_NUMBER, &policies::SSN_AS_PROOF, &policies::ONLINE_ONLY, &states::FROZEN_ACCOUNT, &states::DURESS,
    &states::PORTAL_THIEF, &guessing::HYBRID_CODE_GUESSING, &states::TOO_RISKY,
];

/// One by its name.
pub fn named(name: &str) -> Option<&'static Drill> { all().find(|drill| drill.name == name) }

/// Every shipped drill.
pub fn all() -> impl Iterator<Item = &'static Drill> { ALL.into_iter() }

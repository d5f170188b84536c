//! Words for what many people know about a customer.

use countersign_core::{claim::ClaimKind, factor::FactorKind};

/// Parts of names, without anything but letters and digits. The claims are added to them.
const PARTS: [&str; 28] = [
    "ssn", "socialsecurity", "social", "taxid", "nationalid", "passport", "licence", "license", "dob", "birth", "maiden", "name",
    "email", "mail", "phone", "msisdn", "callerid", "callingline", "number", "account", "customerid", "postal", "postcode", "zip",
    "address", "order", "serial", "last4",
];

/// Whether a word names something that identifies, and so cannot prove.
pub(crate) fn is_public(word: &str) -> bool {
    let plain: String = word.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let is_claim = ClaimKind::ALL.iter().any(|kind| kind.name() == word);
    FactorKind::parse(word).is_none() && (is_claim || plain == "ani" || PARTS.iter().any(|part| plain.contains(part)))
}

/// Why such a word cannot be a proof, as half a sentence.
pub(crate) fn why(word: &str) -> String {
    let plain = word.to_ascii_lowercase();
    let what = if plain.contains("ssn") || plain.contains("social") {
        "an SSN is in every breach and on every form (NIST SP 800-63A-4 does not take it as evidence)".to_owned()
    } else if plain.contains("birth") || plain.contains("dob") {
        "a date of birth is known to family, friends and every office, and never changes".to_owned()
    } else {
        format!("`{word}` is known to many people and hardly ever changes")
    };
    format!("{what}; it says which account is meant, not that the caller is its holder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_spellings_are_public_and_no_factor_is() {
        for word in ["ssn", "SSN", "last4_ssn", "social_security", "Social-Security Number", "dob", "date_of_birth", "email", "ani",
            "mothers_maiden_name", "account_number", "device_serial", "postal_code", "order_number", "number", "phone_number"] {
            assert!(is_public(word), "{word}");
        }
        for kind in FactorKind::ALL {
            assert!(!is_public(kind.name()), "{kind}");
        }
        for kind in ClaimKind::ALL {
            assert!(is_public(kind.name()), "{kind}");
        }
        for word in ["knowledge", "possession", "passkey", "guardian", "level", "risk"] {
            assert!(!is_public(word), "{word}");
        }
    }
}

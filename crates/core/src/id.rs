//! Identifiers: 128 random bits behind a type and a prefix, so that a log line says what it names
//! and a call cannot be passed where an account is meant.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not an identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind} id: expected `{kind}_` and 32 hexadecimal digits")]
pub struct BadId {
    /// Prefix of the kind that was wanted.
    pub kind: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// The text before the underscore.
            pub const PREFIX: &'static str = $prefix;
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [0; 32];
                // Two digits for each of sixteen bytes: they fit. Screens are full of ids, and text by text is slow.
                let _ = hex::encode_to_slice(self.0, &mut digits);
                f.write_str(concat!($prefix, "_"))?;
                f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(s: &str) -> Result<Self, BadId> {
                let bad = BadId { kind: $prefix };
                let digits = s.strip_prefix(concat!($prefix, "_")).ok_or(bad.clone())?;
                let mut bytes = [0; 16];
                hex::decode_to_slice(digits, &mut bytes).map_err(|_| bad)?;
                Ok(Self(bytes))
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// One telephone call, from the first ring to the hang-up.
    CallId = "call";
    /// One customer.
    AccountId = "acct";
    /// One number, e-mail or postal address on file.
    ContactId = "cont";
    /// Something bound to an account that proves.
    AuthenticatorId = "auth";
    /// One use of one authenticator on one call.
    ChallengeId = "chal";
    /// One message in the outbox.
    MessageId = "msg";
    /// A person at the desk.
    AgentId = "agent";
    /// One guarded change of an account.
    ChangeId = "chg";
    /// One permission to speak for somebody else.
    DelegationId = "dlg";
    /// A written reason, kept sealed outside the event.
    NoteId = "note";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_and_refuses_another_kind() {
        let id = CallId([7; 16]);
        assert_eq!(id.to_string().parse::<CallId>().unwrap(), id);
        assert!(id.to_string().parse::<AccountId>().is_err());
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<CallId>(&json).unwrap(), id);
    }
}

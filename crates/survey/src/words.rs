//! The vocabulary of a note. Every word has a name for files and forms, and words for people.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A word of the vocabulary.
pub trait Choice: Copy + Ord + fmt::Debug + 'static {
    /// All of them, in the order in which they are offered.
    fn all() -> &'static [Self];
    /// The name in files and forms: lower case, digits and underscores.
    fn name(self) -> &'static str;
    /// What it is called on pages, in charts and in tables.
    fn words(self) -> &'static str;
    /// The word with this name.
    fn parse(name: &str) -> Option<Self> { Self::all().iter().copied().find(|w| w.name() == name) }
}

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident $text:literal $words:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$about])* #[serde(rename = $text)] $variant,)+ }

        impl Choice for $name {
            fn all() -> &'static [Self] { &[$(Self::$variant,)+] }
            fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
            fn words(self) -> &'static str {
                match self { $(Self::$variant => $words,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.words()) }
        }
    };
}

choice! {
    /// How the call came about.
    Reached {
        /// The caller rang the center.
        Inbound "inbound" "rang them";
        /// The center rang the caller, who had asked for it.
        CallMe "call_me" "was rung back";
        /// There is no telephone support at all.
        NoPhone "no_phone" "no phone support";
    }
}

choice! {
    /// How the center found out which account is meant.
    Way {
        /// From the calling number, by itself.
        Number "number" "from the calling number";
        /// Keyed or spoken to a machine.
        Ivr "ivr" "keyed or spoken to the machine";
        /// Said to an agent.
        Agent "agent" "asked by an agent";
    }
}

choice! {
    /// What was asked for that says **which** account is meant. None of these proves anything: many
    /// people know them, and most never change.
    Identifier {
        /// Telephone number.
        Phone "phone" "phone number";
        /// E-mail address.
        Email "email" "e-mail";
        /// Postal address or a part of it.
        Address "address" "address";
        /// First or last name.
        Name "name" "name";
        /// The company's account or customer number.
        Account "account" "account number";
        /// Serial number of a device.
        Serial "serial" "device serial";
        /// Date of birth.
        Birth "birth" "date of birth";
        /// Digits of a social-security number.
        Ssn "ssn" "SSN digits";
        /// Mother's maiden name.
        Maiden "maiden" "mother's maiden name";
        /// The number of an order or booking.
        Order "order" "order number";
        /// Something else of this sort.
        Other "other" "other detail";
    }
}

impl Identifier {
    /// Whether it can be looked up or is known to friends, neighbours and anybody who had a letter:
    /// the rest stands at least on paper or on a device that few people hold.
    pub fn is_public(self) -> bool {
        match self {
            Self::Phone | Self::Email | Self::Address | Self::Name | Self::Birth | Self::Maiden => true,
            Self::Account | Self::Serial | Self::Ssn | Self::Order | Self::Other => false,
        }
    }
}

choice! {
    /// What was asked for that **proves** that the caller is the customer: a secret, a thing held, or
    /// a biometric.
    Factor {
        /// A short number that the customer chose.
        Pin "pin" "PIN";
        /// A password.
        Password "password" "password";
        /// A word or phrase agreed for the telephone.
        Verbal "verbal_password" "verbal password";
        /// A code texted to the number on file.
        Sms "sms_code" "SMS code";
        /// A code read out to the number on file.
        Voice "voice_code" "voice code";
        /// A code shown in the signed-in web page.
        Service "service_code" "service code";
        /// A code of an authenticator app or token.
        App "authenticator_app" "authenticator app";
        /// An approval in the customer's app or signed-in page.
        Approval "app_approval" "app approval";
        /// Being rung at the number on file.
        CallBack "call_back" "call-back on file";
        /// A passkey.
        Passkey "passkey" "passkey";
        /// The voice, compared with an enrolled one.
        Biometrics "voice_biometrics" "voice biometrics";
        /// A code of a printed list.
        Backup "backup_code" "backup code";
        /// Something else of this sort.
        Other "other" "other proof";
    }
}

choice! {
    /// What the center told the caller.
    Item {
        /// The name on file.
        Name "name" "name";
        /// The address on file, or a part of it.
        Address "address" "address";
        /// The e-mail address on file, or a part of it.
        Email "email" "e-mail";
        /// A telephone number on file.
        Phone "phone" "phone number";
        /// The user name.
        Username "username" "user name";
        /// The account number.
        Account "account" "account number";
        /// What was ordered or booked, and where it stands.
        Order "order" "order details";
        /// Something else about the customer.
        Other "other" "something else";
    }
}

impl Item {
    /// Whether it helps to pass for the customer elsewhere. What was ordered does not say who or where.
    pub fn is_identity(self) -> bool { self != Self::Order }
}

choice! {
    /// What could be changed on the call.
    Change {
        /// The postal address.
        Address "address" "address";
        /// A telephone number.
        Phone "phone" "phone number";
        /// The e-mail address.
        Email "email" "e-mail";
        /// The password of the web site.
        Password "password" "password";
        /// An order or booking.
        Order "order" "order";
        /// Something else of the account.
        Other "other" "something else";
    }
}

choice! {
    /// What the caller was to the center at that moment. The order is the meaning.
    Standing {
        /// Nobody knew which account is meant, let alone who calls.
        Anyone "anyone" "before anything was asked";
        /// An account was named. Nothing was proved.
        Identified "identified" "once identified";
        /// Something was proved.
        Authenticated "authenticated" "after a proof";
    }
}

/// A day of the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

/// The first day of 1970, from which computers count.
impl Default for Date {
    fn default() -> Self { Self { year: 1970, month: 1, day: 1 } }
}

/// Why a text is not a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a day that exists as YYYY-MM-DD")]
pub struct NoDate;

impl Date {
    /// A day; `None` if the calendar does not have it. Years run from 1 to 9999.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => return None,
        };
        ((1..=9999).contains(&year) && (1..=days).contains(&day)).then_some(Self { year, month, day })
    }

    /// Reads `YYYY-MM-DD` (ISO 8601 calendar date, extended format) and nothing else.
    pub fn parse(text: &str) -> Result<Self, NoDate> {
        let shape = text.len() == 10 && text.bytes().enumerate().all(|(i, b)| if matches!(i, 4 | 7) { b == b'-' } else { b.is_ascii_digit() });
        let mut parts = text.split('-');
        let (Some(year), Some(month), Some(day), true) = (parts.next(), parts.next(), parts.next(), shape) else { return Err(NoDate) };
        let (Ok(year), Ok(month), Ok(day)) = (year.parse(), month.parse(), day.parse()) else { return Err(NoDate) };
        Self::new(year, month, day).ok_or(NoDate)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day) }
}

impl TryFrom<String> for Date {
    type Error = NoDate;
    fn try_from(text: String) -> Result<Self, NoDate> { Self::parse(&text) }
}

impl From<Date> for String {
    fn from(date: Date) -> Self { date.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<T: Choice>() {
        for word in T::all() {
            assert_eq!(T::parse(word.name()), Some(*word));
            assert!(word.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{word:?}");
            assert!(!word.words().is_empty() && word.words().chars().count() <= 30, "{word:?} does not fit into a chart");
        }
        let mut all: Vec<&str> = T::all().iter().map(|w| w.name()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), T::all().len(), "each name once");
        assert_eq!(T::parse(""), None);
    }

    #[test]
    fn every_word_has_one_name() {
        names::<Reached>();
        names::<Way>();
        names::<Identifier>();
        names::<Factor>();
        names::<Item>();
        names::<Change>();
        names::<Standing>();
    }

    #[test]
    fn days_are_days() {
        for good in ["2026-11-26", "2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31"] {
            assert_eq!(Date::parse(good).unwrap().to_string(), good);
        }
        for bad in ["", "2026-02-29", "1900-02-29", "2026-13-01", "2026-00-10", "2026-04-31", "0000-01-01", "26-11-2026", "2026-1-2", "2026/11/26", "+026-11-26", "2026-11-26 ", "２026-11-26"] {
            assert_eq!(Date::parse(bad), Err(NoDate), "{bad}");
        }
    }
}

//! The parts of a score: their names, what they weigh unless somebody says otherwise, and how often
//! each counts.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Something that raises scrutiny.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The calling number is on a deny list.
    NumberOnDenyList,
    /// The number's signature does not hold.
    AttestationFailed,
    /// Nobody signed the number.
    AttestationMissing,
    /// Only a gateway signed the number.
    AttestationGateway,
    /// No number was shown.
    NumberWithheld,
    /// Wrong entries on this call.
    FailedChallenges,
    /// Details that fit no customer.
    ClaimsThatFitNobody,
    /// Details that point at somebody else.
    ClaimsContradict,
    /// A detail is one slip away from another customer's.
    LookAlike,
    /// Contact data or factors changed lately.
    ContactChangedLately,
    /// The customer says that they are not on the phone.
    CustomerNotOnThePhone,
    /// The voice is not like the one on file.
    VoiceNotAlike,
    /// Other words were said than those on file.
    VoiceOtherWords,
    /// A recording that is on file was played.
    VoiceRecording,
    /// The voice sounded synthetic.
    VoiceSynthetic,
    /// The account is frozen.
    AccountFrozen,
    /// Number intelligence did not answer, and that is to count.
    NumberUnknown,
    /// A line without a place, as anybody can rent by the minute.
    VoipLine,
    /// A kind of number that nobody calls from: it was made up.
    UnusualLine,
    /// The SIM of the number changed lately.
    SimChangedLately,
    /// The number was given to somebody else lately.
    NumberReassigned,
    /// Calls to the number are forwarded: being reached there proves less.
    CallsForwarded,
    /// Many accounts were meant from this line lately.
    AccountsOnLine,
    /// Many lines meant this account lately.
    LinesOnAccount,
    /// Wrong entries on other calls from this line lately.
    FailedLatelyOnLine,
    /// Wrong entries on other calls about this account lately.
    FailedLatelyOnAccount,
    /// The lead confirmed fraud on a call from this line.
    FraudOnLine,
    /// The lead confirmed fraud on a call about this account.
    FraudOnAccount,
    /// At an hour at which this customer never called.
    OddHour,
    /// From a country from which this customer never called.
    OddCountry,
}

impl Part {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 30] = [
        Self::NumberOnDenyList, Self::AttestationFailed, Self::AttestationMissing, Self::AttestationGateway, Self::NumberWithheld,
        Self::FailedChallenges, Self::ClaimsThatFitNobody, Self::ClaimsContradict, Self::LookAlike, Self::ContactChangedLately,
        Self::CustomerNotOnThePhone, Self::VoiceNotAlike, Self::VoiceOtherWords, Self::VoiceRecording, Self::VoiceSynthetic, Self::AccountFrozen, Self::NumberUnknown, Self::VoipLine, Self::UnusualLine,
        Self::SimChangedLately, Self::NumberReassigned, Self::CallsForwarded, Self::AccountsOnLine, Self::LinesOnAccount,
        Self::FailedLatelyOnLine, Self::FailedLatelyOnAccount, Self::FraudOnLine, Self::FraudOnAccount, Self::OddHour, Self::OddCountry,
    ];

    /// Name, points unless the configuration says otherwise, and how often they count at most.
    fn row(self) -> (&'static str, u8, u32) {
        match self {
            Self::NumberOnDenyList => ("number_on_deny_list", 100, 1),
            Self::AttestationFailed => ("attestation_failed", 55, 1),
            // Most honest calls are not signed, or by a gateway alone.
            Self::AttestationMissing => ("attestation_missing", 0, 1),
            Self::AttestationGateway => ("attestation_gateway", 0, 1),
            Self::NumberWithheld => ("number_withheld", 10, 1),
            Self::FailedChallenges => ("failed_challenges", 15, 4),
            Self::ClaimsThatFitNobody => ("claims_that_fit_nobody", 10, 3),
            Self::ClaimsContradict => ("claims_contradict", 25, 3),
            Self::LookAlike => ("look_alike", 15, 1),
            Self::ContactChangedLately => ("contact_changed_lately", 20, 1),
            Self::CustomerNotOnThePhone => ("customer_not_on_the_phone", 90, 1),
            // A cold, an old telephone, a bad day: no reason to turn anybody away.
            Self::VoiceNotAlike => ("voice_not_alike", 20, 1),
            Self::VoiceOtherWords => ("voice_other_words", 10, 1),
            Self::VoiceRecording => ("voice_recording", 60, 1),
            Self::VoiceSynthetic => ("voice_synthetic", 50, 1),
            Self::AccountFrozen => ("account_frozen", 60, 1),
            Self::NumberUnknown => ("number_unknown", 10, 1),
            Self::VoipLine => ("voip_line", 10, 1),
            Self::UnusualLine => ("unusual_line", 25, 1),
            Self::SimChangedLately => ("sim_changed_lately", 50, 1),
            Self::NumberReassigned => ("number_reassigned", 35, 1),
            Self::CallsForwarded => ("calls_forwarded", 20, 1),
            Self::AccountsOnLine => ("accounts_on_line", 15, 3),
            Self::LinesOnAccount => ("lines_on_account", 10, 3),
            Self::FailedLatelyOnLine => ("failed_lately_on_line", 5, 4),
            Self::FailedLatelyOnAccount => ("failed_lately_on_account", 5, 2),
            Self::FraudOnLine => ("fraud_on_line", 50, 1),
            Self::FraudOnAccount => ("fraud_on_account", 20, 1),
            Self::OddHour => ("odd_hour", 5, 1),
            Self::OddCountry => ("odd_country", 15, 1),
        }
    }

    /// The name used in settings and in the record.
    pub fn name(self) -> &'static str { self.row().0 }
    /// What it weighs unless the configuration says otherwise.
    pub fn usual_points(self) -> u8 { self.row().1 }
    /// How often its points count at most.
    pub fn most(self) -> u32 { self.row().2 }
    /// The part with this name.
    pub fn parse(name: &str) -> Option<Self> { Self::ALL.into_iter().find(|p| p.name() == name) }

    /// Whether it leads to a specialist at most, and so do all such parts together. What happened on other
    /// calls: whoever shows a customer's number, or names their account, can bring it about. And a
    /// freeze: whoever has frozen their account is told that a specialist clears it up.
    pub fn is_bounded(self) -> bool {
        matches!(
            self,
            Self::AccountFrozen | Self::AccountsOnLine | Self::LinesOnAccount | Self::FailedLatelyOnLine | Self::FailedLatelyOnAccount | Self::FraudOnLine
            | Self::FraudOnAccount | Self::OddHour | Self::OddCountry
        )
    }
}
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.name()) }
}

/// Points per part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Points(BTreeMap<Part, u8>);

impl Default for Points {
    fn default() -> Self { Self(Part::ALL.into_iter().map(|p| (p, p.usual_points())).collect()) }
}

/// Why points cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPoints {
    /// No part has this name.
    #[error("there is no signal {name:?}; there are {}", Part::ALL.map(Part::name).join(", "))]
    Unknown {
        /// The name.
        name: String,
    },
    /// Not between 0 and 100.
    #[error("{name} = {points}: points go from 0 (never counts) to 100")]
    Range {
        /// Which part.
        name: String,
        /// What was written.
        points: i64,
    },
}

impl Points {
    /// Those of one part.
    pub fn get(&self, part: Part) -> u8 { self.0.get(&part).copied().unwrap_or(0) }

    /// The usual ones, with these in place of some.
    pub fn with(settings: impl IntoIterator<Item = (String, i64)>) -> Result<Self, BadPoints> {
        let mut all = Self::default();
        for (name, points) in settings {
            let part = Part::parse(&name).ok_or_else(|| BadPoints::Unknown { name: name.clone() })?;
            let points = u8::try_from(points).ok().filter(|p| *p <= 100).ok_or(BadPoints::Range { name, points })?;
            all.0.insert(part, points);
        }
        Ok(all)
    }
}
impl<'de> Deserialize<'de> for Points {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::with(BTreeMap::<String, i64>::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}
impl Serialize for Points {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_map(self.0.iter().map(|(part, points)| (part.name(), points))) }
}

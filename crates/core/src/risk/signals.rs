//! What the shell gathers about a call from elsewhere: its own record, and whoever knows numbers. It
//! comes into the call as events, so that the score can always be told from the record. Counts and
//! yes or no: nothing here says which number or which customer.

use serde::{Deserialize, Serialize};

use super::{Part, many};

/// How long things count as lately, for velocity and wrong entries on other calls, in hours.
pub const LATELY_HOURS: u32 = 24;
/// So many accounts from one line are a household, and so many lines for one account are a mobile and
/// a desk: they count for nothing.
const HOUSEHOLD: u32 = 2;
/// So many wrong entries on other calls are a bad day.
const BAD_DAY: u32 = 3;

/// What was gathered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Signals {
    /// From our own record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// From number intelligence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<NumberFacts>,
}

/// What other calls say about this line and account. "Lately" is 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// Accounts that were meant from this line lately, this one included.
    pub accounts_on_line: u32,
    /// Lines from which this account was meant lately, this one included.
    pub lines_on_account: u32,
    /// Wrong entries on other calls from this line lately.
    pub failed_on_line: u32,
    /// Wrong entries on other calls about this account, from other lines, lately.
    pub failed_on_account: u32,
    /// A call from this line is marked as fraud.
    pub fraud_on_line: bool,
    /// A call about this account is marked as fraud.
    pub fraud_on_account: bool,
    /// None of so many proved calls of this customer came within three hours of this one's time of day; 0: no oddity.
    pub odd_hour: u32,
    /// None of so many proved calls of this customer came from this one's country; 0: no oddity.
    pub odd_country: u32,
}

impl History {
    /// Whether there is nothing to say.
    pub fn is_quiet(&self) -> bool {
        let Self { accounts_on_line, lines_on_account, failed_on_line, failed_on_account, fraud_on_line, fraud_on_account, odd_hour, odd_country } = self;
        *accounts_on_line <= HOUSEHOLD && *lines_on_account <= HOUSEHOLD && *failed_on_line <= BAD_DAY && *failed_on_account <= BAD_DAY
            && !fraud_on_line && !fraud_on_account && *odd_hour == 0 && *odd_country == 0
    }

    pub(super) fn observe(&self, see: &mut impl FnMut(Part, u32, String)) {
        let over = |n: u32, free: u32| n.saturating_sub(free);
        see(Part::AccountsOnLine, over(self.accounts_on_line, HOUSEHOLD), format!("{} accounts from this line in {LATELY_HOURS} hours", self.accounts_on_line));
        see(Part::LinesOnAccount, over(self.lines_on_account, HOUSEHOLD), format!("{} lines for this account in {LATELY_HOURS} hours", self.lines_on_account));
        see(Part::FailedLatelyOnLine, over(self.failed_on_line, BAD_DAY), format!("{} wrong entries on other calls from this line in {LATELY_HOURS} hours", self.failed_on_line));
        see(Part::FailedLatelyOnAccount, over(self.failed_on_account, BAD_DAY), format!("{} wrong entries on other calls about this account in {LATELY_HOURS} hours", self.failed_on_account));
        see(Part::FraudOnLine, u32::from(self.fraud_on_line), "a call from this line was confirmed as fraud".into());
        see(Part::FraudOnAccount, u32::from(self.fraud_on_account), "a call about this account was confirmed as fraud".into());
        see(Part::OddHour, u32::from(self.odd_hour > 0), format!("none of {} of this customer came at this time of day", many(self.odd_hour, "proved call", "proved calls")));
        see(Part::OddCountry, u32::from(self.odd_country > 0), format!("none of {} of this customer came from this country", many(self.odd_country, "proved call", "proved calls")));
    }
}

/// What kind of line a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineType {
    /// A mobile.
    Mobile,
    /// A landline.
    Landline,
    /// Voice over IP at an address.
    FixedVoip,
    /// Voice over IP without a place.
    NonFixedVoip,
    /// Toll-free, premium, shared cost, a pager, a mailbox: nobody calls from it.
    NotCalledFrom,
    /// Something else.
    Other,
}

/// What number intelligence says of the calling number.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NumberFacts {
    /// It could not be asked, or what it said made no sense, and that is to count.
    #[serde(skip_serializing_if = "is_false")]
    pub unknown: bool,
    /// What kind of line it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<LineType>,
    /// The SIM changed within so many hours, rounded up; `None`: not lately, or not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sim_changed_hours: Option<u32>,
    /// It is known only that it changed at some time within those hours.
    #[serde(skip_serializing_if = "is_false")]
    pub sim_within: bool,
    /// The number was given to somebody else lately.
    #[serde(skip_serializing_if = "is_false")]
    pub reassigned: bool,
    /// Calls to it are forwarded.
    #[serde(skip_serializing_if = "is_false")]
    pub forwarded: bool,
}

fn is_false(b: &bool) -> bool { !*b }

impl NumberFacts {
    pub(super) fn observe(&self, see: &mut impl FnMut(Part, u32, String)) {
        see(Part::NumberUnknown, u32::from(self.unknown), "nothing could be learnt about the number".into());
        see(Part::VoipLine, u32::from(self.line == Some(LineType::NonFixedVoip)), "an internet line without a place".into());
        see(Part::UnusualLine, u32::from(self.line == Some(LineType::NotCalledFrom)), "a kind of number that nobody calls from".into());
        if let Some(hours) = self.sim_changed_hours {
            let long = if hours <= 48 { many(hours.max(1), "hour", "hours") } else { many(hours.div_ceil(24), "day", "days") };
            see(Part::SimChangedLately, 1, if self.sim_within { format!("SIM changed within the last {long}") } else { format!("SIM changed {long} ago") });
        }
        see(Part::NumberReassigned, u32::from(self.reassigned), "the number was given to somebody else lately".into());
        see(Part::CallsForwarded, u32::from(self.forwarded), "calls to the number are forwarded".into());
    }
}

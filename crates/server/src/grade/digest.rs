//! One call of ours as a field note, and how its factors fared: from its events and nothing else.

use countersign_core::{
    action::{Action, Field, Level, Verb},
    call::{Closed, Event, Origin, Recorded, Stage},
    claim::{ClaimKind, Via},
    factor::FactorKind,
    id::{AccountId, CallId, ChallengeId},
    time::Timestamp,
};
use countersign_survey::{Change, Date, Factor, Identifier, Item, Note, Reached, Standing, Way};

/// What is kept of a call that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// When it came in.
    pub started: Timestamp,
    /// The call as a note; blank when there is nothing to grade. `None`: a request of a program, no call.
    pub note: Option<Note>,
    /// Every factor that was asked for, in order.
    pub attempts: Vec<Attempt>,
}

/// One factor that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Which kind; the kind that was proved, where another could stand in.
    pub kind: FactorKind,
    /// When.
    pub asked: Timestamp,
    /// When it was proved.
    pub proved: Option<Timestamp>,
    /// An entry was wrong, or was not looked at because of a limit.
    pub refused: bool,
    challenge: Option<ChallengeId>,
    account: Option<AccountId>,
    over: bool,
}

impl Digest {
    /// Reads the record of a call.
    pub fn of(call: CallId, events: &[Recorded]) -> Self {
        let started = events.first().map_or(Timestamp(0), |r| r.at);
        let mut reading = Reading {
            call, note: Note::new(&call.to_string(), day(started)), attempts: Vec::new(), level: Level::Anonymous, account: None, agent: false, client: false,
        };
        for recorded in events {
            reading.take(recorded);
        }
        Self { started, note: reading.finish(), attempts: reading.attempts }
    }

    /// Whether another kind was asked for after this attempt, which led to nothing.
    pub fn fell_back(&self, attempt: &Attempt) -> bool {
        attempt.proved.is_none() && self.attempts.iter().skip_while(|a| !std::ptr::eq(*a, attempt)).any(|later| later.kind != attempt.kind)
    }

    /// Whether a proof was refused to somebody who then proved to be the customer on the same call.
    pub fn refused_falsely(&self, attempt: &Attempt) -> bool {
        let same = |other: &Attempt| attempt.account.is_none() || other.account == attempt.account;
        attempt.refused && self.attempts.iter().any(|other| same(other) && other.proved.is_some_and(|at| at >= attempt.asked))
    }
}

struct Reading {
    call: CallId,
    note: Note,
    attempts: Vec<Attempt>,
    level: Level,
    account: Option<AccountId>,
    agent: bool,
    client: bool,
}

impl Reading {
    fn take(&mut self, recorded: &Recorded) {
        let at = recorded.at;
        match &recorded.event {
            Event::Started { origin, .. } => {
                self.client = matches!(origin, Origin::Client(_));
                self.note.reached = if origin.is_ours() { Reached::CallMe } else { Reached::Inbound };
            }
            Event::LevelChanged { level, .. } => self.level = *level,
            Event::Identified { account, .. } => self.account = Some(*account),
            Event::Switched { .. } => self.account = None,
            Event::Accepted { .. } => self.agent = true,
            Event::Claimed { claim } if !claim.accounts.is_empty() => {
                self.note.identified_by.insert(way(claim.via));
                if claim.via != Via::Network {
                    self.note.identifiers.insert(identifier(claim.kind));
                }
            }
            Event::Compared { field, matched: true, .. } => {
                self.note.identified_by.insert(Way::Agent);
                self.note.identifiers.extend(compared(*field));
            }
            // Nothing but the agent stood between this and the caller. After a proof it may be looked at;
            // the record does not hear what is said.
            Event::Revealed { field, .. } if self.level < Level::Authenticated => {
                if let Some(item) = item(*field) {
                    self.note.give(item, self.standing());
                }
            }
            Event::Performed { action, .. } => self.note.change(changed(action), self.standing()),
            Event::Asked { stage: Stage::Recognised } => self.note.offered = true,
            Event::Asked { stage: Stage::KeyingServiceCode } => self.ask(FactorKind::ServiceCode, None, at),
            Event::Asked { stage: Stage::KeyingToken } => self.ask(FactorKind::AppCall, None, at),
            Event::Answered if self.note.reached == Reached::CallMe => self.ask(FactorKind::Callback, Some(ChallengeId(self.call.0)), at),
            Event::LinkOpened { link } => self.ask(FactorKind::Approval, Some(link.id), at),
            Event::Challenged { challenge } => self.ask(challenge.kind, Some(challenge.id), at),
            Event::ChallengeFailed { challenge, .. } => self.failed(|a| a.challenge == Some(*challenge), false),
            Event::ChallengeClosed { challenge, why } => {
                let limited = matches!(why, Closed::Exhausted | Closed::Throttled);
                if let Some(attempt) = self.attempts.iter_mut().rfind(|a| a.challenge == Some(*challenge)) {
                    attempt.refused |= limited;
                    attempt.over = true;
                }
            }
            Event::ServiceCodeFailed | Event::ServiceCodeThrottled => self.failed(|a| matches!(a.kind, FactorKind::ServiceCode | FactorKind::AppCall), true),
            Event::Proved { account, kind, challenge, .. } => self.proved(*account, *kind, *challenge, at),
            // It was somebody else all along.
            Event::Disowned { .. } => {
                self.note.factors.clear();
                self.attempts.iter_mut().for_each(|a| a.proved = None);
            }
            _ => {}
        }
    }

    fn standing(&self) -> Standing {
        match self.level {
            Level::Anonymous => Standing::Anyone,
            Level::Identified => Standing::Identified,
            Level::Authenticated | Level::Strong => Standing::Authenticated,
        }
    }

    fn ask(&mut self, kind: FactorKind, challenge: Option<ChallengeId>, asked: Timestamp) {
        // Asking again after silence is not asking for something new.
        let open = self.attempts.iter().any(|a| !a.over && a.kind == kind && a.challenge == challenge && a.proved.is_none());
        if !open {
            self.attempts.push(Attempt { kind, asked, proved: None, refused: false, challenge, account: self.account, over: false });
        }
    }

    fn failed(&mut self, which: impl Fn(&Attempt) -> bool, over: bool) {
        if let Some(attempt) = self.attempts.iter_mut().rfind(|a| !a.over && which(a)) {
            attempt.refused = true;
            attempt.over |= over;
        }
    }

    fn proved(&mut self, account: AccountId, kind: FactorKind, challenge: Option<ChallengeId>, at: Timestamp) {
        self.note.factors.insert(factor(kind));
        if matches!(kind, FactorKind::ServiceCode | FactorKind::AppCall) {
            self.note.identified_by.insert(Way::Ivr);
        }
        self.account = self.account.or(Some(account));
        let open = self.attempts.iter_mut().rfind(|a| !a.over && a.proved.is_none() && if challenge.is_some() { a.challenge == challenge } else { a.kind == kind });
        match open {
            // A passkey may answer where a typed code was asked for.
            Some(attempt) => (attempt.kind, attempt.proved, attempt.account, attempt.over) = (kind, Some(at), Some(account), true),
            None => self.attempts.push(Attempt { kind, asked: at, proved: Some(at), refused: false, challenge, account: Some(account), over: true }),
        }
    }

    /// The note, or a blank one when the call ended before anything was let through or taken on.
    fn finish(&mut self) -> Option<Note> {
        let blank = Note { reached: self.note.reached, ..Note::new(&self.note.center, self.note.date) };
        // What was keyed before an account was known identified nobody.
        let known = !self.note.identified_by.is_empty();
        let happened = !self.note.factors.is_empty() || !self.note.given.is_empty() || !self.note.changed.is_empty() || (known && (self.note.offered || self.agent));
        let note = std::mem::replace(&mut self.note, blank.clone());
        (!self.client).then_some(if happened { note } else { blank })
    }
}

fn day(at: Timestamp) -> Date {
    let text = at.to_string();
    // A clock before year 1 or after 9999 is no clock.
    Date::parse(text.get(..10).unwrap_or_default()).unwrap_or_default()
}

fn way(via: Via) -> Way {
    match via {
        Via::Network => Way::Number,
        Via::Keypad => Way::Ivr,
        Via::Agent | Via::Client => Way::Agent,
    }
}

fn identifier(kind: ClaimKind) -> Identifier {
    match kind {
        ClaimKind::Number => Identifier::Phone,
        ClaimKind::AccountNumber => Identifier::Account,
        ClaimKind::Email => Identifier::Email,
        ClaimKind::Name => Identifier::Name,
        ClaimKind::DateOfBirth => Identifier::Birth,
        ClaimKind::PostalCode => Identifier::Address,
        ClaimKind::OrderNumber => Identifier::Order,
    }
}

fn compared(field: Field) -> Option<Identifier> {
    match field {
        Field::Upcoming => None,
        Field::Name => Some(Identifier::Name),
        Field::AccountNumber => Some(Identifier::Account),
        Field::Orders => Some(Identifier::Order),
        Field::Phone => Some(Identifier::Phone),
        Field::Email => Some(Identifier::Email),
        Field::Address | Field::PostalCode => Some(Identifier::Address),
        Field::DateOfBirth => Some(Identifier::Birth),
    }
}

fn item(field: Field) -> Option<Item> {
    match field {
        // It says nothing about who or where, and policy lets it be spoken.
        Field::Upcoming => None,
        Field::Name => Some(Item::Name),
        Field::AccountNumber => Some(Item::Account),
        Field::Orders => Some(Item::Order),
        Field::Phone => Some(Item::Phone),
        Field::Email => Some(Item::Email),
        Field::Address | Field::PostalCode => Some(Item::Address),
        Field::DateOfBirth => Some(Item::Other),
    }
}

fn changed(action: &Action) -> Change {
    match (action.verb, action.object.as_str()) {
        (Verb::Change, "address") => Change::Address,
        (Verb::Change, "phone") => Change::Phone,
        (Verb::Change, "email") => Change::Email,
        (Verb::Change, "password") => Change::Password,
        (Verb::Do, "cancel_order" | "request_refund" | "redirect_parcel") => Change::Order,
        _ => Change::Other,
    }
}

fn factor(kind: FactorKind) -> Factor {
    match kind {
        FactorKind::Passkey => Factor::Passkey,
        FactorKind::Provider | FactorKind::Approval => Factor::Approval,
        FactorKind::Totp | FactorKind::Hotp => Factor::App,
        FactorKind::ServiceCode => Factor::Service,
        // A call that the signed-in portal began by itself: the study has no name for it.
        FactorKind::AppCall => Factor::Other,
        FactorKind::Callback => Factor::CallBack,
        FactorKind::SmsCode => Factor::Sms,
        FactorKind::VoiceCode => Factor::Voice,
        FactorKind::VerbalPassword => Factor::Verbal,
        FactorKind::Pin => Factor::Pin,
        FactorKind::BackupCode => Factor::Backup,
    }
}

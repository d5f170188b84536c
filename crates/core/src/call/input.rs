//! What goes into a step and what comes out.

use serde::{Deserialize, Serialize};

use super::{ask::{Answer, Ask}, event::Recorded, guard::{Deny, Guard}, stage::Queue};
use crate::{
    account::Brief,
    action::{Action, Field, Policy, Role},
    claim::ClaimKind,
    factor::{Alphabet, FactorKind, Pepper},
    id::{AccountId, AgentId, CallId, ChallengeId, ContactId, MessageId, NoteId},
    message::{Change, Delivery, Message, PermittedChange},
    prompt::Prompt,
    risk::{NumberFacts, Rules, Verstat},
    secret::{Blind, Secret},
    speech::{Heard, Hearing},
    time::{Span, Timestamp},
    voice,
};

/// What a step may look at besides its state and input. All of it is handed in.
#[derive(Clone, Copy)]
pub struct Cx<'a> {
    /// Now.
    pub now: Timestamp,
    /// 32 fresh bytes for this step.
    pub seed: [u8; 32],
    /// The one place that decides.
    pub policy: &'a dyn Policy,
    /// The key for one-time codes.
    pub pepper: &'a Pepper,
    /// Lengths and limits.
    pub params: &'a Params,
    /// The account of who is speaking, if known.
    pub principal: Option<&'a Brief>,
    /// The account the call is about, if known.
    pub subject: Option<&'a Brief>,
    /// The limits that the store refused this very input for: what was stepped before did not
    /// happen, and the same input comes again, from the same state. No guard with one of these
    /// comes out again, so that trying again comes to an end.
    pub refused: &'a [Deny],
}

/// Lengths and limits. The defaults are within every rule quoted beside them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Digits of a sent code (NIST SP 800-63B-4 §3.1.3: at least 6).
    pub code_digits: u8,
    /// Life of a challenge (§3.1.3: at most 10 minutes).
    pub challenge_life: Span,
    /// Entries per challenge (RTS 2018/389 Art. 4: at most 5 in a row).
    pub tries: u8,
    /// Wrong entries per account, authenticator and line of origin within [`Params::throttle_window`].
    pub throttle: u32,
    /// See [`Params::throttle`].
    pub throttle_window: Span,
    /// Wrong entries in a row per account and authenticator, from everywhere, before it must be
    /// bound anew (§3.2.2: at most 100).
    pub lifetime_failures: u32,
    /// Messages with codes per account and line of origin within the throttle window; sixteen times
    /// as many per account and hour from everywhere.
    pub sends: u32,
    /// Approvals that may be asked for per account and line of origin within the throttle window;
    /// four times as many per account and hour from everywhere. Whoever is asked again and again
    /// gives in at some time.
    pub approvals: u32,
    /// Calls that a customer may ask for in the portal, and that one agent may make to one account,
    /// per hour.
    pub call_backs: u32,
    /// Wrong codes typed in the portal for calls of nobody in particular, per account within the
    /// throttle window.
    pub typed_codes: u32,
    /// The same of digits, from everywhere in an hour. High enough that a handful of accounts
    /// cannot spend it to keep all others out; letters are so many that they need no such bound.
    pub typed_everywhere: u32,
    /// Life of assurance after the last proof.
    pub level_life: Span,
    /// Longest wait in a queue.
    pub longest_wait: Span,
    /// Longest time without a key before the machine gives up.
    pub longest_silence: Span,
    /// Comparisons without a match per account and hour, over all calls.
    pub compare_misses: u32,
    /// Claims by keypad per line of origin and hour.
    pub keyed_claims: u32,
    /// Claims typed by one agent per hour, over all calls.
    pub agent_claims: u32,
    /// Wrong service codes from everywhere per hour before they are not taken at all:
    /// docs/security-limits.md computes what this leaves a guesser.
    pub service_failures: u32,
    /// How long a new contact point cools off before codes go to it.
    pub cooling_off: Span,
    /// How long a guarded change can be undone.
    pub undo: Span,
    /// Verbal passwords are said to the telephony's recogniser first, where there is one. Set by the
    /// sections of these telephonies.
    #[serde(skip)]
    pub hearing: Vec<Hearing>,
    /// What signals weigh and where scores lead: a section of its own in the configuration.
    #[serde(skip)]
    pub risk: Rules,
    /// How voices are asked for; a section of its own as well.
    #[serde(skip)]
    pub voice: Option<voice::Settings>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            code_digits: 6,
            challenge_life: Span::minutes(5),
            tries: 3,
            throttle: 5,
            throttle_window: Span::minutes(15),
            lifetime_failures: 100,
            sends: 4,
            approvals: 4,
            call_backs: 4,
            typed_codes: 5,
            typed_everywhere: 800,
            level_life: Span::minutes(30),
            longest_wait: Span::minutes(30),
            longest_silence: Span::minutes(3),
            compare_misses: 10,
            keyed_claims: 12,
            agent_claims: 240,
            service_failures: 200,
            cooling_off: Span::days(7),
            undo: Span::days(3),
            hearing: Vec::new(),
            risk: Rules::default(),
            voice: None,
        }
    }
}

/// Keys of one entry: digits, and perhaps a star or hash.
pub type Keys = Secret;

/// Something that happens to a call.
#[derive(Debug)]
pub enum Input {
    /// It comes in.
    Incoming {
        /// Which adapter took it.
        adapter: String,
        /// Keyed hash of the calling number.
        number: Option<Blind>,
        /// The network's word on it.
        verstat: Verstat,
        /// It is on the deny list.
        denied: bool,
        /// The accounts that have this number on file.
        accounts: Vec<Brief>,
        /// It came to the number that only the portal dials: a token follows by itself.
        dialled: bool,
    },
    /// A program of the company, which has the caller on its own line, asks us to have an account's
    /// holder prove who they are (OpenID CIBA).
    Backchannel {
        /// Which program.
        client: String,
        /// What it named the customer by.
        kind: ClaimKind,
        /// The accounts that fit.
        accounts: Vec<Brief>,
        /// What it asks for.
        factor: FactorKind,
        /// For how long it asks, if that is shorter than [`Params::challenge_life`].
        life: Option<Span>,
    },
    /// A program or device asks whose it is; a customer will type its code in the portal (RFC 8628).
    Device {
        /// Which program.
        client: String,
    },
    /// We ring a customer at a number on file: because they asked in the portal, or because an
    /// agent wants to speak to them.
    CallOut {
        /// Which adapter rings.
        adapter: String,
        /// Whom.
        account: Brief,
        /// At which contact point.
        contact: ContactId,
        /// The agent who wants to speak to them; `None`: they asked themselves.
        agent: Option<(AgentId, Role)>,
        /// What about.
        matter: Option<Action>,
    },
    /// We ring a customer back at a number on file: a call in their name was too risky to go on with.
    RingBack {
        /// Which adapter rings.
        adapter: String,
        /// Whom.
        account: Brief,
        /// At which contact point.
        contact: ContactId,
        /// Because of which call.
        of: CallId,
    },
    /// Number intelligence answered, or failed to.
    Signals(NumberFacts),
    /// The lead marks a call as fraud, or takes it back.
    Marked {
        /// Who.
        agent: AgentId,
        /// As what.
        role: Role,
        /// It was fraud.
        fraud: bool,
        /// Why.
        reason: Secret,
    },
    /// The call that we made was answered.
    Answered,
    /// The signed-in customer answered a request for approval.
    Approval {
        /// Who is signed in.
        account: AccountId,
        /// Which request.
        challenge: ChallengeId,
        /// What they answered.
        reply: Approval,
    },
    /// A signed-in customer typed a code that this call was given.
    Linked {
        /// Who is signed in.
        account: Brief,
        /// What they typed.
        code: Secret,
    },
    /// The company's sign-in provider answered, for a challenge to it.
    Provided {
        /// Which challenge.
        challenge: ChallengeId,
        /// Its answer; `None`: the customer declined, or it could not be asked.
        answer: Option<Secret>,
    },
    /// The program that asked has its answer.
    Collected,
    /// The caller keyed something.
    Keys(Keys),
    /// The caller said something, asked or not.
    Heard(Heard),
    /// The caller was asked and keyed nothing in time.
    NoKeys,
    /// What the caller said after they were asked to, as sound.
    Recorded(voice::Sound),
    /// The caller hung up.
    HungUp,
    /// An agent did something.
    Desk {
        /// Who.
        agent: AgentId,
        /// As what.
        role: Role,
        /// What.
        command: Command,
    },
    /// A message fared well or not.
    Delivered {
        /// Which message.
        message: MessageId,
        /// How.
        delivery: Delivery,
    },
    /// The deadline has come.
    Tick,
    /// The account was frozen elsewhere.
    AccountFrozen,
    /// The answer to an [`Ask`].
    Answer(Answer),
}

/// What a customer answers to a request for approval.
#[derive(Debug, Clone)]
pub enum Approval {
    /// The code that they were given on the call.
    Typed(Secret),
    /// A signature over the transaction, as the browser gave it.
    Signed(Secret),
    /// No.
    Declined,
    /// "I am not on the phone."
    NotMe,
}

/// What an agent may do.
#[derive(Debug, Clone)]
pub enum Command {
    /// Take the call.
    Accept,
    /// Note what the caller says about themselves.
    Claim {
        /// What it is about.
        kind: ClaimKind,
        /// What was said.
        value: Secret,
    },
    /// Compare what the caller says with a field.
    Compare {
        /// Which field.
        field: Field,
        /// What was said.
        value: Secret,
    },
    /// Look at a field.
    Reveal {
        /// Which field.
        field: Field,
        /// A written reason, where policy makes exceptions.
        reason: Option<Secret>,
    },
    /// Ask whether something may be done.
    Request {
        /// What.
        action: Action,
    },
    /// Ask the caller to prove.
    Prove {
        /// What it is for.
        action: Option<Action>,
        /// With which factors, in this order.
        factors: Vec<FactorKind>,
    },
    /// Give the caller a code to type in the portal, because nobody knows yet whose call it is.
    OpenLink,
    /// Have the text of consent read out, and take the caller's voice if they consent.
    EnrolVoice,
    /// Have the caller say the phrase, and compare.
    CompareVoice,
    /// Take the template away: the caller wants that.
    RemoveVoice,
    /// The word the caller said, for an open verbal challenge.
    Word(Secret),
    /// Call the open challenge off.
    CancelChallenge,
    /// Carry something out.
    Perform {
        /// What.
        change: Change,
        /// A written reason, where policy makes exceptions.
        reason: Option<Secret>,
    },
    /// Let the caller speak for the account with this number.
    SpeakFor {
        /// The account number.
        account_number: Secret,
    },
    /// Give up the account of this call and start again from nothing.
    Switch {
        /// Why.
        reason: Secret,
    },
    /// Hand the call over with everything it carries.
    HandOver {
        /// To where.
        queue: Queue,
    },
    /// End the call.
    End,
}

/// Something the shell does because of a step: in the same transaction where it is a write, after
/// it where it reaches out.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Send a message to a contact on file.
    Send(Message),
    /// Carry a permitted change out, with its notices and its undo.
    Change(PermittedChange),
    /// Keep a written reason, sealed.
    Note {
        /// Which one.
        id: NoteId,
        /// What was written.
        text: Secret,
    },
    /// Make this link freeze the account ("this wasn't me").
    ReportLink {
        /// The secret part of the link.
        token: Secret,
        /// Which account.
        account: AccountId,
    },
    /// Ring the customer back at this contact point, a little after this call's end.
    RingBack {
        /// Whom.
        account: AccountId,
        /// Where.
        contact: ContactId,
    },
    /// Tell the lead, and nobody else.
    Alert(Alert),
    /// Wake the customer's devices: an approval is asked for.
    Wake {
        /// Whose.
        account: AccountId,
        /// Which request.
        challenge: ChallengeId,
        /// What for.
        action: Option<Action>,
    },
    /// Let a signed-in customer find this call by its code. A conflict if another live call has the
    /// same one: the step is then taken again and draws another.
    OpenLink {
        /// Which call.
        call: CallId,
        /// Names the code.
        link: ChallengeId,
        /// What it is written in.
        alphabet: Alphabet,
        /// From when on it is worth nothing.
        expires: crate::time::Timestamp,
    },
    /// The code finds nothing any more.
    CloseLink {
        /// Names the code.
        link: ChallengeId,
        /// What it is written in.
        alphabet: Alphabet,
    },
    /// Have the company's sign-in provider ask its customer.
    AskProvider {
        /// Whose account there.
        account: AccountId,
        /// For which challenge.
        challenge: ChallengeId,
        /// What for.
        action: Option<Action>,
    },
}

/// What the lead is told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alert {
    /// The caller gave the duress word.
    Duress,
    /// An agent made an exception with a written reason.
    Exception,
    /// The account of a call was given up and another opened.
    Switched,
    /// The customer reported that a call was not theirs.
    Reported,
    /// A customer who was asked to approve something on a call says that they are not on the phone.
    Disowned,
    /// An agent does far more of something than their peers.
    Unusual,
}

/// Everything that comes out of a step besides the new state.
#[derive(Debug, Default)]
pub struct Outputs {
    /// What happened, already applied to the new state.
    pub events: Vec<Recorded>,
    /// What to do.
    pub effects: Vec<Effect>,
    /// Conditions of the commit.
    pub guards: Vec<Guard>,
    /// Said once, before what the stage asks for.
    pub say: Vec<Prompt>,
    /// To be answered before the commit.
    pub ask: Option<Ask>,
}

/// Why an input is not possible now. Nothing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejected {
    /// The call is over.
    #[error("the call has ended")]
    Ended,
    /// The call exists already.
    #[error("the call has already begun")]
    Begun,
    /// Somebody else has the call, or nobody.
    #[error("you do not have this call")]
    NotYours,
    /// It does not wait.
    #[error("the call is not waiting any more")]
    NotWaiting,
    /// Not for this role.
    #[error("your role does not take calls from this queue")]
    Role,
    /// No account is open.
    #[error("no account is open on this call: note two things that the caller says about themselves")]
    NoAccount,
    /// The account is open already.
    #[error("the account of this call is settled; to give it up, use Wrong account and write why")]
    Settled,
    /// The tries are used up.
    #[error("no more tries on this call: ask for a proof, or hand over to a specialist")]
    NoTriesLeft,
    /// The value has no usable content.
    #[error("this cannot be compared: check how it is written")]
    Unusable,
    /// The caller does not have this factor, or policy does not let it be used.
    #[error("this factor cannot be used on this call")]
    NoFactor,
    /// A challenge is open already, or none is.
    #[error("finish or call off the open challenge first")]
    Challenge,
    /// No challenge is open.
    #[error("no challenge is open")]
    NoChallenge,
    /// Policy does not permit it now.
    #[error("not permitted now: see the reason beside the action")]
    NotPermitted,
    /// The customer said that this call is not theirs.
    #[error("the customer says that they are not on this call: nothing more can be asked of them on it")]
    Disowned,
    /// The customer did not take the call yet.
    #[error("the customer has not answered yet")]
    NotAnswered,
    /// The request for approval is over, or never was this customer's.
    #[error("this request is over")]
    NoRequest,
    /// Nobody's voice is taken here.
    #[error("voices cannot be compared on this call: it is not set up, or this line cannot be heard. Ask for a proof as ever")]
    NoVoice,
    /// A voice is kept of a strong caller alone.
    #[error("the caller must prove who they are with two kinds of proofs before their voice may be kept")]
    NotStrong,
    /// A reason is missing.
    #[error("write a reason of at least ten characters")]
    NoReason,
    /// The caller must prove who they are first.
    #[error("the caller must prove who they are before they can speak for somebody else")]
    NotProved,
    /// It is marked so already.
    #[error("this call is marked so already")]
    Marked,
    /// An answer came that nobody waits for.
    #[error("out of turn")]
    OutOfTurn,
}

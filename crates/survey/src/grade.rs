//! The rubric of the field study as a pure function. docs/field-kit.md has it as a table.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    note::Note,
    words::{Change, Choice, Identifier, Reached, Standing},
};

/// What a center's way with a caller is worth, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// At least one real secret, and nothing read out.
    Good,
    /// Knows the number or several details; no real secret.
    Okay,
    /// One detail, public ones only, or an SSN.
    Bad,
    /// Gives identity data away, asks where to send the code, or changes an account for anybody.
    OhNo,
}

impl Choice for Verdict {
    fn all() -> &'static [Self] { &[Self::Good, Self::Okay, Self::Bad, Self::OhNo] }
    fn name(self) -> &'static str {
        match self { Self::Good => "good", Self::Okay => "okay", Self::Bad => "bad", Self::OhNo => "oh_no" }
    }
    fn words(self) -> &'static str {
        match self { Self::Good => "good", Self::Okay => "okay", Self::Bad => "bad", Self::OhNo => "oh no" }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.words()) }
}

/// A rule of the rubric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Oh no: identity data was told before anything was proved.
    GivesIdentityData,
    /// Oh no: the caller was asked where to send the code.
    AsksWhichNumber,
    /// Oh no: something was changed for somebody who had proved nothing.
    ChangesWithoutProof,
    /// Bad: a password change passed on the phone number.
    PasswordByPhoneNumber,
    /// Bad: an SSN was asked for.
    AsksSsn,
    /// Bad: one detail was enough.
    SingleIdentifier,
    /// Bad: what was asked for many people know.
    OnlyPublicIdentifiers,
    /// Okay: nothing was asked for that proves.
    NoRealSecret,
    /// Okay: the calling number was recognised.
    RecognisesNumber,
    /// Okay: several details were asked for.
    SeveralIdentifiers,
    /// Okay: what the call is probably about was offered.
    OffersActions,
    /// Okay: order details were told before anything was proved.
    TellsOrders,
    /// Okay: personal data was read out after a proof.
    ReadsOutAfterProof,
    /// Good: something was asked for that proves.
    RealSecret,
    /// Good: nothing was read out.
    ReadsNothingOut,
    /// Not graded: there is no telephone support.
    NoPhoneSupport,
    /// Not graded: nothing was asked, told or changed.
    NothingToGrade,
}

impl Rule {
    /// What a call is worth on which this rule alone holds. `None`: nothing can be said.
    pub fn verdict(self) -> Option<Verdict> {
        match self {
            Self::GivesIdentityData | Self::AsksWhichNumber | Self::ChangesWithoutProof => Some(Verdict::OhNo),
            Self::PasswordByPhoneNumber | Self::AsksSsn | Self::SingleIdentifier | Self::OnlyPublicIdentifiers => Some(Verdict::Bad),
            Self::NoRealSecret | Self::RecognisesNumber | Self::SeveralIdentifiers | Self::OffersActions | Self::TellsOrders | Self::ReadsOutAfterProof => Some(Verdict::Okay),
            Self::RealSecret | Self::ReadsNothingOut => Some(Verdict::Good),
            Self::NoPhoneSupport | Self::NothingToGrade => None,
        }
    }
}

impl Choice for Rule {
    fn all() -> &'static [Self] {
        &[
            Self::GivesIdentityData, Self::AsksWhichNumber, Self::ChangesWithoutProof, Self::PasswordByPhoneNumber, Self::AsksSsn, Self::SingleIdentifier,
            Self::OnlyPublicIdentifiers, Self::NoRealSecret, Self::RecognisesNumber, Self::SeveralIdentifiers, Self::OffersActions, Self::TellsOrders,
            Self::ReadsOutAfterProof, Self::RealSecret, Self::ReadsNothingOut, Self::NoPhoneSupport, Self::NothingToGrade,
        ]
    }
    fn name(self) -> &'static str {
        match self {
            Self::GivesIdentityData => "gives_identity_data",
            Self::AsksWhichNumber => "asks_which_number",
            Self::ChangesWithoutProof => "changes_without_proof",
            Self::PasswordByPhoneNumber => "password_by_phone_number",
            Self::AsksSsn => "asks_ssn",
            Self::SingleIdentifier => "single_identifier",
            Self::OnlyPublicIdentifiers => "only_public_identifiers",
            Self::NoRealSecret => "no_real_secret",
            Self::RecognisesNumber => "recognises_number",
            Self::SeveralIdentifiers => "several_identifiers",
            Self::OffersActions => "offers_actions",
            Self::TellsOrders => "tells_orders",
            Self::ReadsOutAfterProof => "reads_out_after_proof",
            Self::RealSecret => "real_secret",
            Self::ReadsNothingOut => "reads_nothing_out",
            Self::NoPhoneSupport => "no_phone_support",
            Self::NothingToGrade => "nothing_to_grade",
        }
    }
    fn words(self) -> &'static str {
        match self {
            Self::GivesIdentityData => "gives identity data out",
            Self::AsksWhichNumber => "asks which number to text the code to",
            Self::ChangesWithoutProof => "changes an account with no authentication",
            Self::PasswordByPhoneNumber => "lets a password change pass on a phone number",
            Self::AsksSsn => "asks for an SSN",
            Self::SingleIdentifier => "a single identifier is enough",
            Self::OnlyPublicIdentifiers => "only public identifiers",
            Self::NoRealSecret => "no real secret",
            Self::RecognisesNumber => "recognises the calling number",
            Self::SeveralIdentifiers => "several identifiers",
            Self::OffersActions => "offers relevant actions",
            Self::TellsOrders => "tells of orders before a proof",
            Self::ReadsOutAfterProof => "reads personal data out after a proof",
            Self::RealSecret => "at least one real secret",
            Self::ReadsNothingOut => "reads no personal data out",
            Self::NoPhoneSupport => "no phone support",
            Self::NothingToGrade => "nothing to grade",
        }
    }
}

/// A rule that holds for a note, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Which rule.
    pub rule: Rule,
    /// What of the note makes it hold, in a sentence.
    pub text: String,
}

/// What a note is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grade {
    /// The worst that any rule says. `None`: not graded.
    pub verdict: Option<Verdict>,
    /// Every rule that holds, the worst first.
    pub reasons: Vec<Reason>,
}

impl Grade {
    /// The verdict in words.
    pub fn words(&self) -> &'static str { self.verdict.map_or("not graded", Choice::words) }

    /// The reasons that made the verdict: those of its own rank.
    pub fn deciding(&self) -> impl Iterator<Item = &Reason> { self.reasons.iter().filter(|r| r.rule.verdict() == self.verdict) }
}

/// Grades a note. The same note has the same grade always; every note has one.
///
/// Identification is not authentication: what is said to have happened after a proof counts as if it
/// had happened to somebody identified when the note names no proof.
pub fn grade(note: &Note) -> Grade {
    let mut reasons: Vec<Reason> = Vec::new();
    let mut hold = |rule, text: String| reasons.push(Reason { rule, text });
    if note.is_blank() {
        match note.reached {
            Reached::NoPhone => hold(Rule::NoPhoneSupport, "There is no phone support.".into()),
            Reached::Inbound | Reached::CallMe => hold(Rule::NothingToGrade, "Nothing was asked, told or changed.".into()),
        }
        return Grade { verdict: None, reasons };
    }
    let proved = !note.factors.is_empty();
    let unproved = |standing: Standing| standing < Standing::Authenticated || !proved;
    let to = |standing: Standing| if standing == Standing::Anyone { "somebody whom nobody had asked anything" } else { "somebody who had proved nothing" };

    for (item, standing) in &note.given {
        match (unproved(*standing), item.is_identity()) {
            (true, true) => hold(Rule::GivesIdentityData, format!("Told to {}: {item}.", to(*standing))),
            (true, false) => hold(Rule::TellsOrders, format!("Told to {}: {item}.", to(*standing))),
            (false, _) => hold(Rule::ReadsOutAfterProof, format!("Read out after a proof: {item}.")),
        }
    }
    if note.asked_number {
        hold(Rule::AsksWhichNumber, "The caller was asked where to send the code.".into());
    }
    let known = note.known_by();
    for (what, standing) in note.changed.iter().filter(|(_, standing)| unproved(**standing)) {
        // The study ranks this one by itself, below every other change without a proof.
        if *what == Change::Password && *standing > Standing::Anyone && known.contains(&Identifier::Phone) {
            hold(Rule::PasswordByPhoneNumber, "The password could be changed by whoever has the phone number.".into());
        } else {
            hold(Rule::ChangesWithoutProof, format!("Could be changed by {}: {what}.", to(*standing)));
        }
    }
    if note.identifiers.contains(&Identifier::Ssn) {
        hold(Rule::AsksSsn, "Digits of an SSN were asked for: many know them, and they never change.".into());
    }
    if proved {
        hold(Rule::RealSecret, format!("Asked for: {}.", list(&note.factors)));
    } else {
        identified(note, &known, &mut hold);
    }
    if note.given.is_empty() {
        hold(Rule::ReadsNothingOut, "Nothing of the customer was read out.".into());
    }
    reasons.sort_by_key(|r| (std::cmp::Reverse(r.rule.verdict()), r.rule));
    Grade { verdict: reasons.iter().filter_map(|r| r.rule.verdict()).max(), reasons }
}

/// Nothing was proved: how well was it known at least which account is meant?
fn identified(note: &Note, known: &BTreeSet<Identifier>, hold: &mut impl FnMut(Rule, String)) {
    hold(Rule::NoRealSecret, "Nothing was asked for that proves who calls.".into());
    if note.recognised() {
        hold(Rule::RecognisesNumber, "The calling number was recognised.".into());
    }
    if note.offered {
        hold(Rule::OffersActions, "What the call is probably about was offered.".into());
    }
    if known.len() > 1 {
        hold(Rule::SeveralIdentifiers, format!("Known by: {}.", list(known)));
    }
    // To be recognised and offered the upcoming trip is what the number is good for.
    if known.len() < 2 && !(note.recognised() && note.offered) {
        let what = if known.is_empty() { "nothing".to_owned() } else { list(known) };
        hold(Rule::SingleIdentifier, format!("All that was needed: {what}."));
    }
    // A recognised number takes more than knowing it.
    if known.len() > 1 && !note.recognised() && known.iter().all(|i| i.is_public()) {
        hold(Rule::OnlyPublicIdentifiers, format!("Many people know these: {}.", list(known)));
    }
}

fn list<T: Choice>(words: &BTreeSet<T>) -> String { words.iter().map(|w| w.words()).collect::<Vec<_>>().join(", ") }

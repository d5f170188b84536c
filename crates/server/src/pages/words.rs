//! What the desk calls things. One place, so that a level or a factor has one name on every page.

use countersign_core::{
    action::{Action, Field, Level, Role, Verb},
    call::{Closed, Queue, Stage},
    claim::{ClaimKind, Via},
    factor::FactorKind,
    message::Delivery,
    prompt::{Lang, Music},
    risk::Band,
    time::Timestamp,
    view::Offer,
};

/// `snake_case` as words.
pub fn plain(name: &str) -> String { name.replace('_', " ") }

/// The first letter large.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// `texted code, then PIN`.
pub fn plan(factors: &[FactorKind]) -> String {
    factors.iter().map(factor).collect::<Vec<_>>().join(", then ")
}

/// Form value of a plan.
pub fn plan_value(factors: &[FactorKind]) -> String {
    factors.iter().map(|k| k.name()).collect::<Vec<_>>().join(",")
}

/// The clock part of an instant; the page's script turns it into local time.
pub fn clock(at: &Timestamp) -> String { at.to_string().get(11..19).unwrap_or_default().to_owned() + " UTC" }

/// Day and minute of an instant.
pub fn moment(at: &Timestamp) -> String {
    let text = at.to_string();
    format!("{} {} UTC", text.chars().take(10).collect::<String>(), text.chars().skip(11).take(5).collect::<String>())
}

/// `4:07`, or `1:04:07`.
pub fn length(seconds: i64) -> String {
    let s = seconds.max(0);
    if s >= 3600 { format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60) } else { format!("{}:{:02}", s / 60, s % 60) }
}

/// Time since `then`.
pub fn since(then: &Timestamp, now: &Timestamp) -> String { length((*now - *then).0.max(0) / 1000) }

/// Time until `then`.
pub fn until(then: &Timestamp, now: &Timestamp) -> String { length((*then - *now).ceil_seconds()) }

/// Digits or letters of an id that tell it apart from its neighbours.
pub fn short(id: &impl std::fmt::Display) -> String {
    let text = id.to_string();
    let skip = text.chars().count().saturating_sub(6);
    text.chars().skip(skip).collect()
}

/// Something proved or to be proved.
pub fn factor(kind: &FactorKind) -> &'static str { kind.words() }

/// Something of the customer's own, with which they confirm signed in.
pub fn own_factor(kind: &FactorKind) -> &'static str {
    match kind {
        FactorKind::Totp => "A code of your app",
        FactorKind::Hotp => "A code of your token",
        FactorKind::Pin => "Your PIN for the phone",
        FactorKind::VerbalPassword => "Your verbal password",
        FactorKind::BackupCode => "A backup code",
        _ => factor(kind),
    }
}

/// What the level means, in one sentence.
pub fn level_means(level: &Level, opened: &bool) -> &'static str {
    match (level, opened) {
        (Level::Anonymous, _) => "Nobody knows who is calling.",
        (Level::Identified, false) => "One detail points at an account. It stays shut, and nothing is proved.",
        (Level::Identified, true) => "We know which account is meant. Nothing is proved.",
        (Level::Authenticated, _) => "The caller proved to be the customer.",
        (Level::Strong, _) => "Proved twice, in two different ways.",
    }
}

/// A role.
pub fn role(role: &Role) -> &'static str {
    match role {
        Role::Agent => "Agent",
        Role::Specialist => "Specialist",
        Role::Lead => "Security lead",
        Role::Admin => "Administrator",
    }
}

/// A language, in English.
pub fn lang(lang: &Lang) -> &'static str {
    match lang {
        Lang::En => "English",
        Lang::Es => "Spanish",
        Lang::De => "German",
    }
}

/// A language given by its code or name.
pub fn lang_code(code: &str) -> String { Lang::parse(code).map_or_else(|| capital(code), |l| lang(&l).to_owned()) }

/// The hold music.
pub fn music(music: &Music) -> &'static str {
    match music {
        Music::Calm => "calm music",
        Music::Lively => "lively music",
        Music::Classical => "classical music",
        Music::Silence => "silence",
    }
}

/// Where calls wait.
pub fn queue(queue: &Queue) -> &'static str {
    match queue {
        Queue::Agents => "Agents",
        Queue::Specialists => "Specialists",
    }
}

/// How risky.
pub fn band(band: &Band) -> &'static str {
    match band {
        Band::Low => "low",
        Band::Elevated => "elevated",
        Band::High => "high",
    }
}

/// Where the caller is, in a word or two.
pub fn stage(stage: &Stage) -> &'static str {
    match stage {
        Stage::Ringing => "ringing",
        Stage::Language => "choosing a language",
        Stage::Recognised => "greeted",
        Stage::Menu => "in the menu",
        Stage::KeyingAccountNumber => "keying an account number",
        Stage::KeyingPostalCode => "keying a postal code",
        Stage::KeyingServiceCode => "keying a portal code",
        Stage::KeyingToken => "calling from the portal",
        Stage::Proving => "keying a proof",
        Stage::Approving => "answering in the portal",
        Stage::Linking => "typing a code in the portal",
        Stage::Dialing => "being rung",
        Stage::Confirming => "answering our call",
        Stage::Remote => "on another line",
        Stage::VoiceConsent => "being asked whether the voice may be kept",
        Stage::VoiceTaking | Stage::VoiceSaying => "saying the phrase. You hear nothing; stay on the line",
        Stage::VoiceDigits => "saying digits. You hear nothing; stay on the line",
        Stage::Music => "choosing music",
        Stage::Waiting => "waiting",
        Stage::Talking => "talking",
        Stage::Ended => "over",
    }
}

/// A claim kind.
pub fn claim(kind: &ClaimKind) -> &'static str {
    match kind {
        ClaimKind::Number => "Phone number",
        ClaimKind::AccountNumber => "Account number",
        ClaimKind::Email => "E-mail",
        ClaimKind::Name => "Full name",
        ClaimKind::DateOfBirth => "Date of birth",
        ClaimKind::PostalCode => "Postal code",
        ClaimKind::OrderNumber => "Order number",
    }
}

/// How a claim reached us.
pub fn via(via: &Via) -> &'static str {
    match via {
        Via::Network => "from the network",
        Via::Keypad => "keyed",
        Via::Agent => "said",
        Via::Client => "named by a program",
    }
}

/// A field.
pub fn field(field: &Field) -> &'static str {
    match field {
        Field::Upcoming => "Coming up",
        Field::Name => "Name",
        Field::AccountNumber => "Account number",
        Field::Orders => "Orders",
        Field::Phone => "Phone",
        Field::Email => "E-mail",
        Field::Address => "Postal address",
        Field::PostalCode => "Postal code",
        Field::DateOfBirth => "Date of birth",
    }
}

/// What the blind comparison calls this field, if the caller can say it.
pub fn field_heard(field: &Field) -> Option<&'static str> {
    match field {
        Field::Upcoming => None,
        Field::Name => Some("name"),
        Field::AccountNumber => Some("account_number"),
        Field::Orders => Some("order_number"),
        Field::Phone => Some("number"),
        Field::Email => Some("email"),
        Field::Address => Some("address"),
        Field::PostalCode => Some("postal_code"),
        Field::DateOfBirth => Some("date_of_birth"),
    }
}

/// What a policy calls this action, as a person would say it.
pub fn action(action: &Action) -> String {
    let known = match (action.verb, action.object.as_str()) {
        (Verb::Change, "address") => "Change postal address",
        (Verb::Change, "phone") => "Change phone number",
        (Verb::Change, "email") => "Change e-mail address",
        (Verb::Change, "password") => "New web password",
        (Verb::Change, "factors") => "New PIN or verbal password",
        (Verb::Do, "cancel_order") => "Cancel an order",
        (Verb::Do, "request_refund") => "Request a refund",
        (Verb::Do, "redirect_parcel") => "Redirect a parcel",
        (Verb::Do, "close_account") => "Close the account",
        (Verb::Do, "end_freeze") => "End the freeze",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    let object = Field::parse(&action.object).map_or_else(|| plain(&action.object), |f| field(&f).to_lowercase());
    match action.verb {
        Verb::View => format!("Look at {object}"),
        Verb::Speak => format!("Say {object}"),
        Verb::Mask => format!("Show part of {object}"),
        Verb::Match => format!("Compare {object}"),
        Verb::Change => format!("Change {object}"),
        Verb::Do => capital(&object),
        Verb::Use => format!("Ask for {object}"),
        Verb::Reach => format!("Reach {object}"),
    }
}

/// Whether something may be done, as a chip.
pub fn offer(offer: &Offer, needs: &Option<Level>) -> String {
    match (offer, needs) {
        (Offer::Now, _) => "now".to_owned(),
        (Offer::StepUp, Some(level)) => format!("needs {level}"),
        (Offer::StepUp, None) => "needs proof".to_owned(),
        (Offer::Online, _) => "online only".to_owned(),
        (Offer::Specialist, _) => "specialist".to_owned(),
        (Offer::Refused, _) => "refused".to_owned(),
    }
}

/// Class of an offer in the style sheet.
pub fn offer_class(offer: &Offer) -> &'static str {
    match offer {
        Offer::Now => "now",
        Offer::StepUp => "step-up",
        Offer::Online => "online",
        Offer::Specialist => "specialist",
        Offer::Refused => "refused",
    }
}

/// How the code's message fared.
pub fn delivery(kind: &FactorKind, delivery: &Option<Delivery>) -> &'static str {
    match (kind.is_sent(), delivery) {
        (false, _) => "Nothing is sent for this one.",
        (true, None) => "Being sent to the number on file.",
        (true, Some(Delivery::Sent)) => "Sent to the number on file.",
        (true, Some(Delivery::Delivered)) => "Arrived at the number on file.",
        (true, Some(Delivery::Failed)) => "Did not arrive.",
        (true, Some(Delivery::Unknown)) => "Nobody knows whether it went. It is not sent again.",
    }
}

/// What is awaited when the answer does not come over the call.
pub fn waits(kind: &FactorKind) -> &'static str {
    match kind {
        FactorKind::Provider => "The website’s sign-in asks the customer, and shows them this code.",
        FactorKind::Passkey => "The customer signs in the portal. There is nothing to read out.",
        _ => "The customer types this code in the portal. You see here what they answer.",
    }
}

/// A code in groups that can be read out.
pub fn spaced(code: &countersign_core::secret::Secret) -> String {
    let text = code.expose();
    let (head, tail) = text.split_at_checked(text.len() / 2).unwrap_or((text, ""));
    format!("{head} {tail}")
}

/// Why the last challenge ended without a proof.
pub fn closed(why: &Closed) -> &'static str {
    match why {
        Closed::Exhausted => "Not proved: no tries were left.",
        Closed::Expired => "Not proved: the time ran out.",
        Closed::CallerLeft => "Not proved: the caller wants another way.",
        Closed::AgentLeft => "Called off.",
        Closed::NotDelivered => "Not proved: the message did not arrive.",
        Closed::Throttled => "Not proved: too many wrong entries lately.",
        Closed::CallMoved => "Not proved: the call moved on.",
        Closed::Declined => "Not proved: the customer said no.",
        Closed::Disowned => "Not proved: the customer says that they are not on the phone.",
    }
}

/// A part of the risk score.
pub fn risk_part(name: &str) -> String {
    match name {
        "number_on_deny_list" => "number on the deny list".to_owned(),
        "attestation_failed" => "the number's signature does not hold".to_owned(),
        "number_withheld" => "number withheld".to_owned(),
        "failed_challenges" => "wrong entries".to_owned(),
        "claims_that_fit_nobody" => "details that fit nobody".to_owned(),
        "claims_contradict" => "details contradict each other".to_owned(),
        "look_alike" => "look-alike of another customer".to_owned(),
        "contact_changed_lately" => "contact changed lately".to_owned(),
        "customer_not_on_the_phone" => "the customer says that they are not on the phone".to_owned(),
        "voice_not_alike" => "the voice is not alike".to_owned(),
        "voice_other_words" => "other words than those on file".to_owned(),
        "voice_recording" => "a recording of the customer was played".to_owned(),
        "voice_synthetic" => "the voice sounded synthetic".to_owned(),
        "account_frozen" => "account frozen".to_owned(),
        "attestation_missing" => "nobody signed the number".to_owned(),
        "attestation_gateway" => "only a gateway signed the number".to_owned(),
        "number_unknown" => "nothing known about the number".to_owned(),
        "voip_line" => "internet line".to_owned(),
        "unusual_line" => "unusual kind of number".to_owned(),
        "sim_changed_lately" => "SIM changed lately".to_owned(),
        "calls_forwarded" => "calls are forwarded".to_owned(),
        "accounts_on_line" => "many accounts from this line".to_owned(),
        "lines_on_account" => "many lines for this account".to_owned(),
        "failed_lately_on_line" => "wrong entries from this line lately".to_owned(),
        "failed_lately_on_account" => "wrong entries on this account lately".to_owned(),
        "fraud_on_line" => "fraud from this line".to_owned(),
        "fraud_on_account" => "fraud on this account".to_owned(),
        other => plain(other),
    }
}

/// An action as part of an element's id.
pub fn slug(action: &Action) -> String { action.to_string().replace([':', '_'], "-") }

/// The key that chooses the n-th action, counted from zero.
pub fn digit(index: &usize) -> String {
    match index { 0..=8 => (index + 1).to_string(), 9 => "0".to_owned(), _ => String::new() }
}

/// Digits in groups that the eye can hold: `4821 9037`, `493 817`.
pub fn grouped(code: &str) -> String {
    let digits: Vec<char> = code.chars().filter(|c| !c.is_whitespace()).collect();
    let size = if digits.len().is_multiple_of(4) { 4 } else { 3 };
    digits.chunks(size).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

/// A sentence of the record without what only an auditor needs: an identifier in brackets goes,
/// any other keeps its last six digits. The admin's page has them all: see [`pieces`].
pub fn tidy(text: &str) -> String {
    const DIGITS: usize = 32;
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('_') {
        let (before, after) = rest.split_at(at + 1);
        let digits = after.get(..DIGITS).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let (Some(digits), Some(tail)) = (digits, after.get(DIGITS..)) else {
            out.push_str(before);
            rest = after;
            continue;
        };
        let stem = before.trim_end_matches(|c: char| c.is_ascii_lowercase() || c == '_');
        match (stem.strip_suffix(" ("), tail.strip_prefix(')')) {
            (Some(stem), Some(tail)) => {
                out.push_str(stem);
                rest = tail;
            }
            _ => {
                out.push_str(stem);
                out.push('…');
                out.push_str(digits.get(DIGITS - 6..).unwrap_or(digits));
                rest = tail;
            }
        }
    }
    out + rest
}

/// A part of a sentence of the record: text, an instant, or an identifier.
pub struct Piece {
    /// As it is shown without a script.
    pub text: String,
    /// The instant, for the page's script, which writes it as local time.
    pub stamp: Option<String>,
    /// How: `clock` on the day of the sentence, else `moment`.
    pub local: &'static str,
    /// The whole identifier.
    pub id: Option<String>,
}

/// A sentence of the record for somebody who reads a page: instants become times of the reader's day,
/// and of an identifier the end is shown, which tells it apart. Both are there in full for whoever points at them.
pub fn pieces(text: impl AsRef<str>, at: &Timestamp) -> Vec<Piece> {
    let (mut out, mut plain, mut rest) = (Vec::new(), String::new(), text.as_ref());
    let today = at.to_string();
    let flush = |plain: &mut String, out: &mut Vec<Piece>| {
        if !plain.is_empty() {
            out.push(Piece { text: std::mem::take(plain), stamp: None, local: "", id: None });
        }
    };
    while let Some(next) = rest.chars().next() {
        let begins = !plain.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if begins && let Some((stamp, tail)) = instant(rest) {
            flush(&mut plain, &mut out);
            let clock = stamp.get(..10) == today.get(..10);
            let (day, time) = (stamp.get(..10).unwrap_or_default(), stamp.get(11..if clock { 19 } else { 16 }).unwrap_or_default());
            let text = if clock { format!("{time} UTC") } else { format!("{day} {time} UTC") };
            out.push(Piece { text, stamp: Some(stamp.to_owned()), local: if clock { "clock" } else { "moment" }, id: None });
            rest = tail;
        } else if begins && let Some((id, tail)) = identifier(rest) {
            flush(&mut plain, &mut out);
            let kind = id.split('_').next().unwrap_or_default();
            out.push(Piece { text: format!("{kind}_…{}", short(&id)), stamp: None, local: "", id: Some(id.to_owned()) });
            rest = tail;
        } else {
            plain.push(next);
            rest = rest.get(next.len_utf8()..).unwrap_or_default();
        }
    }
    flush(&mut plain, &mut out);
    out
}

/// An instant as [`Timestamp`] writes it, at the start of a text, and what follows.
fn instant(text: &str) -> Option<(&str, &str)> {
    let (stamp, tail) = text.split_at_checked(20)?;
    let fits = stamp.bytes().zip(*b"0000-00-00T00:00:00Z").all(|(byte, shape)| if shape == b'0' { byte.is_ascii_digit() } else { byte == shape });
    fits.then_some((stamp, tail))
}

/// An identifier at the start of a text: its kind, a line, 32 digits; and what follows.
fn identifier(text: &str) -> Option<(&str, &str)> {
    let kind = text.find(|c: char| !c.is_ascii_lowercase()).filter(|n| *n > 0)?;
    let (id, tail) = text.split_at_checked(kind + 33)?;
    let digits = id.get(kind..)?.strip_prefix('_')?;
    (digits.bytes().all(|b| b.is_ascii_hexdigit()) && !tail.starts_with(|c: char| c.is_ascii_alphanumeric())).then_some((id, tail))
}

/// What a comparison of the voice said: a word, never a number.
pub fn likeness(word: &countersign_core::voice::Likeness) -> &'static str {
    use countersign_core::voice::Likeness;
    match word {
        Likeness::Alike => "alike",
        Likeness::NotAlike => "not alike",
        Likeness::NotCompared => "could not be compared",
    }
}

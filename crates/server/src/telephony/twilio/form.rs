//! Twilio's voice webhooks as forms: strict, because everything after this trusts what it says.
//!
//! No error here repeats a value: forms carry numbers and keyed secrets.

use std::{collections::BTreeSet, fmt};

use countersign_core::{risk::Verstat, secret::{E164, Secret}, speech::{Heard, SpeechRecognizer}};

/// Longest body that is read, in bytes. Twilio's requests stay near 1 KiB.
pub const MAX_BODY: usize = 16 * 1024;
/// Most parameters that are read.
pub const MAX_FIELDS: usize = 100;
/// Most keys of one entry; `Gather` never asks for more.
pub const MAX_KEYS: usize = 32;

/// Parameters that mean one thing. With two of them, one reader may believe the first and another
/// the second, so the request is refused.
const SINGLE: [&str; 28] = [
    "AccountSid", "ApiVersion", "CallDuration", "CallSid", "CallStatus", "CallToken", "Called", "Caller",
    "CallerName", "ConferenceSid", "Confidence", "DialCallSid", "DialCallStatus", "Digits", "Direction", "ErrorCode",
    "FinishedOnKey", "ForwardedFrom", "From", "MessageSid", "MessageStatus", "ParentCallSid", "SequenceNumber",
    "SpeechResult", "StatusCallbackEvent", "StirPassportToken", "StirVerstat", "To",
];

/// What Twilio puts in place of a withheld number: words keyed as digits (ANONYMOUS, RESTRICTED,
/// BLOCKED, UNKNOWN, UNAVAILABLE). They have the shape of a number and belong to nobody.
const WITHHELD: [&str; 5] = ["+266696687", "+7378742833", "+2562533", "+8656696", "+86282452253"];

/// Why a webhook's form is refused. Nothing of it was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// More than [`MAX_BODY`] bytes.
    #[error("the form is larger than 16 KiB: Twilio sends about 1 KiB; look for a proxy that adds to it")]
    TooLarge,
    /// More than [`MAX_FIELDS`] parameters.
    #[error("the form has more than 100 fields: Twilio sends about 30; look for a proxy that adds to it")]
    TooManyFields,
    /// Not `application/x-www-form-urlencoded`.
    #[error("the body is not an urlencoded form: set the webhook's method to POST and pass its body on unchanged")]
    Malformed,
    /// A name or value is not UTF-8.
    #[error("the form is not UTF-8: pass the body on unchanged")]
    NotUtf8,
    /// A parameter that means one thing is there twice.
    #[error("the form has {0} more than once: look for a proxy or an earlier application that adds parameters")]
    Duplicate(&'static str),
    /// A parameter that Twilio always sends is missing.
    #[error("the form has no {0}: point a voice webhook at this address, nothing else")]
    Missing(&'static str),
    /// A parameter has a value that Twilio does not send.
    #[error("the form's {0} is not of Twilio's form: check that this is a voice webhook and that its body is passed on unchanged")]
    Invalid(&'static str),
}

/// Decodes an urlencoded form; names and values in the order in which they came.
///
/// Stricter than browsers: broken escapes, text that is not UTF-8, empty names, raw spaces, control
/// or non-ASCII bytes and duplicated single-valued parameters are errors, never mended.
pub fn parse(body: &[u8]) -> Result<Vec<(String, String)>, FormError> {
    if body.len() > MAX_BODY {
        return Err(FormError::TooLarge);
    }
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let mut fields = Vec::new();
    let mut seen = BTreeSet::new();
    for pair in body.split(|b| *b == b'&') {
        if fields.len() == MAX_FIELDS {
            return Err(FormError::TooManyFields);
        }
        let mut parts = pair.splitn(2, |b| *b == b'=');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { return Err(FormError::Malformed) };
        let (name, value) = (decode(name)?, decode(value)?);
        if name.is_empty() {
            return Err(FormError::Malformed);
        }
        if let Some(single) = SINGLE.into_iter().find(|s| *s == name) && !seen.insert(single) {
            return Err(FormError::Duplicate(single));
        }
        fields.push((name, value));
    }
    Ok(fields)
}

fn decode(text: &[u8]) -> Result<String, FormError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
                let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
                    return Err(FormError::Malformed);
                };
                out.push(high << 4 | low);
            }
            0x21..=0x7e => out.push(byte),
            _ => return Err(FormError::Malformed),
        }
    }
    String::from_utf8(out).map_err(|_| FormError::NotUtf8)
}

/// Twilio's name of a call: `CA` and 32 hexadecimal digits. Safe in a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallSid(String);

impl CallSid {
    /// Parses strictly.
    pub fn parse(text: &str) -> Result<Self, FormError> {
        let digits = text.strip_prefix("CA").ok_or(FormError::Invalid("CallSid"))?;
        let shape = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if shape { Ok(Self(text.to_owned())) } else { Err(FormError::Invalid("CallSid")) }
    }
    /// As Twilio writes it.
    pub fn as_str(&self) -> &str { &self.0 }
}
/// A random name, not personal.
impl fmt::Debug for CallSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
}
impl fmt::Display for CallSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
}

/// How far a call is, in Twilio's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallStatus {
    /// Waiting to be dialled.
    Queued,
    /// Being dialled.
    Initiated,
    /// Ringing; also the state of the first webhook of an incoming call.
    Ringing,
    /// Two people, or one and a machine, are talking.
    InProgress,
    /// Ended after it was answered.
    Completed,
    /// Nobody could be reached: the line is busy.
    Busy,
    /// It could not be connected.
    Failed,
    /// It rang, and nobody answered.
    NoAnswer,
    /// Taken back before it was answered.
    Canceled,
}

impl CallStatus {
    /// Whether nothing more can happen on this call.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Busy | Self::Failed | Self::NoAnswer | Self::Canceled)
    }
    /// The state with Twilio's name.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "queued" => Self::Queued,
            "initiated" => Self::Initiated,
            "ringing" => Self::Ringing,
            "in-progress" => Self::InProgress,
            "completed" => Self::Completed,
            "busy" => Self::Busy,
            "failed" => Self::Failed,
            "no-answer" => Self::NoAnswer,
            "canceled" => Self::Canceled,
            _ => return None,
        })
    }
}

/// What a voice webhook says, once its signature holds.
#[derive(Debug, Clone)]
pub struct VoiceEvent {
    /// Which call.
    pub call_sid: CallSid,
    /// The calling number. `None`: withheld, or no telephone number at all (`sip:`, `client:`).
    pub from: Option<E164>,
    /// The number that was called. `None`: a SIP address or a name.
    pub to: Option<E164>,
    /// How far the call is.
    pub call_status: CallStatus,
    /// What was keyed into a `Gather`, without the `#` that ended it. An empty entry (time ran out,
    /// or `#` alone) and an absent one mean the same: nothing was keyed.
    pub digits: Option<Secret>,
    /// What was said into a `Gather` that listens, if anything was understood.
    pub heard: Option<Heard>,
    /// The network's word on the calling number.
    pub stir: Verstat,
    /// The token that it is drawn from, as it came.
    pub passport: Option<Secret>,
}

impl VoiceEvent {
    /// Reads the parameters of [`parse`].
    pub fn from_fields(fields: &[(String, String)]) -> Result<Self, FormError> {
        let get = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let need = |name: &'static str| get(name).ok_or(FormError::Missing(name));
        Ok(Self {
            call_sid: CallSid::parse(need("CallSid")?)?,
            from: get("From").and_then(number),
            to: get("To").and_then(number),
            call_status: CallStatus::parse(need("CallStatus")?).ok_or(FormError::Invalid("CallStatus"))?,
            digits: get("Digits").map(keys).transpose()?.filter(|keys| !keys.is_empty()),
            heard: Gathered.heard(fields)?,
            stir: get("StirVerstat").map_or(Verstat::None, verstat),
            passport: get("StirPassportToken").filter(|token| !token.is_empty()).map(Secret::new),
        })
    }
}

/// Twilio's recogniser, as its `Gather` reports.
///
/// `SpeechResult` is one transcript, `Confidence` a number from 0 to 1 that Twilio does not promise for
/// every model: without it, nobody is sure of anything.
pub struct Gathered;

impl SpeechRecognizer for Gathered {
    type Answer = [(String, String)];
    type Error = FormError;

    fn heard(&self, fields: &[(String, String)]) -> Result<Option<Heard>, FormError> {
        let get = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty());
        let Some(text) = get("SpeechResult") else { return Ok(None) };
        let confidence = match get("Confidence") {
            None => 0.0,
            Some(number) => number.parse::<f32>().ok().filter(|n| (0.0..=1.0).contains(n)).ok_or(FormError::Invalid("Confidence"))?,
        };
        // Downwards: 79.9 is not 80.
        Ok(Some(Heard { text: Secret::new(text), confidence: (confidence * 100.0 + 1e-3).floor() as u8 }))
    }
}

/// What Twilio says of the way of a call.
const DIRECTIONS: [&str; 5] = ["inbound", "outbound-api", "outbound-dial", "trunking-originating", "trunking-terminating"];

/// Whether what every voice webhook has is there.
///
/// A signature is one over names and values in a row, without anything between them: that of
/// `Direction=inbound&From=…` fits `Direction=inboundFrom…` as well, and so whoever has a request can
/// hide its caller. What we rely on has to be there, and what stands before it has to be one of few.
///
/// # Errors
/// See [`FormError`].
pub fn whole(fields: &[(String, String)]) -> Result<(), FormError> {
    let get = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    if let Some(missing) = ["AccountSid", "CallSid", "CallStatus", "From", "To"].into_iter().find(|name| get(name).is_none()) {
        return Err(FormError::Missing(missing));
    }
    match get("Direction") {
        Some(direction) if !DIRECTIONS.contains(&direction) => Err(FormError::Invalid("Direction")),
        _ => Ok(()),
    }
}

/// A telephone number, or `None` for everything that merely stands where one would be.
fn number(text: &str) -> Option<E164> {
    if WITHHELD.contains(&text) { None } else { E164::parse(text).ok() }
}

fn keys(text: &str) -> Result<Secret, FormError> {
    let shape = text.len() <= MAX_KEYS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D'));
    if shape { Ok(Secret::new(text)) } else { Err(FormError::Invalid("Digits")) }
}

/// Twilio's `StirVerstat` in our scale.
///
/// `-Diverted` and `-Passthrough` mean that the attestation was made for an earlier leg and came
/// to us by way of a forwarding party or another carrier: such a pass counts one grade lower, and C
/// counts as nothing. A failure counts as a failure with any suffix. What we do not know counts as
/// nothing said; it never raises trust.
pub fn verstat(text: &str) -> Verstat {
    if text.starts_with("TN-Validation-Failed") {
        return Verstat::Failed;
    }
    match text.strip_prefix("TN-Validation-Passed-") {
        Some("A") => Verstat::PassedA,
        Some("B" | "A-Diverted" | "A-Passthrough") => Verstat::PassedB,
        Some("C" | "B-Diverted" | "B-Passthrough") => Verstat::PassedC,
        _ => Verstat::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "CA0123456789abcdef0123456789abcdef";

    fn event(body: &str) -> Result<VoiceEvent, FormError> {
        parse(format!("CallSid={SID}&CallStatus=in-progress&{body}").as_bytes()).and_then(|f| VoiceEvent::from_fields(&f))
    }

    #[test]
    fn a_webhook_is_read() {
        let e = event("From=%2B12025550142&To=%2B18005551212&Digits=4071*&StirVerstat=TN-Validation-Passed-A&CallerCity=SAN+JOS%C3%89").unwrap();
        assert_eq!(e.call_sid.as_str(), SID);
        assert_eq!(e.from, Some(E164::parse("+12025550142").unwrap()));
        assert_eq!(e.to, Some(E164::parse("+18005551212").unwrap()));
        assert_eq!(e.call_status, CallStatus::InProgress);
        assert_eq!(e.digits.as_ref().map(Secret::expose), Some("4071*"));
        assert_eq!(e.stir, Verstat::PassedA);
        let shown = format!("{e:?}");
        assert!(!shown.contains("4071") && !shown.contains("2025550142"), "{shown}");
    }

    #[test]
    fn what_was_said_is_read_with_how_sure_somebody_is_of_it() {
        let heard = |body: &str| event(body).map(|e| e.heard.map(|h| (h.text.expose().to_owned(), h.confidence)));
        assert_eq!(heard("SpeechResult=Purple+rhinoceros.&Confidence=0.9"), Ok(Some(("Purple rhinoceros.".into(), 90))));
        assert_eq!(heard("SpeechResult=x&Confidence=0.7999"), Ok(Some(("x".into(), 79))));
        assert_eq!(heard("SpeechResult=x"), Ok(Some(("x".into(), 0))), "not said is not sure");
        assert_eq!(heard("SpeechResult=&Confidence=0.99"), Ok(None));
        assert_eq!(heard("Confidence=0.99"), Ok(None));
        for bad in ["NaN", "inf", "-1", "1.01", "90", "0,9", "x"] {
            assert_eq!(heard(&format!("SpeechResult=x&Confidence={bad}")), Err(FormError::Invalid("Confidence")), "{bad}");
        }
        for twice in ["SpeechResult=a&SpeechResult=b", "SpeechResult=a&Confidence=0.1&Confidence=0.9"] {
            assert!(matches!(event(twice), Err(FormError::Duplicate(_))), "{twice}");
        }
        let shown = format!("{:?}", event("SpeechResult=purple&Confidence=0.9").unwrap());
        assert!(!shown.contains("purple"), "{shown}");
    }

    #[test]
    fn what_a_joined_parameter_would_hide_has_to_be_there() {
        let whole = |body: &str| whole(&parse(format!("AccountSid=AC&CallSid={SID}&CallStatus=ringing&{body}").as_bytes()).unwrap());
        assert_eq!(whole("Direction=inbound&From=%2B12025550142&To=%2B18005551212"), Ok(()));
        assert_eq!(whole("From=anonymous&To=sip:x@example.com"), Ok(()));
        assert_eq!(whole("Direction=inboundFrom%2B12025550142&To=%2B18005551212"), Err(FormError::Missing("From")));
        assert_eq!(whole("Direction=inboundFrom%2B12025550142&From=x&To=x"), Err(FormError::Invalid("Direction")));
        assert_eq!(whole("From=%2B12025550142To%2B18005551212"), Err(FormError::Missing("To")));
    }

    #[test]
    fn escapes_are_decoded_strictly() {
        let fields = parse(b"a=1%262+3&b=&c==%3D").unwrap();
        let fields: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(fields, [("a", "1&2 3"), ("b", ""), ("c", "==")]);
        assert_eq!(parse(b"").unwrap(), []);
        for bad in ["a", "a=1&", "&a=1", "=1", "a=%", "a=%4", "a=%G0", "a=%+1", "a=1 2", "a=1\n", "a=\u{e9}", "a=1\0"] {
            assert_eq!(parse(bad.as_bytes()), Err(FormError::Malformed), "{bad:?}");
        }
        for bad in ["a=%FF", "%C3=1", "a=%C0%80", "a=%ED%A0%80"] {
            assert_eq!(parse(bad.as_bytes()), Err(FormError::NotUtf8), "{bad}");
        }
    }

    #[test]
    fn size_and_number_of_fields_are_bounded() {
        let body = |n: usize| vec!["a=1"; n].join("&");
        assert_eq!(parse(body(MAX_FIELDS).as_bytes()).unwrap().len(), MAX_FIELDS);
        assert_eq!(parse(body(MAX_FIELDS + 1).as_bytes()), Err(FormError::TooManyFields));
        let long = |n: usize| format!("a={}", "x".repeat(n - 2));
        assert!(parse(long(MAX_BODY).as_bytes()).is_ok());
        assert_eq!(parse(long(MAX_BODY + 1).as_bytes()), Err(FormError::TooLarge));
    }

    #[test]
    fn single_valued_parameters_are_refused_twice() {
        for name in ["CallSid", "From", "Digits", "StirVerstat", "CallStatus", "To"] {
            let body = format!("{name}=1&x=2&x=3&{name}=1");
            assert_eq!(parse(body.as_bytes()), Err(FormError::Duplicate(name)));
        }
        // An escaped spelling of the name is the same name.
        assert_eq!(parse(b"From=1&%46rom=2"), Err(FormError::Duplicate("From")));
        assert_eq!(parse(b"x=1&x=2").unwrap().len(), 2);
    }

    #[test]
    fn what_stands_for_no_number_is_none() {
        for from in ["anonymous", "Anonymous", "Restricted", "", "sip%3Abob%40example.com", "client%3Abob", "%2B266696687", "%2B7378742833",
            "%2B2562533", "%2B8656696", "%2B86282452253", "2025550142", "%2B1+202+555+0142", "%2B012345678"] {
            assert_eq!(event(&format!("From={from}")).unwrap().from, None, "{from}");
        }
        assert_eq!(event("To=sip%3Adesk%40example.com").unwrap().to, None);
    }

    #[test]
    fn what_is_needed_is_checked() {
        let read = |body: &str| parse(body.as_bytes()).and_then(|f| VoiceEvent::from_fields(&f)).map(|_| ());
        assert_eq!(read("CallStatus=ringing"), Err(FormError::Missing("CallSid")));
        assert_eq!(read(&format!("CallSid={SID}")), Err(FormError::Missing("CallStatus")));
        assert_eq!(read(&format!("CallSid={SID}&CallStatus=napping")), Err(FormError::Invalid("CallStatus")));
        for sid in ["CA123", "ca0123456789abcdef0123456789abcdef", "CA0123456789abcdefg123456789abcdef", "CA0123456789abcdef0123456789abcde/",
            "SM0123456789abcdef0123456789abcdef", "", "CA0123456789abcdef0123456789abcdef0"] {
            assert_eq!(read(&format!("CallSid={sid}&CallStatus=ringing")), Err(FormError::Invalid("CallSid")), "{sid}");
        }
    }

    #[test]
    fn keys_are_keys() {
        assert!(event("Digits=").unwrap().digits.is_none());
        assert!(event("x=1").unwrap().digits.is_none());
        assert_eq!(event("Digits=0%23*D").unwrap().digits.as_ref().map(Secret::expose), Some("0#*D"));
        for bad in ["1+2", "hangup", "%2B1", "%EF%BC%91", "111111111111111111111111111111111"] {
            assert_eq!(event(&format!("Digits={bad}")).map(|_| ()), Err(FormError::Invalid("Digits")), "{bad}");
        }
    }

    #[test]
    fn verstat_never_gains_by_a_detour() {
        use Verstat::{Failed, None, PassedA, PassedB, PassedC};
        for (text, want) in [
            ("TN-Validation-Passed-A", PassedA), ("TN-Validation-Passed-B", PassedB), ("TN-Validation-Passed-C", PassedC),
            ("TN-Validation-Passed-A-Diverted", PassedB), ("TN-Validation-Passed-B-Diverted", PassedC), ("TN-Validation-Passed-C-Diverted", None),
            ("TN-Validation-Passed-A-Passthrough", PassedB), ("TN-Validation-Passed-B-Passthrough", PassedC), ("TN-Validation-Passed-C-Passthrough", None),
            ("TN-Validation-Failed", Failed), ("TN-Validation-Failed-A", Failed), ("TN-Validation-Failed-C-Passthrough", Failed),
            ("No-TN-Validation", None), ("", None), ("TN-Validation-Passed", None), ("TN-Validation-Passed-D", None),
            ("tn-validation-passed-a", None), ("TN-Validation-Passed-A ", None), ("TN-Validation-Passed-A-Other", None),
        ] {
            assert_eq!(verstat(text), want, "{text}");
        }
        assert_eq!(event("x=1").unwrap().stir, None);
    }

    #[test]
    fn errors_name_no_value() {
        let error = event("Digits=4071x").unwrap_err();
        assert!(!error.to_string().contains("4071") && error.to_string().contains("Digits"));
    }
}

//! What a PASSporT claims (RFC 8225 §5, RFC 8588 §4, RFC 8946 §3), typed; and how it is written.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::identity::Kind;
use crate::verdict::{Reason, Refusal};
use crate::{Attest, Display, Number, rcd};

/// How far the time of signing may be from now, in seconds, both ways and inclusive
/// (ATIS-1000074; RFC 8224 §6.2).
pub(crate) const FRESH: u64 = 60;
/// The most numbers that a call may be signed for.
const MOST_DESTINATIONS: usize = 16;

pub(crate) struct Claims {
    /// Seconds since the epoch.
    pub(crate) iat: u64,
    pub(crate) orig: Number,
    /// One or more.
    pub(crate) dest: Vec<Number>,
    /// With `shaken`.
    pub(crate) origin: Option<Origin>,
    /// With `div`: the number that the call was for until then.
    pub(crate) div: Option<Number>,
    /// With `rcd`, and with `shaken` that has it.
    pub(crate) display: Option<Display>,
}

pub(crate) struct Origin {
    pub(crate) attest: Attest,
    pub(crate) origid: String,
}

impl Claims {
    /// From the payload of a token.
    pub(crate) fn read(kind: Kind, claims: &Map<String, Value>) -> Result<Self, Refusal> {
        let iat = claims
            .get("iat")
            .and_then(Value::as_u64)
            .ok_or(malformed("the claim iat is no whole number of seconds"))?;
        let orig = claims
            .get("orig")
            .and_then(one)
            .ok_or(malformed("the claim orig is not one number"))?;
        let dest = claims
            .get("dest")
            .and_then(many)
            .ok_or(malformed("the claim dest is no list of numbers"))?;
        let origin = match kind {
            Kind::Shaken => Some(Origin::read(claims)?),
            Kind::Div | Kind::Rcd => None,
        };
        let div = match kind {
            Kind::Div => Some(
                claims
                    .get("div")
                    .and_then(diverted)
                    .ok_or(malformed("the claim div is not one number"))?,
            ),
            Kind::Shaken | Kind::Rcd => None,
        };
        let display = match kind {
            Kind::Shaken => rcd::read(claims).map_err(malformed)?,
            Kind::Rcd => Some(
                rcd::read(claims)
                    .map_err(malformed)?
                    .ok_or(malformed("the claim rcd is missing"))?,
            ),
            Kind::Div => None,
        };
        Ok(Self {
            iat,
            orig,
            dest,
            origin,
            div,
            display,
        })
    }

    /// Whether it was signed around now.
    pub(crate) fn is_fresh(&self, now: u64) -> bool {
        self.iat.abs_diff(now) <= FRESH
    }
}

impl Origin {
    fn read(claims: &Map<String, Value>) -> Result<Self, Refusal> {
        let attest = claims
            .get("attest")
            .and_then(Value::as_str)
            .and_then(Attest::read);
        let origid = claims
            .get("origid")
            .and_then(Value::as_str)
            .filter(|text| is_uuid(text));
        Ok(Self {
            attest: attest.ok_or(malformed("the claim attest is not A, B or C"))?,
            origid: origid
                .ok_or(malformed("the claim origid is no UUID"))?
                .to_owned(),
        })
    }
}

/// `{"tn":"…"}` and nothing beside it: an identity is one number (RFC 8225 §5.2.1).
fn one(value: &Value) -> Option<Number> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    Number::canonical(object.get("tn")?.as_str()?).ok()
}

/// The same with history (`hi`), which is not used (RFC 8946 §3).
fn diverted(value: &Value) -> Option<Number> {
    let object = value.as_object().filter(|object| {
        object
            .keys()
            .all(|name| matches!(name.as_str(), "tn" | "hi"))
    })?;
    Number::canonical(object.get("tn")?.as_str()?).ok()
}

/// `{"tn":["…"]}`, with at least one. Other identities may stand beside it (RFC 8225 §5.2.1).
fn many(value: &Value) -> Option<Vec<Number>> {
    let numbers = value
        .get("tn")?
        .as_array()
        .filter(|list| (1..=MOST_DESTINATIONS).contains(&list.len()))?;
    numbers
        .iter()
        .map(|number| Number::canonical(number.as_str()?).ok())
        .collect()
}

/// Eight, four, four, four and twelve hexadecimal digits (RFC 9562 §4).
pub(crate) fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12])
        && text
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn malformed(why: &'static str) -> Refusal {
    Refusal::new(Reason::Malformed, why)
}

/// The protected header (RFC 8225 §4), members in order and without spaces (RFC 8225 §9). The address
/// is one that [`crate::Address`] reads, so nothing in it has to be escaped.
pub(crate) fn write_header(ppt: Option<&str>, x5u: &str) -> String {
    let ppt = ppt
        .map(|ppt| format!("\"ppt\":\"{ppt}\","))
        .unwrap_or_default();
    format!("{{\"alg\":\"ES256\",{ppt}\"typ\":\"passport\",\"x5u\":\"{x5u}\"}}")
}

/// The payload, in the same manner. Numbers and UUIDs need no escaping either.
pub(crate) fn write_payload(
    origin: Option<(Attest, &str)>,
    div: Option<&Number>,
    dest: &[Number],
    iat: u64,
    orig: &Number,
) -> String {
    let mut text = String::from("{");
    if let Some((attest, _)) = origin {
        let _ = write!(text, "\"attest\":\"{}\",", attest.as_str());
    }
    let dest: Vec<String> = dest
        .iter()
        .map(|number| format!("\"{}\"", number.digits()))
        .collect();
    let _ = write!(text, "\"dest\":{{\"tn\":[{}]}},", dest.join(","));
    if let Some(div) = div {
        let _ = write!(text, "\"div\":{{\"tn\":\"{}\"}},", div.digits());
    }
    let _ = write!(
        text,
        "\"iat\":{iat},\"orig\":{{\"tn\":\"{}\"}}",
        orig.digits()
    );
    if let Some((_, origid)) = origin {
        let _ = write!(text, ",\"origid\":\"{origid}\"");
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::object;

    fn read(kind: Kind, text: &str) -> Result<Claims, Refusal> {
        Claims::read(kind, &object(text.as_bytes()).unwrap())
    }

    #[test]
    fn claims_of_the_wrong_type_are_refused() {
        let good = r#"{"attest":"A","dest":{"tn":["12025550101"]},"iat":1780000000,"orig":{"tn":"12025550100"},"origid":"6513270e-269e-4d37-b2a7-4de452e6b438"}"#;
        assert!(read(Kind::Shaken, good).is_ok());
        for (part, instead) in [
            (r#""A""#, r#""D""#),
            (r#""A""#, r#""a""#),
            (r#""A""#, "1"),
            (r#"["12025550101"]"#, "[]"),
            (r#"["12025550101"]"#, r#""12025550101""#),
            (r#"["12025550101"]"#, r#"["+12025550101"]"#),
            (r#"["12025550101"]"#, "[12025550101]"),
            ("1780000000", "1780000000.5"),
            ("1780000000", "-1"),
            ("1780000000", "\"1780000000\""),
            ("1780000000", "1e30"),
            (
                r#"{"tn":"12025550100"}"#,
                r#"{"tn":"12025550100","uri":"sip:x@y"}"#,
            ),
            (r#"{"tn":"12025550100"}"#, r#"{"uri":"sip:x@y"}"#),
            (r#"{"tn":"12025550100"}"#, r#"{"tn":"1 202 555 0100"}"#),
            ("6513270e-", "6513270e"),
            ("6513270e", "g513270e"),
            ("6513270e-269e", "6513270-e269e"),
        ] {
            let text = good.replace(part, instead);
            assert_ne!(text, good, "{part}");
            assert!(read(Kind::Shaken, &text).is_err(), "{text}");
        }
        assert!(read(Kind::Div, good).is_err());
        assert!(read(Kind::Rcd, good).is_err());
    }

    #[test]
    fn claims_are_written_in_the_order_of_the_standard() {
        let number = |text| Number::canonical(text).unwrap();
        let text = write_payload(
            Some((Attest::B, "6513270e-269e-4d37-b2a7-4de452e6b438")),
            None,
            &[number("12025550101"), number("12025550102")],
            7,
            &number("12025550100"),
        );
        assert_eq!(
            text,
            r#"{"attest":"B","dest":{"tn":["12025550101","12025550102"]},"iat":7,"orig":{"tn":"12025550100"},"origid":"6513270e-269e-4d37-b2a7-4de452e6b438"}"#
        );
        assert!(read(Kind::Shaken, &text).is_ok());
        let text = write_payload(
            None,
            Some(&number("12025550101")),
            &[number("12025550102")],
            7,
            &number("12025550100"),
        );
        assert_eq!(
            text,
            r#"{"dest":{"tn":["12025550102"]},"div":{"tn":"12025550101"},"iat":7,"orig":{"tn":"12025550100"}}"#
        );
        assert!(read(Kind::Div, &text).is_ok());
    }

    #[test]
    fn a_header_is_written_as_in_rfc_8225() {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        // RFC 8225 appendix A.1: for the writing only, its signature does not verify.
        let printed = "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9jZXJ0LmV4YW1wbGUub3JnL3Bhc3Nwb3J0LmNlciJ9";
        assert_eq!(
            URL_SAFE_NO_PAD.encode(write_header(None, "https://cert.example.org/passport.cer")),
            printed
        );
    }

    #[test]
    fn freshness_is_a_minute_both_ways() {
        let claims = |iat: u64| {
            read(Kind::Div, &format!(r#"{{"dest":{{"tn":["1"]}},"div":{{"tn":"2"}},"iat":{iat},"orig":{{"tn":"3"}}}}"#)).unwrap()
        };
        for (iat, fresh) in [
            (1000, true),
            (940, true),
            (1060, true),
            (939, false),
            (1061, false),
            (0, false),
            (u64::MAX, false),
        ] {
            assert_eq!(claims(iat).is_fresh(1000), fresh, "{iat}");
        }
    }
}

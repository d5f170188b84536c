//! A PASSporT (RFC 8225): the token of an Identity header, read as far as it goes without a key.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::claims::{Claims, write_header, write_payload};
use crate::identity::{Identity, Kind};
use crate::verdict::{Reason, Refusal};
use crate::verify::Known;
use crate::{Address, Number, json};

/// A token of which nothing is proved yet.
pub(crate) struct Passport {
    pub(crate) kind: Kind,
    /// Where the certificate is said to be. Not yet known to be an address that may be fetched.
    pub(crate) x5u: String,
    pub(crate) claims: Claims,
    /// What is signed: header and payload as they were sent (RFC 7515 §5.2).
    pub(crate) signed: String,
    pub(crate) signature: Vec<u8>,
}

/// What the compact form leaves out, as the rest of the SIP message gives it (RFC 8225 §7).
pub(crate) struct Rest<'a> {
    pub(crate) orig: Option<&'a Number>,
    pub(crate) dest: Option<&'a Number>,
    pub(crate) known: Option<&'a Known>,
}

impl Passport {
    pub(crate) fn read(identity: &Identity<'_>, rest: &Rest<'_>) -> Result<Self, Refusal> {
        // Nothing is negotiated: RFC 8225 §4 and RFC 8588 §3 leave one algorithm.
        if identity.alg.is_some_and(|alg| alg != "ES256") {
            return Err(malformed("the parameter alg is not ES256"));
        }
        let [protected, payload, signature] = identity.parts;
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| malformed("the signature is not base64url"))?;
        let signed = match (protected, payload) {
            ("", "") => rebuild(identity, rest)?,
            _ => format!("{protected}.{payload}"),
        };
        let object = |part: Option<&str>| json::object(&URL_SAFE_NO_PAD.decode(part?).ok()?);
        let mut parts = signed.split('.');
        let protected = object(parts.next()).ok_or(malformed(
            "the token's header is no JSON object in base64url",
        ))?;
        let payload = object(parts.next()).ok_or(malformed(
            "the token's payload is no JSON object in base64url",
        ))?;
        let is =
            |name: &str, value: &str| protected.get(name).and_then(Value::as_str) == Some(value);
        if !is("alg", "ES256") {
            return Err(malformed("the algorithm is not ES256"));
        }
        if !is("typ", "passport") {
            return Err(malformed("the type is not passport"));
        }
        if !is("ppt", identity.kind.name()) {
            return Err(malformed("the kind in the token is not that of the header"));
        }
        // What has to be understood and is not (RFC 7515 §4.1.11).
        if protected.contains_key("crit") {
            return Err(malformed("the token asks for an extension"));
        }
        if !is("x5u", identity.info) {
            return Err(malformed(
                "the address in the token is not that of the header",
            ));
        }
        let claims = Claims::read(identity.kind, &payload)?;
        Ok(Self {
            kind: identity.kind,
            x5u: identity.info.to_owned(),
            claims,
            signed,
            signature,
        })
    }

    /// The number that the certificate has to be for: who diverts signs for the number diverted from
    /// (RFC 8946 §4.1), who originates for the calling one.
    pub(crate) fn signer(&self) -> &Number {
        self.claims.div.as_ref().unwrap_or(&self.claims.orig)
    }
}

/// Header and payload of the compact form. Only `shaken` can be rebuilt, and only if the network says
/// elsewhere what it attests to; where a call was diverted from and what is displayed stands nowhere
/// else.
fn rebuild(identity: &Identity<'_>, rest: &Rest<'_>) -> Result<String, Refusal> {
    let missing =
        malformed("the token is in the compact form, and what it leaves out is not known");
    let (Kind::Shaken, Some(orig), Some(dest), Some(known)) =
        (identity.kind, rest.orig, rest.dest, rest.known)
    else {
        return Err(missing);
    };
    if !crate::claims::is_uuid(&known.origid) {
        return Err(missing);
    }
    // Into JSON goes only an address of which no character has to be escaped.
    let address = Address::read(identity.info).map_err(|_| {
        Refusal::new(
            Reason::Address,
            "the certificate's address may not be fetched",
        )
    })?;
    let header = write_header(Some(identity.kind.name()), address.as_str());
    let payload = write_payload(
        Some((known.attest, &known.origid)),
        None,
        std::slice::from_ref(dest),
        known.iat,
        orig,
    );
    Ok(format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    ))
}

fn malformed(why: &'static str) -> Refusal {
    Refusal::new(Reason::Malformed, why)
}

//! The programs that may ask, and how they say who they are.

use std::path::PathBuf;

use axum::{body::Bytes, http::{HeaderMap, header}};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_core::{secret::Secret, time::{Span, Timestamp}};
use countersign_store::{Commit, CommitError, Guard};
use jsonwebtoken::{Algorithm, DecodingKey, jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet}};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{AUTHORIZE, DEVICE, Form, OAuth, OAuthError, TOKEN, keys::signature_only};
use crate::{config::Severity, outbox::http::endpoint, runner::Runner};

/// What a program may sign with. No symmetric ones: a public key must never pass for a secret.
pub const ALGORITHMS: [Algorithm; 4] = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::PS256, Algorithm::RS256];
/// Clocks of two machines may differ by so much.
const LEEWAY: Span = Span::seconds(30);
/// Longest life of what a program signs, so that it need not be remembered for longer.
const LONGEST: Span = Span::minutes(5);

/// How a program may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// For a customer whom it names (OpenID CIBA).
    Ciba,
    /// For whoever types its code (RFC 8628).
    Device,
}

/// How a program learns of the decision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// It asks again and again.
    #[default]
    Poll,
    /// We tell it that there is one, and it asks once.
    Ping,
}

/// `[[oauth_clients]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientSettings {
    /// Its name on the wire and in the record.
    pub id: String,
    /// What the customer knows it by.
    pub name: String,
    /// SHA-256 of its secret in hexadecimal: the secret itself is not kept here.
    pub secret_sha256: Option<String>,
    /// A file with its public keys (RFC 7517): it then signs who it is (`private_key_jwt`).
    pub jwks_file: Option<PathBuf>,
    /// How it may ask.
    pub grants: Vec<Grant>,
    /// How it learns of the decision.
    #[serde(default)]
    pub delivery: Delivery,
    /// Where it is told, in ping mode.
    pub notification_endpoint: Option<String>,
    /// It has the caller say or key their PIN first (CIBA §7.1 `user_code`).
    #[serde(default)]
    pub require_user_code: bool,
    /// Customers it may name per hour who are none of ours, before it is not heard.
    #[serde(default = "unknown_per_hour")]
    pub unknown_per_hour: u32,
    /// Requests per hour.
    #[serde(default = "requests_per_hour")]
    pub requests_per_hour: u32,
}

fn unknown_per_hour() -> u32 { 60 }
fn requests_per_hour() -> u32 { 3600 }

/// What is wrong with a client's settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("oauth_clients.{setting} of {client}: {text}")]
pub struct ClientError {
    /// Whose.
    pub client: String,
    /// Which setting.
    pub setting: &'static str,
    /// What is the matter and what to do.
    pub text: String,
}

/// A program that may ask.
pub(super) struct Client {
    pub(super) settings: ClientSettings,
    pub(super) notify: Option<reqwest::Url>,
    keys: Vec<ClientKey>,
}

struct ClientKey {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// All clients, each under a name of its own.
pub(super) fn load(settings: &[ClientSettings]) -> Result<Vec<Client>, ClientError> {
    let mut out: Vec<Client> = Vec::new();
    for s in settings {
        if out.iter().any(|c| c.settings.id == s.id) {
            return Err(problem(s, "id", "is there twice"));
        }
        out.push(Client::load(s)?);
    }
    Ok(out)
}

fn problem(s: &ClientSettings, setting: &'static str, text: impl Into<String>) -> ClientError {
    ClientError { client: s.id.clone(), setting, text: text.into() }
}

impl Client {
    fn load(s: &ClientSettings) -> Result<Self, ClientError> {
        let bad = |setting, text: &str| Err(problem(s, setting, text));
        // The id is part of counters' names and of the record.
        if s.id.is_empty() || s.id.len() > 64 || !s.id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return bad("id", "must be 1 to 64 letters, digits, dots, dashes or underscores");
        }
        if s.name.trim().is_empty() || s.name.chars().count() > 60 || s.name.chars().any(char::is_control) {
            return bad("name", "must be 1 to 60 printable characters: customers read it");
        }
        if s.grants.is_empty() {
            return bad("grants", "is empty: write [\"ciba\"], [\"device\"] or both");
        }
        let keys = match (&s.secret_sha256, &s.jwks_file) {
            (Some(hash), None) if hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => Vec::new(),
            (Some(_), None) => return bad("secret_sha256", "is not 64 hexadecimal digits: printf %s SECRET | sha256sum"),
            (None, Some(file)) => public_keys(file).map_err(|text| problem(s, "jwks_file", text))?,
            _ => return bad("secret_sha256 / jwks_file", "write one of them, not both"),
        };
        let notify = match (s.delivery, &s.notification_endpoint) {
            (Delivery::Poll, None) => None,
            (Delivery::Poll, Some(_)) => return bad("notification_endpoint", "is for delivery = \"ping\""),
            (Delivery::Ping, None) => return bad("notification_endpoint", "is missing: ping has to reach the program somewhere"),
            (Delivery::Ping, Some(text)) => Some(endpoint("notification_endpoint", text).map_err(|e| problem(s, "notification_endpoint", e.to_string()))?),
        };
        if s.unknown_per_hour == 0 || s.requests_per_hour == 0 {
            return bad("unknown_per_hour / requests_per_hour", "is zero: nothing would be taken. Leave the client out instead");
        }
        Ok(Self { settings: s.clone(), notify, keys })
    }

    /// Whether it may ask in this way.
    pub(super) fn may(&self, grant: Grant) -> Result<(), OAuthError> {
        let listed = self.settings.grants.contains(&grant);
        if listed { Ok(()) } else { Err(OAuthError::new("unauthorized_client", "this client is not configured for this grant")) }
    }

    /// The claims of something that this program signed.
    pub(super) fn signed(&self, token: &str) -> Option<Value> { signed(&self.keys, token) }
}

fn signed(keys: &[ClientKey], token: &str) -> Option<Value> {
    let header = jsonwebtoken::decode_header(token).ok().filter(|h| h.crit.is_none())?;
    let fits = |k: &&ClientKey| k.algorithms.contains(&header.alg) && header.kid.as_ref().is_none_or(|kid| k.kid.as_ref().is_none_or(|own| own == kid));
    keys.iter().filter(fits).find_map(|k| jsonwebtoken::decode(token, &k.key, &signature_only(header.alg)).ok()).map(|t| t.claims)
}

/// The claims of a token, if one of these keys signed it: for broken input.
pub(crate) fn signed_by(keys: &str, token: &str) -> Option<Value> { signed(&keys_of(keys, "it").ok()?, token) }

/// Reads public keys that are good enough; others in the same file are left aside.
fn public_keys(file: &std::path::Path) -> Result<Vec<ClientKey>, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
    keys_of(&text, &file.display().to_string())
}

/// `from`: what messages call it.
fn keys_of(text: &str, from: &str) -> Result<Vec<ClientKey>, String> {
    let shape = |_| format!("{from} is no key set: write {{\"keys\":[…]}} (RFC 7517)");
    let raw: Value = serde_json::from_str(text).map_err(shape)?;
    let private = raw.get("keys").and_then(Value::as_array).is_some_and(|keys| keys.iter().any(|k| ["d", "k", "p", "q"].iter().any(|part| k.get(part).is_some())));
    if private {
        return Err(format!("{from} holds a private or shared key: only public keys belong here. Make new ones, these were shown"));
    }
    let set: JwkSet = serde_json::from_value(raw).map_err(shape)?;
    let keys: Vec<ClientKey> = set.keys.iter().filter_map(public_key).collect();
    if keys.is_empty() {
        return Err(format!("{from} has no key that can be used: P-256, Ed25519, or RSA of 2048 bits or more"));
    }
    Ok(keys)
}

fn public_key(jwk: &Jwk) -> Option<ClientKey> {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let fits: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(p) if p.curve == EllipticCurve::P256 => &[Algorithm::ES256],
        AlgorithmParameters::OctetKeyPair(p) if p.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        AlgorithmParameters::RSA(p) if URL_SAFE_NO_PAD.decode(&p.n).is_ok_and(|n| n.iter().skip_while(|b| **b == 0).count() >= 256) => &[Algorithm::RS256, Algorithm::PS256],
        _ => return None,
    };
    if jwk.common.public_key_use.as_ref().is_some_and(|u| *u != jsonwebtoken::jwk::PublicKeyUse::Signature) {
        return None;
    }
    let algorithms: Vec<Algorithm> = match jwk.common.key_algorithm {
        None => fits.to_vec(),
        Some(named) => fits.iter().copied().filter(|a| jsonwebtoken::jwk::KeyAlgorithm::from(*a) == named).collect(),
    };
    let key = DecodingKey::from_jwk(jwk).ok().filter(|_| !algorithms.is_empty())?;
    Some(ClientKey { kid: jwk.common.key_id.clone(), algorithms, key })
}

/// What `doctor` says of the clients.
pub fn examine(clients: &[ClientSettings], say: &mut impl FnMut(Severity, &str, String)) {
    for (i, s) in clients.iter().enumerate() {
        if clients.iter().take(i).any(|c| c.id == s.id) {
            say(Severity::Missing, "oauth_clients.id", format!("{} is there twice", s.id));
        }
        if let Err(e) = Client::load(s) {
            say(Severity::Missing, &format!("oauth_clients.{}", e.setting), format!("of {}: {}", e.client, e.text));
        }
        if s.notification_endpoint.as_deref().is_some_and(|url| url.starts_with("http://")) {
            say(Severity::Unsafe, "oauth_clients.notification_endpoint", format!("of {} is not https: only for tests on this machine", s.id));
        }
        if s.secret_sha256.is_some() {
            say(Severity::Note, "oauth_clients.secret_sha256", format!("{} shows a secret with every request; with jwks_file it would sign instead (FAPI-CIBA asks for that)", s.id));
        }
    }
}

/// Why a program was not let in is told to nobody: it would help to guess names and secrets.
fn refused() -> OAuthError { OAuthError::new("invalid_client", "the client is unknown, or did not prove that it is the one it names") }

/// Which program asks. It says so in exactly one way, and in the one that it is configured for.
pub(super) async fn authenticate<'a>(runner: &Runner, oauth: &'a OAuth, headers: &HeaderMap, body: &Bytes) -> Result<(&'a Client, Form), OAuthError> {
    let basic = headers.get(header::AUTHORIZATION).map(|v| v.to_str().ok().and_then(basic).ok_or_else(refused)).transpose()?;
    let form = Form::parse(headers, body)?;
    Ok((identify(runner, oauth, basic, &form).await?, form))
}

async fn identify<'a>(runner: &Runner, oauth: &'a OAuth, basic: Option<(String, Secret)>, form: &Form) -> Result<&'a Client, OAuthError> {
    let find = |id: &str| oauth.clients.iter().find(|c| c.settings.id == id);
    match (basic, form.secret("client_secret"), form.get("client_assertion")) {
        (Some((id, secret)), None, None) => {
            if form.get("client_id").is_some_and(|named| named != id) {
                return Err(refused());
            }
            by_secret(runner, find(&id), &secret)
        }
        (None, Some(secret), None) => by_secret(runner, form.get("client_id").and_then(find), secret),
        (None, None, Some(assertion)) => {
            if form.get("client_assertion_type") != Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer") {
                return Err(OAuthError::invalid("client_assertion_type must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
            }
            by_signature(runner, oauth, assertion, form.get("client_id")).await
        }
        (None, None, None) => Err(refused()),
        _ => Err(OAuthError::invalid("the client says in two ways who it is: use one")),
    }
}

/// RFC 6749 §2.3.1: name and secret are form-encoded before they are joined.
fn basic(value: &str) -> Option<(String, Secret)> {
    let (scheme, rest) = value.split_once(' ')?;
    let text = zeroize::Zeroizing::new(STANDARD.decode(rest.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?);
    let (id, secret) = std::str::from_utf8(&text).ok()?.split_once(':')?;
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8().map(|t| t.into_owned()).ok();
    Some((decode(id)?, Secret::new(decode(secret)?)))
}

fn by_secret<'a>(runner: &Runner, client: Option<&'a Client>, secret: &Secret) -> Result<&'a Client, OAuthError> {
    let given = hex::encode(Sha256::digest(secret.expose().as_bytes()));
    let known = client.and_then(|c| c.settings.secret_sha256.as_ref()).map(|h| h.to_lowercase());
    let same = known.is_some_and(|known| bool::from(known.as_bytes().ct_eq(given.as_bytes())));
    client.filter(|_| same).ok_or_else(|| {
        // Not locked: a stranger would lock the program out. A secret of 256 bits is not guessed;
        // that somebody tries is to be seen.
        runner.metrics.turn_away("client_secret");
        refused()
    })
}

/// `private_key_jwt` (RFC 7523 §3, OpenID Connect Core §9): meant for us alone, short-lived, and
/// taken once.
async fn by_signature<'a>(runner: &Runner, oauth: &'a OAuth, assertion: &str, named: Option<&str>) -> Result<&'a Client, OAuthError> {
    // Whose key to check with is read before anything is believed.
    let claimed: Value = jsonwebtoken::dangerous::insecure_decode_claims(assertion).map_err(|_| refused())?;
    let id = claimed.get("sub").and_then(Value::as_str).ok_or_else(refused)?;
    let client = oauth.clients.iter().find(|c| c.settings.id == id && named.is_none_or(|n| n == id)).ok_or_else(refused)?;
    let claims = client.signed(assertion).ok_or_else(refused)?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(id) || text("sub") != Some(id) || !meant_for_us(oauth, &claims) {
        return Err(refused());
    }
    let (until, now) = (fresh(&claims, runner.now()).ok_or_else(refused)?, runner.now());
    let jti = text("jti").filter(|jti| !jti.is_empty()).ok_or_else(refused)?;
    let key = format!("oauth-jti/{id}/{}", hex::encode(Sha256::digest(jti.as_bytes())));
    let guards = vec![Guard::Once { key, expires: Some((until + LEEWAY + LEEWAY).0) }];
    match runner.store.commit(Commit { now: now.0, guards, ..Commit::default() }).await {
        Ok(_) => Ok(client),
        Err(CommitError::Denied(_)) => Err(refused()),
        Err(e) => Err(e.into()),
    }
}

/// Every audience is us: what was signed for others as well, they could use here.
pub(super) fn meant_for_us(oauth: &OAuth, claims: &Value) -> bool {
    let ours = |aud: &Value| aud.as_str().is_some_and(|a| a == oauth.issuer || [TOKEN, AUTHORIZE, DEVICE].iter().any(|path| a == oauth.url(path)));
    match claims.get("aud") {
        Some(Value::Array(list)) => !list.is_empty() && list.iter().all(ours),
        Some(one) => ours(one),
        None => false,
    }
}

/// Until when a signed statement holds, if it holds now and for a short time only.
pub(super) fn fresh(claims: &Value, now: Timestamp) -> Option<Timestamp> {
    let time = |name: &str| claims.get(name).map(|v| seconds(v).ok_or(())).transpose();
    let (exp, iat, nbf) = (time("exp").ok()??, time("iat").ok()?, time("nbf").ok()?);
    let in_time = exp + LEEWAY > now && exp <= now + LONGEST + LEEWAY && [iat, nbf].into_iter().flatten().all(|at| at <= now + LEEWAY);
    in_time.then_some(exp)
}

/// A time as JWTs write it: seconds, perhaps with a fraction.
pub(super) fn seconds(value: &Value) -> Option<Timestamp> {
    let whole = match value.as_i64() {
        Some(n) => n,
        None => value.as_f64().filter(|f| f.is_finite() && f.abs() < 1e12).and_then(|f| format!("{:.0}", f.trunc()).parse().ok())?,
    };
    (whole.abs() < 1_000_000_000_000).then(|| Timestamp(whole * 1000))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{encoding::AsDer, rand::SystemRandom, rsa, signature::Ed25519KeyPair};
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;

    use super::*;

    fn settings(text: &str) -> ClientSettings { toml::from_str(&format!("id = \"till\"\nname = \"The till\"\n{text}")).unwrap() }

    fn refuses(text: &str) -> &'static str { Client::load(&settings(text)).err().map_or("nothing", |e| e.setting) }

    fn key_file(keys: &Value) -> PathBuf {
        let name = hex::encode(Sha256::digest(keys.to_string().as_bytes()));
        let file = std::env::temp_dir().join(format!("countersign-keys-{}-{name}.json", std::process::id()));
        std::fs::write(&file, json!({ "keys": keys }).to_string()).unwrap();
        file
    }

    fn with_keys(keys: &Value) -> Result<Client, ClientError> {
        let file = key_file(keys);
        let client = Client::load(&settings(&format!("jwks_file = {:?}\ngrants = [\"ciba\"]", file.display().to_string())));
        std::fs::remove_file(file).unwrap();
        client
    }

    #[test]
    fn bad_settings_are_named() {
        let secret = format!("secret_sha256 = \"{}\"", "a".repeat(64));
        assert_eq!(refuses(&format!("{secret}\ngrants = [\"ciba\", \"device\"]")), "nothing");
        for (text, setting) in [
            (format!("{secret}\ngrants = []"), "grants"),
            ("secret_sha256 = \"abc\"\ngrants = [\"ciba\"]".into(), "secret_sha256"),
            ("grants = [\"ciba\"]".into(), "secret_sha256 / jwks_file"),
            (format!("{secret}\njwks_file = \"x\"\ngrants = [\"ciba\"]"), "secret_sha256 / jwks_file"),
            ("jwks_file = \"/nowhere/keys.json\"\ngrants = [\"ciba\"]".into(), "jwks_file"),
            (format!("{secret}\ngrants = [\"ciba\"]\ndelivery = \"ping\""), "notification_endpoint"),
            (format!("{secret}\ngrants = [\"ciba\"]\nnotification_endpoint = \"https://a.example/x\""), "notification_endpoint"),
            (format!("{secret}\ngrants = [\"ciba\"]\ndelivery = \"ping\"\nnotification_endpoint = \"http://a.example/x\""), "notification_endpoint"),
            (format!("{secret}\ngrants = [\"ciba\"]\ndelivery = \"ping\"\nnotification_endpoint = \"https://u:p@a.example/x\""), "notification_endpoint"),
            (format!("{secret}\ngrants = [\"ciba\"]\nunknown_per_hour = 0"), "unknown_per_hour / requests_per_hour"),
        ] {
            assert_eq!(refuses(&text), setting, "{text}");
            let mut said = Vec::new();
            examine(&[settings(&text)], &mut |severity, setting, _| said.push((severity, setting.to_owned())));
            assert!(said.contains(&(Severity::Missing, format!("oauth_clients.{setting}"))), "{said:?}");
        }
        let twice = settings(&format!("{secret}\ngrants = [\"ciba\"]"));
        assert_eq!(load(&[twice.clone(), twice]).err().map(|e| e.setting), Some("id"));
        assert!(toml::from_str::<ClientSettings>("id = \"a\"\nname = \"b\"\ngrants = [\"ciba\"]\nsecret = \"shown\"").is_err(), "a secret in clear is no setting");
    }

    #[test]
    fn keys_that_are_too_weak_shared_or_private_are_refused() {
        let modulus = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![0xff; bytes]);
        for bad in [
            json!([]),
            json!([{ "kty": "oct", "k": "c2VjcmV0" }]),
            json!([{ "kty": "RSA", "n": modulus(128), "e": "AQAB" }]),
            json!([{ "kty": "RSA", "n": modulus(256), "e": "AQAB", "d": "AQAB" }]),
            json!([{ "kty": "RSA", "n": modulus(256), "e": "AQAB", "use": "enc" }]),
            json!([{ "kty": "RSA", "n": modulus(256), "e": "AQAB", "alg": "RS512" }]),
            json!([{ "kty": "EC", "crv": "P-384", "x": modulus(48), "y": modulus(48) }]),
        ] {
            assert_eq!(with_keys(&bad).err().map(|e| e.setting), Some("jwks_file"), "{bad}");
        }
    }

    /// A key counts for its own algorithms, and for no other kind.
    #[test]
    fn every_algorithm_that_is_named_is_taken() {
        let edwards = Ed25519KeyPair::generate().unwrap();
        let edwards_key = EncodingKey::from_ed_der(edwards.to_pkcs8v1().unwrap().as_ref());
        let mut edwards_public = Jwk::from_encoding_key(&edwards_key, Algorithm::EdDSA).unwrap();
        edwards_public.common.key_id = Some("ed".into());
        let rsa = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = rsa.as_der().unwrap();
        // PKCS#8 is PKCS#1 in a wrapper of 26 bytes; the library wants what is inside.
        let rsa_key = EncodingKey::from_rsa_der(&der.as_ref()[26..]);
        let mut rsa_public = Jwk::from_encoding_key(&rsa_key, Algorithm::RS256).unwrap();
        rsa_public.common.key_algorithm = None;
        let client = with_keys(&json!([edwards_public, rsa_public])).unwrap();
        let sign = |alg, key| jsonwebtoken::encode(&Header::new(alg), &json!({ "sub": "till" }), key).unwrap();
        for (alg, key) in [(Algorithm::EdDSA, &edwards_key), (Algorithm::RS256, &rsa_key), (Algorithm::PS256, &rsa_key)] {
            assert!(client.signed(&sign(alg, key)).is_some(), "{alg:?}");
        }
        assert!(client.signed(&sign(Algorithm::RS512, &rsa_key)).is_none(), "not one of ours");
        let _ = SystemRandom::new();
    }

    #[test]
    fn names_and_secrets_are_decoded_as_forms_are() {
        let header = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let (id, secret) = basic(&header("till%3A1:a%2Bb+c")).unwrap();
        assert_eq!((id.as_str(), secret.expose()), ("till:1", "a+b c"));
        for bad in ["Bearer abc", "Basic", "Basic !!!", &header("no colon")] {
            assert!(basic(bad).is_none(), "{bad}");
        }
    }
}

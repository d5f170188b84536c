//! The company's own OpenID provider, as its client: discovery and keys, kept for an hour and asked
//! for anew when a signature needs a key we have not seen; the token endpoint; ID tokens. Nothing is
//! believed that was not signed by it, for us, and lately (OpenID Connect Core §3.1.3.7).

use std::{
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine, prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD}};
use countersign_core::{secret::Secret, time::{Span, Timestamp}};
use openidconnect::{
    ClientId, ClientSecret, IssuerUrl, Nonce, SignatureVerificationError, ClaimsVerificationError,
    core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm as Alg},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Url, header};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::outbox::{
    http::{Answer, Failure, client, endpoint, exchange},
    provider::{Clock, SetupError},
};

/// Longest time for one request to the provider.
const TIMEOUT: Span = Span::seconds(10);
/// How long what the provider says about itself is believed.
const FRESH: Span = Span::hours(1);
/// Least time between two looks for new keys: a forged token must not make us ask at every try.
const AGAIN: Span = Span::seconds(30);
/// How far clocks may differ.
pub const LEEWAY: Span = Span::seconds(60);
/// Everything but letters, digits and `-._~` (RFC 3986 §2.3).
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How we know the provider, and it us.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Its address: https, or http on this machine.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// Our secret there.
    pub client_secret: Secret,
}

/// Why the provider was of no use. In words for the log; none of the provider's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be reached; nothing was asked.
    #[error("the sign-in provider cannot be reached")]
    Unreachable,
    /// It was asked and did not answer.
    #[error("the sign-in provider did not answer")]
    NoAnswer,
    /// Its answer is not what the standard says.
    #[error("the sign-in provider’s answer cannot be used: {0}")]
    Unusable(&'static str),
    /// It refused: with an error code of the standards, or `other`.
    #[error("the sign-in provider refused: {0}")]
    Refused(&'static str),
    /// The token is not good.
    #[error("the sign-in provider’s statement is not good: {0}")]
    Token(&'static str),
}

impl From<Failure> for ProviderError {
    fn from(f: Failure) -> Self {
        match f { Failure::NotSent => Self::Unreachable, Failure::NoAnswer => Self::NoAnswer }
    }
}

/// Error codes that are told apart (RFC 6749 §4.1.2.1 and §5.2, OpenID Connect Core §3.1.2.6, CIBA
/// Core §11 and §13).
const CODES: [&str; 20] = [
    "access_denied", "login_required", "interaction_required", "consent_required", "account_selection_required", "temporarily_unavailable", "server_error",
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "authorization_pending", "slow_down",
    "expired_token", "unknown_user_id", "invalid_binding_message", "expired_login_hint_token", "transaction_failed",
];

/// A code of the standards, whatever the provider wrote.
pub fn code(said: &str) -> &'static str { CODES.into_iter().find(|c| *c == said).unwrap_or("other") }

/// What the provider says about itself (OpenID Connect Discovery §3).
#[derive(Debug, Clone, Deserialize)]
pub struct Metadata {
    issuer: String,
    /// Where browsers are sent.
    pub authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    /// Where a customer is asked without a browser (CIBA Core §4).
    pub backchannel_authentication_endpoint: Option<String>,
    /// Every answer names its issuer (RFC 9207 §3).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

struct Known {
    metadata: Metadata,
    keys: CoreJsonWebKeySet,
    at: Timestamp,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// What a token endpoint gives.
#[derive(Deserialize)]
struct Tokens {
    id_token: Secret,
}

/// What a good ID token says.
#[derive(Debug)]
pub struct Identity {
    /// The provider's name for the customer.
    pub subject: Secret,
    /// When it was issued.
    pub issued: Timestamp,
    /// How sure the provider is, in its own words.
    pub acr: Option<String>,
    claims: Map<String, Value>,
}

impl Identity {
    /// A claim that is a text or a number.
    pub fn claim(&self, name: &str) -> Option<Secret> {
        match self.claims.get(name)? {
            Value::String(text) => Some(Secret::new(text.clone())),
            Value::Number(number) => Some(Secret::new(number.to_string())),
            _ => None,
        }
    }

    /// Whether the provider says that it saw more than one factor (`amr` holds `mfa`, RFC 8176 §2).
    pub fn two_factors(&self) -> bool {
        self.claims.get("amr").and_then(Value::as_array).is_some_and(|methods| methods.iter().any(|m| m.as_str() == Some("mfa")))
    }
}

/// The provider.
pub struct OpenId {
    registration: Registration,
    issuer: Url,
    http: Client,
    now: Clock,
    known: Mutex<Option<Arc<Known>>>,
}

impl OpenId {
    /// Checks the settings; connects to nothing.
    pub fn new(registration: Registration, now: Clock) -> Result<Self, SetupError> {
        let issuer = endpoint("issuer", &registration.issuer)?;
        if registration.client_id.is_empty() || registration.client_secret.expose().len() < 16 {
            return Err(SetupError::setting("client_secret_file", "must hold the secret that the provider gave us, at least 16 characters"));
        }
        let http = client(&issuer, TIMEOUT)?;
        Ok(Self { registration, issuer, http, now, known: Mutex::default() })
    }

    /// The issuer, as it is configured.
    pub fn issuer(&self) -> &str { &self.registration.issuer }
    /// Our name there.
    pub fn client_id(&self) -> &str { &self.registration.client_id }

    /// Whether this may be called or sent to: https, or http on this machine if the issuer is here.
    fn safe(&self, text: &str) -> Result<Url, ProviderError> {
        let url = endpoint("endpoint", text).map_err(|_| ProviderError::Unusable("an endpoint is not https"))?;
        if url.scheme() == "http" && self.issuer.scheme() != "http" { Err(ProviderError::Unusable("an endpoint is not https")) } else { Ok(url) }
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: Url, what: &'static str) -> Result<T, ProviderError> {
        let answer = exchange(self.http.get(url).header(header::ACCEPT, "application/json")).await?;
        if answer.status.as_u16() != 200 {
            return Err(ProviderError::Unusable(what));
        }
        answer.json().ok_or(ProviderError::Unusable(what))
    }

    /// What is known, not older than `than`.
    async fn known(&self, than: Span) -> Result<Arc<Known>, ProviderError> {
        let now = (self.now)();
        let kept = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(|k| now - k.at < than && now >= k.at);
        if let Some(known) = kept {
            return Ok(known);
        }
        let address = format!("{}/.well-known/openid-configuration", self.registration.issuer.trim_end_matches('/'));
        let metadata: Metadata = self.get(self.safe(&address)?, "no discovery document").await?;
        let keys = self.get(self.usable(&metadata)?, "no keys").await?;
        let known = Arc::new(Known { metadata, keys, at: now });
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        Ok(known)
    }

    /// Where its keys are, if what it says about itself can be used.
    fn usable(&self, metadata: &Metadata) -> Result<Url, ProviderError> {
        // Discovery §4.3: exactly, or another provider speaks for this one.
        if metadata.issuer != self.registration.issuer {
            return Err(ProviderError::Unusable("its discovery document names another issuer than is configured"));
        }
        for url in [&metadata.authorization_endpoint, &metadata.token_endpoint] {
            self.safe(url)?;
        }
        self.safe(&metadata.jwks_uri)
    }

    /// Whose ID token this is, with what a provider is said to have answered: for broken input.
    pub(crate) fn answered(&self, discovery: &str, keys: &str, token: &Secret) -> Option<Identity> {
        let metadata: Metadata = serde_json::from_str(discovery).ok()?;
        self.usable(&metadata).ok()?;
        let known = Known { metadata, keys: serde_json::from_str(keys).ok()?, at: (self.now)() };
        self.look(&known, token, None).ok()
    }

    /// What it says about itself.
    pub async fn metadata(&self) -> Result<Metadata, ProviderError> { Ok(self.known(FRESH).await?.metadata.clone()) }

    /// A form, sent once, with our secret (`client_secret_basic`, RFC 6749 §2.3.1).
    pub(crate) async fn post(&self, to: &str, form: &[(&str, &str)]) -> Result<Answer, ProviderError> {
        let encode = |text: &str| utf8_percent_encode(text, FORM).to_string();
        let login = format!("{}:{}", encode(&self.registration.client_id), encode(self.registration.client_secret.expose()));
        let body = form.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect::<Vec<_>>().join("&");
        let request = self.http.post(self.safe(to)?)
            .header(header::AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(login)))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(body);
        Ok(exchange(request).await?)
    }

    /// What a refusal says.
    pub(crate) fn refusal(answer: &Answer) -> ProviderError {
        match answer.status.as_u16() {
            400..=499 => ProviderError::Refused(answer.json::<Refusal>().map_or("other", |r| code(&r.error))),
            _ => ProviderError::Unusable("it has trouble of its own"),
        }
    }

    /// Trades a grant for an ID token, which is not looked at yet.
    pub async fn token(&self, form: &[(&str, &str)]) -> Result<Secret, ProviderError> {
        let to = self.known(FRESH).await?.metadata.token_endpoint.clone();
        let answer = self.post(&to, form).await?;
        if answer.status.as_u16() != 200 {
            return Err(Self::refusal(&answer));
        }
        answer.json::<Tokens>().map(|t| t.id_token).ok_or(ProviderError::Unusable("no ID token came"))
    }

    /// Looks at an ID token. `nonce`: the one it must carry, if we sent one.
    pub async fn identity(&self, token: &Secret, nonce: Option<&Secret>) -> Result<Identity, ProviderError> {
        let known = self.known(FRESH).await?;
        match self.look(&known, token, nonce) {
            // Keys change: look once more at what they are now.
            Err(ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey | SignatureVerificationError::AmbiguousKeyId(_))) => {
                let known = self.known(AGAIN).await?;
                self.look(&known, token, nonce)
            }
            other => other,
        }.map_err(|e| ProviderError::Token(reason(&e)))
    }

    fn look(&self, known: &Known, token: &Secret, nonce: Option<&Secret>) -> Result<Identity, ClaimsVerificationError> {
        let other = |what: &str| ClaimsVerificationError::Other(what.to_owned());
        let parsed = CoreIdToken::from_str(token.expose()).map_err(|_| other("shape"))?;
        let issuer = IssuerUrl::new(self.registration.issuer.clone()).map_err(|_| other("issuer"))?;
        let now = (self.now)();
        let seconds = u64::try_from(now.0).unwrap_or(0);
        let secret = ClientSecret::new(self.registration.client_secret.expose().to_owned());
        let verifier = CoreIdTokenVerifier::new_confidential_client(ClientId::new(self.registration.client_id.clone()), secret, issuer, known.keys.clone())
            // Public keys only: our shared secret signs nothing, and `none` is no signature.
            .set_allowed_algs([
                Alg::EcdsaP256Sha256, Alg::EcdsaP384Sha384, Alg::EdDsa, Alg::RsaSsaPssSha256, Alg::RsaSsaPssSha384, Alg::RsaSsaPssSha512,
                Alg::RsaSsaPkcs1V15Sha256, Alg::RsaSsaPkcs1V15Sha384, Alg::RsaSsaPkcs1V15Sha512,
            ])
            .set_time_fn(move || (UNIX_EPOCH + Duration::from_millis(seconds)).into());
        let wanted = nonce.map(|n| Nonce::new(n.expose().to_owned()));
        let fits = |said: Option<&Nonce>| match (&wanted, said) {
            (Some(wanted), Some(said)) if Secret::new(said.secret().clone()).ct_eq(&Secret::new(wanted.secret().clone())) => Ok(()),
            (Some(_), _) => Err("nonce".to_owned()),
            (None, _) => Ok(()),
        };
        let claims = parsed.claims(&verifier, fits)?;
        let issued = Timestamp(claims.issue_time().timestamp_millis());
        if issued > now + LEEWAY {
            return Err(other("future"));
        }
        // Its signature held: what it says beside the standard's own claims is read from the same text.
        let body = token.expose().split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
        let map = body.and_then(|b| serde_json::from_slice(&b).ok()).ok_or_else(|| other("shape"))?;
        Ok(Identity {
            subject: Secret::new(claims.subject().as_str()), issued, acr: claims.auth_context_ref().map(|a| a.as_str().to_owned()), claims: map,
        })
    }
}

/// Why a token is not good, without any of its words.
fn reason(e: &ClaimsVerificationError) -> &'static str {
    match e {
        ClaimsVerificationError::Expired(_) => "expired",
        ClaimsVerificationError::InvalidAudience(_) => "made for somebody else",
        ClaimsVerificationError::InvalidIssuer(_) => "of another issuer",
        ClaimsVerificationError::InvalidNonce(_) => "not for this sign-in",
        ClaimsVerificationError::SignatureVerification(_) => "its signature does not hold",
        _ => "not of the right shape",
    }
}

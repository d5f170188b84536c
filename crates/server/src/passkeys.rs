//! Passkeys (WebAuthn level 3): adding one, signing in with one, and signing a transaction during
//! a call. Signatures are verified by `webauthn-rs`; here are the ceremonies around it.
//!
//! What a ceremony began with is kept in the store, sealed under the hash of a random token and
//! bound to the session that began it. It is deleted in the commit that uses it, so no answer
//! counts twice, whatever arrives at the same time.

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign_core::{
    account::{Authenticator, Material, Profile},
    factor::{Attested, FactorKind, Transaction},
    id::{AccountId, AuthenticatorId},
    secret::{Blind, Secret},
    time::{Span, Timestamp},
};
use countersign_store::{Commit, DocWrite, Expect, Guard};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use webauthn_rs::{
    Webauthn, WebauthnBuilder,
    prelude::{Passkey, PasskeyAuthentication, PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential, Url, Uuid},
};

use crate::{
    App,
    portal::commit,
    runner::{Attestor, RunError, Runner, step_key},
    vault::Vault,
    web::WebError,
};

/// The kind under which ceremonies are kept.
pub const CEREMONY: &str = "webauthn";
/// The index that leads from a credential id to its account.
pub const INDEX: &str = "passkey";
/// How long a ceremony may take (WebAuthn §15.1 recommends 5 minutes).
const LIFE: Span = Span::minutes(5);

const REFUSED: &str = "This passkey was not accepted. Try again, or use another way.";

/// What a ceremony is for. An answer to one is no answer to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "purpose")]
enum Purpose {
    Register { account: AccountId },
    SignIn,
    StepUp { account: AccountId },
    Approve { account: AccountId, nonce: String },
}

#[derive(Serialize, Deserialize)]
struct Ceremony {
    purpose: Purpose,
    /// The session, or the cookie of somebody who is about to sign in, in hexadecimal.
    session: String,
    state: Value,
    until: Timestamp,
}

/// A ceremony that began: what the page needs.
#[derive(Debug)]
pub struct Begun {
    /// Names the ceremony in the answer.
    pub token: Secret,
    /// For `navigator.credentials`, binary values in base64url.
    pub options: Value,
}

impl Begun {
    /// As the page gets it.
    pub fn json(&self) -> Value { json!({ "ceremony": self.token.expose(), "options": self.options }) }
}

/// A ceremony that is being answered.
struct Taken {
    id: Vec<u8>,
    version: u64,
    ceremony: Ceremony,
}

impl Taken {
    /// Ends it in a commit of our own: a second one is denied.
    fn spend(&self) -> Spent {
        let key = format!("webauthn/{}", hex::encode(&self.id));
        Spent {
            guards: vec![Guard::Once { key, expires: Some(self.ceremony.until.0) }],
            docs: vec![DocWrite::Delete { kind: CEREMONY, id: self.id.clone() }],
        }
    }

    /// Ends it in the commit of a call: whoever comes second finds another version and conflicts.
    fn spend_docs(&self) -> [DocWrite; 2] {
        let expected = Expect::Version(self.version);
        [
            DocWrite::Put { kind: CEREMONY, id: self.id.clone(), expected, body: Vec::new(), due: None },
            DocWrite::Delete { kind: CEREMONY, id: self.id.clone() },
        ]
    }
}

/// What must go into the commit that uses a ceremony.
#[derive(Debug, Default)]
pub struct Spent {
    /// Conditions.
    pub guards: Vec<Guard>,
    /// Writes.
    pub docs: Vec<DocWrite>,
}

/// A passkey that was just made.
pub struct Registered {
    /// For [`Material::Passkey`].
    pub credential: Secret,
    /// Goes into the same commit.
    pub spent: Spent,
}

/// A signature that holds.
pub struct Verified {
    /// Whose.
    pub account: AccountId,
    /// Which passkey.
    pub authenticator: AuthenticatorId,
    /// The credential with its new count, to be kept.
    pub credential: Secret,
    /// Goes into the same commit.
    pub spent: Spent,
    /// It counts already: one that came with nothing but a web sign-in waits.
    pub counts: bool,
    counter: u32,
}

impl Verified {
    /// Keeps the new count.
    pub fn remember(&self, profile: &mut Profile) {
        for found in profile.authenticators.iter_mut().filter(|a| a.id == self.authenticator) {
            if let Material::Passkey { credential, .. } = &mut found.material {
                credential.clone_from(&self.credential);
            }
        }
    }
}

/// WebAuthn for one address.
pub struct Passkeys {
    webauthn: Webauthn,
    origin: Url,
}

/// Lets calls be approved with passkeys. Called once, where the routes are made.
pub fn install(app: &App) {
    if let Some(passkeys) = Passkeys::of(app) {
        app.runner.attests(FactorKind::Passkey, std::sync::Arc::new(passkeys));
    }
}

impl Passkeys {
    /// For the address where the world reaches us. The relying party is its host; a loopback
    /// address is `localhost`, as no IP address can be one (WebAuthn §5.1.2, "valid domain").
    /// `None`: passkeys do not work at this address.
    pub fn of(app: &App) -> Option<Self> { Self::at(&app.public_url, app.company()) }

    fn at(public_url: &str, company: &str) -> Option<Self> {
        let mut origin = Url::parse(public_url).ok()?;
        let loopback = match origin.host()? {
            url::Host::Ipv4(ip) => ip.is_loopback(),
            url::Host::Ipv6(ip) => ip.is_loopback(),
            url::Host::Domain(_) => false,
        };
        if loopback {
            origin.set_host(Some("localhost")).ok()?;
        }
        let host = origin.domain()?.to_owned();
        // Browsers offer passkeys in secure contexts alone: TLS, or this very machine.
        if origin.scheme() != "https" && host != "localhost" {
            return None;
        }
        let webauthn = WebauthnBuilder::new(&host, &origin).ok()?.rp_name(company).build().ok()?;
        Some(Self { webauthn, origin })
    }

    /// Where a page must be opened for passkeys to work, if it was opened elsewhere: a link without
    /// its scheme, to be followed by a path.
    pub fn elsewhere(&self, host: Option<&str>) -> Option<String> {
        let ours = match self.origin.port() {
            Some(port) => format!("{}:{port}", self.origin.domain().unwrap_or_default()),
            None => self.origin.domain().unwrap_or_default().to_owned(),
        };
        (host != Some(ours.as_str())).then(|| format!("//{ours}"))
    }

    /// Begins to add a passkey: discoverable, with its holder verified, and none of those there are.
    pub async fn start_registration(&self, runner: &Runner, profile: &Profile, session: &[u8]) -> Result<Begun, WebError> {
        let known = on_file(profile).filter_map(|(_, key)| Some(key?.cred_id().clone())).collect();
        let (name, user) = (profile.name.expose(), Uuid::from_bytes(profile.id.0));
        let name = if name.is_empty() { "My account" } else { name };
        let (options, state) = self.webauthn.start_passkey_registration(user, name, name, Some(known)).map_err(broken)?;
        let (mut options, state) = (serde_json::to_value(options)?, serde_json::to_value(state)?);
        // Nobody types a name to sign in: the authenticator has to know whose key it is.
        let selection = options.pointer_mut("/publicKey/authenticatorSelection").and_then(Value::as_object_mut).ok_or_else(reshaped)?;
        selection.insert("residentKey".into(), "required".into());
        selection.insert("requireResidentKey".into(), true.into());
        self.begin(runner, Purpose::Register { account: profile.id }, session, options, state).await
    }

    /// Ends it. The credential is of nobody else, now and for ever.
    pub async fn finish_registration(&self, runner: &Runner, profile: &Profile, session: &[u8], token: &Secret, answer: Value) -> Result<Registered, WebError> {
        let taken = take(runner, token, session).await?.ok_or_else(over)?;
        let mut spent = taken.spend();
        let made = match (&taken.ceremony.purpose, serde_json::from_value::<RegisterPublicKeyCredential>(answer)) {
            (Purpose::Register { account }, Ok(answer)) if *account == profile.id => {
                let state: PasskeyRegistration = serde_json::from_value(taken.ceremony.state.clone())?;
                self.webauthn.finish_passkey_registration(&answer, &state).ok()
            }
            _ => None,
        };
        let Some(made) = made else {
            give_up(runner, spent).await?;
            return Err(WebError::Bad(REFUSED.into()));
        };
        let id = URL_SAFE_NO_PAD.encode(made.cred_id());
        let key = runner.vault.index.blind(INDEX, &id);
        if !runner.store.find(INDEX, key.0, 1).await?.is_empty() {
            give_up(runner, spent).await?;
            return Err(WebError::Bad(REFUSED.into()));
        }
        // WebAuthn §7.1 step 26: no credential id is registered twice, nor at the same time.
        spent.guards.push(Guard::Once { key: format!("passkey/{}", hex::encode(key.0)), expires: None });
        Ok(Registered { credential: Secret::new(serde_json::to_string(&made)?), spent })
    }

    /// Begins to sign in: whoever it will be. `session`: the cookie of this attempt.
    pub async fn start_sign_in(&self, runner: &Runner, session: &[u8]) -> Result<Begun, WebError> {
        let (options, state) = self.ask(&[])?;
        self.begin(runner, Purpose::SignIn, session, options, state).await
    }

    /// Ends it: the authenticator says whose it is, and must be on that very account.
    pub async fn finish_sign_in(&self, runner: &Runner, session: &[u8], token: &Secret, answer: Value) -> Result<Verified, WebError> {
        let taken = take(runner, token, session).await?.ok_or_else(over)?;
        let answer = serde_json::from_value::<PublicKeyCredential>(answer).ok().filter(|_| taken.ceremony.purpose == Purpose::SignIn);
        let account = match &answer {
            Some(answer) => self.owner(runner, answer).await?,
            None => None,
        };
        self.conclude(runner, taken, account, answer).await
    }

    async fn owner(&self, runner: &Runner, answer: &PublicKeyCredential) -> Result<Option<AccountId>, WebError> {
        let id = URL_SAFE_NO_PAD.encode(&answer.raw_id);
        let key = runner.vault.index.blind(INDEX, &id);
        let found = runner.store.find(INDEX, key.0, 2).await?;
        // WebAuthn §7.2 step 6: the user handle is there, and its user owns the credential.
        let handle = answer.get_user_unique_id();
        Ok(match found.as_slice() {
            [one] if handle == Some(one.as_slice()) => Some(AccountId(*one)),
            _ => None,
        })
    }

    /// Begins to confirm a change, signed in.
    pub async fn start_step_up(&self, runner: &Runner, profile: &Profile, session: &[u8]) -> Result<Begun, WebError> {
        let (options, state) = self.ask(&keys(profile, runner.now()))?;
        self.begin(runner, Purpose::StepUp { account: profile.id }, session, options, state).await
    }

    /// Ends it.
    pub async fn finish_step_up(&self, runner: &Runner, account: AccountId, session: &[u8], token: &Secret, answer: Value) -> Result<Verified, WebError> {
        let taken = take(runner, token, session).await?.ok_or_else(over)?;
        let fits = taken.ceremony.purpose == Purpose::StepUp { account };
        let answer = serde_json::from_value(answer).ok().filter(|_| fits);
        let verified = self.conclude(runner, taken, Some(account), answer).await?;
        if verified.counts { Ok(verified) } else { Err(WebError::Bad(REFUSED.into())) }
    }

    async fn conclude(&self, runner: &Runner, taken: Taken, account: Option<AccountId>, answer: Option<PublicKeyCredential>) -> Result<Verified, WebError> {
        let spent = taken.spend();
        let verified = match (account, answer) {
            (Some(account), Some(answer)) => self.verify(runner, account, taken.ceremony.state, &answer).await?,
            _ => None,
        };
        match verified {
            Some(mut verified) => {
                verified.spent.guards.extend(spent.guards);
                verified.spent.docs.extend(spent.docs);
                Ok(verified)
            }
            None => {
                give_up(runner, spent).await?;
                Err(WebError::Bad(REFUSED.into()))
            }
        }
    }

    /// Options and state to ask for a signature of one of these keys; of any key, if there are none.
    fn ask(&self, keys: &[Passkey]) -> Result<(Value, Value), WebError> {
        let (options, state) = self.webauthn.start_passkey_authentication(keys).map_err(broken)?;
        Ok((serde_json::to_value(options)?, serde_json::to_value(state)?))
    }

    /// Verifies a signature against what is on file *now*: a key that was removed meanwhile signs
    /// nothing, and the count to beat is the latest one.
    async fn verify(&self, runner: &Runner, account: AccountId, mut state: Value, answer: &PublicKeyCredential) -> Result<Option<Verified>, RunError> {
        let Some(loaded) = runner.directory.load(account).await? else { return Ok(None) };
        if answer.get_user_unique_id().is_some_and(|handle| handle != account.0) {
            return Ok(None);
        }
        let mut found = on_file(&loaded.profile).filter_map(|(found, key)| Some((found, key?)));
        let Some((found, mut key)) = found.find(|(_, key)| key.cred_id().as_slice() == answer.raw_id.as_slice()) else { return Ok(None) };
        let (authenticator, counts) = (found.id, found.usable_from <= runner.now());
        let kept = serde_json::to_value(&key)?;
        match (state.pointer_mut("/ast/credentials"), kept.get("cred")) {
            (Some(place), Some(credential)) => *place = json!([credential]),
            _ => return Err(RunError::Store("webauthn-rs keeps its state in another shape".into())),
        }
        let state: PasskeyAuthentication = serde_json::from_value(state)?;
        // Checks challenge, origin, relying party, presence, verification, signature and count.
        let Ok(result) = self.webauthn.finish_passkey_authentication(answer, &state) else { return Ok(None) };
        if !result.user_verified() {
            return Ok(None);
        }
        // A count that is kept in the profile may lag behind the one that a call has spent: the
        // step of the store is the one that may only grow. Once there is a count it stays.
        let (counter, step) = (result.counter(), step_key(authenticator));
        let last = runner.store.step(&step).await?;
        if last.is_some_and(|last| u64::from(counter) <= last) {
            return Ok(None);
        }
        let mut spent = Spent { docs: vec![loaded.still()], ..Spent::default() };
        if counter > 0 {
            spent.guards.push(Guard::Step { key: step, value: counter.into() });
        }
        key.update_credential(&result);
        let credential = Secret::new(serde_json::to_string(&key)?);
        Ok(Some(Verified { account, authenticator, credential, spent, counts, counter }))
    }

    async fn begin(&self, runner: &Runner, purpose: Purpose, session: &[u8], options: Value, mut state: Value) -> Result<Begun, WebError> {
        // Keys are read again when the answer comes.
        if let Some(kept) = state.pointer_mut("/ast/credentials") {
            *kept = json!([]);
        }
        let token = runner.vault.token()?;
        let (id, now) = (Vault::token_id(&token), runner.now());
        let ceremony = Ceremony { purpose, session: hex::encode(session), state, until: now + LIFE };
        let body = runner.vault.seal(CEREMONY, &id, &ceremony)?;
        let docs = vec![DocWrite::Put { kind: CEREMONY, id, expected: Expect::New, body, due: Some(ceremony.until.0) }];
        commit(runner, Commit { now: now.0, docs, ..Commit::default() }).await?;
        let options = options.get("publicKey").cloned().ok_or_else(reshaped)?;
        Ok(Begun { token, options })
    }
}

/// Begins to approve a transaction of a call with a passkey. The page gives `options` to
/// `navigator.credentials.get`, and sends back the token and the credential. They reach
/// [`Attestor::attest`] as [`presented`].
///
/// `session` is [`crate::portal::Signed::binding`] of whoever is signed in; that the transaction is
/// of this account is for the caller to check.
pub async fn begin_approval(app: &App, transaction: &Transaction, session: &[u8]) -> Result<(Secret, Value), WebError> {
    let passkeys = Passkeys::of(app).ok_or_else(|| WebError::Bad("Passkeys do not work at this address.".into()))?;
    let runner = &app.runner;
    let loaded = runner.directory.load(transaction.account).await?.ok_or(WebError::NotFound)?;
    let keys = keys(&loaded.profile, runner.now());
    if keys.is_empty() {
        return Err(WebError::Bad("There is no passkey on this account that counts already.".into()));
    }
    let (mut options, mut state) = passkeys.ask(&keys)?;
    let nonce = runner.vault.seed()?;
    let challenge = URL_SAFE_NO_PAD.encode(bound_challenge(&nonce, transaction));
    *options.pointer_mut("/publicKey/challenge").ok_or_else(reshaped)? = Value::String(challenge);
    // The state gets its challenge when the answer comes, from what is asked for then.
    *state.pointer_mut("/ast/challenge").ok_or_else(reshaped)? = Value::String(String::new());
    let purpose = Purpose::Approve { account: transaction.account, nonce: hex::encode(nonce) };
    let begun = passkeys.begin(runner, purpose, session, options, state).await?;
    Ok((begun.token, begun.options))
}

/// The answer to [`begin_approval`] as an [`Attestor`] takes it. The handler says in whose session
/// it came; the browser does not.
pub fn presented(session: &[u8], ceremony: &str, credential: &Value) -> Secret {
    Secret::new(json!({ "ceremony": ceremony, "credential": credential, "session": hex::encode(session) }).to_string())
}

#[derive(Deserialize)]
struct Presented {
    ceremony: Secret,
    credential: Value,
    /// Without it the token alone names the ceremony: 256 bits that one session was given.
    session: Option<String>,
}

/// The challenge of an approval. Whoever signs it signs the hash of the transaction with a nonce
/// that is used once, so that the signature holds for this transaction and for no other.
/// It is computed again from the transaction that the call waits for, never read back.
fn bound_challenge(nonce: &[u8], transaction: &Transaction) -> [u8; 32] {
    Sha256::new().chain_update(nonce).chain_update(transaction.hash()).finalize().into()
}

#[async_trait]
impl Attestor for Passkeys {
    async fn attest(&self, runner: &Runner, asked: &Transaction, presented: &Secret, docs: &mut Vec<DocWrite>) -> Result<Option<Attested>, RunError> {
        let Ok(presented) = serde_json::from_str::<Presented>(presented.expose()) else { return Ok(None) };
        let Some(taken) = load(runner, &presented.ceremony).await? else { return Ok(None) };
        if presented.session.is_some_and(|session| session != taken.ceremony.session) {
            return Ok(None);
        }
        let nonce = match &taken.ceremony.purpose {
            Purpose::Approve { account, nonce } if *account == asked.account => hex::decode(nonce).unwrap_or_default(),
            _ => return Ok(None),
        };
        docs.extend(taken.spend_docs());
        let mut state = taken.ceremony.state;
        let Some(place) = state.pointer_mut("/ast/challenge") else { return Ok(None) };
        *place = Value::String(URL_SAFE_NO_PAD.encode(bound_challenge(&nonce, asked)));
        let Ok(answer) = serde_json::from_value(presented.credential) else { return Ok(None) };
        // The profile is not written here: the core spends the count as `Spend::Step`, which refuses
        // one that does not grow, and `verify` looks at both.
        let verified = self.verify(runner, asked.account, state, &answer).await?;
        Ok(verified.filter(|v| v.counts).map(|v| Attested {
            transaction: asked.hash(), account: v.account, authenticator: v.authenticator, kind: FactorKind::Passkey, counter: v.counter,
        }))
    }
}

fn on_file(profile: &Profile) -> impl Iterator<Item = (&Authenticator, Option<Passkey>)> {
    profile.standing().filter_map(|a| match &a.material {
        Material::Passkey { credential, .. } => Some((a, serde_json::from_str(credential.expose()).ok())),
        _ => None,
    })
}

/// Those that count.
fn keys(profile: &Profile, now: Timestamp) -> Vec<Passkey> { on_file(profile).filter(|(a, _)| a.usable_from <= now).filter_map(|(_, key)| key).collect() }

/// The hashes under which the passkeys of an account lead to it.
pub fn index(authenticators: &[Authenticator], vault: &Vault) -> Vec<(&'static str, Blind)> {
    let ids = authenticators.iter().filter_map(|a| match &a.material {
        Material::Passkey { credential, .. } => serde_json::from_str::<Passkey>(credential.expose()).ok(),
        _ => None,
    });
    ids.map(|key| (INDEX, vault.index.blind(INDEX, &URL_SAFE_NO_PAD.encode(key.cred_id())))).collect()
}

async fn load(runner: &Runner, token: &Secret) -> Result<Option<Taken>, RunError> {
    let id = Vault::token_id(token);
    let Some(doc) = runner.store.doc(CEREMONY, &id).await? else { return Ok(None) };
    let ceremony: Ceremony = runner.vault.unseal(CEREMONY, &id, &doc.body)?;
    Ok((runner.now() < ceremony.until).then_some(Taken { id, version: doc.version, ceremony }))
}

/// The ceremony of this token, if this session began it.
async fn take(runner: &Runner, token: &Secret, session: &[u8]) -> Result<Option<Taken>, RunError> {
    let mine = |t: &Taken| bool::from(t.ceremony.session.as_bytes().ct_eq(hex::encode(session).as_bytes()));
    Ok(load(runner, token).await?.filter(mine))
}

/// An answer that does not hold ends its ceremony as well.
async fn give_up(runner: &Runner, spent: Spent) -> Result<(), WebError> {
    commit(runner, Commit { now: runner.now().0, guards: spent.guards, docs: spent.docs, ..Commit::default() }).await
}

fn over() -> WebError { WebError::Bad("This took too long, or was answered already. Open the page again.".into()) }
fn broken(e: impl std::fmt::Display) -> WebError { WebError::Broken(format!("webauthn: {e}")) }
fn reshaped() -> WebError { WebError::Broken("webauthn-rs keeps its state in another shape".into()) }

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::id::{CallId, ChallengeId};

    #[test]
    fn a_challenge_is_of_one_transaction_and_one_nonce() {
        let transaction = Transaction { call: CallId([1; 16]), challenge: ChallengeId([2; 16]), account: AccountId([3; 16]), action: "change:phone".parse().ok() };
        let challenge = bound_challenge(&[7; 32], &transaction);
        assert_eq!(challenge, bound_challenge(&[7; 32], &transaction));
        assert_ne!(challenge, bound_challenge(&[8; 32], &transaction));
        for other in [
            Transaction { action: None, ..transaction.clone() },
            Transaction { call: CallId([9; 16]), ..transaction.clone() },
            Transaction { challenge: ChallengeId([9; 16]), ..transaction.clone() },
            Transaction { account: AccountId([9; 16]), ..transaction.clone() },
        ] {
            assert_ne!(challenge, bound_challenge(&[7; 32], &other));
        }
    }

    #[test]
    fn the_relying_party_is_a_host_and_never_an_address() {
        let at = |url: &str| Passkeys::at(url, "Juniper & Co");
        let demo = at("http://127.0.0.1:4321").unwrap();
        assert_eq!(demo.elsewhere(Some("127.0.0.1:4321")), Some("//localhost:4321".into()));
        assert_eq!(demo.elsewhere(Some("localhost:4321")), None);
        assert_eq!(at("https://calls.example.com").unwrap().elsewhere(Some("calls.example.com")), None);
        for bad in ["http://calls.example.com", "https://192.0.2.7", "http://192.0.2.7:80", "nowhere", ""] {
            assert!(at(bad).is_none(), "{bad}");
        }
    }
}

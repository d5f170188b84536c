//! Who we are to a push service: a key pair of this installation and signed statements with it
//! (VAPID, RFC 8292). The key is made once and sealed in the store; browsers subscribe under it, so
//! another one would lose all of them.

use aws_lc_rs::{
    agreement::{ECDH_P256, PrivateKey},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use countersign_core::{secret::Secret, time::{Span, Timestamp}};
use countersign_store::{Commit, CommitError, DocWrite, Expect};
use serde::{Deserialize, Serialize};

use crate::{
    runner::{RunError, Runner},
    vault::VaultError,
};

/// The kind under which the key is kept.
pub const VAPID: &str = "vapid";
const ID: &[u8] = b"key";
/// How long a statement is good for: RFC 8292 §2 allows a day, and clocks differ.
const LIFE: Span = Span::hours(12);

/// The key of this installation.
pub struct Vapid {
    pair: EcdsaKeyPair,
    public: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    /// The private scalar in hexadecimal.
    private: Secret,
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
}

fn broken() -> RunError { RunError::Store("the key for push messages cannot be used: remove the document of kind vapid, and browsers have to be set up again".into()) }

impl Vapid {
    /// The key out of the store, made if there is none.
    pub async fn load(runner: &Runner) -> Result<Self, RunError> {
        for _ in 0..8 {
            if let Some(doc) = runner.store.doc(VAPID, ID).await? {
                let stored: Stored = runner.vault.unseal(VAPID, ID, &doc.body)?;
                let mut private = zeroize::Zeroizing::new([0; 32]);
                hex::decode_to_slice(stored.private.expose(), private.as_mut()).map_err(|_| broken())?;
                return Self::new(&private).ok_or_else(broken);
            }
            let private = zeroize::Zeroizing::new(runner.vault.seed()?);
            if Self::new(&private).is_none() {
                continue;
            }
            let body = runner.vault.seal(VAPID, ID, &Stored { private: Secret::new(hex::encode(private.as_ref())) })?;
            let docs = vec![DocWrite::Put { kind: VAPID, id: ID.to_vec(), expected: Expect::New, body, due: None }];
            match runner.store.commit(Commit { now: runner.now().0, docs, ..Commit::default() }).await {
                // Read again either way: another node may have been faster, and its key is the key.
                Ok(_) | Err(CommitError::Conflict) => {}
                Err(CommitError::Busy | CommitError::Closed) => return Err(RunError::Busy),
                Err(e) => return Err(RunError::Store(e.to_string())),
            }
        }
        Err(VaultError::Random("no key came out of it".into()).into())
    }

    /// `None`: these bytes are no private key.
    fn new(private: &[u8; 32]) -> Option<Self> {
        let public = PrivateKey::from_private_key(&ECDH_P256, private).ok()?.compute_public_key().ok()?;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, private, public.as_ref()).ok()?;
        Some(Self { pair, public: public.as_ref().to_vec() })
    }

    /// The public key as browsers want it (`applicationServerKey`).
    pub fn public(&self) -> String { BASE64_URL_SAFE_NO_PAD.encode(&self.public) }

    /// The `Authorization` for a push service (RFC 8292 §3). `None` only if the system gives no
    /// randomness.
    pub fn authorization(&self, audience: &str, subject: Option<&str>, now: Timestamp) -> Option<String> {
        let claims = Claims { aud: audience, exp: (now + LIFE).unix(), sub: subject };
        let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let signed = format!("{}.{}", part(br#"{"typ":"JWT","alg":"ES256"}"#), part(&serde_json::to_vec(&claims).ok()?));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).ok()?;
        Some(format!("vapid t={signed}.{}, k={}", part(signature.as_ref()), self.public()))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    fn b(text: &str) -> Vec<u8> { BASE64_URL_SAFE_NO_PAD.decode(text).unwrap() }

    /// Whether the statement holds under the key beside it, as RFC 8292 §3 puts them into a header.
    fn holds(header: &str) -> bool {
        let (token, key) = header.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, b(key)).verify(signed.as_bytes(), &b(signature)).is_ok()
    }

    /// RFC 8292 §2.4: the example holds, so that what we call a statement is what they call one.
    #[test]
    fn the_statement_of_rfc_8292() {
        let example = "vapid t=eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3NjgsInN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0.i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA, k=BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";
        assert!(holds(example));
        assert!(!holds(&example.replace("i3CYb7", "i3CYb8")));
        // The same claims from us are the same text: only the signature is random.
        let ours = Vapid::new(&[9; 32]).unwrap().authorization("https://push.example.net", Some("mailto:push@example.com"), Timestamp((1_453_523_768 - 43_200) * 1000)).unwrap();
        assert!(holds(&ours));
        assert_eq!(ours.rsplit_once('.').unwrap().0, example.rsplit_once('.').unwrap().0);
    }

    #[test]
    fn a_key_is_a_point_and_zero_is_none() {
        assert!(Vapid::new(&[0; 32]).is_none() && Vapid::new(&[0xff; 32]).is_none());
        let vapid = Vapid::new(&[9; 32]).unwrap();
        assert_eq!((vapid.public.len(), vapid.public[0]), (65, 4));
    }
}

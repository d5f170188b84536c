//! The key that signs tokens, and what it signs.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign_core::secret::Secret;
use countersign_store::{Commit, CommitError, DocWrite, Expect};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    jwk::{Jwk, PublicKeyUse, ThumbprintHash},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::OnceCell;

use super::OAuthError;
use crate::runner::Runner;

const KIND: &str = "oauth-key";
/// One key signs at a time.
const ID: &[u8] = b"es256";

/// The key, once it was needed.
#[derive(Default)]
pub(super) struct Keys(OnceCell<SigningKey>);

/// A key pair on the curve P-256.
pub(super) struct SigningKey {
    kid: String,
    private: EncodingKey,
    verify: DecodingKey,
    /// The public half, as everybody may read it.
    pub(super) public: Jwk,
}

impl Keys {
    /// The key; made at first use. Two nodes that both make one end with the one that was written
    /// first.
    pub(super) async fn signing(&self, runner: &Runner) -> Result<&SigningKey, OAuthError> {
        self.0.get_or_try_init(|| async {
            for _ in 0..4 {
                if let Some(doc) = runner.store.doc(KIND, ID).await? {
                    let text: Secret = runner.vault.unseal(KIND, ID, &doc.body)?;
                    return SigningKey::read(&text);
                }
                let made = SigningKey::make()?;
                let body = runner.vault.seal(KIND, ID, &made)?;
                let docs = vec![DocWrite::Put { kind: KIND, id: ID.to_vec(), expected: Expect::New, body, due: None }];
                match runner.store.commit(Commit { now: runner.now().0, docs, ..Commit::default() }).await {
                    Ok(_) | Err(CommitError::Conflict) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            Err(OAuthError::busy())
        }).await
    }
}

impl SigningKey {
    /// A fresh key as PKCS#8 in base64url.
    fn make() -> Result<Secret, OAuthError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let document = document.map_err(|_| OAuthError::broken("the cryptographic library made no key"))?;
        Ok(Secret::new(URL_SAFE_NO_PAD.encode(document.as_ref())))
    }

    fn read(text: &Secret) -> Result<Self, OAuthError> {
        let broken = |_| OAuthError::broken("the stored signing key cannot be read");
        let der = zeroize::Zeroizing::new(URL_SAFE_NO_PAD.decode(text.expose()).map_err(|_| OAuthError::broken("the stored signing key cannot be read"))?);
        let private = EncodingKey::from_ec_der(&der);
        let mut public = Jwk::from_encoding_key(&private, Algorithm::ES256).map_err(broken)?;
        let kid = public.thumbprint(ThumbprintHash::SHA256).map_err(broken)?;
        let verify = DecodingKey::from_jwk(&public).map_err(broken)?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { kid, private, verify, public })
    }

    /// A signed token of this type.
    pub(super) fn sign<T: Serialize>(&self, typ: &str, claims: &T) -> Result<Secret, OAuthError> {
        let header = Header { typ: Some(typ.into()), kid: Some(self.kid.clone()), ..Header::new(Algorithm::ES256) };
        let signed = jsonwebtoken::encode(&header, claims, &self.private).map_err(|e| OAuthError::broken(&e.to_string()))?;
        Ok(Secret::new(signed))
    }

    /// The claims of a token that we signed. Its times and audience are the caller's to check.
    pub(super) fn ours<T: DeserializeOwned>(&self, typ: &str, token: &str) -> Option<T> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        let fits = header.typ.as_deref() == Some(typ) && header.kid.as_deref() == Some(&self.kid) && header.crit.is_none();
        if !fits {
            return None;
        }
        jsonwebtoken::decode(token, &self.verify, &signature_only(Algorithm::ES256)).ok().map(|t| t.claims)
    }
}

/// Only the signature, under this algorithm and no other: the library would read the machine's own
/// clock, and ours is handed in.
pub(super) fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
    validation
}

//! A browser's push service on this machine, and the browser behind it: it records what comes, and
//! opens it.

use std::sync::{Arc, Mutex};

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey},
    signature,
};
use axum::{Router, body::Bytes, extract::State, http::{HeaderMap, StatusCode, Uri, header}, routing::any};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use countersign_core::account::PushSubscription;
use hkdf::Hkdf;
use serde_json::{Value, json};
use sha2::Sha256;

use super::START;

pub const AUTH: [u8; 16] = *b"sixteen secrets!";

/// What came.
#[derive(Debug, Clone)]
pub struct Knock {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// A status, and headers beside it.
type Told = (StatusCode, Vec<(&'static str, String)>);

/// The service and its browser.
#[derive(Clone)]
pub struct Browser {
    pub origin: String,
    pub knocks: Arc<Mutex<Vec<Knock>>>,
    /// What the service answers.
    pub answer: Arc<Mutex<Told>>,
    private: [u8; 32],
}

async fn knocked(State(browser): State<Browser>, uri: Uri, headers: HeaderMap, body: Bytes) -> (StatusCode, HeaderMap) {
    browser.knocks.lock().unwrap().push(Knock { path: uri.path().to_owned(), headers, body: body.to_vec() });
    let (status, more) = browser.answer.lock().unwrap().clone();
    let more = more.into_iter().map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()));
    (status, more.collect())
}

impl Browser {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let browser = Self { origin, knocks: Arc::default(), answer: Arc::new(Mutex::new((StatusCode::CREATED, Vec::new()))), private: [7; 32] };
        let service = Router::new().fallback(any(knocked)).with_state(browser.clone());
        tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        browser
    }

    pub fn answers(&self, status: u16, more: &[(&'static str, &str)]) {
        *self.answer.lock().unwrap() = (StatusCode::from_u16(status).unwrap(), more.iter().map(|(k, v)| (*k, (*v).to_owned())).collect());
    }

    fn key(&self) -> PrivateKey { PrivateKey::from_private_key(&ECDH_P256, &self.private).unwrap() }

    pub fn public(&self) -> String { BASE64_URL_SAFE_NO_PAD.encode(self.key().compute_public_key().unwrap()) }

    pub fn endpoint(&self) -> String { format!("{}/push/a-long-name", self.origin) }

    /// As `PushSubscription.toJSON()` writes it.
    pub fn json(&self) -> Value { self.json_at(&self.endpoint()) }

    pub fn json_at(&self, endpoint: &str) -> Value {
        json!({ "endpoint": endpoint, "expirationTime": null, "keys": { "p256dh": self.public(), "auth": BASE64_URL_SAFE_NO_PAD.encode(AUTH) } })
    }

    /// As it is on file.
    pub fn on_file(&self, endpoint: &str) -> PushSubscription {
        PushSubscription { endpoint: endpoint.into(), p256dh: self.public().as_str().into(), auth: BASE64_URL_SAFE_NO_PAD.encode(AUTH).as_str().into(), added: START }
    }

    pub fn take(&self) -> Vec<Knock> { std::mem::take(&mut *self.knocks.lock().unwrap()) }

    /// Opens a message (RFC 8291 §3, the receiver's half).
    #[track_caller]
    pub fn open(&self, knock: &Knock) -> Value {
        let (salt, rest) = knock.body.split_at(16);
        assert_eq!(rest[4], 65, "the sender's key comes along");
        let (theirs, record) = rest[5..].split_at(65);
        let mine = self.key();
        let info = [b"WebPush: info\0".as_slice(), mine.compute_public_key().unwrap().as_ref(), theirs].concat();
        let expand = |salt: &[u8], input: &[u8], info: &[u8], n: usize| {
            let mut out = vec![0; n];
            Hkdf::<Sha256>::new(Some(salt), input).expand(info, &mut out).unwrap();
            out
        };
        let input = agreement::agree(&mine, UnparsedPublicKey::new(&ECDH_P256, theirs), (), |shared| Ok(expand(&AUTH, shared, &info, 32))).unwrap();
        let key = expand(salt, &input, b"Content-Encoding: aes128gcm\0", 16);
        let nonce = expand(salt, &input, b"Content-Encoding: nonce\0", 12);
        let mut text = record.to_vec();
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
        let text = key.open_in_place(Nonce::try_assume_unique_for_key(&nonce).unwrap(), Aad::empty(), &mut text).unwrap();
        serde_json::from_slice(text.strip_suffix(&[2]).unwrap()).unwrap()
    }

    /// What the sender says of itself, if its signature holds (RFC 8292): the key, and the claims.
    #[track_caller]
    pub fn sender(&self, knock: &Knock) -> (String, Value) {
        let header = knock.headers["authorization"].to_str().unwrap();
        let (token, key) = header.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
        let (signed, mark) = token.rsplit_once('.').unwrap();
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
        signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, decode(key)).verify(signed.as_bytes(), &decode(mark)).unwrap();
        let (head, claims) = signed.split_once('.').unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&decode(head)).unwrap(), json!({ "typ": "JWT", "alg": "ES256" }));
        (key.to_owned(), serde_json::from_slice(&decode(claims)).unwrap())
    }
}

//! An authenticator in software (WebAuthn level 3, §6), with the browser in front of it. It does what
//! it is told, so that tests can make it lie.

use axum::Router;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use countersign_server::vault::Vault;
use p256::ecdsa::{Signature, SigningKey, signature::Signer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    URL,
    pages::{Page, own, send},
};

/// A key for one account.
#[derive(Clone)]
pub struct Key {
    pub id: Vec<u8>,
    pub user: Vec<u8>,
    secret: SigningKey,
}

/// A device with its keys.
#[derive(Clone)]
pub struct Device {
    pub keys: Vec<Key>,
    /// What its browser says where it is.
    pub origin: String,
    pub rp: String,
    /// Signatures so far; `None`: it keeps no count.
    pub counter: Option<u32>,
    /// Its holder gave finger or PIN.
    pub verified: bool,
    pub seed: u8,
}

impl Device {
    /// A new one. Two with one seed make the same keys.
    pub fn new(seed: u8) -> Self {
        Self { keys: Vec::new(), origin: URL.into(), rp: "calls.example.com".into(), counter: Some(0), verified: true, seed }
    }

    fn client(&self, kind: &str, options: &Value) -> Vec<u8> {
        json!({ "type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": false }).to_string().into_bytes()
    }

    fn data(&mut self, attested: bool) -> Vec<u8> {
        if let Some(counter) = &mut self.counter {
            *counter += 1;
        }
        let flags = 1 | u8::from(self.verified) << 2 | u8::from(attested) << 6;
        [Sha256::digest(&self.rp).as_slice(), &[flags], &self.counter.unwrap_or(0).to_be_bytes()].concat()
    }

    /// `navigator.credentials.create`.
    pub fn create(&mut self, options: &Value) -> Value {
        let secret: [u8; 32] = Sha256::digest([self.seed, u8::try_from(self.keys.len()).unwrap()]).into();
        let secret = SigningKey::from_slice(&secret).unwrap();
        let key = Key { id: Sha256::digest(secret.to_bytes()).to_vec(), user: B64.decode(options["user"]["id"].as_str().unwrap()).unwrap(), secret };
        let point = key.secret.verifying_key().to_sec1_point(false);
        let (x, y) = (&point.as_bytes()[1..33], &point.as_bytes()[33..65]);
        // COSE_Key: kty EC2, alg ES256, crv P-256, x, y (RFC 9053 §7.1).
        let cose = [&[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32][..], x, &[0x22, 0x58, 32], y].concat();
        let length = u16::try_from(key.id.len()).unwrap().to_be_bytes();
        let data = [&self.data(true)[..], &[0; 16], &length, &key.id, &cose].concat();
        // {"fmt": "none", "attStmt": {}, "authData": data}
        let head = [&[0xa3, 0x63][..], b"fmt", &[0x64], b"none", &[0x67], b"attStmt", &[0xa0, 0x68], b"authData", &[0x58, u8::try_from(data.len()).unwrap()]].concat();
        let client = self.client("webauthn.create", options);
        let id = B64.encode(&key.id);
        self.keys.push(key);
        json!({
            "id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {},
            "response": { "attestationObject": B64.encode([head, data].concat()), "clientDataJSON": B64.encode(client), "transports": ["internal"] },
        })
    }

    /// `navigator.credentials.get`, with its first key that is allowed.
    pub fn sign(&mut self, options: &Value) -> Value {
        let allowed: Vec<&str> = options["allowCredentials"].as_array().map(|list| list.iter().map(|c| c["id"].as_str().unwrap()).collect()).unwrap_or_default();
        let key = self.keys.iter().find(|k| allowed.is_empty() || allowed.contains(&B64.encode(&k.id).as_str())).expect("no key is allowed").clone();
        self.sign_with(&key, options)
    }

    pub fn sign_with(&mut self, key: &Key, options: &Value) -> Value {
        let (data, client) = (self.data(false), self.client("webauthn.get", options));
        let signature: Signature = key.secret.sign(&[&data[..], &Sha256::digest(&client)].concat());
        let id = B64.encode(&key.id);
        json!({
            "id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {},
            "response": {
                "authenticatorData": B64.encode(data), "clientDataJSON": B64.encode(client), "signature": B64.encode(signature.to_der().as_bytes()),
                "userHandle": B64.encode(&key.user),
            },
        })
    }
}

/// What `passkey.js` posts.
pub async fn post(router: &Router, path: &str, cookie: Option<&str>, body: &Value) -> Page {
    send(router, own(axum::http::Method::POST, path, cookie, "application/json", body.to_string())).await
}

/// A ceremony that began, and the cookie of this attempt.
pub struct Begun {
    pub ceremony: String,
    pub options: Value,
    pub cookie: String,
}

/// The first half of a ceremony.
pub async fn start(router: &Router, base: &str, cookie: Option<&str>) -> Begun {
    let page = post(router, &format!("{base}/start"), cookie, &json!({})).await;
    page.ok();
    let body: Value = serde_json::from_str(&page.body).unwrap();
    Begun { ceremony: body["ceremony"].as_str().unwrap().to_owned(), options: body["options"].clone(), cookie: page.cookie() }
}

/// The second half.
pub async fn finish(router: &Router, base: &str, cookie: Option<&str>, begun: &Begun, credential: &Value) -> Page {
    post(router, &format!("{base}/finish"), cookie, &json!({ "ceremony": begun.ceremony, "credential": credential })).await
}

/// Adds a passkey in this session.
pub async fn add(router: &Router, cookie: &str, device: &mut Device) -> Page {
    let begun = start(router, "/me/security/passkey", Some(cookie)).await;
    let credential = device.create(&begun.options);
    finish(router, "/me/security/passkey", Some(cookie), &begun, &credential).await
}

/// Signs in with what the device has. The second cookie that is set clears the first attempt's.
pub async fn sign_in(router: &Router, device: &mut Device) -> Page {
    let begun = start(router, "/me/sign-in/passkey", None).await;
    let credential = device.sign(&begun.options);
    finish(router, "/me/sign-in/passkey", Some(&begun.cookie), &begun, &credential).await
}

/// Confirms a change in this session.
pub async fn confirm(router: &Router, cookie: &str, device: &mut Device) -> Page {
    let begun = start(router, "/me/security/confirm", Some(cookie)).await;
    let credential = device.sign(&begun.options);
    finish(router, "/me/security/confirm", Some(cookie), &begun, &credential).await
}

/// What ceremonies of a cookie are bound to.
pub fn binding(cookie: &str) -> Vec<u8> { Vault::token_id(&cookie.split_once('=').unwrap().1.into()) }

//! Programs that have the caller on a line of their own, and ask by OpenID.

use std::{path::Path, sync::{Arc, OnceLock, atomic::{AtomicU64, Ordering}}};

use aws_lc_rs::{rand::SystemRandom, signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair}};
use axum::{body::Body, http::{Request, header}};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_core::{
    call::{Approval, Input, Stage},
    factor::Alphabet,
    id::{AccountId, CallId, ChallengeId},
    secret::Secret,
};
use countersign_server::oauth::{OAuth, clients::{ClientSettings, Delivery, Grant}};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    URL, World,
    pages::{FORM, Page, form, send},
};

pub const CIBA: &str = "urn:openid:params:grant-type:ciba";
pub const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
pub const TILL_SECRET: &str = "the-long-random-secret-of-the-till";
/// A program's own word for our notices.
pub const NOTICE_TOKEN: &str = "bm90aWNlLXRva2VuLW9mLXRoZS1jZW50ZXI";

/// A key pair of a program.
pub struct Pair {
    pub private: EncodingKey,
    pub public: Jwk,
}

fn make(kid: &str) -> Pair {
    let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let private = EncodingKey::from_ec_der(der.as_ref());
    let mut public = Jwk::from_encoding_key(&private, Algorithm::ES256).unwrap();
    public.common.key_id = Some(kid.into());
    Pair { private, public }
}

/// The key of the bot, the same for all tests.
pub fn bot_key() -> &'static Pair {
    static KEY: OnceLock<Pair> = OnceLock::new();
    KEY.get_or_init(|| make("bot-1"))
}

/// A key that is nobody's.
pub fn other_key() -> &'static Pair {
    static KEY: OnceLock<Pair> = OnceLock::new();
    KEY.get_or_init(|| make("bot-1"))
}

/// Stands for the file with the bot's key, which is there while it is read.
const BOT_FILE: &str = "the bot's keys";

/// What a server makes of these at its start.
pub fn load(url: &str, programs: &[ClientSettings]) -> Option<Arc<OAuth>> {
    static FILES: AtomicU64 = AtomicU64::new(0);
    let file = std::env::temp_dir().join(format!("countersign-bot-{}-{}.json", std::process::id(), FILES.fetch_add(1, Ordering::SeqCst)));
    std::fs::write(&file, json!({ "keys": [bot_key().public] }).to_string()).unwrap();
    let mut programs = programs.to_vec();
    for keys in programs.iter_mut().filter_map(|program| program.jwks_file.as_mut()).filter(|keys| **keys == Path::new(BOT_FILE)) {
        keys.clone_from(&file);
    }
    let oauth = OAuth::new(url, &programs);
    std::fs::remove_file(&file).unwrap();
    oauth.unwrap()
}

pub fn settings(id: &str, name: &str) -> ClientSettings {
    ClientSettings {
        id: id.into(), name: name.into(), secret_sha256: Some(hex::encode(Sha256::digest(TILL_SECRET))), jwks_file: None,
        grants: vec![Grant::Ciba, Grant::Device], delivery: Delivery::Poll, notification_endpoint: None, require_user_code: false,
        unknown_per_hour: 60, requests_per_hour: 3600,
    }
}

/// The till shows a secret, the bot signs, the kiosk has only devices, the bank wants PINs.
pub fn everybody() -> Vec<ClientSettings> {
    vec![
        settings("till", "The till"),
        settings("other", "The other till"),
        ClientSettings { secret_sha256: None, jwks_file: Some(BOT_FILE.into()), ..settings("bot", "The bot") },
        ClientSettings { grants: vec![Grant::Device], ..settings("kiosk", "The kiosk") },
        ClientSettings { require_user_code: true, ..settings("bank", "The bank") },
    ]
}

/// A program, and what it was told.
#[derive(Clone, Copy)]
pub struct Program<'a> {
    pub world: &'a World,
    pub id: &'a str,
}

/// A request that was taken.
#[derive(Debug, Clone)]
pub struct Taken {
    pub answer: Value,
    /// `auth_req_id` or `device_code`.
    pub name: String,
    pub call: CallId,
}

impl<'a> Program<'a> {
    pub fn till(world: &'a World) -> Self { Self { world, id: "till" } }

    /// A request with the program's secret.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{TILL_SECRET}", self.id)));
        let request = Request::post(path).header(header::CONTENT_TYPE, FORM).header(header::AUTHORIZATION, basic);
        send(&self.world.router, request.body(Body::from(form(fields))).unwrap()).await
    }

    /// A request that says nothing about who sends it but what is in the form.
    pub async fn bare(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let request = Request::post(path).header(header::CONTENT_TYPE, FORM);
        send(&self.world.router, request.body(Body::from(form(fields))).unwrap()).await
    }

    /// A request that is signed.
    pub async fn signed(&self, path: &str, fields: &[(&str, &str)], assertion: &str) -> Page {
        let mut all = vec![("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"), ("client_assertion", assertion)];
        all.extend(fields);
        self.bare(path, &all).await
    }

    pub async fn authorize(&self, fields: &[(&str, &str)]) -> Page {
        let mut all = vec![("scope", "openid")];
        all.extend(fields);
        self.post("/oauth/bc-authorize", &all).await
    }

    /// Asks for whoever has this account number.
    pub async fn ask(&self, account_number: &str) -> Taken { self.ask_with(&[("login_hint", account_number)]).await }

    pub async fn ask_with(&self, fields: &[(&str, &str)]) -> Taken {
        let page = self.authorize(fields).await;
        page.ok();
        self.taken(&page.json(), "auth_req_id")
    }

    pub async fn device(&self) -> Taken {
        let page = self.post("/oauth/device_authorization", &[("scope", "openid")]).await;
        page.ok();
        self.taken(&page.json(), "device_code")
    }

    fn taken(&self, answer: &Value, name: &str) -> Taken {
        let name = answer[name].as_str().unwrap().to_owned();
        Taken { answer: answer.clone(), call: call_of(&name), name }
    }

    pub async fn poll(&self, taken: &Taken) -> Page { self.token(CIBA, "auth_req_id", &taken.name).await }
    pub async fn poll_device(&self, taken: &Taken) -> Page { self.token(DEVICE, "device_code", &taken.name).await }
    pub async fn token(&self, grant: &str, name: &str, value: &str) -> Page { self.post("/oauth/token", &[("grant_type", grant), (name, value)]).await }
}

/// As docs/openid.md says it: the call is the hash of the request's name.
pub fn call_of(name: &str) -> CallId { CallId(Sha256::digest([b"countersign request\0", name.as_bytes()].concat())[..16].try_into().unwrap()) }

/// What a program signs to say who it is.
pub fn assertion(world: &World, key: &Pair, change: impl FnOnce(&mut Value, &mut Header)) -> String {
    let now = world.now().unix();
    let mut claims = json!({ "iss": "bot", "sub": "bot", "aud": URL, "exp": now + 60, "iat": now, "jti": format!("jti-{}", world.call_sid()) });
    let mut header = Header { kid: Some("bot-1".into()), ..Header::new(Algorithm::ES256) };
    change(&mut claims, &mut header);
    jsonwebtoken::encode(&header, &claims, &key.private).unwrap()
}

impl Taken {
    /// The open challenge of its call.
    pub async fn challenge(&self, world: &World) -> ChallengeId {
        world.app.runner.call(self.call).await.unwrap().unwrap().call.challenge.unwrap().id
    }

    /// The customer answers in the portal.
    pub async fn answered(&self, world: &World, account: AccountId, reply: Approval) {
        let challenge = self.challenge(world).await;
        let command = format!("portal/{challenge}/{}", world.call_sid());
        world.app.runner.run(self.call, command, || Input::Approval { account, challenge, reply: reply.clone() }).await.unwrap();
    }

    /// The customer types the code that the program showed.
    pub async fn typed(&self, world: &World, account: AccountId) {
        let code = self.answer["approval_code"].as_str().unwrap().to_owned();
        self.answered(world, account, Approval::Typed(Secret::new(code))).await;
    }

    /// The customer types the device's code in the portal.
    pub async fn linked(&self, world: &World, account: AccountId) {
        let code = self.answer["user_code"].as_str().unwrap();
        let brief = world.app.runner.directory.brief(Some(account), world.now()).await.unwrap().unwrap();
        let typed = Alphabet::normalise(code).unwrap();
        let input = || Input::Linked { account: brief.clone(), code: typed.clone() };
        world.app.runner.run(self.call, format!("portal/{}", world.call_sid()), input).await.unwrap();
    }

    pub async fn stage(&self, world: &World) -> Stage { world.app.runner.call(self.call).await.unwrap().unwrap().call.stage }
}

impl Page {
    #[track_caller]
    pub fn json(&self) -> Value { serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body)) }

    /// The error that it is, and nothing else.
    #[track_caller]
    pub fn fails(&self, status: u16, error: &str) -> &Self {
        let body = self.json();
        assert_eq!((self.status.as_u16(), body["error"].as_str()), (status, Some(error)), "{}", self.body);
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(body.as_object().unwrap().len(), 2, "{}", self.body);
        self
    }
}

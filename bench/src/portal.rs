//! The customer's side: thousands of open pages, programs that ask whether somebody approved, and
//! passkeys.

use std::{cell::Cell, rc::Rc, time::{Duration, Instant}};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use p256::ecdsa::{Signature, SigningKey, signature::Signer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::TcpStream, time::sleep};

use crate::{
    Fail, http::Client, process, site::{Customer, PROGRAM, PROGRAM_SECRET, PUBLIC_URL, Server, Site}, stats::{Recorder, median}, twilio::webhook,
};

/// What a browser says of a request from our own page.
const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");

/// Signs a customer in, by the hand-over of the company's own site: the session's cookie.
async fn enter(site: &Site, line: &mut Client, customer: Customer) -> Result<String, Fail> {
    let bearer = site.bearer();
    let answer = line.json("/api/v1/portal-sessions", &[("authorization", &bearer)], &json!({ "account_number": customer.account() }).to_string()).await?;
    let link: Value = serde_json::from_str(answer.body)?;
    let path = link.get("url").and_then(Value::as_str).and_then(|url| url.strip_prefix(PUBLIC_URL)).ok_or("no link to the portal")?.to_owned();
    let answer = line.get(&path, &[]).await?;
    let cookie = answer.header("set-cookie").and_then(|c| c.split(';').next()).ok_or_else(|| format!("no session: {}", answer.status))?;
    Ok(cookie.to_owned())
}

/// Sessions for the first customers, some at a time.
pub async fn sessions(site: &Rc<Site>, count: u32) -> Result<Vec<String>, Fail> {
    let next = Rc::new(Cell::new(0));
    let work = (0..32).map(|_| {
        let (site, next) = (site.clone(), next.clone());
        async move {
            let (mut line, mut out) = (Client::new(site.address), Vec::new());
            loop {
                let n = next.get();
                if n >= count {
                    return Ok::<_, Fail>(out);
                }
                next.set(n + 1);
                out.push((n, enter(&site, &mut line, Customer(n)).await?));
            }
        }
    });
    let mut all: Vec<(u32, String)> = futures_util::future::try_join_all(work).await?.into_iter().flatten().collect();
    all.sort_unstable_by_key(|(n, _)| *n);
    Ok(all.into_iter().map(|(_, cookie)| cookie).collect())
}

/// Many open pages: what each costs, and how soon one hears of a call about its account.
pub async fn streams(site: &Rc<Site>, server: &Server, cookies: &[String]) -> Result<Value, Fail> {
    sleep(Duration::from_secs(1)).await;
    let before = process::memory(server.pid());
    let mut open = Vec::with_capacity(cookies.len());
    for cookie in cookies {
        let mut stream = TcpStream::connect(site.address).await?;
        stream.write_all(format!("GET /me/events HTTP/1.1\r\nhost: localhost\r\ncookie: {cookie}\r\naccept: text/event-stream\r\n\r\n").as_bytes()).await?;
        open.push(stream);
    }
    let mut buffer = vec![0; 4096];
    for stream in &mut open {
        let n = stream.read(&mut buffer).await?;
        let said = String::from_utf8_lossy(buffer.get(..n).unwrap_or_default());
        if !said.starts_with("HTTP/1.1 200") {
            return Err(format!("a page was not let in: {}", said.lines().next().unwrap_or_default()).into());
        }
    }
    sleep(Duration::from_secs(2)).await;
    let after = process::memory(server.pid());
    let idle = process::cpu(server.pid());
    sleep(Duration::from_secs(5)).await;
    let idle = (process::cpu(server.pid()) - idle) / 5.0;
    // A call comes in for one of them at a time; that page hears of it, and no other has to wake.
    let (mut line, mut times) = (Client::new(site.address), Vec::new());
    let woken = process::cpu(server.pid());
    for n in 0..200_usize {
        let at = n * open.len() / 200;
        let customer = Customer(u32::try_from(at)?);
        let sid = format!("CA{:032x}", 0x5eed_0000_u64 + n as u64);
        let (body, signature) = webhook(site.signing(), "/twilio/voice", &sid, &customer.number(), "in-progress", None);
        let stream = open.get_mut(at).ok_or("no such page")?;
        // What waits there from before is not what we wait for.
        while stream.try_read(&mut buffer).is_ok_and(|n| n > 0) {}
        let began = Instant::now();
        let answer = line.form("/twilio/voice", &[("x-twilio-signature", &signature)], &body).await?;
        if !answer.ok() {
            return Err(format!("a call did not come in: {}", answer.status).into());
        }
        let heard = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut buffer)).await.map_err(|_| "a page did not hear of its call within five seconds")??;
        if heard == 0 {
            return Err("a page was cut".into());
        }
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let woken = process::cpu(server.pid()) - woken;
    times.sort_unstable_by(f64::total_cmp);
    let p99 = times.get(times.len() * 99 / 100).copied();
    let (count, mib) = (open.len(), 1024.0);
    Ok(json!({
        "open": count, "before_rss_mib": before.rss, "rss_mib": after.rss, "anon_mib": after.anon,
        "kib_per_stream": (after.anon - before.anon) * mib / count as f64, "idle_cores": idle,
        "call_to_page_ms": { "count": times.len(), "p50_ms": median(times.clone()), "p99_ms": p99, "max_ms": times.last() },
        "cpu_ms_per_call": woken * 1000.0 / times.len() as f64,
    }))
}

/// Lets all the lines work, and says what the server did between the warm-up and the end.
async fn measured(
    server: &Server, recorder: &Recorder, (kind, at_a_time): (&'static str, usize), warm_up: Duration, length: Duration,
    work: impl Iterator<Item = impl Future<Output = Result<(), Fail>>>,
) -> Result<Value, Fail> {
    let measure = async {
        sleep(warm_up).await;
        let cpu = process::cpu(server.pid());
        recorder.open(length);
        sleep(length).await;
        (process::cpu(server.pid()) - cpu) / length.as_secs_f64()
    };
    let (cores, done) = tokio::join!(measure, futures_util::future::try_join_all(work));
    done?;
    let kinds = recorder.kinds();
    let times = kinds.get(kind).ok_or("nothing was answered")?;
    let rate = times.count as f64 / length.as_secs_f64();
    Ok(json!({ "at_a_time": at_a_time, "per_second": rate, "cores": cores, "per_core": rate / cores.max(0.01), "times": times.json(), "errors": recorder.errors() }))
}

/// Programs that ask again and again whether a customer approved (OpenID CIBA, poll mode).
pub async fn polls(site: &Rc<Site>, server: &Server, requests: u32, at_a_time: usize, warm_up: Duration, length: Duration) -> Result<Value, Fail> {
    let (mut line, mut open) = (Client::new(site.address), Vec::new());
    let credentials = format!("client_id={PROGRAM}&client_secret={PROGRAM_SECRET}");
    for n in 0..requests {
        let body = format!("{credentials}&scope=openid&login_hint={}", Customer(n).account());
        let answer = line.form("/oauth/bc-authorize", &[], &body).await?;
        let id = serde_json::from_str::<Value>(answer.body).ok().and_then(|v| v.get("auth_req_id")?.as_str().map(str::to_owned));
        open.push(id.ok_or_else(|| format!("a request was not taken ({}): {}", answer.status, answer.body))?);
    }
    let (open, next, recorder) = (Rc::new(open), Rc::new(Cell::new(0_usize)), Rc::new(Recorder::new()));
    let until = Instant::now() + warm_up + length;
    let work = (0..at_a_time).map(|_| {
        let (site, open, next, recorder, credentials) = (site.clone(), open.clone(), next.clone(), recorder.clone(), credentials.clone());
        async move {
            let mut line = Client::new(site.address);
            while Instant::now() < until {
                let n = next.get();
                next.set(n + 1);
                let id = open.get(n % open.len()).ok_or("no request")?;
                let body = format!("{credentials}&grant_type=urn%3Aopenid%3Aparams%3Agrant-type%3Aciba&auth_req_id={id}");
                let answer = recorder.time("poll", false, line.form("/oauth/token", &[], &body)).await?;
                if !answer.body.contains("authorization_pending") && !answer.body.contains("slow_down") {
                    recorder.failed(format!("{}: {}", answer.status, answer.body));
                }
            }
            Ok::<_, Fail>(())
        }
    });
    measured(server, &recorder, ("poll", at_a_time), warm_up, length, work).await
}

/// A passkey in software.
struct Device {
    key: SigningKey,
    id: Vec<u8>,
    user: Vec<u8>,
    count: u32,
}

impl Device {
    fn new(n: u32) -> Result<Self, Fail> {
        let key = SigningKey::from_slice(&Sha256::digest([b"bench passkey".as_slice(), &n.to_be_bytes()].concat()))?;
        Ok(Self { id: Sha256::digest(key.to_bytes()).to_vec(), key, user: Vec::new(), count: 0 })
    }

    fn client(kind: &str, options: &Value) -> Vec<u8> {
        json!({ "type": kind, "challenge": options.get("challenge"), "origin": PUBLIC_URL, "crossOrigin": false }).to_string().into_bytes()
    }

    fn data(&mut self, attested: bool) -> Vec<u8> {
        self.count += 1;
        let rp = PUBLIC_URL.trim_start_matches("https://");
        [Sha256::digest(rp).as_slice(), &[if attested { 0x45 } else { 0x05 }], &self.count.to_be_bytes()].concat()
    }

    fn made(&mut self, options: &Value) -> Result<Value, Fail> {
        let user = options.pointer("/user/id").and_then(Value::as_str).ok_or("the options name no user")?;
        self.user = B64.decode(user)?;
        let point = self.key.verifying_key().to_sec1_point(false);
        let point = point.as_bytes();
        let (x, y) = (point.get(1..33).unwrap_or_default(), point.get(33..65).unwrap_or_default());
        let cose = [&[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32][..], x, &[0x22, 0x58, 32], y].concat();
        let data = [&self.data(true)[..], &[0; 16], &[0, 32], &self.id, &cose].concat();
        let head = [&[0xa3, 0x63][..], b"fmt", &[0x64], b"none", &[0x67], b"attStmt", &[0xa0, 0x68], b"authData", &[0x58, u8::try_from(data.len())?]].concat();
        let id = B64.encode(&self.id);
        Ok(json!({ "id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {}, "response": {
            "attestationObject": B64.encode([head, data].concat()), "clientDataJSON": B64.encode(Self::client("webauthn.create", options)), "transports": ["internal"] } }))
    }

    fn signed(&mut self, options: &Value) -> Value {
        let (data, client) = (self.data(false), Self::client("webauthn.get", options));
        let signature: Signature = self.key.sign(&[&data[..], &Sha256::digest(&client)].concat());
        let id = B64.encode(&self.id);
        json!({ "id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {}, "response": {
            "authenticatorData": B64.encode(data), "clientDataJSON": B64.encode(client), "signature": B64.encode(signature.to_der().as_bytes()), "userHandle": B64.encode(&self.user) } })
    }
}

/// Both halves of a ceremony.
async fn ceremony(line: &mut Client, base: &str, cookie: Option<&str>, answer: impl FnOnce(&Value) -> Result<Value, Fail>) -> Result<(), Fail> {
    let mut headers = vec![OWN];
    headers.extend(cookie.map(|c| ("cookie", c)));
    let begun = line.json(&format!("{base}/start"), &headers, "{}").await?;
    let before = begun.header("set-cookie").and_then(|c| c.split(';').next()).map(str::to_owned);
    let said: Value = serde_json::from_str(begun.body).map_err(|_| format!("{base}: {} {}", begun.status, begun.body))?;
    let credential = answer(said.get("options").ok_or("no options")?)?;
    let body = json!({ "ceremony": said.get("ceremony"), "credential": credential }).to_string();
    let mut headers = vec![OWN];
    headers.extend(cookie.or(before.as_deref()).map(|c| ("cookie", c)));
    let done = line.json(&format!("{base}/finish"), &headers, &body).await?;
    if done.ok() { Ok(()) } else { Err(format!("{base}/finish: {} {}", done.status, done.body).into()) }
}

/// Whole sign-ins by passkey: a challenge, a signature that is verified, a session, all on record.
pub async fn passkeys(site: &Rc<Site>, server: &Server, cookies: &[String], warm_up: Duration, length: Duration) -> Result<Value, Fail> {
    let mut line = Client::new(site.address);
    let mut devices = Vec::new();
    for (n, cookie) in cookies.iter().enumerate() {
        let mut device = Device::new(u32::try_from(n)?)?;
        ceremony(&mut line, "/me/security/passkey", Some(cookie), |options| device.made(options)).await?;
        devices.push(device);
    }
    let recorder = Rc::new(Recorder::new());
    let until = Instant::now() + warm_up + length;
    let at_a_time = devices.len();
    let work = devices.into_iter().map(|mut device| {
        let (site, recorder) = (site.clone(), recorder.clone());
        async move {
            let mut line = Client::new(site.address);
            while Instant::now() < until {
                recorder.time("sign in", true, ceremony(&mut line, "/me/sign-in/passkey", None, |options| Ok(device.signed(options)))).await?;
            }
            Ok::<_, Fail>(())
        }
    });
    measured(server, &recorder, ("sign in", at_a_time), warm_up, length, work).await
}

/// Assertions verified on one core, by the library as the server uses it, beside the bare signature.
pub fn assertions(length: Duration) -> Result<Value, Fail> {
    let origin = webauthn_rs::prelude::Url::parse(PUBLIC_URL)?;
    let rp = PUBLIC_URL.trim_start_matches("https://");
    let webauthn = webauthn_rs::WebauthnBuilder::new(rp, &origin)?.build()?;
    let mut device = Device::new(0)?;
    let public = |options: Value| options.get("publicKey").cloned().ok_or("no options");
    let (options, state) = webauthn.start_passkey_registration(webauthn_rs::prelude::Uuid::from_u128(7), "bench", "bench", None)?;
    let made = device.made(&public(serde_json::to_value(&options)?)?)?;
    let passkey = webauthn.finish_passkey_registration(&serde_json::from_value(made)?, &state)?;
    let (options, state) = webauthn.start_passkey_authentication(std::slice::from_ref(&passkey))?;
    let answer: webauthn_rs::prelude::PublicKeyCredential = serde_json::from_value(device.signed(&public(serde_json::to_value(&options)?)?))?;
    let per_second = |job: &mut dyn FnMut() -> Result<(), Fail>| -> Result<f64, Fail> {
        let (began, mut n) = (Instant::now(), 0_u32);
        while began.elapsed() < length {
            for _ in 0..16 {
                job()?;
            }
            n += 16;
        }
        Ok(f64::from(n) / began.elapsed().as_secs_f64())
    };
    let whole = per_second(&mut || {
        webauthn.finish_passkey_authentication(&answer, &state)?;
        Ok(())
    })?;
    let text = [7_u8; 69];
    let signature: Signature = device.key.sign(&text);
    let public = device.key.verifying_key();
    let bare = per_second(&mut || Ok(p256::ecdsa::signature::Verifier::verify(public, &text, &signature)?))?;
    Ok(json!({ "per_second": whole, "bare_es256_per_second": bare, "share": whole / bare }))
}

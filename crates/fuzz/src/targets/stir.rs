//! Signed calls: Identity headers with their PASSporTs, and certificates. The samples are those of
//! another implementation (`crates/stir/tests/vectors`).

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD}};
use countersign_stir::{Address, Call, ListIssuers, Number, Policy, Roots, Settings, Step, TnAuthList, Unfetched, Verdict, Verifier, Verstat, What};
use serde_json::Value;

use crate::{Target, holds};

const VECTORS: &str = include_str!("../../../stir/tests/vectors/passport.json");
/// Whom the samples are from and for.
const CALL: (&str, &str) = ("12155551212", "12155551213");

struct World {
    settings: Settings,
    certificates: BTreeMap<String, Vec<u8>>,
    now: u64,
    /// Headers that pass for this call.
    valid: Vec<String>,
    /// And others.
    all: Vec<String>,
}

/// What the vectors hold; nothing, if they are not what they were.
fn world() -> Option<World> {
    let file: Value = serde_json::from_str(VECTORS).ok()?;
    let settings = Settings::new(Roots::read(file.get("root_pem")?.as_str()?).ok()?);
    let certificates = file.get("certificates")?.as_object()?.iter().filter_map(|(at, pem)| Some((at.clone(), pem.as_str()?.as_bytes().to_vec()))).collect();
    let mut world = World { settings, certificates, now: 0, valid: Vec::new(), all: Vec::new() };
    for vector in file.get("vectors")?.as_array()? {
        let text = |name: &str| vector.get(name).and_then(Value::as_str).unwrap_or_default();
        let header: Vec<&str> = vector.get("identity")?.as_array()?.iter().filter_map(Value::as_str).collect();
        world.now = vector.get("now")?.as_u64()?;
        if text("name").starts_with("valid_attest") || text("name") == "valid_low_s" {
            world.valid.push(header.join("\n"));
        }
        world.all.push(header.join("\n"));
    }
    Some(world)
}

impl World {
    fn verify(&self, headers: &str, certificate: Option<&[u8]>) -> Result<Verdict, String> {
        let identity: Vec<&str> = headers.split('\n').collect();
        let verifier = Verifier::new(self.settings.clone());
        let call = Call { identity: &identity, orig: CALL.0, dest: CALL.1, known: None };
        let mut step = verifier.begin(&call, self.now);
        for _ in 0..16 {
            match step {
                Step::Done(verdict) => return Ok(verdict),
                Step::Fetch(pending) => {
                    let at = pending.want().address.as_str().to_owned();
                    holds(Address::read(&at).is_ok(), "an address that may not be asked")?;
                    let found = certificate.or_else(|| self.certificates.get(&at).map(Vec::as_slice));
                    step = verifier.resume(pending, found.ok_or(Unfetched::Connection), self.now);
                }
            }
        }
        Err("there is no end to it".into())
    }
}

fn passed(verdict: &Verdict) -> bool { matches!(verdict.verstat, Verstat::Passed(_)) }

/// What is signed: the part before the parameters.
fn token(header: &str) -> String { header.split(';').next().unwrap_or_default().trim().to_owned() }

/// A token with the parameters that its own head asks for, and nothing beside it.
fn bare(token: &str) -> Option<String> {
    let head: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?).ok()?;
    Some(format!("{token};info=<{}>;alg=ES256;ppt=shaken", head.get("x5u")?.as_str()?))
}

fn packed(text: &[u8]) -> String { String::from_utf8_lossy(text).split_whitespace().collect() }

pub(super) fn targets() -> Vec<Target> {
    let Some(world) = world() else { return vec![missing()] };
    let Some(other) = self::world() else { return vec![missing()] };
    let (valid, samples) = (world.valid.clone(), [world.valid.clone(), world.all.clone()].concat());
    // Some of the others are signed for this call as well. What does not let them pass stands beside what is
    // signed: other parameters, a chain of diversions that is broken.
    let alone = samples.iter().flat_map(|headers| headers.split('\n')).filter_map(|header| bare(&token(header)));
    let signed: BTreeSet<String> = samples.iter().cloned().chain(alone).filter(|headers| world.verify(headers, None).is_ok_and(|verdict| passed(&verdict)))
        .flat_map(|headers| headers.split('\n').map(token).collect::<Vec<_>>()).collect();
    let headers: Vec<&str> = samples.iter().map(String::as_str).collect();
    let words = &[";info=<", ";alg=ES256", ";ppt=shaken", ";ppt=\"div\"", "..", "eyJ", "https://certs.example.org/sp.pem", "http://127.0.0.1/", "\n", "="];
    let identity = Target::of("identity", "Identity headers and PASSporTs: what was changed does not verify", words, 400, &headers, move |input| {
        let text = String::from_utf8_lossy(input);
        let verdict = world.verify(&text, None)?;
        holds(!passed(&verdict) || text.split('\n').any(|header| signed.contains(&token(header))), "a token passes that nobody signed")?;
        holds(passed(&verdict) || !valid.iter().any(|header| *header == text), "a signed call does not pass")
    });
    // Every authority and provider that there is; the first valid header names one of them.
    let pems: Vec<String> = other.certificates.values().map(|pem| String::from_utf8_lossy(pem).into_owned()).collect();
    let chains: Vec<&str> = pems.iter().map(String::as_str).collect();
    let header = other.valid.first().cloned().unwrap_or_default();
    let right: Vec<String> = pems.iter().filter(|pem| other.verify(&header, Some(pem.as_bytes())).is_ok_and(|verdict| passed(&verdict)))
        .filter_map(|pem| pem.split("-----BEGIN CERTIFICATE-----").nth(1)?.split("-----END").next().map(|der| packed(der.as_bytes()))).collect();
    let words = &["-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n", "-----BEGIN EC PRIVATE KEY-----\n", "\n", "MII", "===="];
    let certificates = Target::of("certificates", "certificates in PEM and DER: what was changed vouches for nothing", words, 200, &chains, move |input| {
        let verdict = other.verify(&header, Some(input))?;
        let text = packed(input);
        holds(!passed(&verdict) || right.iter().any(|der| text.contains(der.as_str())), "a certificate passes that nobody issued")?;
        let text = String::from_utf8_lossy(input);
        let _ = Roots::read(&text);
        Ok(())
    });
    let lists = Target { seeds: vec![vec![0x30, 0x08, 0xa0, 0x06, 0x16, 0x04, b'7', b'0', b'9', b'J'], b"\x30\x14\xa1\x12\x30\x10\x16\x0b12155551000\x02\x01\x64".to_vec()], ..Target::of("tn-auth-list", "lists of numbers in certificates, telephone numbers, addresses", &[], 1_500, &[], |input| {
        let list = TnAuthList::read(input);
        let text = String::from_utf8_lossy(input);
        if let (Some(list), Ok(number)) = (&list, Number::canonical("12155551212")) {
            let _ = list.covers(&number);
        }
        if let Ok(address) = Address::read(&text) {
            holds(address.as_str().starts_with("https://"), "an address that is not https")?;
        }
        let _ = (Number::canonical(&text).ok(), Policy::read(&text).ok());
        Ok(())
    }) };
    vec![identity, certificates, lists, revocation()]
}

const LISTS: &str = include_str!("../../samples/lists.json");

/// A call whose certificate names a revocation list, with whatever is found there.
struct Listed {
    settings: Settings,
    identity: Vec<String>,
    certificate: Vec<u8>,
    call: (String, String),
    now: u64,
    /// Lists, and whether the call passes with them.
    lists: Vec<(String, bool)>,
}

impl Listed {
    fn read() -> Option<Self> {
        let file: Value = serde_json::from_str(LISTS).ok()?;
        let text = |name: &str| file.get(name)?.as_str().map(str::to_owned);
        let settings = Settings { list_issuers: ListIssuers::read(&text("list_issuer")?).ok()?, ..Settings::new(Roots::read(&text("root")?).ok()?) };
        let lists = file.get("lists")?.as_array()?.iter().filter_map(|list| Some((list.get("list")?.as_str()?.to_owned(), list.get("passes")?.as_bool()?)));
        Some(Self {
            settings, identity: file.get("identity")?.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            certificate: text("certificate")?.into_bytes(), call: (text("orig")?, text("dest")?), now: file.get("now")?.as_u64()?, lists: lists.collect(),
        })
    }

    fn passes(&self, list: &[u8]) -> bool {
        let identity: Vec<&str> = self.identity.iter().map(String::as_str).collect();
        let verifier = Verifier::new(self.settings.clone());
        let mut step = verifier.begin(&Call { identity: &identity, orig: &self.call.0, dest: &self.call.1, known: None }, self.now);
        loop {
            match step {
                Step::Done(verdict) => return passed(&verdict),
                Step::Fetch(pending) => {
                    let found = match pending.want().what { What::Certificate => self.certificate.as_slice(), What::List => list };
                    step = verifier.resume(pending, Ok(found), self.now);
                }
            }
        }
    }
}

/// Whatever is found where a list should be, a call passes with a list that its issuer signed and no other.
fn revocation() -> Target {
    let Some(listed) = Listed::read() else { return Target::of("revocation-list", "revocation lists", &[], 1, &[""], |_| Err("the samples cannot be read".into())) };
    let body = |pem: &str| pem.split("-----BEGIN X509 CRL-----").nth(1).and_then(|rest| rest.split("-----END").next()).map(|der| packed(der.as_bytes())).unwrap_or_default();
    let good: Vec<String> = listed.lists.iter().filter(|(_, passes)| *passes).map(|(pem, _)| body(pem)).collect();
    let bare: Vec<Vec<u8>> = good.iter().filter_map(|der| STANDARD.decode(der).ok()).collect();
    let mut seeds: Vec<Vec<u8>> = listed.lists.iter().map(|(pem, _)| pem.clone().into_bytes()).collect();
    seeds.extend(bare.iter().cloned());
    let words = &["-----BEGIN X509 CRL-----\n", "-----END X509 CRL-----\n", "-----BEGIN CERTIFICATE-----\n", "\n", "MII", "===="];
    let target = Target::of("revocation-list", "revocation lists in PEM and DER: what was changed clears nobody", words, 300, &[], move |input| {
        let passes = listed.passes(input);
        // A line of dashes in the middle takes nothing from what is signed, and adds nothing.
        let text: String = String::from_utf8_lossy(input).lines().filter(|line| !line.starts_with("-----")).flat_map(str::split_whitespace).collect();
        let right = good.iter().any(|der| text.contains(der.as_str())) || bare.iter().any(|der| input == der.as_slice());
        holds(!passes || right, "a list clears a certificate that its issuer did not sign")?;
        let known = listed.lists.iter().find(|(pem, _)| pem.as_bytes() == input).map(|(_, passes)| *passes);
        holds(known.is_none_or(|known| known == passes), "a list says something else than its issuer")
    });
    Target { seeds, ..target }
}

/// The samples are gone: this is found at once.
fn missing() -> Target { Target::of("identity", "Identity headers and PASSporTs", &[], 1, &[""], |_| Err("the vectors of crates/stir cannot be read".into())) }

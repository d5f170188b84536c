//! Against Kamailio: the same INVITEs are judged by its module secsipid and by us, side by side. Where
//! the two differ, the clause that says who is right stands beside it, here and in docs/stir.md.
//!
//! Where Kamailio is missing the tests say so and are skipped, except in CI. Its clock is the machine's,
//! so calls are signed for now; it takes what is up to five minutes old, which is time enough.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "in a test, what is not expected may end it")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common::der::{Certificate, List, extension, one, sequence, tlv};
use common::kamailio::{Invite, Kamailio, Setup};
use common::{DAY, DEST, Key, LIST, NOW, ORIG, ORIGID, World, X5U, header, n, pem, sign};
use countersign_stir::{Attest, Call, Diversion, Known, ListIssuers, Original, Reason, Settings, Verifier};

/// Another number than those of the call.
const OTHER: &str = "12025550199";
const DOCUMENT: &str = include_str!("../../../docs/stir.md");

fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A call, and what is to be said of it.
struct Case {
    name: &'static str,
    identity: Vec<String>,
    from: &'static str,
    to: &'static str,
    /// What is found at the certificate's address, and what Kamailio is given.
    certificate: Vec<u8>,
    list: Vec<u8>,
    known: Option<Known>,
    /// It came once before.
    again: bool,
    /// The attestation, or the reason.
    ours: &'static str,
    /// Kamailio's return codes: as its README sets it up, and with `CertVerify`. 1: it holds.
    theirs: [i32; 2],
    /// The same for `secsipid_check_identity_pubkey`, where that says something else.
    by_key: Option<[i32; 2]>,
    /// Why the two differ.
    clause: &'static str,
}

impl Case {
    fn says(mut self, ours: &'static str, theirs: [i32; 2]) -> Self {
        (self.ours, self.theirs) = (ours, theirs);
        self
    }

    /// We are right by this clause.
    fn by(mut self, clause: &'static str) -> Self {
        self.clause = clause;
        self
    }

    fn passes_here(&self) -> bool {
        passed(self.ours)
    }

    /// Whether both say the same, however Kamailio is set up and called.
    fn agreed(&self) -> bool {
        let codes = self.theirs.into_iter().chain(self.by_key.into_iter().flatten());
        codes.into_iter().all(|code| (code > 0) == self.passes_here())
    }

    /// What both say, in words.
    fn verdicts(&self) -> (&'static str, &'static str) {
        let ours = match self.ours {
            "A" | "B" | "C" => "passes",
            "unsigned" => "not signed",
            _ => "fails",
        };
        let theirs = match (self.theirs.map(|code| code > 0), self.by_key) {
            ([false, false], Some(_)) => "passes with `secsipid_check_identity_pubkey`",
            ([true, true], _) => "passes",
            ([true, false], _) => "passes, unless `CertVerify` is set",
            _ => "fails",
        };
        (ours, theirs)
    }
}

/// The rows of docs/stir.md: what differs, by what both say of it.
fn rows<'a>(cases: impl Iterator<Item = &'a Case>) -> Vec<String> {
    let mut rows: Vec<((&str, &str), Vec<String>)> = Vec::new();
    for case in cases.filter(|case| !case.agreed()) {
        let what = format!("{} ({})", case.name, case.clause);
        match rows.iter_mut().find(|(verdicts, _)| *verdicts == case.verdicts()) {
            Some((_, list)) => list.push(what),
            None => rows.push((case.verdicts(), vec![what])),
        }
    }
    rows.into_iter().map(|((ours, theirs), list)| format!("| {ours} | {theirs} | {} |", list.join("; "))).collect()
}

/// Whether a verdict is an attestation.
fn passed(verdict: &str) -> bool {
    matches!(verdict, "A" | "B" | "C")
}

/// Keys and certificates of now, with a revocation list.
struct Scene {
    world: World,
    lists: Key,
    now: u64,
}

impl Scene {
    fn new() -> Self {
        let (mut world, now) = (World::new(), clock());
        let root = Certificate { from: now - 100 * DAY, until: now + 100 * DAY, ..Certificate::root() };
        world.root_pem = pem("CERTIFICATE", &root.issue(&world.root, &world.root));
        Self { world, lists: Key::new(), now }
    }

    fn around(&self, certificate: Certificate) -> Certificate {
        Certificate { from: self.now - 10 * DAY, until: self.now + 10 * DAY, ..certificate.listed() }
    }

    fn authority(&self) -> Certificate {
        self.around(Certificate::authority())
    }

    fn provider(&self) -> Certificate {
        self.around(Certificate::provider())
    }

    fn chain(&self) -> Vec<u8> {
        self.world.chain(&self.authority(), &self.provider())
    }

    fn list(&self, entries: &[(u8, Option<&'static str>)]) -> List {
        List { from: self.now - DAY, until: Some(self.now + DAY), entries: entries.to_vec(), ..List::new() }
    }

    fn settings(&self) -> Settings {
        let issuer = Certificate { subject: "Test STI-PA", usage: Some(0x02), ..self.around(Certificate::root()) };
        let issuer = pem("CERTIFICATE", &issuer.issue(&self.lists, &self.world.root));
        Settings { list_issuers: ListIssuers::read(&issuer).unwrap(), ..self.world.settings() }
    }

    fn payload(&self) -> String {
        self.payload_at(self.now)
    }

    fn payload_at(&self, iat: u64) -> String {
        common::payload().replace(&NOW.to_string(), &iat.to_string())
    }

    /// What our signer writes.
    fn signed(&self, attest: Attest) -> String {
        let dest = [n(DEST)];
        let call = Original { attest, orig: &n(ORIG), dest: &dest, iat: self.now, origid: ORIGID };
        self.world.signer().original(&call).unwrap()
    }

    /// A header over these texts, well signed.
    fn raw(&self, header: &str, payload: &str) -> String {
        self.world.raw("shaken", header, payload)
    }

    /// The good token, with these parameters behind it.
    fn with_parameters(&self, parameters: &str) -> String {
        format!("{}{parameters}", self.token())
    }

    fn token(&self) -> String {
        self.world.token(&header("shaken"), &self.payload())
    }

    fn case(&self, name: &'static str, identity: &[String]) -> Case {
        Case {
            name,
            identity: identity.to_vec(),
            from: ORIG,
            to: DEST,
            certificate: self.chain(),
            list: self.list(&[]).issue(&self.lists),
            known: None,
            again: false,
            ours: "A",
            theirs: [1, 1],
            by_key: None,
            clause: "",
        }
    }

    /// A header whose payload has this instead of that.
    fn payload_with(&self, name: &'static str, part: &str, instead: &str) -> Case {
        let payload = self.payload().replace(part, instead);
        assert_ne!(payload, self.payload(), "{part}");
        self.case(name, &[self.raw(&header("shaken"), &payload)])
    }

    /// A header whose protected header has this instead of that.
    fn header_with(&self, name: &'static str, part: &str, instead: &str) -> Case {
        let changed = header("shaken").replace(part, instead);
        assert_ne!(changed, header("shaken"), "{part}");
        self.case(name, &[self.raw(&changed, &self.payload())])
    }

    /// The good header, and this where the certificate should be.
    fn found(&self, name: &'static str, certificate: Vec<u8>) -> Case {
        Case { certificate, ..self.case(name, &[self.signed(Attest::A)]) }
    }

    /// Our verdict: the attestation, or the reason.
    fn judge(&mut self, case: &Case) -> &'static str {
        let found = &mut self.world.found;
        found.insert(X5U.into(), case.certificate.clone());
        found.insert(LIST.into(), case.list.clone());
        let identity: Vec<&str> = case.identity.iter().map(String::as_str).collect();
        let [orig, dest] = [case.from, case.to].map(|user| format!("sip:+{user}@example.com"));
        let call = Call { identity: &identity, orig: &orig, dest: &dest, known: case.known.as_ref() };
        let verifier = Verifier::new(self.settings());
        if case.again {
            let first = self.world.ask_about(&verifier, &call, self.now).0;
            assert!(first.attest().is_some(), "{first:?}");
        }
        let verdict = self.world.ask_about(&verifier, &call, self.now).0;
        verdict.attest().map(Attest::as_str).or(verdict.reason().map(Reason::as_str)).unwrap()
    }

    fn start(&self, name: &str, setup: Setup) -> Option<Kamailio> {
        let kamailio = Kamailio::start(name, setup, &self.world.root_pem, &self.world.provider.pem())?;
        kamailio.put_list(&self.list(&[]).issue(&self.lists));
        Some(kamailio)
    }
}

/// Well-formed calls, and what a stranger does to a header and a token.
fn calls(s: &Scene) -> Vec<Case> {
    let to = [n(OTHER)];
    let diversion = Diversion { orig: &n(ORIG), from: &n(DEST), to: &to, iat: s.now };
    let diversion = s.world.signer().diversion(&diversion).unwrap();
    let good = s.signed(Attest::A);
    let parameters = format!(";info=<{X5U}>;alg=ES256;ppt=shaken");
    let at = |seconds: i64| s.raw(&header("shaken"), &s.payload_at(s.now.checked_add_signed(seconds).unwrap()));
    let der = tlv(0x30, &[tlv(2, &[1; 32]), tlv(2, &[2; 32])].concat());
    let replaced = |signature: &str| {
        let token = s.token();
        let signed = token.rsplit_once('.').unwrap().0;
        format!("{signed}.{signature}{parameters}")
    };
    vec![
        s.case("attestation A", std::slice::from_ref(&good)),
        s.case("attestation B", &[s.signed(Attest::B)]).says("B", [1, 1]),
        s.case("attestation C", &[s.signed(Attest::C)]).says("C", [1, 1]),
        s.case("kind in quotation marks", &[s.with_parameters(&format!(";info=<{X5U}>;alg=ES256;ppt=\"shaken\""))]),
        s.case("parameters in another order, with spaces", &[s.with_parameters(&format!(" ; ppt = shaken;alg=ES256 ;info=<{X5U}>"))]),
        s.case("without alg in the header", &[s.with_parameters(&format!(";info=<{X5U}>;ppt=shaken"))]),
        s.case("half a minute old", &[at(-30)]),
        s.case("the same header twice", &[good.clone(), good.clone()]),
        s.payload_with("for two numbers", &format!("[\"{DEST}\"]"), &format!("[\"{OTHER}\",\"{DEST}\"]")),
        s.payload_with("a claim that nobody knows", "{\"attest\"", "{\"abc\":[1,{\"x\":null}],\"attest\""),
        s.header_with("a member of the header that nobody knows", "\"typ\"", "\"kid\":\"x\",\"typ\""),
        s.case("a kind that is not read, and then one that is", &[format!("x.y.z;info=<{X5U}>;alg=ES256;ppt=rph"), good.clone()]),
        Case { to: OTHER, ..s.case("a diverted call, its diversion first", &[diversion, good.clone()]) },
        // Refused by both.
        s.case("no Identity header", &[]).says("unsigned", [-1, -1]),
        s.case("ten minutes old", &[at(-600)]).says("stale", [-232, -232]),
        s.payload_with("no time", &format!("\"iat\":{}", s.now), "\"x\":1").says("malformed", [-232, -232]),
        s.payload_with("the time as a text", &s.now.to_string(), &format!("\"{}\"", s.now)).says("malformed", [-231, -231]),
        s.payload_with("the time with a fraction", &s.now.to_string(), &format!("{}.5", s.now)).says("malformed", [-231, -231]),
        s.payload_with("dest as a text", &format!("[\"{DEST}\"]"), &format!("\"{DEST}\"")).says("malformed", [-231, -231]),
        s.case("alg none in the header", &[s.with_parameters(&format!(";info=<{X5U}>;alg=none;ppt=shaken"))]).says("malformed", [-302, -302]),
        s.header_with("alg none in the token", "ES256", "none").says("malformed", [-202, -202]),
        s.header_with("alg HS256 in the token", "ES256", "HS256").says("malformed", [-202, -202]),
        s.header_with("another kind in the token", "\"shaken\"", "\"div\"").says("malformed", [-203, -203]),
        s.header_with("another type", "\"passport\"", "\"JWT\"").says("malformed", [-204, -204]),
        s.header_with("another address in the token", "sp.pem", "sp2.pem").says("malformed", [-205, -205]),
        s.case("no address in the header", &[s.with_parameters(";alg=ES256;ppt=shaken")]).says("malformed", [-303, -303]),
        s.case("a kind that is not read", &[s.with_parameters(&format!(";info=<{X5U}>;alg=ES256;ppt=rph"))]).says("unsigned", [-303, -303]),
        s.case("a diversion alone", &[s.world.raw("div", &header("div"), &s.payload())]).says("malformed", [-303, -303]),
        s.case("two parts", &[format!("eyJ.eyJ{parameters}")]).says("malformed", [-301, -301]),
        s.case("four parts", &[format!("{}.AAAA{parameters}", s.token())]).says("malformed", [-301, -301]),
        s.case("a signature in DER", &[replaced(&URL_SAFE_NO_PAD.encode(der))]).says("signature", [-253, -253]),
        s.case("no signature", &[replaced("")]).says("signature", [-253, -253]),
        s.case("a signature of zeros", &[replaced(&URL_SAFE_NO_PAD.encode([0; 64]))]).says("signature", [-251, -251]),
        s.case("another key", &[format!("{}{parameters}", sign(&Key::new(), &header("shaken"), &s.payload()))]).says("signature", [-251, -251]),
        s.case("a payload that is no JSON", &[s.raw(&header("shaken"), "attest=A")]).says("malformed", [-231, -231]),
        s.case("a payload that is a list", &[s.raw(&header("shaken"), "[]")]).says("malformed", [-231, -231]),
        s.case("a header that is no JSON", &[s.raw("ES256", &s.payload())]).says("malformed", [-201, -201]),
        s.case("words", &["signed, with kind regards".into()]).says("malformed", [-301, -301]),
    ]
}

/// What Kamailio takes and we do not.
fn stricter(s: &Scene) -> Vec<Case> {
    let good = s.signed(Attest::A);
    let parameters = format!(";info=<{X5U}>;alg=ES256;ppt=shaken");
    let at = |seconds: i64| s.raw(&header("shaken"), &s.payload_at(s.now.checked_add_signed(seconds).unwrap()));
    let alone = Case { by_key: Some([1, 1]), ..s.case("no parameters behind the token", &[s.token()]) };
    let broken = format!("{}{parameters}", flipped(&s.token(), 32));
    let spaced = format!("{} {}", &good[..20], &good[20..]);
    vec![
        Case { from: OTHER, ..s.case("the call comes from another number", std::slice::from_ref(&good)) }.says("orig_mismatch", [1, 1]).by("RFC 8224 §6.2"),
        Case { to: OTHER, ..s.case("the call goes to another number", std::slice::from_ref(&good)) }.says("dest_mismatch", [1, 1]).by("RFC 8224 §6.2"),
        Case { again: true, ..s.case("the same token on a second call", std::slice::from_ref(&good)) }.says("replay", [1, 1]).by("RFC 8224 §12.1"),
        s.case("two minutes old", &[at(-120)]).says("stale", [1, 1]).by("ATIS-1000074: 60 s, and Kamailio's `expire` is 300"),
        s.case("signed for in ten minutes", &[at(600)]).says("stale", [1, 1]).by("RFC 8224 §6.2"),
        s.payload_with("no attestation", "\"attest\":\"A\",", "").says("malformed", [1, 1]).by("RFC 8588 §4"),
        s.payload_with("attestation D", "\"A\"", "\"D\"").says("malformed", [1, 1]).by("RFC 8588 §4"),
        s.payload_with("an origin that is no UUID", ORIGID, "us").says("malformed", [1, 1]).by("RFC 8588 §5"),
        s.payload_with("for nobody", &format!("[\"{DEST}\"]"), "[]").says("malformed", [1, 1]).by("RFC 8225 §5.2.1"),
        s.payload_with("a number with a +", &format!("\"{ORIG}\""), &format!("\"+{ORIG}\"")).says("malformed", [1, 1]).by("RFC 8224 §8.3"),
        s.payload_with("claims in capitals", "\"attest\"", "\"ATTEST\"").says("malformed", [1, 1]).by("RFC 7519 §7.3"),
        s.payload_with("a claim that stands twice", "{\"attest\":\"A\"", "{\"attest\":\"C\",\"attest\":\"A\"")
            .says("malformed", [1, 1])
            .by("RFC 7519 §4: it may be refused"),
        s.case("no kind in the header", &[s.with_parameters(&format!(";info=<{X5U}>;alg=ES256"))]).says("unsigned", [1, 1]).by("RFC 8588 §4: only `shaken` attests"),
        s.header_with("no kind in the token", "\"ppt\":\"shaken\",", "").says("malformed", [1, 1]).by("RFC 8588 §3"),
        s.header_with("no alg in the token", "\"alg\":\"ES256\",", "").says("malformed", [1, 1]).by("RFC 7515 §4.1.1"),
        s.header_with("no type in the token", "\"typ\":\"passport\",", "").says("malformed", [1, 1]).by("RFC 8225 §4.1"),
        s.header_with("no address in the token", &format!(",\"x5u\":\"{X5U}\""), "").says("malformed", [1, 1]).by("RFC 8225 §4.3"),
        s.header_with("an extension that has to be understood", "\"typ\"", "\"crit\":[\"abc\"],\"abc\":1,\"typ\"").says("malformed", [1, 1]).by("RFC 7515 §4.1.11"),
        s.case("padding in the token", &[format!("{}=={parameters}", s.token())]).says("malformed", [1, 1]).by("RFC 7515 §2"),
        s.case("bits of the last letter that carry nothing", &[format!("{}{parameters}", flipped(&s.token(), 1))])
            .says("malformed", [1, 1])
            .by("RFC 4648 §3.5: a token has one writing"),
        s.case("a space in the token", &[spaced]).says("malformed", [1, 1]).by("RFC 8224 §4"),
        alone.says("malformed", [-301, -301]).by("RFC 8224 §4"),
        s.case("a second token that does not hold", &[good.clone(), broken.clone()]).says("signature", [1, 1]).by("all count, and to Kamailio one that holds is enough"),
        s.case("a first token that does not hold", &[broken, good]).says("signature", [1, 1]).by("all count, and to Kamailio one that holds is enough"),
    ]
}

/// What we take and Kamailio does not.
fn wider(s: &Scene) -> Vec<Case> {
    let good = s.signed(Attest::A);
    let signature = good.split(';').next().unwrap().rsplit('.').next().unwrap();
    let compact = format!("..{signature};info=<{X5U}>;alg=ES256;ppt=shaken");
    let known = Known { iat: s.now, attest: Attest::A, origid: ORIGID.into() };
    vec![
        s.case("names of parameters in capitals", &[s.with_parameters(&format!(";INFO=<{X5U}>;ALG=ES256;PPT=shaken"))]).says("A", [-303, -303]).by("RFC 3261 §7.3.1"),
        Case { known: Some(known), ..s.case("the compact form, where the network says the rest", &[compact]) }.says("A", [-231, -231]).by("RFC 8225 §7"),
    ]
}

/// Certificates and lists.
fn certificates(s: &Scene) -> Vec<Case> {
    let (w, authority, provider) = (&s.world, s.authority(), s.provider());
    let past = |certificate: &Certificate| Certificate { until: s.now - DAY, ..certificate.clone() };
    let future = |certificate: &Certificate| Certificate { from: s.now + DAY, ..certificate.clone() };
    let named = |provider: &Certificate| w.chain(&authority, provider);
    let revoked = s.list(&[(3, Some("Test Authority"))]);
    let listed = |name, list: Vec<u8>| Case { list, ..s.found(name, s.chain()) };
    let stranger = Key::new();
    let of_another = [pem("CERTIFICATE", &provider.issue(&w.provider, &stranger)), pem("CERTIFICATE", &authority.issue(&stranger, &Key::new()))];
    let of_another_key = [pem("CERTIFICATE", &provider.issue(&Key::new(), &w.authority)), pem("CERTIFICATE", &authority.issue(&w.authority, &w.root))];
    const PATH: &str = "RFC 5280 §6.1";
    vec![
        s.found("no certificate", b"<html>not here</html>".to_vec()).says("certificate", [-102, -102]),
        s.found("the certificate of another key", of_another_key.concat().into_bytes()).says("signature", [-251, -251]),
        s.found("a bare key for a certificate", pem("PUBLIC KEY", &w.provider.info()).into_bytes()).says("certificate", [1, -102]).by("RFC 7515 §4.1.5"),
        s.found("a certificate that is over", named(&past(&provider))).says("certificate", [1, -103]).by(PATH),
        s.found("a certificate of tomorrow", named(&future(&provider))).says("certificate", [1, -104]).by(PATH),
        s.found("an authority that is over", w.chain(&past(&authority), &provider)).says("certificate", [1, -101]).by(PATH),
        s.found("another root", of_another.concat().into_bytes()).says("certificate", [1, -101]).by(PATH),
        s.found("a certificate signed by itself", pem("CERTIFICATE", &provider.issue(&w.provider, &w.provider)).into_bytes()).says("certificate", [1, -101]).by(PATH),
        s.found("no authority between", pem("CERTIFICATE", &provider.issue(&w.provider, &w.authority)).into_bytes()).says("certificate", [1, -101]).by(PATH),
        s.found("an authority that is none", w.chain(&Certificate { authority: None, ..authority.clone() }, &provider))
            .says("certificate", [1, -101])
            .by("RFC 5280 §4.2.1.9"),
        s.found(
            "an extension of the certificate that has to be understood",
            named(&Certificate { more: vec![extension("1.2.3.4", true, &sequence(&[]))], ..provider.clone() }),
        )
        .says("certificate", [1, -101])
        .by("RFC 5280 §4.2"),
        listed("a revoked certificate", revoked.issue(&s.lists)).says("revoked", [1, -112]).by("ATIS-1000080"),
        listed("a revocation list that is out of date", List { until: Some(s.now - 60), ..s.list(&[]) }.issue(&s.lists)).says("revocation", [1, 1]).by("RFC 5280 §6.3.3"),
        listed("a revocation list that nobody signed", s.list(&[]).issue(&Key::new())).says("revocation", [1, 1]).by("RFC 5280 §6.3.3"),
        s.found("a certificate for another number", named(&Certificate { numbers: Some(one(OTHER)), ..provider.clone() })).says("scope", [1, 1]).by("RFC 8226 §9"),
        s.found("a certificate for no number", named(&Certificate { numbers: None, ..provider.clone() })).says("certificate", [1, 1]).by("RFC 8226 §9"),
        s.found("a certificate under no policy", named(&Certificate { policy: None, ..provider.clone() })).says("certificate", [1, 1]).by("ATIS-1000080"),
        s.found("a certificate that may not sign", named(&Certificate { usage: Some(0x08), ..provider })).says("certificate", [1, 1]).by("RFC 5280 §4.2.1.3"),
    ]
}

/// The last letter with some of its six bits turned over.
fn flipped(token: &str, bits: usize) -> String {
    let (start, last) = token.split_at(token.len() - 1);
    format!("{start}{}", other(last.as_bytes()[0], bits))
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A letter of base64url with some of its bits turned over; a dot becomes a letter.
fn other(letter: u8, bits: usize) -> char {
    let at = LETTERS.iter().position(|one| *one == letter);
    char::from(at.map_or(b'A', |at| LETTERS[at ^ bits]))
}

#[test]
fn kamailio_and_we_say_the_same_or_a_clause_says_why_not() {
    let mut scene = Scene::new();
    let Some(readme) = scene.start("readme", Setup::Readme) else {
        return;
    };
    let Some(careful) = scene.start("certificates", Setup::Certificates) else {
        return;
    };
    let cases = [calls(&scene), stricter(&scene), wider(&scene), certificates(&scene)];
    let mut wrong = Vec::new();
    println!("{:<58} {:<14} {:>7} {:>10}  clause", "case", "ours", "README", "CertVerify");
    for case in cases.iter().flatten() {
        let invite = Invite { identity: &case.identity, from: case.from, to: case.to };
        careful.put_list(&case.list);
        let [plain, full] = [&readme, &careful].map(|kamailio| kamailio.judge(&invite, &case.certificate));
        let theirs = [plain[0], full[0]];
        let by_key = Some([plain[1], full[1]]).filter(|codes| *codes != theirs);
        let ours = scene.judge(case);
        println!("{:<58} {ours:<14} {:>7} {:>10}  {}", case.name, theirs[0], theirs[1], case.clause);
        if (ours, theirs, by_key) != (case.ours, case.theirs, case.by_key) {
            wrong.push(format!("{}: {ours} {theirs:?} {by_key:?} instead of {} {:?} {:?}", case.name, case.ours, case.theirs, case.by_key));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Nobody's word is left out: what differs has a clause, what is agreed on needs none.
    for case in cases.iter().flatten() {
        assert_eq!(case.agreed(), case.clause.is_empty(), "{}", case.name);
    }
    let differ = rows(cases.iter().flatten());
    let written: Vec<&str> = DOCUMENT.lines().skip_while(|line| !line.starts_with("| Countersign | Kamailio |")).skip(2).take_while(|line| line.starts_with('|')).collect();
    assert_eq!(written, differ, "docs/stir.md should say:\n{}", differ.join("\n"));
}

#[test]
fn no_letter_of_a_token_can_be_changed_for_either() {
    let mut scene = Scene::new();
    let Some(kamailio) = scene.start("letters", Setup::Readme) else {
        return;
    };
    let good = scene.case("good", &[scene.signed(Attest::A)]);
    let (token, parameters) = good.identity[0].split_once(';').unwrap();
    for (at, letter) in token.bytes().enumerate() {
        // The highest of the six bits, which always carries something.
        let changed = format!("{}{}{};{parameters}", &token[..at], other(letter, 32), &token[at + 1..]);
        let case = Case { identity: vec![changed], ..scene.case("changed", &[]) };
        let invite = Invite { identity: &case.identity, from: ORIG, to: DEST };
        let theirs = kamailio.judge(&invite, &case.certificate);
        assert!(theirs.iter().all(|code| *code < 0), "{at}: {theirs:?}");
        let ours = scene.judge(&case);
        assert!(!passed(ours), "{at}: {ours}");
    }
}

#[test]
fn garbage_is_nothing_to_either() {
    let mut scene = Scene::new();
    let Some(kamailio) = scene.start("garbage", Setup::Readme) else {
        return;
    };
    let good = scene.signed(Attest::A);
    let token = good.split(';').next().unwrap().len();
    // Numerical Recipes' generator: only to have many.
    let mut state = 20_261_129_u32;
    let mut below = |end: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % end
    };
    for round in 0..300 {
        let text = if round % 2 == 0 {
            let from = below(token);
            let to = from + 1 + below(token - from);
            format!("{}{}", &good[..from], &good[to..])
        } else {
            (0..1 + below(400)).map(|_| char::from(b' ' + below(95) as u8)).collect()
        };
        let case = Case { identity: vec![text], ..scene.case("garbage", &[]) };
        let invite = Invite { identity: &case.identity, from: ORIG, to: DEST };
        let theirs = kamailio.judge(&invite, &case.certificate);
        assert!(theirs.iter().all(|code| *code < 0), "{theirs:?}: {}", case.identity[0]);
        let ours = scene.judge(&case);
        assert!(!passed(ours), "{ours}: {}", case.identity[0]);
    }
}

#[test]
fn what_kamailio_signs_passes_here() {
    let mut scene = Scene::new();
    let Some(kamailio) = scene.start("signs", Setup::Readme) else {
        return;
    };
    for attest in ["A", "B", "C"] {
        let identity = kamailio.sign(ORIG, DEST, attest, false);
        let signed = |identity: String| Case { identity: vec![identity], ..scene.case("signed", &[]) };
        let (good, changed): (Case, Vec<Case>) = (signed(identity.clone()), common::programs::changed(&identity).into_iter().map(signed).collect());
        assert_eq!(scene.judge(&good), attest);
        let elsewhere = Case { from: OTHER, ..scene.case("elsewhere", &[identity]) };
        assert_eq!(scene.judge(&elsewhere), "orig_mismatch");
        for case in changed {
            let ours = scene.judge(&case);
            assert!(!passed(ours), "{ours}");
        }
    }
    // As its README has it, the number is signed with its +, which is not the number that is to be
    // signed (RFC 8224 §8.3): another verifier compares it with one that has none.
    let with_plus = scene.case("with +", &[kamailio.sign(ORIG, DEST, "A", true)]);
    assert_eq!(scene.judge(&with_plus), "malformed");
}

/// A server on this machine, over http, which is what an address in a stranger's header may lead to.
#[test]
fn kamailio_fetches_from_inside_where_we_do_not() {
    let scene = Scene::new();
    let Some(kamailio) = scene.start("fetches", Setup::Readme) else {
        return;
    };
    let inside = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/sp.pem", inside.local_addr().unwrap());
    let certificate = scene.chain();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = inside.accept().unwrap();
        let mut asked = [0; 512];
        let length = stream.read(&mut asked).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", certificate.len());
        stream.write_all(&[head.as_bytes(), &certificate].concat()).unwrap();
        String::from_utf8_lossy(&asked[..length]).into_owned()
    });
    let token = scene.world.token(&header("shaken").replace(X5U, &address), &scene.payload());
    let identity = [format!("{token};info=<{address}>;alg=ES256;ppt=shaken")];
    let invite = Invite { identity: &identity, from: ORIG, to: DEST };
    assert_eq!(kamailio.judge_and_fetch(&invite), 1);
    assert!(server.join().unwrap().starts_with("GET /sp.pem "));
    let (verdict, fetched) = scene.world.ask(&scene.world.verifier(), &[&identity[0]], scene.now);
    assert_eq!(verdict.reason(), Some(Reason::Address));
    assert!(fetched.is_empty());
}

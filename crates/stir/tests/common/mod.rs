//! A certification authority of our own, as small as it can be, and calls that it signs. Everything can
//! be made wrong.

#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test, what is not expected may end it"
)]

pub mod der;
pub mod kamailio;
pub mod programs;

use std::collections::HashMap;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign_stir::{
    Address, Attest, Call, Number, Original, Reason, Roots, Settings, Signer, Step, Unfetched,
    Verdict, Verifier, Verstat,
};

pub use der::{Certificate, Key, pem};

/// When the calls of the tests are made: a day in May 2026.
pub const NOW: u64 = 1_780_000_000;
pub const DAY: u64 = 86_400;
pub const ORIG: &str = "12025550100";
pub const DEST: &str = "12025550101";
pub const X5U: &str = "https://certs.example.org/sp.pem";
pub const LIST: &str = "https://authenticate.example.org/list.crl";
pub const ORIGID: &str = "6513270e-269e-4d37-b2a7-4de452e6b438";

pub fn n(text: &str) -> Number {
    Number::canonical(text).unwrap()
}

pub fn header(ppt: &str) -> String {
    format!(r#"{{"alg":"ES256","ppt":"{ppt}","typ":"passport","x5u":"{X5U}"}}"#)
}

/// The payload of a token that is right.
pub fn payload() -> String {
    format!(
        r#"{{"attest":"A","dest":{{"tn":["{DEST}"]}},"iat":{NOW},"orig":{{"tn":"{ORIG}"}},"origid":"{ORIGID}"}}"#
    )
}

/// A root, an authority below it, and a provider's certificate; and what is found at which address.
pub struct World {
    pub root: Key,
    pub authority: Key,
    pub provider: Key,
    pub root_pem: String,
    pub found: HashMap<String, Vec<u8>>,
}

impl World {
    pub fn new() -> Self {
        let (root, authority, provider) = (Key::new(), Key::new(), Key::new());
        let root_pem = pem("CERTIFICATE", &Certificate::root().issue(&root, &root));
        let mut world = Self {
            root,
            authority,
            provider,
            root_pem,
            found: HashMap::new(),
        };
        let chain = world.chain(&Certificate::authority(), &Certificate::provider());
        world.found.insert(X5U.to_owned(), chain);
        world
    }

    /// The provider's certificate and that of the authority, in PEM.
    pub fn chain(&self, authority: &Certificate, provider: &Certificate) -> Vec<u8> {
        let provider = provider.issue(&self.provider, &self.authority);
        let authority = authority.issue(&self.authority, &self.root);
        [
            pem("CERTIFICATE", &provider),
            pem("CERTIFICATE", &authority),
        ]
        .concat()
        .into_bytes()
    }

    /// The same world with other certificates at the address of the provider's.
    pub fn with(mut self, authority: &Certificate, provider: &Certificate) -> Self {
        let chain = self.chain(authority, provider);
        self.found.insert(X5U.to_owned(), chain);
        self
    }

    pub fn roots(&self) -> Roots {
        Roots::read(&self.root_pem).unwrap()
    }

    pub fn settings(&self) -> Settings {
        Settings::new(self.roots())
    }

    pub fn verifier(&self) -> Verifier {
        Verifier::new(self.settings())
    }

    pub fn signer(&self) -> Signer {
        Signer::read(&self.provider.pem(), Address::read(X5U).unwrap()).unwrap()
    }

    /// An Identity header that is right.
    pub fn identity(&self) -> String {
        let dest = [n(DEST)];
        let call = Original {
            attest: Attest::A,
            orig: &n(ORIG),
            dest: &dest,
            iat: NOW,
            origid: ORIGID,
        };
        self.signer().original(&call).unwrap()
    }

    /// A token over just these texts, well signed with the provider's key.
    pub fn token(&self, header: &str, payload: &str) -> String {
        sign(&self.provider, header, payload)
    }

    /// An Identity header with such a token.
    pub fn raw(&self, ppt: &str, header: &str, payload: &str) -> String {
        format!(
            "{};info=<{X5U}>;alg=ES256;ppt={ppt}",
            self.token(header, payload)
        )
    }

    pub fn ask(&self, verifier: &Verifier, identity: &[&str], now: u64) -> (Verdict, Vec<String>) {
        self.ask_about(
            verifier,
            &Call {
                identity,
                orig: ORIG,
                dest: DEST,
                known: None,
            },
            now,
        )
    }

    /// The verdict, and what was fetched for it.
    pub fn ask_about(
        &self,
        verifier: &Verifier,
        call: &Call<'_>,
        now: u64,
    ) -> (Verdict, Vec<String>) {
        let mut fetched = Vec::new();
        let mut step = verifier.begin(call, now);
        loop {
            match step {
                Step::Done(verdict) => return (verdict, fetched),
                Step::Fetch(pending) => {
                    let address = pending.want().address.as_str().to_owned();
                    let found = self.found.get(&address).map(Vec::as_slice);
                    fetched.push(address);
                    assert!(fetched.len() < 100, "there is no end to it");
                    step = verifier.resume(pending, found.ok_or(Unfetched::Connection), now);
                }
            }
        }
    }

    /// The verdict about the headers on a call from [`ORIG`] to [`DEST`], with nothing kept.
    pub fn judge(&self, identity: &[&str]) -> Verdict {
        self.ask(&self.verifier(), identity, NOW).0
    }
}

/// The reason, after a look at what has to hold of every call that fails.
pub fn failed(verdict: &Verdict) -> Reason {
    assert_eq!(verdict.verstat, Verstat::Failed, "{verdict:?}");
    assert!(
        verdict.orig.is_none()
            && verdict.origid.is_none()
            && verdict.display.is_none()
            && !verdict.diverted
    );
    assert!(verdict.attest().is_none() && verdict.replay.is_empty() && verdict.sip().is_some());
    verdict.reason().unwrap()
}

pub fn sign(key: &Key, header: &str, payload: &str) -> String {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.pkcs8()).unwrap();
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

//! Verification, step by step. Nothing here waits: where something has to be fetched, the caller gets
//! the address and comes back with what was there.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::cache::Cache;
use crate::chain::Chain;
use crate::diversion;
use crate::identity::{self, Kind};
use crate::passport::{Passport, Rest};
use crate::revocation::List;
use crate::verdict::{Reason, Refusal};
use crate::{
    Address, Attest, ListIssuers, Number, Policy, ReplayCache, ReplayKey, Revocation, Roots, Seen,
    Verdict, Verstat,
};

/// The most Identity headers that a call may carry: more are not looked at, and it does not pass.
pub const MOST_HEADERS: usize = 12;
/// The most fetches that one call may cause.
const MOST_FETCHES: usize = 8;

/// What is trusted, and what is kept.
#[derive(Clone)]
pub struct Settings {
    /// Where every certificate has to lead to.
    pub roots: Roots,
    /// Under which policies certificates have to be issued. Empty: any.
    pub policies: Vec<Policy>,
    /// When revocation lists are asked for.
    pub revocation: Revocation,
    /// Who may sign them.
    pub list_issuers: ListIssuers,
    /// For so many seconds a certificate or list is used before it is fetched again.
    pub keep_seconds: u64,
    /// So many checked certificates are kept.
    pub certificates: usize,
    /// So many calls of the last two minutes are remembered, so that none is accepted twice. `None`:
    /// the caller does it, by [`Verdict::replay`].
    pub replays: Option<usize>,
}

impl Settings {
    /// With these roots and the SHAKEN policy; lists where they are named, but nobody who may sign
    /// them; an hour; 1,024 certificates; 200,000 calls.
    #[must_use]
    pub fn new(roots: Roots) -> Self {
        Self {
            roots,
            policies: vec![Policy::shaken()],
            revocation: Revocation::default(),
            list_issuers: ListIssuers::default(),
            keep_seconds: 3600,
            certificates: 1024,
            replays: Some(200_000),
        }
    }
}

/// What a SIP message says about a call.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The values of all Identity headers, in order.
    pub identity: &'a [&'a str],
    /// Who calls: P-Asserted-Identity of an authenticated trunk, else From. As it was written:
    /// [`Number::read`] reads it.
    pub orig: &'a str,
    /// Who is called: the Request-URI. Not To, which whoever replays a header can leave as it was.
    pub dest: &'a str,
    /// What is known beside the headers, for tokens in the compact form.
    pub known: Option<&'a Known>,
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("identity", &self.identity.len())
            .finish_non_exhaustive()
    }
}

/// What the compact form of a token leaves out (RFC 8225 §7) and the rest of the message may tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// From the Date header, in seconds since the epoch.
    pub iat: u64,
    /// From Attestation-Info (3GPP TS 24.229 §7.2.18).
    pub attest: Attest,
    /// From Origination-Id (3GPP TS 24.229): a UUID.
    pub origid: String,
}

/// What is to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A certificate with those above it: at most 64 KiB.
    Certificate,
    /// A revocation list: at most 4 MiB.
    List,
}

/// A fetch that is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// From where: over https, without following redirects, and only from addresses of which
    /// [`crate::is_special`] says no.
    pub address: Address,
    /// What should be there.
    pub what: What,
}

/// Nothing was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfetched {
    /// The name leads to a special address, or to none.
    Host,
    /// No connection, no trust in the server, or too slow.
    Connection,
    /// Another status than 200, a redirect included.
    Status,
    /// Too long.
    TooLong,
}

/// What was at the address, or why that is not known.
pub type Answer<'a> = Result<&'a [u8], Unfetched>;

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// Something has to be fetched: see [`Pending::want`], then [`Verifier::resume`].
    Fetch(Box<Pending>),
    /// Done.
    Done(Verdict),
}

/// A verification that waits for something to be fetched.
pub struct Pending {
    want: Want,
    work: Work,
}

impl Pending {
    /// What to fetch.
    #[must_use]
    pub fn want(&self) -> &Want {
        &self.want
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("want", &self.want)
            .finish_non_exhaustive()
    }
}

/// The numbers of a call and the tokens that are about it.
struct Work {
    orig: Option<Number>,
    dest: Option<Number>,
    /// `shaken` first, then `div`, then `rcd`; those before `at` are sound.
    passports: Vec<Passport>,
    at: usize,
    fetches: usize,
    /// What was needed until now, so that a full cache does not ask for it twice.
    chains: HashMap<String, Arc<Chain>>,
    lists: HashMap<String, Arc<List>>,
}

/// Verifies calls. It keeps checked certificates, lists and what was seen; it may be shared between
/// threads, and no lock is held while a signature is checked.
pub struct Verifier {
    settings: Settings,
    chains: Cache<Chain>,
    lists: Cache<List>,
    replays: Option<ReplayCache>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl Verifier {
    /// With these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            chains: Cache::new(settings.certificates),
            // There are few lists, and each may be large.
            lists: Cache::new(16),
            replays: settings.replays.map(ReplayCache::new),
            settings,
        }
    }

    /// Begins with a call. `now` in seconds since the epoch: when the message came.
    ///
    /// A call passes if every `shaken` and every `div` token on it holds; of several attestations the
    /// weakest counts. An `rcd` token that does not hold is left out, and nothing is displayed.
    #[must_use]
    pub fn begin(&self, call: &Call<'_>, now: u64) -> Step {
        match read(call, now) {
            Ok(work) => self.run(work, now),
            Err(refusal) => Step::Done(Verdict::refused(refusal)),
        }
    }

    /// Goes on with what was fetched. `now` in seconds since the epoch: the validity of certificates and
    /// lists is judged by it, the freshness of tokens was judged when the message came.
    #[must_use]
    pub fn resume(&self, pending: Box<Pending>, answer: Answer<'_>, now: u64) -> Step {
        let Pending { want, mut work } = *pending;
        let taken = match want.what {
            What::Certificate => self.take_chain(&mut work, &want.address, answer, now),
            What::List => self.take_list(&mut work, &want.address, answer, now),
        };
        match taken.or_else(|refusal| work.pass_over(refusal)) {
            Ok(()) => self.run(work, now),
            Err(refusal) => Step::Done(Verdict::refused(refusal)),
        }
    }

    fn take_chain(
        &self,
        work: &mut Work,
        address: &Address,
        answer: Answer<'_>,
        now: u64,
    ) -> Result<(), Refusal> {
        let bytes = answer
            .map_err(|_| Refusal::new(Reason::Fetch, "the certificate could not be fetched"))?;
        let chain = Arc::new(Chain::read(
            bytes,
            &self.settings.roots,
            &self.settings.policies,
            now,
        )?);
        let until = now
            .saturating_add(self.settings.keep_seconds)
            .min(chain.validity.until());
        self.chains
            .put(address.as_str(), Arc::clone(&chain), until, now);
        work.chains.insert(address.as_str().to_owned(), chain);
        Ok(())
    }

    fn take_list(
        &self,
        work: &mut Work,
        address: &Address,
        answer: Answer<'_>,
        now: u64,
    ) -> Result<(), Refusal> {
        let fetched = match answer {
            Ok(bytes) => List::read(bytes, &self.settings.list_issuers, now),
            Err(_) => Err(Refusal::new(
                Reason::Fetch,
                "the revocation list could not be fetched",
            )),
        };
        let list = match fetched {
            Ok(list) => {
                let list = Arc::new(list);
                let until = now
                    .saturating_add(self.settings.keep_seconds)
                    .min(list.until());
                self.lists
                    .put(address.as_str(), Arc::clone(&list), until, now);
                list
            }
            // The one before it is used as long as it says itself that it holds.
            Err(refusal) => self
                .lists
                .get_expired(address.as_str())
                .filter(|list| list.check_time(now).is_ok())
                .ok_or(refusal)?,
        };
        work.lists.insert(address.as_str().to_owned(), list);
        Ok(())
    }

    fn run(&self, mut work: Work, now: u64) -> Step {
        while let Some(passport) = work.passports.get(work.at) {
            match self.judge(passport, &work, now) {
                Ok(None) => work.at += 1,
                Ok(Some(want)) if work.fetches < MOST_FETCHES => {
                    work.fetches += 1;
                    return Step::Fetch(Box::new(Pending { want, work }));
                }
                found => {
                    let refusal = found.err().unwrap_or(Refusal::new(
                        Reason::Fetch,
                        "the call asks for too many fetches",
                    ));
                    if let Err(refusal) = work.pass_over(refusal) {
                        return Step::Done(Verdict::refused(refusal));
                    }
                }
            }
        }
        Step::Done(self.conclude(&work, now).unwrap_or_else(Verdict::refused))
    }

    /// Whether a token is signed by whoever may sign it, or what has to be fetched to know.
    fn judge(&self, passport: &Passport, work: &Work, now: u64) -> Result<Option<Want>, Refusal> {
        let chain = match work
            .chains
            .get(&passport.x5u)
            .cloned()
            .or_else(|| self.chains.get(&passport.x5u, now))
        {
            Some(chain) => chain,
            None => {
                let address = Address::read(&passport.x5u).map_err(|_| {
                    Refusal::new(
                        Reason::Address,
                        "the certificate's address may not be fetched",
                    )
                })?;
                return Ok(Some(Want {
                    address,
                    what: What::Certificate,
                }));
            }
        };
        // Also of what was kept: it may not be valid yet, if the clock was set back.
        if !chain.validity.holds(now) {
            return Err(Refusal::new(
                Reason::Certificate,
                "the certificate, or one above it, is not valid now",
            ));
        }
        if self.settings.revocation != Revocation::Ignored {
            if chain.lists.is_empty() && self.settings.revocation == Revocation::Required {
                return Err(Refusal::new(
                    Reason::Certificate,
                    "the certificate names no revocation list",
                ));
            }
            for address in &chain.lists {
                let Some(list) = work
                    .lists
                    .get(address.as_str())
                    .cloned()
                    .or_else(|| self.lists.get(address.as_str(), now))
                else {
                    return Ok(Some(Want {
                        address: address.clone(),
                        what: What::List,
                    }));
                };
                list.check_time(now)?;
                list.check(&chain)?;
            }
        }
        if !chain.covers(passport.signer()) {
            return Err(Refusal::new(
                Reason::Scope,
                "the certificate is not for this number",
            ));
        }
        if !chain.has_signed(&passport.signed, &passport.signature) {
            return Err(Refusal::new(
                Reason::Signature,
                "the signature does not hold",
            ));
        }
        Ok(None)
    }

    /// All tokens are sound. Whether they are about this call, and were not seen before.
    fn conclude(&self, work: &Work, now: u64) -> Result<Verdict, Refusal> {
        let of = |kind: Kind| {
            work.passports
                .iter()
                .filter(move |passport| passport.kind == kind)
                .map(|passport| &passport.claims)
        };
        let diversions: Vec<_> = of(Kind::Div).collect();
        let mut verdict = Verdict::refused(Refusal::new(Reason::Unsigned, "nothing is signed"));
        let mut weakest = None;
        for claims in of(Kind::Shaken) {
            let Some(origin) = &claims.origin else {
                continue;
            };
            if work.orig.as_ref() != Some(&claims.orig) {
                return Err(Refusal::new(
                    Reason::OrigMismatch,
                    "the call comes from another number than the one signed",
                ));
            }
            let called = work.dest.as_ref().ok_or(Refusal::new(
                Reason::DestMismatch,
                "the call goes to no number",
            ))?;
            verdict.diverted = diversion::follow(claims, &diversions, called)?;
            verdict.orig = Some(claims.orig.clone());
            verdict.origid = Some(origin.origid.clone());
            verdict.display = verdict.display.or_else(|| claims.display.clone());
            weakest = weakest.max(Some(origin.attest));
            let key = ReplayKey::new(&origin.origid, claims.iat, &claims.orig, &claims.dest);
            if !verdict.replay.contains(&key) {
                verdict.replay.push(key);
            }
        }
        let Some(attest) = weakest else {
            return Ok(verdict);
        };
        verdict.verstat = Verstat::Passed(attest);
        verdict.refusal = None;
        // What is displayed has to be about this caller and a number that the call was signed for.
        let signed: Vec<&Number> = of(Kind::Shaken)
            .chain(of(Kind::Div))
            .flat_map(|claims| &claims.dest)
            .collect();
        let about = |claims: &&crate::claims::Claims| {
            Some(&claims.orig) == work.orig.as_ref()
                && claims.dest.iter().any(|number| signed.contains(&number))
        };
        verdict.display = of(Kind::Rcd)
            .find(about)
            .and_then(|claims| claims.display.clone())
            .or(verdict.display);
        if let Some(replays) = &self.replays {
            for key in &verdict.replay {
                match replays.see(*key, now) {
                    Seen::New => {}
                    Seen::Again => return Ok(Verdict::replayed()),
                    Seen::Full => {
                        return Err(Refusal::new(
                            Reason::Replay,
                            "so many calls are remembered that there is no room for this one",
                        ));
                    }
                }
            }
        }
        Ok(verdict)
    }
}

impl Work {
    /// An `rcd` token that does not hold is left out; any other ends the verification.
    fn pass_over(&mut self, refusal: Refusal) -> Result<(), Refusal> {
        match self.passports.get(self.at) {
            Some(passport) if passport.kind == Kind::Rcd => {
                self.passports.remove(self.at);
                Ok(())
            }
            _ => Err(refusal),
        }
    }
}

/// Reads all headers of a call and judges what needs no key.
fn read(call: &Call<'_>, now: u64) -> Result<Work, Refusal> {
    if call.identity.is_empty() {
        return Err(Refusal::new(
            Reason::Unsigned,
            "there is no Identity header",
        ));
    }
    if call.identity.len() > MOST_HEADERS {
        return Err(Refusal::new(
            Reason::Malformed,
            "there are more than twelve Identity headers",
        ));
    }
    let (orig, dest) = (Number::read(call.orig).ok(), Number::read(call.dest).ok());
    let rest = Rest {
        orig: orig.as_ref(),
        dest: dest.as_ref(),
        known: call.known,
    };
    let mut passports: Vec<Passport> = Vec::new();
    for header in call.identity {
        let Some(identity) = identity::read(header)? else {
            continue;
        };
        match Passport::read(&identity, &rest) {
            Ok(passport) => passports.push(passport),
            Err(_) if identity.kind == Kind::Rcd => {}
            Err(refusal) => return Err(refusal),
        }
    }
    passports.sort_by_key(|passport| passport.kind);
    // Nobody would tell of what an `rcd` token alone says: it attests to nothing.
    match passports.first().map(|passport| passport.kind) {
        None | Some(Kind::Rcd) => {
            return Err(Refusal::new(
                Reason::Unsigned,
                "no Identity header is of a kind that attests to a number",
            ));
        }
        Some(Kind::Div) => {
            return Err(Refusal::new(
                Reason::Malformed,
                "a diversion comes without what was diverted",
            ));
        }
        Some(Kind::Shaken) => {}
    }
    passports.retain(|passport| passport.kind != Kind::Rcd || passport.claims.is_fresh(now));
    if passports
        .iter()
        .any(|passport| !passport.claims.is_fresh(now))
    {
        return Err(Refusal::new(
            Reason::Stale,
            "signed more than a minute ago, or in the future",
        ));
    }
    Ok(Work {
        orig,
        dest,
        passports,
        at: 0,
        fetches: 0,
        chains: HashMap::new(),
        lists: HashMap::new(),
    })
}

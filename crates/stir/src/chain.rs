//! Certificates that sign calls, up to a configured root (RFC 8226; the profile is that of
//! ATIS-1000080).
//!
//! Paths are built and their signatures, names, constraints and validity checked by `webpki`; what it
//! leaves out is checked here on the path it found: key usage, the curve of every key, the policy, the
//! numbers a certificate is for.

use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer as _;

use crate::verdict::{Reason, Refusal};
use crate::{Address, Number, TnAuthList, Unusable, der, tnauth};

/// The most bytes that are looked at where a certificate should be.
const LONGEST: usize = 64 * 1024;
/// The most certificates that are looked at.
const MOST: usize = 8;
/// The most revocation lists that the certificates of a path may name together.
const MOST_LISTS: usize = 4;

const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const KEY_USAGE: &str = "2.5.29.15";
const POLICIES: &str = "2.5.29.32";
const ANY_POLICY: &str = "2.5.29.32.0";
const LIST_POINTS: &str = "2.5.29.31";
/// Limits on claims, of two kinds (RFC 8226 §8, RFC 9118). They are not understood here, so a
/// certificate that has them cannot be used.
const CLAIM_LIMITS: [&str; 2] = ["1.3.6.1.5.5.7.1.27", "1.3.6.1.5.5.7.1.33"];
const P256: &str = "1.2.840.10045.3.1.7";
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";

/// A policy that certificates have to be issued under (RFC 5280 §4.2.1.4): an object identifier, or an
/// arc with all under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy(String);

impl Policy {
    /// The SHAKEN certificate policy in all its versions (ATIS-1000080: the last number is the
    /// version). The default.
    #[must_use]
    pub fn shaken() -> Self {
        Self("2.16.840.1.114569.1.1".to_owned())
    }

    /// From digits and dots.
    ///
    /// # Errors
    /// [`Unusable::Policy`]: it is no object identifier.
    pub fn read(text: &str) -> Result<Self, Unusable> {
        let number =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if text.split('.').count() >= 2 && text.split('.').all(number) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Unusable::Policy)
        }
    }

    fn covers(&self, oid: &str) -> bool {
        oid.strip_prefix(&self.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// The certificates that everything has to lead to: those of the STI-PA's list. Never those of the web.
#[derive(Clone)]
pub struct Roots(Vec<Root>);

#[derive(Clone)]
struct Root {
    anchor: TrustAnchor<'static>,
    validity: Validity,
}

impl Roots {
    /// From PEM.
    ///
    /// # Errors
    /// [`Unusable`]: not PEM, empty, or with a certificate that is none or has no P-256 key.
    pub fn read(pem: &str) -> Result<Self, Unusable> {
        let mut roots = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|_| Unusable::Pem)?;
            let (_, parsed) = X509Certificate::from_der(&certificate)
                .map_err(|_| Unusable::Certificate("it cannot be read"))?;
            key_of(&parsed).map_err(Unusable::Certificate)?;
            let anchor = webpki::anchor_from_trusted_cert(&certificate)
                .map_err(|_| Unusable::Certificate("it is no root"))?;
            roots.push(Root {
                anchor: anchor.to_owned(),
                validity: Validity::of(&parsed),
            });
        }
        if roots.is_empty() {
            return Err(Unusable::Empty);
        }
        Ok(Self(roots))
    }
}

/// From when to when, in seconds since the epoch, both inclusive.
#[derive(Clone, Copy)]
pub(crate) struct Validity {
    from: i64,
    until: i64,
}

impl Validity {
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        Self {
            from: validity.not_before.timestamp(),
            until: validity.not_after.timestamp(),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            from: self.from.max(other.from),
            until: self.until.min(other.until),
        }
    }

    pub(crate) fn holds(self, now: u64) -> bool {
        i64::try_from(now).is_ok_and(|now| (self.from..=self.until).contains(&now))
    }

    /// The last second, as far as it lies after the epoch.
    pub(crate) fn until(self) -> u64 {
        u64::try_from(self.until).unwrap_or(0)
    }
}

/// A certificate whose path to a root holds, ready for use. It was checked without regard to which call
/// it is used for.
pub(crate) struct Chain {
    /// When every certificate of the path is valid, the root included.
    pub(crate) validity: Validity,
    key: ParsedPublicKey,
    /// For which numbers: the lists of the certificate and of those above it that have one.
    numbers: Vec<TnAuthList>,
    /// Issuer and serial number of each certificate below the root.
    pub(crate) serials: Vec<(String, Vec<u8>)>,
    /// Where the lists are that would revoke one of them.
    pub(crate) lists: Vec<Address>,
}

impl Chain {
    /// From what was fetched: PEM, the certificate first, or the certificate alone in DER.
    pub(crate) fn read(
        bytes: &[u8],
        roots: &Roots,
        policies: &[Policy],
        now: u64,
    ) -> Result<Self, Refusal> {
        let certificates = certificates(bytes)?;
        let (first, above) = certificates
            .split_first()
            .ok_or(refused("there is no certificate"))?;
        let end = EndEntityCert::try_from(first)
            .map_err(|_| refused("the certificate cannot be read"))?;
        let anchors: Vec<TrustAnchor<'_>> =
            roots.0.iter().map(|root| root.anchor.clone()).collect();
        let path = end
            .verify_for_usage(
                &[webpki::aws_lc_rs::ECDSA_P256_SHA256],
                &anchors,
                above,
                UnixTime::since_unix_epoch(Duration::from_secs(now)),
                // Certificates of this kind have no extended key usage; those that have one for servers
                // alone are refused.
                KeyUsage::client_auth(),
                None,
                None,
            )
            .map_err(|_| {
                refused("the certificate does not lead to a configured root, or is not valid now")
            })?;
        // A root that was renewed with its key is there twice: the one that is valid longest counts.
        let root = roots
            .0
            .iter()
            .filter(|root| root.anchor == *path.anchor())
            .max_by_key(|root| root.validity.until)
            .ok_or(refused("the root is not known"))?;

        let (end, key, numbers) = Link::read(first, Role::End, policies)?;
        let numbers = numbers.ok_or(refused(
            "the certificate says not for which numbers it is (TNAuthList)",
        ))?;
        let mut chain = Self {
            validity: root.validity.and(end.validity),
            key,
            numbers: vec![numbers],
            serials: vec![end.serial],
            lists: end.lists,
        };
        for certificate in path.intermediate_certificates() {
            let (link, _, numbers) = Link::read(&certificate.der(), Role::Issuer, policies)?;
            chain.validity = chain.validity.and(link.validity);
            // What is delegated stays within what its issuer has (RFC 9060 §4).
            chain.numbers.extend(numbers);
            chain.serials.push(link.serial);
            chain.lists.extend(link.lists);
        }
        chain.lists.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        chain.lists.dedup();
        if chain.lists.len() > MOST_LISTS {
            return Err(refused("the certificates name too many revocation lists"));
        }
        if !chain.validity.holds(now) {
            return Err(refused("the root is not valid now"));
        }
        Ok(chain)
    }

    /// Whether the certificate may sign for this number.
    pub(crate) fn covers(&self, number: &Number) -> bool {
        self.numbers.iter().all(|list| list.covers(number))
    }

    /// Whether this is the signature over the text: R and S, 32 bytes each (RFC 7518 §3.4).
    pub(crate) fn has_signed(&self, text: &str, signature: &[u8]) -> bool {
        signature.len() == 64 && self.key.verify_sig(text.as_bytes(), signature).is_ok()
    }
}

/// Certificates from PEM or DER.
fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    if bytes.len() > LONGEST {
        return Err(refused(
            "what stands in the certificate's place is longer than 64 KiB",
        ));
    }
    if bytes.first() == Some(&der::SEQUENCE) {
        return Ok(vec![CertificateDer::from(bytes.to_vec())]);
    }
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        found.push(
            certificate
                .map_err(|_| refused("what stands in the certificate's place is not PEM"))?,
        );
        if found.len() > MOST {
            return Err(refused("there are more than eight certificates"));
        }
    }
    Ok(found)
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    End,
    Issuer,
}

/// One certificate of a path, below the root.
struct Link {
    validity: Validity,
    serial: (String, Vec<u8>),
    lists: Vec<Address>,
}

impl Link {
    fn read(
        certificate: &[u8],
        role: Role,
        policies: &[Policy],
    ) -> Result<(Self, ParsedPublicKey, Option<TnAuthList>), Refusal> {
        let (rest, parsed) = X509Certificate::from_der(certificate)
            .map_err(|_| refused("a certificate cannot be read"))?;
        if !rest.is_empty() {
            return Err(refused("something stands behind a certificate"));
        }
        let key = key_of(&parsed).map_err(refused)?;
        check_usage(&parsed, role)?;
        check_policy(&parsed, role, policies)?;
        for oid in CLAIM_LIMITS {
            if extension(&parsed, oid)?.is_some() {
                return Err(refused(
                    "the certificate limits claims, which is not understood here",
                ));
            }
        }
        let numbers = match extension(&parsed, tnauth::OID)? {
            None => None,
            Some(found) => {
                Some(TnAuthList::read(found.value).ok_or(refused("TNAuthList cannot be read"))?)
            }
        };
        let issuer = der::name(parsed.issuer().as_raw())
            .ok_or(refused("the issuer's name cannot be read"))?;
        let link = Self {
            validity: Validity::of(&parsed),
            serial: (issuer, plain_serial(parsed.raw_serial())),
            lists: lists(&parsed)?,
        };
        Ok((link, key, numbers))
    }
}

/// A serial number without zeros before it, so that two can be compared.
pub(crate) fn plain_serial(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .copied()
        .skip_while(|byte| *byte == 0)
        .collect()
}

/// The extension of this kind; two of a kind are refused (RFC 5280 §4.2).
fn extension<'a, 'b>(
    certificate: &'b X509Certificate<'a>,
    oid: &str,
) -> Result<Option<&'b X509Extension<'a>>, Refusal> {
    let mut found = certificate
        .extensions()
        .iter()
        .filter(|extension| extension.oid.to_id_string() == oid);
    match (found.next(), found.next()) {
        (found, None) => Ok(found),
        _ => Err(refused("a certificate has an extension twice")),
    }
}

/// The key of a certificate: on the curve P-256, not compressed.
pub(crate) fn key_of(certificate: &X509Certificate<'_>) -> Result<ParsedPublicKey, &'static str> {
    let info = certificate.public_key();
    let curve = info
        .algorithm
        .parameters
        .as_ref()
        .and_then(|parameters| parameters.as_oid().ok());
    if info.algorithm.algorithm.to_id_string() != EC_PUBLIC_KEY
        || curve.is_none_or(|curve| curve.to_id_string() != P256)
    {
        return Err("the key of a certificate is not on the curve P-256");
    }
    let point = &info.subject_public_key.data;
    if point.len() != 65 || point.first() != Some(&4) {
        return Err("the key of a certificate is no point in full");
    }
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .map_err(|_| "the key of a certificate is no point on the curve")
}

/// Key usage and basic constraints, which `webpki` leaves out in part: they have to be there, and say
/// what the certificate is used for.
fn check_usage(certificate: &X509Certificate<'_>, role: Role) -> Result<(), Refusal> {
    let usage = match extension(certificate, KEY_USAGE)?.map(X509Extension::parsed_extension) {
        Some(ParsedExtension::KeyUsage(usage)) => usage,
        _ => return Err(refused("a certificate says not what its key is for")),
    };
    let authority =
        match extension(certificate, BASIC_CONSTRAINTS)?.map(X509Extension::parsed_extension) {
            None => false,
            Some(ParsedExtension::BasicConstraints(constraints)) => constraints.ca,
            Some(_) => {
                return Err(refused(
                    "the basic constraints of a certificate cannot be read",
                ));
            }
        };
    let fits = match role {
        // A key that signs calls signs no certificates.
        Role::End => usage.digital_signature() && !usage.key_cert_sign() && !authority,
        Role::Issuer => usage.key_cert_sign() && authority,
    };
    if fits {
        Ok(())
    } else {
        Err(refused("the key of a certificate is for something else"))
    }
}

/// Every certificate below the root is issued under a policy that is configured. An issuer may have
/// `anyPolicy`, so that it need not be renewed with every version of the policy.
fn check_policy(
    certificate: &X509Certificate<'_>,
    role: Role,
    policies: &[Policy],
) -> Result<(), Refusal> {
    if policies.is_empty() {
        return Ok(());
    }
    let found = match extension(certificate, POLICIES)?.map(X509Extension::parsed_extension) {
        Some(ParsedExtension::CertificatePolicies(found)) => found,
        _ => return Err(refused("a certificate was issued under no policy")),
    };
    let fits = found.iter().any(|one| {
        let oid = one.policy_id.to_id_string();
        policies.iter().any(|policy| policy.covers(&oid))
            || (role == Role::Issuer && oid == ANY_POLICY)
    });
    if fits {
        Ok(())
    } else {
        Err(refused("a certificate was issued under another policy"))
    }
}

/// Where the lists are that would revoke a certificate. An address that may not be fetched is as good as
/// a list that cannot be had.
fn lists(certificate: &X509Certificate<'_>) -> Result<Vec<Address>, Refusal> {
    let points = match extension(certificate, LIST_POINTS)?.map(X509Extension::parsed_extension) {
        None => return Ok(Vec::new()),
        Some(ParsedExtension::CRLDistributionPoints(points)) => points,
        Some(_) => {
            return Err(refused(
                "where the revocation list of a certificate is cannot be read",
            ));
        }
    };
    let mut found = Vec::new();
    for point in points.iter() {
        let Some(DistributionPointName::FullName(names)) = &point.distribution_point else {
            return Err(refused(
                "where the revocation list of a certificate is has no address",
            ));
        };
        // Several names of one point are the same list (RFC 5280 §4.2.1.13).
        let address = names.iter().find_map(|name| match name {
            GeneralName::URI(text) => Address::read(text).ok(),
            _ => None,
        });
        found.push(address.ok_or(Refusal::new(
            Reason::Address,
            "the address of a revocation list may not be fetched",
        ))?);
    }
    Ok(found)
}

fn refused(why: &'static str) -> Refusal {
    Refusal::new(Reason::Certificate, why)
}

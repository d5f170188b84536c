//! Revocation lists (RFC 5280 §5). In SHAKEN the STI-PA issues one for the certificates of all
//! authorities: an indirect list, whose entries name the issuer (ATIS-1000080).

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::{CertificateRevocationList, RevokedCertificate};

use crate::chain::{Chain, Validity, key_of, plain_serial};
use crate::verdict::{Reason, Refusal};
use crate::{Unusable, der};

/// The most bytes that are looked at where a list should be.
const LONGEST: usize = 4 * 1024 * 1024;

const ISSUING_POINT: &str = "2.5.29.28";
const CERTIFICATE_ISSUER: &str = "2.5.29.29";
const REASON: &str = "2.5.29.21";
const INVALID_SINCE: &str = "2.5.29.24";
const ECDSA_WITH_SHA256: &str = "1.2.840.10045.4.3.2";

/// When revocation lists are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Revocation {
    /// Where a certificate names one. It then has to be had, be signed by a configured issuer and be
    /// up to date. The default.
    #[default]
    Named,
    /// The same, and a certificate that names none is refused.
    Required,
    /// Never: for trials. A certificate that was taken from its owner still passes.
    Ignored,
}

/// Who may sign revocation lists: certificates with P-256 keys.
#[derive(Clone, Default)]
pub struct ListIssuers(Vec<ListIssuer>);

#[derive(Clone)]
struct ListIssuer {
    name: String,
    key: ParsedPublicKey,
    validity: Validity,
}

impl ListIssuers {
    /// From PEM. They are believed as they stand, without a path to a root.
    ///
    /// # Errors
    /// [`Unusable`]: not PEM, empty, or with a certificate that cannot be read, has no P-256 key, or
    /// has one that is not for signing lists.
    pub fn read(pem: &str) -> Result<Self, Unusable> {
        let mut issuers = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|_| Unusable::Pem)?;
            let (_, parsed) = X509Certificate::from_der(&certificate)
                .map_err(|_| Unusable::Certificate("it cannot be read"))?;
            let usage = parsed
                .key_usage()
                .map_err(|_| Unusable::Certificate("what its key is for cannot be read"))?;
            if usage.is_some_and(|usage| !usage.value.crl_sign()) {
                return Err(Unusable::Certificate(
                    "its key is not for signing revocation lists",
                ));
            }
            key_of(&parsed).map_err(Unusable::Certificate)?;
            let key = ParsedPublicKey::new(
                &ECDSA_P256_SHA256_ASN1,
                &parsed.public_key().subject_public_key.data,
            );
            issuers.push(ListIssuer {
                name: der::name(parsed.subject().as_raw())
                    .ok_or(Unusable::Certificate("its name cannot be read"))?,
                key: key.map_err(|_| Unusable::Certificate("its key cannot be used"))?,
                validity: Validity::of(&parsed),
            });
        }
        if issuers.is_empty() {
            return Err(Unusable::Empty);
        }
        Ok(Self(issuers))
    }
}

/// A list whose signature holds.
pub(crate) struct List {
    from: i64,
    until: i64,
    /// By serial number: the issuers of the certificates that are revoked.
    revoked: HashMap<Vec<u8>, Vec<Arc<str>>>,
}

impl List {
    /// From what was fetched, PEM or DER.
    pub(crate) fn read(bytes: &[u8], issuers: &ListIssuers, now: u64) -> Result<Self, Refusal> {
        if bytes.len() > LONGEST {
            return Err(refused("the revocation list is longer than 4 MiB"));
        }
        let from_pem;
        let bytes = if bytes.first() == Some(&der::SEQUENCE) {
            bytes
        } else {
            from_pem = CertificateRevocationListDer::from_pem_slice(bytes)
                .map_err(|_| refused("the revocation list is neither DER nor PEM"))?;
            &from_pem
        };
        let (rest, list) = CertificateRevocationList::from_der(bytes)
            .map_err(|_| refused("the revocation list cannot be read"))?;
        if !rest.is_empty() {
            return Err(refused("something stands behind the revocation list"));
        }
        let name = der::name(list.issuer().as_raw())
            .ok_or(refused("the name on the revocation list cannot be read"))?;
        let algorithms = [&list.signature_algorithm, &list.tbs_cert_list.signature];
        if algorithms
            .iter()
            .any(|one| one.algorithm.to_id_string() != ECDSA_WITH_SHA256)
        {
            return Err(refused(
                "the revocation list is not signed with ECDSA and SHA-256",
            ));
        }
        let signed = issuers.0.iter().any(|issuer| {
            issuer.name == name
                && issuer.validity.holds(now)
                && issuer
                    .key
                    .verify_sig(list.tbs_cert_list.as_ref(), &list.signature_value.data)
                    .is_ok()
        });
        if !signed {
            return Err(refused(
                "no configured issuer has signed the revocation list",
            ));
        }
        check_extensions(&list)?;
        let until = list
            .next_update()
            .ok_or(refused("the revocation list says not until when it holds"))?;
        let found = Self {
            from: list.last_update().timestamp(),
            until: until.timestamp(),
            revoked: entries(&list, &name)?,
        };
        found.check_time(now)?;
        Ok(found)
    }

    /// Refuses a list that is out of date, or from the future.
    pub(crate) fn check_time(&self, now: u64) -> Result<(), Refusal> {
        let holds = i64::try_from(now).is_ok_and(|now| (self.from..=self.until).contains(&now));
        if holds {
            Ok(())
        } else {
            Err(refused("the revocation list is out of date"))
        }
    }

    /// The last second at which it holds.
    pub(crate) fn until(&self) -> u64 {
        u64::try_from(self.until).unwrap_or(0)
    }

    /// Refuses a chain of which a certificate is on the list.
    pub(crate) fn check(&self, chain: &Chain) -> Result<(), Refusal> {
        let revoked = |issuer: &str, serial: &[u8]| {
            self.revoked
                .get(serial)
                .is_some_and(|issuers| issuers.iter().any(|one| **one == *issuer))
        };
        if chain
            .serials
            .iter()
            .any(|(issuer, serial)| revoked(issuer, serial))
        {
            return Err(Refusal::new(
                Reason::Revoked,
                "the certificate, or one above it, was revoked",
            ));
        }
        Ok(())
    }
}

/// A list that is only about a part of the certificates or of the reasons would say "not revoked" where
/// it knows nothing (RFC 5280 §5.2.5), and so would one that only tells changes (§5.2.4), which is
/// marked by an extension that is critical and not known here.
fn check_extensions(list: &CertificateRevocationList<'_>) -> Result<(), Refusal> {
    for extension in list.extensions() {
        if extension.oid.to_id_string() == ISSUING_POINT {
            let whole = match extension.parsed_extension() {
                ParsedExtension::IssuingDistributionPoint(point) => {
                    !point.only_contains_user_certs
                        && !point.only_contains_ca_certs
                        && !point.only_contains_attribute_certs
                        && point.only_some_reasons.is_none()
                }
                _ => false,
            };
            if !whole {
                return Err(refused("the revocation list is only a part"));
            }
        } else if extension.critical {
            return Err(refused(
                "the revocation list has an extension that is not understood",
            ));
        }
    }
    Ok(())
}

/// The entries. An entry without an issuer has that of the entry before it, the first that of the list
/// (RFC 5280 §5.3.3).
fn entries(
    list: &CertificateRevocationList<'_>,
    name: &str,
) -> Result<HashMap<Vec<u8>, Vec<Arc<str>>>, Refusal> {
    let mut issuer: Arc<str> = name.into();
    let mut revoked: HashMap<Vec<u8>, Vec<Arc<str>>> = HashMap::new();
    for entry in list.iter_revoked_certificates() {
        if let Some(named) = issuer_of(entry)? {
            issuer = named.into();
        }
        revoked
            .entry(plain_serial(entry.raw_serial()))
            .or_default()
            .push(Arc::clone(&issuer));
    }
    Ok(revoked)
}

fn issuer_of(entry: &RevokedCertificate<'_>) -> Result<Option<String>, Refusal> {
    let mut issuer = None;
    for extension in entry.extensions() {
        match extension.oid.to_id_string().as_str() {
            CERTIFICATE_ISSUER => {
                issuer = Some(
                    directory_name(extension.value)
                        .ok_or(refused("an issuer on the revocation list cannot be read"))?,
                )
            }
            REASON | INVALID_SINCE => {}
            _ if extension.critical => {
                return Err(refused("an entry of the revocation list is not understood"));
            }
            _ => {}
        }
    }
    Ok(issuer)
}

/// GeneralNames with one directoryName (RFC 5280 §4.2.1.6).
fn directory_name(value: &[u8]) -> Option<String> {
    der::name(der::only(
        der::only(value, der::SEQUENCE)?,
        der::context(4),
    )?)
}

fn refused(why: &'static str) -> Refusal {
    Refusal::new(Reason::Revocation, why)
}

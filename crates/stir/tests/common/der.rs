//! Certificates and revocation lists, written out (RFC 5280 §4.1, §5.1).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{DAY, LIST, NOW};

pub const SHAKEN: &str = "2.16.840.1.114569.1.1.1";

pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..=0x7f => out.push(length as u8),
        0x80..=0xff => out.extend([0x81, length as u8]),
        _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    out.extend(content);
    out
}

pub fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

pub fn oid(text: &str) -> Vec<u8> {
    let numbers: Vec<u64> = text.split('.').map(|part| part.parse().unwrap()).collect();
    let mut content = vec![(numbers[0] * 40 + numbers[1]) as u8];
    for number in &numbers[2..] {
        let mut bytes = vec![(number & 0x7f) as u8];
        let mut rest = number >> 7;
        while rest > 0 {
            bytes.push(0x80 | (rest & 0x7f) as u8);
            rest >>= 7;
        }
        content.extend(bytes.iter().rev());
    }
    tlv(6, &content)
}

/// C=US with a common name.
pub fn name(common: &str) -> Vec<u8> {
    let part = |kind: &str, tag: u8, value: &str| {
        tlv(0x31, &sequence(&[oid(kind), tlv(tag, value.as_bytes())]))
    };
    sequence(&[part("2.5.4.6", 0x13, "US"), part("2.5.4.3", 0x0c, common)])
}

/// UTCTime: days and years by the civil calendar.
pub fn time(seconds: u64) -> Vec<u8> {
    let (days, rest) = (seconds / DAY, seconds % DAY);
    let (mut year, mut day) = (1970, days);
    let leap = |year: u64| year.is_multiple_of(4);
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [
        31,
        28 + u64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let text = format!(
        "{:02}{month:02}{:02}{:02}{:02}{:02}Z",
        year % 100,
        day + 1,
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    );
    tlv(0x17, text.as_bytes())
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// A P-256 key.
pub struct Key {
    pkcs8: Vec<u8>,
    pair: EcdsaKeyPair,
}

impl Key {
    pub fn new() -> Self {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
                .unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref()).unwrap();
        Self {
            pkcs8: pkcs8.as_ref().to_vec(),
            pair,
        }
    }

    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    pub fn pem(&self) -> String {
        pem("PRIVATE KEY", &self.pkcs8)
    }

    /// SubjectPublicKeyInfo.
    pub fn info(&self) -> Vec<u8> {
        let algorithm = sequence(&[oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")]);
        sequence(&[
            algorithm,
            tlv(3, &[&[0], self.pair.public_key().as_ref()].concat()),
        ])
    }

    /// Something signed: `SEQUENCE { tbs, algorithm, signature }`.
    fn sign(&self, tbs: Vec<u8>) -> Vec<u8> {
        let signature = self.pair.sign(&SystemRandom::new(), &tbs).unwrap();
        sequence(&[
            tbs,
            algorithm(),
            tlv(3, &[&[0], signature.as_ref()].concat()),
        ])
    }
}

fn algorithm() -> Vec<u8> {
    sequence(&[oid("1.2.840.10045.4.3.2")])
}

pub fn extension(kind: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let flag = if critical {
        vec![1, 1, 0xff]
    } else {
        Vec::new()
    };
    sequence(&[oid(kind), flag, tlv(4, value)])
}

/// TNAuthList with one entry: tag 0, 1 or 2.
pub fn provider_code(code: &str) -> Vec<u8> {
    sequence(&[tlv(0xa0, &tlv(0x16, code.as_bytes()))])
}

pub fn range(start: &str, count: u8) -> Vec<u8> {
    sequence(&[tlv(
        0xa1,
        &sequence(&[tlv(0x16, start.as_bytes()), tlv(2, &[count])]),
    )])
}

pub fn one(number: &str) -> Vec<u8> {
    sequence(&[tlv(0xa2, &tlv(0x16, number.as_bytes()))])
}

/// What stands in a certificate.
#[derive(Clone)]
pub struct Certificate {
    pub serial: u8,
    pub subject: &'static str,
    pub issuer: &'static str,
    pub from: u64,
    pub until: u64,
    /// Basic constraints: an authority, with so many below it.
    pub authority: Option<u8>,
    /// The first byte of the bits of key usage: 0x80 signs, 0x04 signs certificates, 0x02 signs lists.
    pub usage: Option<u8>,
    pub policy: Option<&'static str>,
    pub numbers: Option<Vec<u8>>,
    pub list: Option<&'static str>,
    pub more: Vec<Vec<u8>>,
    /// Instead of the key's own.
    pub info: Option<Vec<u8>>,
}

impl Certificate {
    pub fn root() -> Self {
        Self {
            serial: 1,
            subject: "Test Root",
            issuer: "Test Root",
            from: NOW - 1000 * DAY,
            until: NOW + 1000 * DAY,
            authority: Some(3),
            usage: Some(0x06),
            policy: None,
            numbers: None,
            list: None,
            more: Vec::new(),
            info: None,
        }
    }

    pub fn authority() -> Self {
        Self {
            serial: 2,
            subject: "Test Authority",
            policy: Some(SHAKEN),
            authority: Some(1),
            ..Self::root()
        }
    }

    pub fn provider() -> Self {
        Self {
            serial: 3,
            subject: "SHAKEN 709J",
            issuer: "Test Authority",
            from: NOW - 10 * DAY,
            until: NOW + 10 * DAY,
            authority: None,
            usage: Some(0x80),
            policy: Some(SHAKEN),
            numbers: Some(provider_code("709J")),
            ..Self::root()
        }
    }

    pub fn listed(self) -> Self {
        Self {
            list: Some(LIST),
            ..self
        }
    }

    pub fn issue(&self, key: &Key, issuer: &Key) -> Vec<u8> {
        let mut extensions = self.more.clone();
        let constraints = match self.authority {
            Some(below) => sequence(&[vec![1, 1, 0xff], tlv(2, &[below])]),
            None => sequence(&[]),
        };
        extensions.push(extension("2.5.29.19", true, &constraints));
        if let Some(bits) = self.usage {
            extensions.push(extension(
                "2.5.29.15",
                true,
                &tlv(3, &[bits.trailing_zeros() as u8, bits]),
            ));
        }
        if let Some(policy) = self.policy {
            extensions.push(extension(
                "2.5.29.32",
                false,
                &sequence(&[sequence(&[oid(policy)])]),
            ));
        }
        if let Some(numbers) = &self.numbers {
            extensions.push(extension("1.3.6.1.5.5.7.1.26", false, numbers));
        }
        if let Some(list) = self.list {
            let point = sequence(&[tlv(0xa0, &tlv(0xa0, &tlv(0x86, list.as_bytes())))]);
            extensions.push(extension("2.5.29.31", false, &sequence(&[point])));
        }
        let tbs = sequence(&[
            tlv(0xa0, &tlv(2, &[2])),
            tlv(2, &[self.serial]),
            algorithm(),
            name(self.issuer),
            sequence(&[time(self.from), time(self.until)]),
            name(self.subject),
            self.info.clone().unwrap_or_else(|| key.info()),
            tlv(0xa3, &sequence(&extensions)),
        ]);
        issuer.sign(tbs)
    }
}

/// A revocation list.
#[derive(Clone)]
pub struct List {
    pub issuer: &'static str,
    pub from: u64,
    pub until: Option<u64>,
    /// Serial numbers, with the issuer of the certificate where it is another than before.
    pub entries: Vec<(u8, Option<&'static str>)>,
    pub more: Vec<Vec<u8>>,
}

impl List {
    /// Indirect, with nothing on it.
    pub fn new() -> Self {
        let indirect = extension("2.5.29.28", true, &sequence(&[tlv(0x84, &[0xff])]));
        Self {
            issuer: "Test STI-PA",
            from: NOW - DAY,
            until: Some(NOW + DAY),
            entries: Vec::new(),
            more: vec![indirect],
        }
    }

    pub fn issue(&self, key: &Key) -> Vec<u8> {
        let entries: Vec<Vec<u8>> = self
            .entries
            .iter()
            .map(|(serial, issuer)| {
                let mut entry = vec![tlv(2, &[*serial]), time(self.from)];
                if let Some(issuer) = issuer {
                    let names = sequence(&[tlv(0xa4, &name(issuer))]);
                    entry.push(sequence(&[extension("2.5.29.29", true, &names)]));
                }
                sequence(&entry)
            })
            .collect();
        let mut tbs = vec![
            tlv(2, &[1]),
            algorithm(),
            name(self.issuer),
            time(self.from),
        ];
        tbs.extend(self.until.map(time));
        if !entries.is_empty() {
            tbs.push(sequence(&entries));
        }
        if !self.more.is_empty() {
            tbs.push(tlv(0xa0, &sequence(&self.more)));
        }
        key.sign(sequence(&tbs))
    }
}

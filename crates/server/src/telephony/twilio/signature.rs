//! `X-Twilio-Signature`: proof that a webhook comes from the holder of the account's auth token.
//!
//! The scheme is base64(HMAC-SHA1(token, URL followed by every parameter's name and value, sorted)).
//! It has no time stamp and no separator between names and values, so a captured request stays
//! valid for ever: the adapter deduplicates by call and step, and the form parser refuses requests
//! that lack or repeat what it needs ([`super::form`]).

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_core::secret::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Name of the header that carries the signature.
pub const HEADER: &str = "X-Twilio-Signature";

/// The query parameter that binds a JSON body to the signed URL.
const BODY_HASH: &str = "bodySHA256";

/// The signature of a request to exactly this URL. A repeated name counts with its distinct
/// values in order, as in Twilio's own libraries. Empty only if the token cannot be a key, which
/// [`verify`] never accepts.
pub fn sign(token: &Secret, url: &str, params: &[(String, String)]) -> String {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(token.expose().as_bytes()) else { return String::new() };
    mac.update(url.as_bytes());
    let sorted: BTreeSet<(&str, &str)> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Whether `header` signs these form parameters at this URL.
///
/// `public_url` is the configured public base, then path and query byte for byte as received:
/// never built from `Host` or forwarding headers, which the sender chooses. Twilio is not
/// consistent about the port, so the URL counts with and without it, as in its own libraries. An
/// empty token or header is never accepted.
pub fn verify(token: &Secret, public_url: &str, params: &[(String, String)], header: &str) -> bool {
    if token.is_empty() || header.is_empty() {
        return false;
    }
    // Both spellings are always computed and compared, so that time tells nothing.
    spellings(public_url).iter().fold(Choice::from(0), |found, url| {
        found | sign(token, url, params).as_bytes().ct_eq(header.as_bytes())
    }).into()
}

/// Whether `header` signs this raw JSON body at this URL, which must carry exactly one
/// `bodySHA256=<hex>`: the signature covers the URL, and the URL covers the body.
pub fn verify_json(token: &Secret, url_with_hash: &str, body: &[u8], header: &str) -> bool {
    let query = url_with_hash.split_once('?').map_or("", |(_, query)| query);
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    let mut hashes = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(name, _)| *name == BODY_HASH);
    let (Some((_, hash)), None) = (hashes.next(), hashes.next()) else { return false };
    let Ok(claimed) = hex::decode(hash) else { return false };
    let same_body = Sha256::digest(body).as_slice().ct_eq(&claimed);
    let signed = Choice::from(u8::from(verify(token, url_with_hash, &[], header)));
    (same_body & signed).into()
}

/// The URL with a port and without one. Works on the text, because a parsed and rewritten URL may
/// differ in escapes from the one that was signed.
fn spellings(url: &str) -> [String; 2] {
    let Some((scheme, rest)) = url.split_once("://") else { return [url.to_owned(), url.to_owned()] };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let host_start = authority.rfind('@').map_or(0, |at| at + 1);
    let (user, host) = authority.split_at(host_start);
    // In `[::1]:443` only a colon after the bracket starts a port.
    let name_end = host.rfind(']').map_or(0, |at| at + 1);
    match host.rfind(':').filter(|at| *at >= name_end) {
        Some(at) => {
            let (name, _) = host.split_at(at);
            [url.to_owned(), format!("{scheme}://{user}{name}{tail}")]
        }
        None => {
            let port = if scheme.eq_ignore_ascii_case("http") { 80 } else { 443 };
            [url.to_owned(), format!("{scheme}://{user}{host}:{port}{tail}")]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
    const PORT: &str = "https://mycompany.com:443/myapp.php?foo=1&bar=2";
    // Twilio's documented example and the same with the port, checked with its Python library 9.13.
    const SIGNED: &str = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
    const SIGNED_PORT: &str = "kvajT1Ptam85bY51eRf/AJRuM3w=";

    fn token() -> Secret { Secret::new("12345") }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    fn example() -> Vec<(String, String)> {
        pairs(&[
            ("CallSid", "CA1234567890ABCDE"), ("Digits", "1234"), ("From", "+14158675309"),
            ("To", "+18005551212"), ("Caller", "+14158675309"),
        ])
    }

    #[test]
    fn twilios_vectors_hold() {
        assert_eq!(sign(&token(), URL, &example()), SIGNED);
        assert_eq!(sign(&token(), PORT, &example()), SIGNED_PORT);
    }

    #[test]
    fn either_spelling_of_the_port_is_accepted() {
        for url in [URL, PORT] {
            for header in [SIGNED, SIGNED_PORT] {
                assert!(verify(&token(), url, &example(), header), "{url} {header}");
            }
        }
        // As the official libraries do: Twilio may leave out a port of our own, too.
        assert!(verify(&token(), "https://mycompany.com:8443/myapp.php?foo=1&bar=2", &example(), SIGNED));
    }

    #[test]
    fn anything_changed_is_refused() {
        let mut digits = example();
        digits[1].1 = "1235".into();
        let mut more = example();
        more.push(("StirVerstat".into(), "TN-Validation-Passed-A".into()));
        let less = example().split_off(1);
        for params in [digits, more, less, Vec::new()] {
            assert!(!verify(&token(), URL, &params, SIGNED));
        }
        for url in [
            "https://mycompany.com/myapp.php?foo=1&bar=3", "https://mycompany.com/other.php?foo=1&bar=2",
            "https://mycompany.com/myapp.php", "http://mycompany.com/myapp.php?foo=1&bar=2",
            "https://evil.com/myapp.php?foo=1&bar=2", "", "mycompany.com",
        ] {
            assert!(!verify(&token(), url, &example(), SIGNED), "{url}");
        }
        for header in ["", "RSOYDt4T1cUTdK1PDd93/VVr8B8", "rSOYDt4T1cUTdK1PDd93/VVr8B8=", "RSOYDt4T1cUTdK1PDd93/VVr8B8= ", "x"] {
            assert!(!verify(&token(), URL, &example(), header), "{header}");
        }
        assert!(!verify(&Secret::new("12346"), URL, &example(), SIGNED));
    }

    #[test]
    fn an_empty_token_signs_nothing() {
        let forged = sign(&Secret::default(), URL, &example());
        assert!(!verify(&Secret::default(), URL, &example(), &forged));
    }

    #[test]
    fn repeated_names_count_with_their_distinct_values_in_order() {
        let one = sign(&token(), URL, &pairs(&[("A", "1"), ("A", "2"), ("B", "3")]));
        assert_eq!(one, sign(&token(), URL, &pairs(&[("B", "3"), ("A", "2"), ("A", "1"), ("A", "2")])));
        assert_ne!(one, sign(&token(), URL, &pairs(&[("A", "1"), ("B", "3")])));
        // From `RequestValidator("12345").compute_signature` of the Python library 9.13.
        assert_eq!(one, "zcXZDTmCoK1prySoE8u5U72AjdY=");
    }

    #[test]
    fn the_port_is_found_in_the_authority_alone() {
        for (url, other) in [
            ("https://a.example/x:8?u=http://b:9/", "https://a.example:443/x:8?u=http://b:9/"),
            ("http://a.example", "http://a.example:80"),
            ("https://user:pass@a.example/x", "https://user:pass@a.example:443/x"),
            ("https://user:pass@a.example:8443/x", "https://user:pass@a.example/x"),
            ("https://[::1]/x", "https://[::1]:443/x"),
            ("https://[::1]:443?x", "https://[::1]?x"),
        ] {
            assert_eq!(spellings(url), [url.to_owned(), other.to_owned()]);
        }
    }

    #[test]
    fn a_json_body_is_bound_by_its_hash_in_the_url() {
        let body = br#"{"property": "value", "boolean": true}"#;
        let url = "https://mycompany.com/myapp.php?bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
        let header = sign(&token(), url, &[]);
        assert_eq!(header, "y77kIzt2vzLz71DgmJGsen2scGs=");
        assert!(verify_json(&token(), url, body, &header));
        assert!(!verify_json(&token(), url, b"{}", &header));
        assert!(!verify_json(&token(), url, body, SIGNED));
        for bad in [url.replace("0a1f", "0a1e"), url.replace("bodySHA256", "bodysha256"), format!("{url}&bodySHA256=00"), URL.to_owned()] {
            assert!(!verify_json(&token(), &bad, body, &sign(&token(), &bad, &[])), "{bad}");
        }
    }
}

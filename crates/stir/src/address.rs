//! Which addresses a certificate or a revocation list may be fetched from (ATIS-1000074).
//!
//! The address stands in a header that anybody may send, and is fetched from inside the operator's
//! network. So it is read strictly, by this crate alone: what another reader of addresses might take
//! for something else is refused.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest address that is looked at, in bytes.
const LONGEST: usize = 512;
/// Names that are never those of a public host, with everything under them (RFC 6761, RFC 6762,
/// RFC 7686, RFC 8375 and those used inside networks).
const NOT_PUBLIC: &[&str] = &[
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "lan",
    "home",
    "corp",
    "private",
    "home.arpa",
    "in-addr.arpa",
    "ip6.arpa",
    "invalid",
    "test",
    "onion",
    "alt",
];

/// An address that may be fetched: https, port 443 or 8443, a public host, a path, and nothing else.
///
/// The name may still resolve to an inner address: whoever fetches checks every address it resolves to
/// with [`is_special`], connects to what was checked, and follows no redirects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    text: String,
    host: String,
    port: u16,
}

/// Why an address is not fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefused {
    /// Too long.
    #[error("the address is too long")]
    Long,
    /// A character that has no business there, or a part that is not allowed: user, query, fragment.
    #[error("the address has a part or a character that is not allowed")]
    Part,
    /// Not https.
    #[error("the address is not https")]
    Scheme,
    /// Another port than 443 and 8443.
    #[error("the port of the address is not 443 or 8443")]
    Port,
    /// Not a host name that can be public.
    #[error("the host of the address is not a public one")]
    Host,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// [`AddressRefused`]: it may not be fetched.
    pub fn read(text: &str) -> Result<Self, AddressRefused> {
        if text.len() > LONGEST {
            return Err(AddressRefused::Long);
        }
        let rest = match text.get(..8) {
            Some(scheme) if scheme.eq_ignore_ascii_case("https://") => {
                text.get(8..).unwrap_or_default()
            }
            _ => return Err(AddressRefused::Scheme),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        // Neither user, query and fragment, nor a backslash, which some read as a slash.
        let in_path =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%!$&'()*+,;=:".contains(&byte);
        let in_authority = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
        if path.is_empty() || !path.bytes().all(in_path) || !authority.bytes().all(in_authority) {
            return Err(AddressRefused::Part);
        }
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(AddressRefused::Part);
        }
        let (host, port) = if authority.starts_with('[') {
            let end = authority.find(']').ok_or(AddressRefused::Host)?;
            authority.split_at(end + 1)
        } else {
            authority
                .find(':')
                .map_or((authority, ""), |at| authority.split_at(at))
        };
        let port = match port {
            "" | ":443" => 443,
            ":8443" => 8443,
            _ => return Err(AddressRefused::Port),
        };
        if !is_public(host) {
            return Err(AddressRefused::Host);
        }
        Ok(Self {
            text: text.to_owned(),
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    /// The whole address, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host: a name, or an address in the form it has in a URI.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port: 443 or 8443.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A host that can be a public one. What looks like a number but is no dotted quad (decimal, octal,
/// hexadecimal, short) is an address to some resolvers and is refused.
fn is_public(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').unwrap_or_default();
        return inner
            .parse::<Ipv6Addr>()
            .is_ok_and(|ip| !is_special(ip.into()));
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last
        .get(..2)
        .is_some_and(|start| start.eq_ignore_ascii_case("0x"));
    if hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return host
            .parse::<Ipv4Addr>()
            .is_ok_and(|ip| !is_special(ip.into()));
    }
    let label = |label: &str| {
        let plain = label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (1..=63).contains(&label.len()) && plain && !label.starts_with('-') && !label.ends_with('-')
    };
    let host = host.to_ascii_lowercase();
    let under = |name: &str| {
        host.strip_suffix(name)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    host.len() <= 253
        && host.contains('.')
        && host.split('.').all(label)
        && !NOT_PUBLIC.iter().any(|name| under(name))
}

/// Whether an address is for a special purpose (RFC 6890 and the registries it keeps): this host, a
/// private or shared network, a link, documentation, a benchmark, multicast, a way to wrap an IPv4
/// address, reserved. Such an address is never connected to.
#[must_use]
pub fn is_special(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_special_v4(ip),
        IpAddr::V6(ip) => is_special_v6(ip),
    }
}

fn is_special_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    match (a, b, c) {
        // This host, private, loopback, link-local, multicast and reserved.
        (0 | 10 | 127 | 224..=255, _, _) | (169, 254, _) | (192, 168, _) => true,
        // Shared between carrier and customer (RFC 6598).
        (100, b, _) => (64..128).contains(&b),
        (172, b, _) => (16..32).contains(&b),
        // Protocol assignments, documentation, AS112, 6to4 relays, AMT.
        (192, 0, 0 | 2) | (192, 31, 196) | (192, 52, 193) | (192, 88, 99) | (192, 175, 48) => true,
        // Benchmarks and documentation.
        (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) => true,
        _ => false,
    }
}

fn is_special_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    // NAT64 (RFC 6052): as the IPv4 address within.
    if (a, b, c, d, e, f) == (0x64, 0xff9b, 0, 0, 0, 0) {
        let [g1, g2] = g.to_be_bytes();
        let [h1, h2] = h.to_be_bytes();
        return is_special_v4(Ipv4Addr::new(g1, g2, h1, h2));
    }
    // Global unicast is 2000::/3: all else is loopback, mapped, local, link, multicast or reserved.
    if a & 0xe000 != 0x2000 {
        return true;
    }
    match (a, b) {
        // Protocol assignments with Teredo, ORCHID and benchmarks: 2001::/23; documentation.
        (0x2001, b) => b < 0x200 || b == 0xdb8,
        // 6to4 wraps an IPv4 address.
        (0x2002, _) => true,
        // AS112 and documentation (RFC 9637).
        (0x2620, 0x4f) => c == 0x8000,
        (0x3fff, b) => b < 0x1000,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_read() {
        for (text, host, port) in [
            ("https://certs.example.org/sp.pem", "certs.example.org", 443),
            (
                "HTTPS://Certs.Example.org:8443/a/b.pem",
                "certs.example.org",
                8443,
            ),
            (
                "https://certs.example.org:443/%7Ea;v=1.pem",
                "certs.example.org",
                443,
            ),
            (
                "https://xn--bcher-kva.example/x",
                "xn--bcher-kva.example",
                443,
            ),
            ("https://93.184.215.14/x", "93.184.215.14", 443),
            (
                "https://[2606:2800:21f:cb07::1]:8443/x",
                "[2606:2800:21f:cb07::1]",
                8443,
            ),
        ] {
            let address = Address::read(text).unwrap();
            assert_eq!(
                (address.as_str(), address.host(), address.port()),
                (text, host, port)
            );
        }
    }

    #[test]
    fn addresses_that_may_not_be_fetched_are_refused() {
        use AddressRefused::{Host, Long, Part, Port, Scheme};
        let long = format!("https://example.org/{}", "a".repeat(512));
        let label = format!("https://{}.example.org/", "a".repeat(64));
        for (text, why) in [
            ("", Scheme),
            ("http://example.org/x", Scheme),
            ("file:///etc/passwd", Scheme),
            ("ftp://example.org/x", Scheme),
            ("https:/example.org/x", Scheme),
            (" https://example.org/x", Scheme),
            ("//example.org/x", Scheme),
            (long.as_str(), Long),
            (label.as_str(), Host),
            ("https://a@example.org/x", Part),
            ("https://a:b@example.org/x", Part),
            ("https://example.org@10.0.0.1/x", Part),
            ("https://example.org/x?y", Part),
            ("https://example.org/x#y", Part),
            ("https://example.org", Part),
            ("https://example.org\\@10.0.0.1/x", Part),
            ("https://example.org/x y", Part),
            ("https://example.org/\r\nx", Part),
            ("https://example.org/a/../b", Part),
            ("https://ex%61mple.org/x", Part),
            ("https://bücher.example/x", Part),
            ("https://example.org:80/x", Port),
            ("https://example.org:8080/x", Port),
            ("https://example.org:/x", Port),
            ("https://example.org:0443/x", Port),
            ("https://example.org:443:443/x", Port),
            ("https://[::1]443/x", Port),
            ("https:///x", Host),
            ("https://localhost/x", Host),
            ("https://LOCALHOST/x", Host),
            ("https://a.localhost/x", Host),
            ("https://printer.local/x", Host),
            ("https://db.internal/x", Host),
            ("https://intranet/x", Host),
            ("https://example.org./x", Host),
            ("https://.example.org/x", Host),
            ("https://a..b/x", Host),
            ("https://-a.example.org/x", Host),
            ("https://127.0.0.1/x", Host),
            ("https://127.1/x", Host),
            ("https://2130706433/x", Host),
            ("https://0x7f000001/x", Host),
            ("https://0177.0.0.1/x", Host),
            ("https://0x7f.0.0.1/x", Host),
            ("https://127.0.0.0x1/x", Host),
            ("https://127.0.0.01/x", Host),
            ("https://10.0.0.1/x", Host),
            ("https://172.16.0.1/x", Host),
            ("https://192.168.1.1/x", Host),
            ("https://169.254.169.254/x", Host),
            ("https://100.64.0.1/x", Host),
            ("https://0.0.0.0/x", Host),
            ("https://0/x", Host),
            ("https://255.255.255.255/x", Host),
            ("https://[::1]/x", Host),
            ("https://[::]/x", Host),
            ("https://[::ffff:127.0.0.1]/x", Host),
            ("https://[::ffff:7f00:1]/x", Host),
            ("https://[64:ff9b::7f00:1]/x", Host),
            ("https://[2002:7f00:1::]/x", Host),
            ("https://[fe80::1]/x", Host),
            ("https://[fd00::1]/x", Host),
            ("https://[fe80::1%25eth0]/x", Part),
            ("https://[::1/x", Host),
            ("https://[]/x", Host),
        ] {
            assert_eq!(Address::read(text), Err(why), "{text}");
        }
    }

    #[test]
    fn special_addresses_are_known() {
        for text in [
            "0.1.2.3",
            "10.255.0.1",
            "100.127.255.255",
            "127.255.255.254",
            "169.254.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "::8.8.8.8",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:db8::1",
            "2002::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ] {
            assert!(is_special(text.parse().unwrap()), "{text}");
        }
        for text in [
            "8.8.8.8",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "64:ff9b::8.8.8.8",
            "2001:4860:4860::8888",
            "2606::1",
            "3ffe::1",
        ] {
            assert!(!is_special(text.parse().unwrap()), "{text}");
        }
    }
}

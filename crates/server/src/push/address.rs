//! Where push messages may go. The address comes out of a customer's browser, so whoever is signed
//! in to the portal could have us knock anywhere: only known push services are called, never an
//! address by number, and never what their names resolve to inside of our own network (SSRF).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::outbox::provider::is_loopback;

/// The push services of the browsers; a star stands for one name or more before the dot.
pub const KNOWN: [&str; 6] = [
    "fcm.googleapis.com", "updates.push.services.mozilla.com", "*.push.services.mozilla.com", "*.notify.windows.com", "web.push.apple.com", "*.push.apple.com",
];
/// Longest address.
const LONGEST: usize = 2048;

/// Which addresses are push services.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Further hosts, in the operator's own words: `push.example.com` or `*.push.example.com`. They
    /// may be inside of the operator's network.
    pub hosts: Vec<String>,
    /// Plain http on this machine: only for tests and the demo.
    pub loopback: bool,
}

/// How an address may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Whatever its name resolves to has to be public.
    Public,
    /// The operator named it.
    Named,
}

impl Rules {
    /// How this address may be called; `None`: not at all.
    pub fn judge(&self, text: &str) -> Option<(Url, Way)> {
        // What parsers of addresses understand differently is in no push service's address.
        let plain = text.len() <= LONGEST && text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
        let url = Url::parse(Some(text).filter(|_| plain)?).ok()?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return None;
        }
        if self.loopback && url.scheme() == "http" && url.host_str().is_some_and(is_loopback) {
            return Some((url, Way::Named));
        }
        // The library leaves the port out when it is the scheme's own.
        if url.scheme() != "https" || url.port().is_some() {
            return None;
        }
        // Never a number: it is in nobody's list, whatever the list says.
        let Host::Domain(host) = url.host()? else { return None };
        let way = if KNOWN.iter().any(|known| covers(known, host)) {
            Way::Public
        } else if self.hosts.iter().any(|named| covers(named, host)) {
            Way::Named
        } else {
            return None;
        };
        Some((url, way))
    }

    /// Entries of the list that name no host, for the doctor.
    pub fn unusable(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(String::as_str).filter(|entry| {
            let name = entry.strip_prefix("*.").unwrap_or(entry);
            let shape = name.split('.').count() > 1 && name.split('.').all(|l| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
            !shape || name.parse::<IpAddr>().is_ok()
        })
    }
}

/// Whether a list's entry covers a host. The host is in lower case already, and in ASCII.
pub(crate) fn covers(entry: &str, host: &str) -> bool {
    let entry = entry.to_ascii_lowercase();
    match entry.strip_prefix('*') {
        Some(end) => host.len() > end.len() && end.starts_with('.') && host.ends_with(end) && !host.starts_with('.'),
        None => host == entry,
    }
}

/// Whether an address is out in the world: not this machine, not a private network, not one of the
/// addresses that mean something special (RFC 6890 and its registries).
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => v4(ip),
        IpAddr::V6(ip) => v6(ip),
    }
}

fn v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_broadcast() || ip.is_documentation() || ip.is_multicast()
        || a == 0 || a >= 240
        // Carriers' NAT, benchmarks, protocol assignments, the former 6to4 relays.
        || (a == 100 && (64..128).contains(&b)) || (a == 198 && (b & 0xfe) == 18) || (a, b, c) == (192, 0, 0) || (a, b, c) == (192, 88, 99))
}

fn v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    // Addresses that carry one of the other kind are judged by that: mapped, NAT64, 6to4.
    if let Some(inner) = ip.to_ipv4_mapped() {
        return v4(inner);
    }
    let last = |hi: u16, lo: u16| Ipv4Addr::from((u32::from(hi) << 16) | u32::from(lo));
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, hi, lo] => return v4(last(hi, lo)),
        [0x2002, hi, lo, ..] => return v4(last(hi, lo)),
        _ => {}
    }
    // Global unicast is 2000::/3; out of it, documentation, Teredo and other assignments to protocols.
    (a & 0xe000) == 0x2000 && !(a == 0x2001 && (b < 0x200 || b == 0xdb8)) && (a, b & 0xf000) != (0x3fff, 0)
}

/// A resolver that knows no private address.
pub struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One private address among public ones is one too many: which is taken is not ours to say.
            if found.iter().any(|a| !is_public(a.ip())) {
                return Err("the name of a push service resolves to an address that is not public".into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

impl PublicOnly {
    /// Shared.
    pub fn shared() -> Arc<Self> { Arc::new(Self) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMED: &str = "push.corp.example";

    fn rules() -> Rules { Rules { hosts: vec![NAMED.into(), "*.push.example".into()], loopback: false } }

    #[test]
    fn push_services_are_known_by_name() {
        for (url, way) in [
            ("https://fcm.googleapis.com/fcm/send/abc:def", Way::Public),
            ("https://FCM.googleapis.com:443/fcm/send/abc", Way::Public),
            ("https://updates.push.services.mozilla.com/wpush/v2/gAAA", Way::Public),
            ("https://autopush.push.services.mozilla.com/wpush/v2/gAAA", Way::Public),
            ("https://wns2-par02p.notify.windows.com/w/?token=BQYAAA%3d", Way::Public),
            ("https://web.push.apple.com/QGuQ", Way::Public),
            ("https://push.corp.example/x", Way::Named),
            ("https://a.b.push.example/x", Way::Named),
        ] {
            assert_eq!(rules().judge(url).map(|(_, way)| way), Some(way), "{url}");
        }
    }

    #[test]
    fn nothing_else_is_called() {
        let long = format!("https://fcm.googleapis.com/{}", "a".repeat(LONGEST));
        for url in [
            "", "fcm.googleapis.com", "//fcm.googleapis.com/x", "http://fcm.googleapis.com/x", "ftp://fcm.googleapis.com/x", "file:///etc/passwd", "javascript:alert(1)",
            "https://fcm.googleapis.com:8443/x", "https://fcm.googleapis.com:80/x", "https://user@fcm.googleapis.com/x", "https://user:pass@fcm.googleapis.com/x",
            "https://fcm.googleapis.com@evil.example/x", "https://fcm.googleapis.com.evil.com/x", "https://evil-fcm.googleapis.com/x", "https://evilfcm.googleapis.com/x",
            "https://googleapis.com/x", "https://storage.googleapis.com/x", "https://fcm.googleapis.com./x", "https://fcm.googleapis.com#@evil.example", "https://fcm.googleapis.com/x#y",
            "https://evil.example/fcm.googleapis.com", "https://evil.example?fcm.googleapis.com", "https://evil.example\\@fcm.googleapis.com/x", "https://fcm.googleapis.com\\.evil.example/x", " https://fcm.googleapis.com/x", "https://fcm.goo\tgleapis.com/x",
            "https://notify.windows.com/x", "https://.notify.windows.com/x", "https://xnotify.windows.com/x", "https://notify.windows.com.evil.com/x",
            "https://push.apple.com/x", "https://push.services.mozilla.com/x", "https://push.services.mozilla.com.evil.com/x", "https://push.example/x",
            "https://127.0.0.1/x", "https://2130706433/x", "https://0x7f.1/x", "https://0177.0.0.1/x", "https://[::1]/x", "https://[::ffff:127.0.0.1]/x", "https://localhost/x", "https://localhost.localdomain/x",
            "https://169.254.169.254/latest/meta-data", "http://169.254.169.254/latest/meta-data", "https://metadata.google.internal/x", "https://10.0.0.1/x", "https://192.168.1.1/x", "https://[fd00::1]/x",
            "http://localhost/x", "http://127.0.0.1:9/x", "https://ｆｃｍ.googleapis.com.evil.example/x", "https://fcm.googleapis。com.evil.example/x", long.as_str(),
        ] {
            assert!(rules().judge(url).is_none(), "{url}");
        }
    }

    #[test]
    fn plain_http_needs_leave_and_this_machine() {
        let test = Rules { loopback: true, ..Rules::default() };
        for yes in ["http://127.0.0.1:4711/x", "http://localhost/x", "http://[::1]:9/x"] {
            assert_eq!(test.judge(yes).map(|(_, way)| way), Some(Way::Named), "{yes}");
        }
        for no in ["http://10.0.0.1/x", "http://169.254.169.254/", "http://localhost.evil.example/x", "http://127.0.0.1.evil.example/x", "http://u@127.0.0.1/", "https://127.0.0.1/x", "http://0.0.0.0/"] {
            assert!(test.judge(no).is_none(), "{no}");
        }
    }

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        for no in [
            "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.0.1",
            "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
            "::127.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:a00:1::1", "2002:7f00:1::", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "5f00::1",
        ] {
            assert!(!is_public(no.parse().unwrap()), "{no}");
        }
        for yes in ["8.8.8.8", "100.63.0.1", "100.128.0.1", "172.32.0.1", "198.20.0.1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "2a00:1450:4001::200a", "2606:4700::1111", "2001:4860:4860::8888"] {
            assert!(is_public(yes.parse().unwrap()), "{yes}");
        }
    }

    #[tokio::test]
    async fn a_name_for_something_inside_is_not_resolved() {
        assert!(PublicOnly.resolve("localhost".parse().unwrap()).await.is_err());
    }

    #[test]
    fn entries_that_name_no_host_are_told() {
        let rules = Rules { hosts: ["push.example.com", "*.push.example.com", "*", "*.", "com", "https://a.example", "10.0.0.1", "a.example:8443", ""].map(String::from).to_vec(), loopback: false };
        assert_eq!(rules.unusable().collect::<Vec<_>>(), ["*", "*.", "com", "https://a.example", "10.0.0.1", "a.example:8443", ""]);
    }
}

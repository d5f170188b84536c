//! How a gateway is set up.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::clip::Clip;
use crate::digest::Digest;

/// How a gateway is set up. [`Settings::new`] has what is usual.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where requests are taken, on UDP and TCP. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether TCP is taken beside UDP.
    pub tcp: bool,
    /// The address that others are told, in `Contact` and for audio, if it is not that of `listen`.
    pub advertise: Option<IpAddr>,
    /// Who may begin a call. Empty: everybody, which needs `digest`.
    pub peers: Vec<Network>,
    /// Names and passwords for calls that come in. Peers have to give them too.
    pub digest: Option<Digest>,
    /// Calls at one time. One more gets 503 with `Retry-After` (RFC 3261 §21.5.4).
    pub calls: usize,
    /// What `Retry-After` says.
    pub retry_after: Duration,
    /// Packets of one address.
    pub packets: Rate,
    /// New calls of one address, challenges included.
    pub new_calls: Rate,
    /// Ports for audio, of which the even ones are taken. `None`: any free port.
    pub rtp_ports: Option<RangeInclusive<u16>>,
    /// From where audio is taken.
    pub rtp_source: RtpSource,
    /// A call without one packet of audio for so long is ended, unless the caller has put it on hold.
    /// Zero: never.
    pub quiet: Duration,
    /// No call is longer.
    pub longest: Duration,
    /// How long an agent's telephone may ring when a step does not say it.
    pub ring: Duration,
    /// What an agent hears while the caller keys, over and over.
    pub soft_tone: Arc<Clip>,
    /// The trunk or PBX where we register, if it wants that.
    pub trunk: Option<Trunk>,
    /// T1 of RFC 3261 §17: the estimate of a round trip. Half a second is usual.
    pub t1: Duration,
}

impl Settings {
    /// The usual, at this address. Without `peers` or `digest` a gateway does not start.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            tcp: true,
            advertise: None,
            peers: Vec::new(),
            digest: None,
            calls: 200,
            retry_after: Duration::from_secs(5),
            packets: Rate { per_second: 2000, burst: 4000 },
            new_calls: Rate { per_second: 50, burst: 200 },
            rtp_ports: None,
            rtp_source: RtpSource::Exact,
            quiet: Duration::from_secs(300),
            longest: Duration::from_secs(4 * 3600),
            ring: Duration::from_secs(30),
            soft_tone: Clip::tone(425.0, 0.02, Duration::from_millis(300), Duration::from_millis(2700)),
            trunk: None,
            t1: Duration::from_millis(500),
        }
    }
}

/// So many a second, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// What comes back in a second.
    pub per_second: u32,
    /// What there is at most.
    pub burst: u32,
}

/// From where the audio of a call is taken. What comes from elsewhere is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtpSource {
    /// The address and the port of the session description.
    Exact,
    /// The address of the session description, any port.
    Address,
    /// The first address that sends after a description, from then on that one; audio goes there too.
    /// For callers behind address translation. Whoever guesses the port can be first.
    Latch,
}

/// Where we register (RFC 3261 §10).
#[derive(Clone)]
pub struct Trunk {
    /// The registrar, `sip:example.com` or `sip:192.0.2.1:5060;transport=tcp`.
    pub registrar: String,
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
    /// For how long we ask to be registered.
    pub expires: Duration,
}

impl fmt::Debug for Trunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trunk").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// `192.0.2.1` or `192.0.2.0/24` or the same of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    ip: IpAddr,
    bits: u8,
}

/// What is no [`Network`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address, or an address with / and a number of bits, is wanted")]
pub struct NoNetwork;

impl Network {
    /// Whether it holds this address. An IPv4 address in IPv6 dress is that IPv4 address.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let shifted = |address: u128, width: u32| address.checked_shr(width.saturating_sub(u32::from(self.bits))).unwrap_or(0);
        match (self.ip, ip.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                shifted(u32::from(ours).into(), 32) == shifted(u32::from(theirs).into(), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => shifted(ours.into(), 128) == shifted(theirs.into(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (ip, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let ip: IpAddr = ip.parse().map_err(|_| NoNetwork)?;
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), str::parse).map_err(|_| NoNetwork)?;
        if bits > width { Err(NoNetwork) } else { Ok(Self { ip, bits }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        let holds = |network: &str, ip: &str| network.parse::<Network>().unwrap().contains(ip.parse().unwrap());
        assert!(holds("192.0.2.0/24", "192.0.2.255") && !holds("192.0.2.0/24", "192.0.3.0"));
        assert!(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.2"));
        assert!(holds("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(holds("0.0.0.0/0", "198.51.100.1") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1") && holds("::/0", "2001:db8::1") && !holds("2001:db8::/32", "2001:db9::"));
        for wrong in ["", "192.0.2.0/33", "x/8", "192.0.2.0/", "192.0.2.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}

//! Destinations that a user named: only public addresses, judged when the name is written down and again, address by address,
//! right before connecting (protocol §4.3). What was judged is what is connected to, so a name that changes its mind in
//! between gains nothing. An admin may name networks that count as public.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::dial::{ByteStream, CONNECT, to_any};
use crate::settings::Network;

/// Names that mean this machine or its neighbours, and never resolve anywhere else.
const PRIVATE_NAMES: [&str; 3] = ["localhost", "local", "internal"];

/// Which addresses may be connected to; cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicOnly(Arc<[Network]>);

/// A host that must not be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPublic {
    /// Not an address of the public internet.
    #[error("{0} is not a public address")]
    Address(IpAddr),
    /// A name that never is.
    #[error("{0:?} is a name of private networks")]
    Name(String),
    /// A number that some programs read as an address.
    #[error("{0:?} is no host; write an IPv4 address as four decimal numbers")]
    Number(String),
    /// Neither a name nor an address.
    #[error("{0:?} is no host name")]
    Garbled(String),
}

impl PublicOnly {
    /// Public addresses, and those in `private`.
    pub fn and(private: &[Network]) -> Self {
        Self(private.into())
    }

    /// Judges an address.
    ///
    /// # Errors
    /// [`NotPublic::Address`].
    pub fn judge(&self, address: IpAddr) -> Result<(), NotPublic> {
        let address = address.to_canonical();
        let allowed = is_public(address) || self.0.iter().any(|network| network.contains(address));
        if allowed { Ok(()) } else { Err(NotPublic::Address(address)) }
    }

    /// Judges a host as it is written in a URL, in lower case and without brackets.
    ///
    /// # Errors
    /// [`NotPublic`].
    pub fn judge_host(&self, host: &str) -> Result<(), NotPublic> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.judge(address);
        }
        let last = host.rsplit('.').next().unwrap_or_default();
        // 2130706433, 0x7f000001, 127.1 and 0177.0.0.1 are all this machine to whoever reads them as C does.
        let hex = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
        if hex || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(NotPublic::Number(host.to_owned()));
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        };
        if host.len() > 253 || !host.split('.').all(label) {
            return Err(NotPublic::Garbled(host.to_owned()));
        }
        if PRIVATE_NAMES.contains(&last) {
            return Err(NotPublic::Name(host.to_owned()));
        }
        Ok(())
    }

    /// A connection to `host:port`: every address the name has now must be public, and one of these very addresses is taken.
    ///
    /// # Errors
    /// That it is not, or what the operating system said.
    pub async fn connect(&self, authority: &str) -> io::Result<Box<dyn ByteStream>> {
        let connecting = async {
            let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
            self.judge_host(host.trim_start_matches('[').trim_end_matches(']')).map_err(io::Error::other)?;
            let addresses: Vec<SocketAddr> = lookup_host(authority).await?.collect();
            for address in &addresses {
                self.judge(address.ip()).map_err(io::Error::other)?;
            }
            to_any(&addresses).await
        };
        timeout(CONNECT, connecting).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

impl fmt::Display for PublicOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "public addresses and {} networks", self.0.len())
    }
}

/// Whether an address is one of the public internet: not special-purpose by the IANA registries.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_documentation()
                || address.is_multicast()
                || within_v4(address, [0, 0, 0, 0], 8)
                || within_v4(address, [100, 64, 0, 0], 10)
                || within_v4(address, [192, 0, 0, 0], 24)
                || within_v4(address, [192, 88, 99, 0], 24)
                || within_v4(address, [198, 18, 0, 0], 15)
                || within_v4(address, [240, 0, 0, 0], 4))
        }
        // Of IPv6 only 2000::/3 is given out at all: outside of it are ::, ::1, fe80::, fc00::, ff00:: and NAT64's 64:ff9b::.
        // Within it, those that carry an IPv4 address (6to4, Teredo) or lead nowhere.
        IpAddr::V6(address) => {
            within_v6(address, 0x2000, 0, 3)
                && !within_v6(address, 0x2002, 0, 16)
                && !within_v6(address, 0x2001, 0, 23)
                && !within_v6(address, 0x2001, 0x0db8, 32)
                && !within_v6(address, 0x3fff, 0, 20)
        }
    }
}

fn within_v4(address: Ipv4Addr, base: [u8; 4], prefix: u32) -> bool {
    let mask = u32::MAX << (32 - prefix);
    address.to_bits() & mask == Ipv4Addr::from(base).to_bits() & mask
}

fn within_v6(address: Ipv6Addr, first: u16, second: u16, prefix: u32) -> bool {
    let mask = u128::MAX << (128 - prefix);
    let base = Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0);
    address.to_bits() & mask == base.to_bits() & mask
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_way_to_write_a_private_host_is_refused() {
        let public = PublicOnly::default();
        for host in [
            "localhost",
            "x.localhost",
            "printer.local",
            "metadata.google.internal",
            "0",
            "127.1",
            "10.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "127.0.0.01",
            "1.2.3.4.5",
            "256.1.1.1",
            "0.0.0.0",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "febf::1",
            "fc00::1",
            "fdff::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "5f00::1",
            "100::1",
            "3fff::1",
            "",
            ".",
            "a..b",
            "host.",
            "HOST.example",
            "a b",
            "ho/st",
            "x@y",
            "ex\u{e4}mple.org",
            "[::1]",
        ] {
            assert!(public.judge_host(host).is_err(), "{host:?}");
        }
    }

    #[test]
    fn public_hosts_next_to_them_are_not() {
        let public = PublicOnly::default();
        for host in [
            "hooks.example",
            "localhost.example",
            "internal.example.org",
            "xn--exmple-cua.org",
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00::1",
            "2003::1",
            "::ffff:1.1.1.1",
            "0x.example",
            "1e100.net",
        ] {
            assert_eq!(public.judge_host(host), Ok(()), "{host:?}");
        }
    }

    #[test]
    fn an_admin_may_name_networks_that_count_as_public() {
        let public = PublicOnly::and(&["10.20.0.0/16".parse().unwrap(), "fd00:1::/32".parse().unwrap()]);
        for (host, allowed) in [
            ("10.20.3.4", true),
            ("10.21.3.4", false),
            ("::ffff:10.20.3.4", true),
            ("fd00:1::5", true),
            ("fd00:2::5", false),
            ("localhost", false),
        ] {
            assert_eq!(public.judge_host(host).is_ok(), allowed, "{host}");
        }
    }

    #[tokio::test]
    async fn a_connection_goes_to_an_address_that_was_judged() {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = socket.local_addr().unwrap().to_string();
        let refused = PublicOnly::default().connect(&authority).await.map(drop).unwrap_err();
        assert_eq!(refused.to_string(), "127.0.0.1 is not a public address");
        let allowed = PublicOnly::and(&["127.0.0.0/8".parse().unwrap()]);
        assert!(allowed.connect(&authority).await.is_ok());
        let name = PublicOnly::default().connect("localhost:443").await.map(drop).unwrap_err();
        assert!(name.to_string().contains("private networks"), "{name}");
    }
}

//! Whether a host that somebody else named is one of the public internet (protocol §4.3, the rule against calls to inside). Pure.
//!
//! Judged here is what a text says: an address, or a name. The addresses that a name has are judged one by one by whoever
//! connects, right before it does, and the connection goes to one that was judged.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names that mean this machine or its neighbours, and never resolve anywhere else.
const PRIVATE_NAMES: [&str; 3] = ["localhost", "local", "internal"];

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

/// What a host is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// An address, which the caller has to judge.
    Address(IpAddr),
    /// A name that may have public addresses.
    Name,
}

/// Reads a host as it is written in a URL, in lower case and without brackets.
///
/// # Errors
/// [`NotPublic`] for whatever is neither an address nor a name that may be public.
pub fn read(host: &str) -> Result<Host, NotPublic> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Host::Address(address.to_canonical()));
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    // 2130706433, 0x7f000001, 127.1 and 0177.0.0.1 are all this machine to whoever reads them as C does.
    let hex = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    if hex || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(NotPublic::Number(host.to_owned()));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return Err(NotPublic::Garbled(host.to_owned()));
    }
    if PRIVATE_NAMES.contains(&last) {
        return Err(NotPublic::Name(host.to_owned()));
    }
    Ok(Host::Name)
}

/// Judges a host as it is written in a URL, in lower case and without brackets.
///
/// # Errors
/// [`NotPublic`].
pub fn judge(host: &str) -> Result<(), NotPublic> {
    match read(host)? {
        Host::Address(address) if !is_public(address) => Err(NotPublic::Address(address)),
        _ => Ok(()),
    }
}

/// Whether an address is one of the public internet: not special-purpose by the IANA registries. IPv4 in IPv6 counts as IPv4.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
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
    use super::*;

    #[test]
    fn every_way_to_write_a_private_host_is_refused() {
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
            assert!(judge(host).is_err(), "{host:?}");
        }
    }

    #[test]
    fn public_hosts_next_to_them_are_not() {
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
            assert_eq!(judge(host), Ok(()), "{host:?}");
        }
    }
}

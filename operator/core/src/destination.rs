//! `host:port` of an address, as a courier is told it and as the relay will ask for it. Pure.

use std::net::IpAddr;

/// Where a courier may connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    host: String,
    port: u16,
}

impl Destination {
    /// Of an `https` or `http` address; `None` for what the relay could not read either.
    pub fn of_url(url: &str) -> Option<Self> {
        let (rest, usual) = match url.split_once("://")? {
            ("https", rest) => (rest, 443),
            ("http", rest) => (rest, 80),
            _ => return None,
        };
        let authority = rest.split(['/', '?', '#']).next()?;
        if authority.contains('@') || url.contains(['?', '#']) {
            return None;
        }
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of an IPv6 address are inside brackets.
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().ok().filter(|port| *port != 0)?)
            }
            _ => (authority, usual),
        };
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let plain = !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        let named = plain
            || bracketed && host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|it| it.is_ipv6());
        named.then(|| Self { host: host.to_ascii_lowercase(), port })
    }

    /// `host:port`.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, where the host is one and no name.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.trim_matches(['[', ']']).parse().ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_address_is_cut_to_host_and_port() {
        for (url, authority, address) in [
            ("https://Witness.example/w1", "witness.example:443", false),
            ("https://witness.example:8443", "witness.example:8443", false),
            ("http://192.0.2.7/", "192.0.2.7:80", true),
            ("https://[2001:DB8::1]:8443/a", "[2001:db8::1]:8443", true),
            ("https://[2001:db8::1]", "[2001:db8::1]:443", true),
        ] {
            let read = Destination::of_url(url).unwrap();
            assert_eq!((read.authority().as_str(), read.address().is_some()), (authority, address));
        }
        for url in [
            "",
            "witness.example",
            "https://",
            "https://u@w",
            "https://w:0",
            "https://w:x",
            "https://w?x",
            "https://[x]",
        ] {
            assert_eq!(Destination::of_url(url), None, "{url}");
        }
    }
}

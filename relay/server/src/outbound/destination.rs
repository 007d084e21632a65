//! Where something is sent: an address as people write it in settings, parsed once.

use std::fmt;
use std::str::FromStr;

use axum::http::Uri;

/// `https://host[:port][/path]`, or the same with `http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    tls: bool,
    host: String,
    port: u16,
    path: String,
}

/// Not an address that something can be sent to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address; write it as https://witness.example/path, without user, query or fragment")]
pub struct InvalidDestination(String);

impl Destination {
    /// Whether TLS is spoken to it.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Name or address, without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// `host:port`.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The path of a call below it.
    pub fn path(&self, call: &str) -> String {
        format!("{}{call}", self.path)
    }

    /// What the `Host` header says: without the port where it is the usual one.
    pub fn host_header(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            _ => self.authority(),
        }
    }
}

impl FromStr for Destination {
    type Err = InvalidDestination;

    fn from_str(text: &str) -> Result<Self, InvalidDestination> {
        let invalid = || InvalidDestination(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| invalid())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(invalid()),
        };
        let authority = uri.authority().ok_or_else(invalid)?;
        let odd = authority.as_str().contains('@') || uri.query().is_some() || text.contains('#');
        let host = authority.host().to_ascii_lowercase();
        if odd || host.is_empty() || text.len() > 512 {
            return Err(invalid());
        }
        // Not by `Uri::port`, to which a port that is too large is none.
        let port = match authority.as_str().get(authority.host().len()..) {
            Some("") | None if tls => 443,
            Some("") | None => 80,
            Some(rest) => {
                let port = rest.strip_prefix(':').and_then(|port| port.parse().ok());
                port.filter(|port| *port != 0).ok_or_else(invalid)?
            }
        };
        Ok(Self { tls, host, port, path: uri.path().trim_end_matches('/').to_owned() })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.host_header(), self.path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_address_is_read_with_its_usual_port_and_without_a_last_slash() {
        for (text, authority, path) in [
            ("https://Witness.example", "witness.example:443", "/add-checkpoint"),
            ("https://witness.example/w1/", "witness.example:443", "/w1/add-checkpoint"),
            ("http://127.0.0.1:7380", "127.0.0.1:7380", "/add-checkpoint"),
            ("https://[2001:db8::1]:8443/a/b", "[2001:db8::1]:8443", "/a/b/add-checkpoint"),
            ("http://w", "w:80", "/add-checkpoint"),
        ] {
            let read: Destination = text.parse().unwrap();
            assert_eq!((read.authority(), read.path("/add-checkpoint")), (authority.into(), path.into()));
        }
        assert_eq!("https://[::1]:1".parse::<Destination>().unwrap().host(), "::1");
        assert_eq!(
            "https://w.example:8443/a".parse::<Destination>().unwrap().to_string(),
            "https://w.example:8443/a"
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "witness.example",
            "ftp://w",
            "https://",
            "https://user@w",
            "https://w?x=1",
            "https://w#f",
            "https://w:0",
            "https://w:99999",
            "https://w:",
            "https://w w",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text:?}");
        }
    }
}

//! Where a relay is: `https://`, or `http://` where nobody in between can listen or it was asked for.
//!
//! Plain HTTP carries the API key readable. It is allowed to this machine and to names that only a cluster resolves, and to
//! private addresses, which is how port-forwards and in-cluster gateways look; elsewhere only on request.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::error::ClientError;

/// A relay's base address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayAddress {
    base: String,
    near: bool,
}

impl RelayAddress {
    /// Reads an address. `plain_anywhere` allows `http://` to any host.
    pub fn parse(text: &str, plain_anywhere: bool) -> Result<Self, ClientError> {
        let refuse = |why: &str| ClientError::Address(format!("{text:?} cannot be a relay's address: {why}"));
        let url = reqwest::Url::parse(text)
            .map_err(|error| refuse(&format!("{error}; write https://relay.example")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("leave user name and password out"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("leave everything from ? or # on out"));
        }
        let near = url.host_str().is_some_and(is_near);
        match url.scheme() {
            "https" => {}
            "http" if near || plain_anywhere => {}
            "http" => {
                return Err(refuse(
                    "http:// would show the API key to everybody on the way; use https://, or --plain-http",
                ));
            }
            other => return Err(refuse(&format!("{other}:// is not supported; use https://"))),
        }
        Ok(Self { base: url.as_str().trim_end_matches('/').to_owned(), near })
    }

    /// The address of a resource; `path` starts with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Whether it is this machine or within a cluster.
    pub fn is_near(&self) -> bool {
        self.near
    }

    /// The base, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.base
    }
}

impl FromStr for RelayAddress {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        Self::parse(text, false)
    }
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.base)
    }
}

fn is_near(host: &str) -> bool {
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_private(),
        Ok(IpAddr::V6(address)) => address.is_loopback() || address.is_unique_local(),
        Err(_) => {
            host == "localhost"
                || !host.contains('.')
                || [".localhost", ".svc", ".cluster.local"].iter().any(|suffix| host.ends_with(suffix))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_http_stays_near() {
        for text in [
            "http://127.0.0.1:3000",
            "http://[::1]:3000/",
            "http://localhost",
            "http://10.0.0.7",
            "http://relay.ns.svc:80",
            "http://health",
            "http://relay.ns.svc.cluster.local",
            "https://relay.example/base/",
        ] {
            assert!(RelayAddress::parse(text, false).is_ok(), "{text}");
        }
        for text in [
            "http://relay.example",
            "http://8.8.8.8",
            "ftp://x",
            "relay.example",
            "https://u:p@relay.example",
            "https://x/?k=1",
            "",
        ] {
            assert!(RelayAddress::parse(text, false).is_err(), "{text}");
        }
        assert!(RelayAddress::parse("http://relay.example", true).is_ok());
        assert_eq!(
            RelayAddress::parse("https://x/base/", false).unwrap().url("/health"),
            "https://x/base/health"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = RelayAddress::parse(&text, true);
        }
    }
}

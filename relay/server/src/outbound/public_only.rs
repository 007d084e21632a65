//! Destinations that a user named: only public addresses, judged when the name is written down and again, address by address,
//! right before connecting (protocol §4.3). What was judged is what is connected to, so a name that changes its mind in
//! between gains nothing. An admin may name networks that count as public.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use paramant_protocol::public_host::NotPublic;
use paramant_protocol::public_host::{self, Host};
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::dial::{ByteStream, CONNECT, to_any};
use crate::settings::Network;

/// Which addresses may be connected to; cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicOnly(Arc<[Network]>);

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
        let allowed =
            public_host::is_public(address) || self.0.iter().any(|network| network.contains(address));
        if allowed { Ok(()) } else { Err(NotPublic::Address(address)) }
    }

    /// Judges a host as it is written in a URL, in lower case and without brackets.
    ///
    /// # Errors
    /// [`NotPublic`].
    pub fn judge_host(&self, host: &str) -> Result<(), NotPublic> {
        match public_host::read(host)? {
            Host::Address(address) => self.judge(address),
            Host::Name => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

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

//! Who the client is when a proxy stands in between.
//!
//! `X-Forwarded-For` is a list that anybody may begin; only what a trusted proxy appended is worth anything. So it is read
//! from the right, past trusted hops, and the first untrusted one is the client.

use std::net::{IpAddr, Ipv6Addr};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::Peer;
use crate::app::Shared;
use crate::settings::Network;

/// The client's address, in each request's extensions. For rate limits only: it is never stored and never logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

/// Adds [`ClientAddress`] to each request.
pub(crate) async fn find(State(app): State<Shared>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip());
    let settings = app.core.settings.current();
    let forwarded = request.headers().get_all("x-forwarded-for");
    let hops = forwarded.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let address = behind(peer, &hops.collect::<Vec<_>>(), &settings.limits.trusted_proxies);
    request.extensions_mut().insert(ClientAddress(address));
    next.run(request).await
}

/// What counts as one client where clients are counted: an IPv4 address, or the /64 that an IPv6 client usually owns.
pub(crate) fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address @ IpAddr::V4(_) => address,
    }
}

fn behind(peer: IpAddr, hops: &[&str], trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    for hop in hops.iter().rev() {
        if !is_trusted(client) {
            break;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(address) => client = address.to_canonical(),
            // A trusted proxy wrote something unreadable: the proxy itself is the best that is known.
            Err(_) => break,
        }
    }
    client
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_rightmost_untrusted_hop_is_the_client() {
        let trusted: Vec<Network> = vec!["10.0.0.0/8".parse().unwrap()];
        for (peer, hops, client) in [
            ("203.0.113.1", vec!["198.51.100.7"], "203.0.113.1"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", vec!["1.2.3.4", " 198.51.100.7", " 10.9.9.9"], "198.51.100.7"),
            ("::ffff:10.0.0.1", vec!["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", vec!["198.51.100.7", "nonsense"], "10.0.0.1"),
            ("10.0.0.1", vec!["10.0.0.2"], "10.0.0.2"),
        ] {
            assert_eq!(
                behind(peer.parse().unwrap(), &hops, &trusted),
                client.parse::<IpAddr>().unwrap(),
                "{peer} {hops:?}"
            );
        }
    }
}

//! Opening a connection to `host:port`, directly or through a forward proxy (HTTP CONNECT).
//!
//! Who may call: the exchange of a relay that stands alone, and the courier. In a cluster no relay ever comes here.

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use axum::http::Request;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::destination::Destination;
use super::trust::Trust;

/// A name that resolves and a host that answers take a second; ten are for bad days.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// Bytes both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// A forward proxy: `http://host:port`, or `https://` for TLS up to the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy(Destination);

/// Not a proxy's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no proxy; write it as http://proxy.example:3128, without user and path")]
pub struct InvalidProxy(String);

impl FromStr for Proxy {
    type Err = InvalidProxy;

    fn from_str(text: &str) -> Result<Self, InvalidProxy> {
        let destination: Destination = text.parse().map_err(|_| InvalidProxy(text.to_owned()))?;
        if destination.path("").is_empty() {
            Ok(Self(destination))
        } else {
            Err(InvalidProxy(text.to_owned()))
        }
    }
}

/// A connection to `authority`.
///
/// # Errors
/// What the operating system, the proxy or its TLS said.
pub async fn connect(proxy: Option<&Proxy>, authority: &str) -> io::Result<Box<dyn ByteStream>> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    match proxy {
        None => Ok(Box::new(timeout(CONNECT, tcp(authority)).await.map_err(late)??)),
        Some(proxy) => timeout(CONNECT, through(proxy, authority)).await.map_err(late)?,
    }
}

/// A connection to one of these addresses, each tried in turn.
///
/// # Errors
/// What the last one said.
pub(super) async fn to_any(addresses: &[SocketAddr]) -> io::Result<Box<dyn ByteStream>> {
    let stream = TcpStream::connect(addresses).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

async fn tcp(authority: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn through(Proxy(proxy): &Proxy, authority: &str) -> io::Result<Box<dyn ByteStream>> {
    let stream = tcp(&proxy.authority()).await?;
    if proxy.tls() {
        let stream = Trust::public().handshake(proxy.host(), Box::new(stream)).await?;
        ask_proxy(stream, authority).await
    } else {
        ask_proxy(stream, authority).await
    }
}

async fn ask_proxy<S: ByteStream + 'static>(stream: S, authority: &str) -> io::Result<Box<dyn ByteStream>> {
    let (mut sender, connection) =
        http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection.with_upgrades());
    let request = Request::connect(authority).header("host", authority).body(Empty::new());
    let answer = sender.send_request(request.map_err(io::Error::other)?).await.map_err(io::Error::other)?;
    if !answer.status().is_success() {
        return Err(io::Error::other(format!("the proxy answered {}", answer.status())));
    }
    let upgraded = hyper::upgrade::on(answer).await.map_err(io::Error::other)?;
    Ok(Box::new(TokioIo::new(upgraded)))
}

/// The error in words that do not change from attempt to attempt.
pub(super) fn sentence(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_proxy_is_host_and_port_alone() {
        assert!("http://proxy.example:3128".parse::<Proxy>().is_ok());
        assert!("https://proxy.example/".parse::<Proxy>().is_ok());
        for text in ["proxy:3128", "http://u@p:1", "http://proxy/path", "socks5://p:1"] {
            assert!(text.parse::<Proxy>().is_err(), "{text}");
        }
    }
}

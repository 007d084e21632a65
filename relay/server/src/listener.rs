//! The accept loop under all three listeners: caps, timeouts, TLS, graceful end.
//!
//! `axum::serve` sets no header timeout and no caps, so a handful of silent clients could hold a relay for ever. Here every
//! wait on a peer has an end: TLS handshake, first byte, header, body pace, stalled reader. Who may call: `process` only.

pub(crate) mod caps;
pub(crate) mod client_address;
mod http2;
mod pace;
mod stall;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use self::caps::{Caps, Seat};
pub use self::client_address::ClientAddress;
use self::http2::PREFACE;
use self::pace::PacedBody;
use self::stall::StallGuard;
use crate::metrics::Connections;

/// A TLS handshake takes a few round trips; a phone on a bad link needs seconds, not more.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// From accept, or from the end of the last answer, to the end of the next request's header. Also ends idle connections.
const HEADER: Duration = Duration::from_secs(30);
/// How long `accept` rests when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Headers of one HTTP/1 request, and of the trailers of its body.
const MAX_HEADERS: usize = 64;
/// Bytes of a request's line and headers, and of the trailers of its body. An ML-DSA signature in hex has 6,618 characters.
const HEADER_BYTES: usize = 32 * 1024;
/// Bounds what one HTTP/1 connection buffers; large enough that an upload is read in few calls.
const BUFFER: usize = 128 * 1024;
/// Bytes of an answer that a socket takes beyond what is on its way to the peer. By itself the kernel would take four megabytes for
/// each reader that stalls, and say for minutes that a slow one takes nothing.
const UNSENT: u32 = 128 * 1024;
/// How long a look at the first bytes rests when there is only a part of a preface: from, doubling, to.
const REST: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(640));

/// Where TLS settings come from; asked once per connection, so that a renewed certificate or CA takes effect at once.
pub type TlsSource = Arc<dyn Fn() -> Option<Arc<ServerConfig>> + Send + Sync>;
/// How many connections one address may hold; `None` for as many as it likes (a trusted proxy).
pub type PerAddress = Arc<dyn Fn(IpAddr) -> Option<u32> + Send + Sync>;
/// How many connections there may be altogether; asked at each one, so that a changed setting takes effect at once.
pub type Altogether = Arc<dyn Fn() -> usize + Send + Sync>;

/// One listener.
pub struct Listener {
    /// Bound already.
    pub socket: TcpListener,
    /// What it serves.
    pub router: Router,
    /// `None`: plain HTTP.
    pub tls: Option<TlsSource>,
    /// Connections altogether.
    pub altogether: Altogether,
    /// Connections per address.
    pub per_address: PerAddress,
    /// Whether a connection may be upgraded to another protocol. It then gives up its seat, and is not waited for at the end.
    pub upgrades: bool,
    /// Where connections are counted.
    pub connections: Connections,
}

/// The peer's socket address, in each request's extensions.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// In the extensions of requests whose peer showed a certificate; the TLS settings have accepted it then.
#[derive(Debug, Clone, Copy)]
pub struct ClientCertificate;

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Listener {
    /// Serves until `end`, then refuses new connections and waits at most `patience` for answers that are running.
    pub async fn serve(self, end: CancellationToken, patience: Duration) {
        let caps = Caps::new(self.altogether.clone(), self.per_address.clone());
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                () = end.cancelled() => break,
                accepted = self.socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or the peer left before we took it: neither is a reason to end.
                    tracing::debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(seat) = caps.take(peer.ip()) else {
                self.connections.refused.inc();
                continue;
            };
            let connection = Connection {
                stream,
                peer,
                router: self.router.clone(),
                tls: self.tls.clone(),
                end: End { told: end.clone(), upgrades: self.upgrades, watcher: graceful.watcher() },
                _seat: seat,
            };
            let open = self.connections.open.clone();
            tokio::spawn(async move {
                open.inc();
                if let Err(error) = connection.serve().await {
                    tracing::debug!(%error, "a connection ended early");
                }
                open.dec();
            });
        }
        drop(self.socket);
        if timeout(patience, graceful.shutdown()).await.is_err() {
            tracing::warn!("answers were still running when the listener's time was up");
        }
    }
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    tls: Option<TlsSource>,
    end: End,
    _seat: Seat,
}

impl Connection {
    async fn serve(self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        SockRef::from(&self.stream).set_tcp_notsent_lowat(UNSENT)?;
        let Self { stream, peer, router, tls, end, _seat } = self;
        match tls {
            None => {
                let version = timeout(HEADER, sniff(&stream)).await??;
                // Each step in a box of its own: who has said nothing yet costs a kilobyte, not what the largest step takes.
                Box::pin(speak(version, stream, Caller { peer, certificate: false }, router, end)).await
            }
            Some(source) => {
                let config = source().ok_or_else(|| io::Error::other("no TLS settings in force"))?;
                let stream = Box::pin(timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream))).await??;
                let tls = stream.get_ref().1;
                let version = match tls.alpn_protocol() {
                    Some(b"h2") => Version::Two,
                    _ => Version::One,
                };
                let certificate = tls.peer_certificates().is_some();
                Box::pin(speak(version, stream, Caller { peer, certificate }, router, end)).await
            }
        }
    }
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
struct Caller {
    peer: SocketAddr,
    certificate: bool,
}

/// How a connection hears that it should end, whether it may become something else, and how it is waited for.
struct End {
    told: CancellationToken,
    upgrades: bool,
    watcher: Watcher,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// HTTP/1 or HTTP/2 by the first bytes, without consuming them. hyper's own detection waits for ever on half a preface.
async fn sniff(stream: &TcpStream) -> io::Result<Version> {
    let mut first = [0; PREFACE.len()];
    let (mut rest, longest) = REST;
    loop {
        let seen = stream.peek(&mut first).await?;
        let matching = first.iter().zip(PREFACE).take(seen).all(|(byte, expected)| byte == expected);
        match (seen, matching) {
            (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
            (_, false) => return Ok(Version::One),
            (24, true) => return Ok(Version::Two),
            // Part of a preface: `peek` returns at once while bytes wait, so rest a little, and longer each time.
            _ => tokio::time::sleep(rest).await,
        }
        rest = (rest * 2).min(longest);
    }
}

async fn speak<S>(version: Version, stream: S, from: Caller, router: Router, end: End) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(|body| Body::new(PacedBody::new(body)));
        request.extensions_mut().insert(Peer(from.peer));
        if from.certificate {
            request.extensions_mut().insert(ClientCertificate);
        }
        let router = router.clone();
        async move {
            let answer = router.oneshot(request).await.unwrap_or_else(|never| match never {});
            Ok::<_, Infallible>(http2::watched(answer))
        }
    });
    let stream = StallGuard::new(stream);
    let End { told, upgrades, watcher } = end;
    if version == Version::Two {
        let _waited_for = watcher;
        let stream = TokioIo::new(stream.opened_within(HEADER, PREFACE.len()));
        return Box::pin(http2::serve(stream, service, told)).await;
    }
    let connection = http1().serve_connection(TokioIo::new(stream), service);
    if !upgrades {
        return watcher.watch(connection).await.map_err(io::Error::other);
    }
    // hyper-util's own upgradable connection would look for HTTP/2 once more, and wait for ever on half a preface.
    let _waited_for = watcher;
    let mut connection = std::pin::pin!(connection.with_upgrades());
    tokio::select! {
        ended = connection.as_mut() => return ended.map_err(io::Error::other),
        () = told.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await.map_err(io::Error::other)
}

/// hyper's settings for HTTP/1. Every limit is explicit: a default is a decision somebody else may change.
fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .keep_alive(true)
        .max_headers(MAX_HEADERS)
        .max_header_size(HEADER_BYTES)
        .max_buf_size(BUFFER);
    builder
}

#[cfg(test)]
mod tests;

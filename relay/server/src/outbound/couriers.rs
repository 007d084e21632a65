//! The couriers that are connected now, and tunnels through them.
//!
//! A courier that proved itself hands over its connection (`control::courier`); from then on this side is the HTTP/2 client and
//! the courier the server, and each CONNECT is one tunnel to one of the few destinations the courier was started for. Several
//! may be connected while a Deployment rolls; the newest is asked first. Nothing here is trusted with more than carrying bytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use paramant_protocol::control::CourierPurpose;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::OutboundError;
use super::dial::ByteStream;

/// Two during a roll, and a spare.
const MOST: usize = 4;
/// A courier whose node died is noticed within this and the next constant.
const PING_EVERY: Duration = Duration::from_secs(15);
const PING_PATIENCE: Duration = Duration::from_secs(10);
/// A courier's reason is one sentence.
const MAX_REASON: usize = 512;

/// A stream through a courier.
pub type Tunnel = Box<dyn ByteStream>;

/// The connected couriers; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Couriers(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    sessions: Mutex<Vec<Session>>,
    next: AtomicU64,
    news: watch::Sender<u64>,
    closed: CancellationToken,
}

struct Session {
    number: u64,
    purpose: CourierPurpose,
    sender: SendRequest<Empty<Bytes>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({}, {})", self.number, self.purpose.as_str())
    }
}

impl Couriers {
    /// Takes a courier's connection and keeps it until it ends, or [`Couriers::close`] is called.
    ///
    /// # Errors
    /// When it does not speak HTTP/2, or breaks.
    pub async fn serve<S>(&self, purpose: CourierPurpose, stream: S) -> Result<(), hyper::Error>
    where
        S: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_PATIENCE)
            .keep_alive_while_idle(true)
            .max_header_list_size(4 * 1024)
            .initial_stream_window_size(64 * 1024)
            .initial_connection_window_size(256 * 1024)
            .handshake(stream)
            .await?;
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        {
            let mut sessions = self.lock();
            sessions.push(Session { number, purpose, sender });
            if sessions.len() > MOST {
                sessions.remove(0);
            }
        }
        self.0.news.send_modify(|count| *count += 1);
        tracing::info!(purpose = purpose.as_str(), "a courier is connected");
        let ended = tokio::select! {
            ended = connection => ended,
            () = self.0.closed.cancelled() => Ok(()),
        };
        self.lock().retain(|session| session.number != number);
        self.0.news.send_modify(|count| *count += 1);
        tracing::info!(purpose = purpose.as_str(), "a courier is gone");
        ended
    }

    /// Lets all of them go. Nothing leaves after this.
    pub fn close(&self) {
        self.0.closed.cancel();
    }

    /// Whether a courier of this purpose is connected.
    pub fn is_connected(&self, purpose: CourierPurpose) -> bool {
        self.newest(purpose).is_some()
    }

    /// The number of the newest courier of this purpose: another one is another connection.
    pub fn session(&self, purpose: CourierPurpose) -> Option<u64> {
        let sessions = self.lock();
        let alive = sessions.iter().filter(|it| it.purpose == purpose && !it.sender.is_closed());
        alive.map(|session| session.number).max()
    }

    /// News of couriers that come and go.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.news.subscribe()
    }

    /// A tunnel to `host:port`.
    ///
    /// # Errors
    /// When no courier is connected, it may not go there, or it cannot reach it.
    pub async fn tunnel(&self, purpose: CourierPurpose, authority: &str) -> Result<Tunnel, OutboundError> {
        let mut sender = self.newest(purpose).ok_or(OutboundError::NoCourier)?;
        let lost = |error: &dyn std::fmt::Display| {
            OutboundError::Unreachable(
                authority.to_owned(),
                format!("the courier's connection broke: {error}"),
            )
        };
        let request = Request::connect(authority).body(Empty::new()).map_err(|error| lost(&error))?;
        let answer = sender.send_request(request).await.map_err(|error| lost(&error))?;
        match answer.status() {
            StatusCode::OK => {
                let upgraded = hyper::upgrade::on(answer).await.map_err(|error| lost(&error))?;
                Ok(Box::new(TokioIo::new(upgraded)))
            }
            StatusCode::FORBIDDEN => Err(OutboundError::NotForCourier(authority.to_owned())),
            status => {
                let reason = Limited::new(answer.into_body(), MAX_REASON).collect().await;
                let reason = reason.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
                let reason = reason.ok().filter(|reason| !reason.is_empty());
                let reason = reason.unwrap_or_else(|| format!("the courier answered {status}"));
                Err(OutboundError::Unreachable(authority.to_owned(), reason))
            }
        }
    }

    fn newest(&self, purpose: CourierPurpose) -> Option<SendRequest<Empty<Bytes>>> {
        let sessions = self.lock();
        let alive = |session: &&Session| session.purpose == purpose && !session.sender.is_closed();
        sessions.iter().rev().find(alive).map(|session| session.sender.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Session>> {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! HTTP/2 on one connection: its limits, and an end for every wait that hyper leaves without one.
//!
//! hyper pings, so a peer that is gone is noticed. A peer that answers pings and does nothing else is not: it may open streams
//! and never give the window that their answers need, open and reset streams at a measured pace, or hold a connection that it
//! does not use. Here each stream's answer must be taken at the pace of [`Pace`], or the stream is reset and what it holds (a
//! claim, a drain's patience, memory) is free; a connection that nobody uses, or whose streams are mostly given up, is ended.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::{Executor, Read, Write};
use hyper::server::conn::http2;
use hyper::service::HttpService;
use hyper_util::rt::TokioTimer;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::pace::{Pace, SILENCE};

/// What begins a connection.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams of one connection at once: a browser opens some dozens.
const STREAMS: u32 = 64;
/// Decoded headers of one request. An ML-DSA signature in hex has 6,618 characters.
const HEADER_LIST: u32 = 16 * 1024;
/// The smallest frame size the protocol has, and the default of every peer.
const FRAME: u32 = 16 * 1024;
/// What a peer may send unread, on one stream and on all together: the latter is what a connection can make us hold.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of an answer that wait for one stream's window.
const SEND_BUFFER: usize = 256 * 1024;
/// The table that compressed headers refer to: the protocol's default, and a promise to the peer.
const HEADER_TABLE: u32 = 4096;
/// Streams reset by the peer before they were looked at (rapid reset, CVE-2023-44487): more end the connection.
const RESET_UNSEEN: usize = 20;
/// Streams reset by us, for errors of the peer, in a connection's life.
const RESET_BY_ERROR: usize = 64;
/// Between two pings, and how long an answer may take.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(10);
/// A connection without a request for so long is ended. A client that keeps one for later opens another then.
const UNUSED: Duration = Duration::from_secs(60);
/// Streams that a peer may give up before they are answered, beyond as many as were answered. Somebody who leaves a page gives up
/// a few; who makes us work for nothing gives up all.
const GIVEN_UP: u32 = 100;
/// How long a connection that is ended for its peer's doing may take to say so.
const GOODBYE: Duration = Duration::from_secs(5);

tokio::task_local! {
    /// The stream whose task this is.
    static STREAM: Arc<Stream>;
}

/// Speaks HTTP/2 until the peer leaves, `told` is cancelled (then answers may run on), or the connection is not worth its seat.
pub(super) async fn serve<I, S>(io: I, service: S, told: CancellationToken) -> io::Result<()>
where
    I: Read + Write + Unpin + Send,
    S: HttpService<Incoming, ResBody = Body> + Send,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let streams = Streams::default();
    let mut connection = pin!(builder(streams.clone()).serve_connection(io, service));
    let ended_by_us = tokio::select! {
        ended = connection.as_mut() => return ended.map_err(io::Error::other),
        () = told.cancelled() => false,
        () = streams.unused() => true,
        () = streams.0.abused.notified() => true,
    };
    connection.as_mut().graceful_shutdown();
    if ended_by_us {
        return timeout(GOODBYE, connection).await?.map_err(io::Error::other);
    }
    connection.await.map_err(io::Error::other)
}

/// hyper's settings. Every limit is explicit: a default is a decision somebody else may change. What hyper does not let us set
/// (empty and tiny DATA frames, CONTINUATION frames beyond what the header list needs) the h2 crate bounds by itself.
fn builder(streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_LIST)
        .header_table_size(HEADER_TABLE)
        .max_frame_size(FRAME)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESET_UNSEEN)
        .max_local_error_reset_streams(RESET_BY_ERROR)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    builder
}

/// An answer whose stream is reset when its peer takes it too slowly. Outside of a stream of ours the answer as it is.
pub(super) fn watched(answer: Response) -> Response {
    let Ok(stream) = STREAM.try_with(Arc::clone) else { return answer };
    stream.answered.store(true, Ordering::Relaxed);
    answer.map(|body| Body::new(WatchedBody { body, stream }))
}

/// The streams of one connection; runs them, which is how it knows of them.
#[derive(Debug, Clone, Default)]
struct Streams(Arc<Connection>);

#[derive(Debug)]
struct Connection {
    running: AtomicUsize,
    /// When a stream began or ended, or else the connection.
    last: Mutex<Instant>,
    answered: AtomicU32,
    given_up: AtomicU32,
    /// Told when too many were given up.
    abused: Notify,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            running: AtomicUsize::new(0),
            last: Mutex::new(Instant::now()),
            answered: AtomicU32::new(0),
            given_up: AtomicU32::new(0),
            abused: Notify::new(),
        }
    }
}

impl Streams {
    /// Returns once there was no stream for [`UNUSED`].
    async fn unused(&self) {
        loop {
            let last = *self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
            let until =
                if self.0.running.load(Ordering::Relaxed) == 0 { last } else { Instant::now() } + UNUSED;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    fn began(&self) {
        self.0.running.fetch_add(1, Ordering::Relaxed);
        self.touch();
    }

    fn ended(&self, answered: bool) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.touch();
        if answered {
            self.0.answered.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let given_up = self.0.given_up.fetch_add(1, Ordering::Relaxed) + 1;
        if given_up > self.0.answered.load(Ordering::Relaxed).saturating_add(GIVEN_UP) {
            self.0.abused.notify_one();
        }
    }

    fn touch(&self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, running: F) {
        let stream = Arc::new(Stream::default());
        let guard = StreamGuard { streams: self.clone(), stream: stream.clone() };
        self.began();
        tokio::spawn(async move {
            let stream = &guard.stream;
            tokio::select! {
                () = STREAM.scope(stream.clone(), running) => {}
                // Dropped with all it holds, it is reset.
                () = stream.stalled() => tracing::debug!("a stream was reset: its peer takes too little"),
            }
        });
    }
}

/// One stream, from its request to the end of its answer.
#[derive(Debug)]
struct Stream {
    answered: AtomicBool,
    taking: Mutex<Taking>,
}

/// How the answer is taken.
#[derive(Debug)]
struct Taking {
    pace: Pace,
    /// Since when a piece of the answer waits to be taken.
    since: Option<Instant>,
}

impl Default for Stream {
    fn default() -> Self {
        let taking = Taking { pace: Pace::of_reader(), since: None };
        Self { answered: AtomicBool::new(false), taking: Mutex::new(taking) }
    }
}

impl Stream {
    /// Returns once the peer takes too little.
    async fn stalled(&self) {
        loop {
            let end = {
                let taking = self.taking();
                taking.since.map(|since| since + taking.pace.patience())
            };
            match end {
                Some(end) if end <= Instant::now() => return,
                Some(end) => sleep_until(end).await,
                None => sleep(SILENCE / 4).await,
            }
        }
    }

    fn taking(&self) -> MutexGuard<'_, Taking> {
        self.taking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that runs; dropping it says how it ended.
struct StreamGuard {
    streams: Streams,
    stream: Arc<Stream>,
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.streams.ended(self.stream.answered.load(Ordering::Relaxed));
    }
}

/// A body that says when it waits for its reader: from the moment a piece was asked for until the next one is.
#[derive(Debug)]
struct WatchedBody {
    body: Body,
    stream: Arc<Stream>,
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        {
            let mut taking = this.stream.taking();
            if let Some(since) = taking.since.take() {
                taking.pace.waited(since);
            }
        }
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let mut taking = this.stream.taking();
            taking.pace.moved(frame.data_ref().map_or(0, |data| data.len() as u64));
            taking.since = Some(Instant::now());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

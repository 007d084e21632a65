//! The relay's listener, and beside it the same handlers behind hyper with its limits taken away: what an attack on HTTP/2 does
//! where nothing holds it up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{any, get, post};
use futures::StreamExt as _;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use paramant_relay::listener::{Listener, TlsSource};
use paramant_relay::metrics::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Counts who is inside.
#[derive(Clone, Default)]
pub struct Inside(Arc<AtomicUsize>);

pub struct Visit(Inside);

impl Inside {
    pub fn enter(&self) -> Visit {
        self.0.fetch_add(1, Ordering::SeqCst);
        Visit(self.clone())
    }

    pub fn now(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn router(inside: &Inside) -> Router {
    let (in_never, in_large) = (inside.clone(), inside.clone());
    let never = move || {
        let visit = in_never.enter();
        async move {
            std::future::pending::<()>().await;
            drop(visit);
        }
    };
    let large = move || {
        let visit = in_large.enter();
        async move {
            let pieces = futures::stream::repeat(Bytes::from(vec![b'x'; 64 << 10])).take(100);
            let pieces = pieces.map(move |piece| {
                let _held = &visit;
                Ok::<_, std::io::Error>(piece)
            });
            Body::from_stream(pieces)
        }
    };
    Router::new()
        .route("/", get(|| async { "here" }))
        .route("/never", any(never))
        .route("/large", get(large))
        .route("/length", post(|body: Bytes| async move { body.len().to_string() }))
}

/// The relay's listener.
pub async fn limited(inside: &Inside, tls: Option<TlsSource>) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let listener = Listener {
        socket,
        router: router(inside),
        tls,
        altogether: Arc::new(|| 100),
        per_address: Arc::new(|_| None),
        upgrades: true,
        connections: Metrics::new().unwrap().connections("public"),
    };
    tokio::spawn(listener.serve(CancellationToken::new(), Duration::from_secs(1)));
    address
}

/// The same handlers behind hyper with every limit taken away that it lets one take away.
async fn boundless(inside: &Inside) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let router = router(inside);
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let service = TowerToHyperService::new(router.clone());
            tokio::spawn(async move {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder
                    .timer(TokioTimer::new())
                    .max_concurrent_streams(100_000)
                    .max_header_list_size(1 << 30)
                    .initial_connection_window_size(1 << 30)
                    .initial_stream_window_size(1 << 30)
                    .max_pending_accept_reset_streams(usize::MAX)
                    .max_local_error_reset_streams(None)
                    .keep_alive_interval(Duration::from_secs(20));
                drop(builder.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    address
}

/// An attack on both: how it went without limits, and with ours.
pub async fn both<T>(attack: impl AsyncFn(SocketAddr, Inside) -> T) -> (T, T) {
    let (free, ours) = (Inside::default(), Inside::default());
    let without = attack(boundless(&free).await, free).await;
    let with = attack(limited(&ours, None).await, ours).await;
    (without, with)
}

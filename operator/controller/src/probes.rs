//! Probes, metrics and a look inside, on one plain HTTP port.
//!
//! `/livez` and `/readyz` answer 200 or 503 with their reasons as lines of text; `/debug/state` shows queue, watches and
//! relays as JSON, without any secret. Connections are few and short: headers must arrive in time, and more than
//! a few at once are made to wait.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::health::Health;
use crate::leader::election::Leadership;
use crate::metrics::Metrics;
use crate::queue::worker::Queue;
use crate::reconcile::Reconciler;

/// A kubelet, a metrics scraper, and a person.
const MAX_CONNECTIONS: usize = 32;
/// A request's headers arrive within this.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection is closed after this; scrapers open a new one.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);

/// What the pages show.
#[derive(Clone)]
pub struct Pages {
    /// Reasons.
    pub health: Health,
    /// Numbers.
    pub metrics: Metrics,
    /// What is due.
    pub queue: Queue,
    /// Who leads.
    pub leadership: Leadership,
    /// What is believed of relays, while leading.
    pub reconciler: Arc<Mutex<Option<Reconciler>>>,
}

/// Opens the port. A host whose kernel has no IPv6 knows no `[::]`; every address is then every IPv4 address.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(_) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        opened => opened,
    }
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, pages: Pages) {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/debug/state", get(state))
        .with_state(pages);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let (stream, _peer): (_, SocketAddr) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: waiting frees some.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let _place = place;
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = timeout(CONNECTION_TIMEOUT, connection).await {
                tracing::trace!(%error, "a connection ended");
            }
        });
    }
}

async fn livez(State(pages): State<Pages>) -> Response {
    match pages.health.fatal() {
        None => (StatusCode::OK, "ok\n").into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn readyz(State(pages): State<Pages>) -> Response {
    let status = if pages.health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let reasons = pages.health.reasons();
    let lines: String = reasons.values().map(|reason| format!("{}\n", reason.sentence)).collect();
    (status, if lines.is_empty() { "ok\n".to_owned() } else { lines }).into_response()
}

async fn metrics(State(pages): State<Pages>) -> Response {
    for (collection, age) in pages.health.freshness().ages(Instant::now()) {
        let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        pages.metrics.watch_age.with_label_values(&[collection.as_str()]).set(seconds);
    }
    pages.metrics.leader.set(i64::from(pages.leadership.leads()));
    match pages.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn state(State(pages): State<Pages>) -> Json<Value> {
    let (due, known) = pages.queue.lengths();
    // Out of the lock first: what is asked next takes locks of its own.
    let reconciler = pages.reconciler.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let relays = reconciler.as_ref().map(Reconciler::known);
    let watches: std::collections::BTreeMap<_, _> = pages
        .health
        .freshness()
        .ages(Instant::now())
        .into_iter()
        .map(|(path, age)| (path, age.as_secs()))
        .collect();
    Json(json!({
        "version": crate::VERSION,
        "leader": pages.leadership.leads(),
        "epoch": pages.leadership.may_write(),
        "ready": pages.health.is_ready(),
        "reasons": pages.health.reasons(),
        "queue": { "due": due, "known": known },
        "watchAgeSeconds": watches,
        "relays": relays.unwrap_or_default(),
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use tokio::net::TcpStream;

    use super::*;

    fn pages(reconciler: Option<Reconciler>) -> Pages {
        let standing = crate::leader::election::Standing::Leader { epoch: 7, renewed: Instant::now() };
        let freshness = crate::staleness::Freshness::default();
        freshness.track("/api/v1/pods");
        Pages {
            health: Health::new(freshness),
            metrics: Metrics::new().unwrap(),
            queue: Queue::default(),
            leadership: Leadership::fixed(standing),
            reconciler: Arc::new(Mutex::new(reconciler)),
        }
    }

    #[tokio::test]
    async fn the_state_shows_leader_queue_watches_and_relays_and_no_secret() {
        let pages = pages(Some(crate::reconcile::that_knows_one_relay()));
        pages.health.report("rights:a", crate::health::Weight::Degraded, "no right to list pods in a");
        let Json(state) = state(State(pages)).await;
        assert_eq!(
            (&state["leader"], &state["epoch"], &state["ready"]),
            (&json!(true), &json!(7), &json!(true))
        );
        assert_eq!(state["reasons"]["rights:a"]["weight"], "degraded");
        assert_eq!(state["watchAgeSeconds"], json!({ "/api/v1/pods": 0 }));
        assert_eq!(state["queue"], json!({ "due": 0, "known": 0 }));
        assert_eq!(state["relays"]["n/health"]["phase"], "Updating");
        // The authority's key and bundle are within reach of what is printed.
        let text = state.to_string();
        assert!(
            text.contains("relayUid") && !text.contains("-----BEGIN") && !text.contains("caBundle"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_follower_shows_no_relay() {
        let Json(state) = state(State(pages(None))).await;
        assert_eq!(state["relays"], json!({}));
    }

    #[tokio::test]
    async fn every_address_is_reached_by_ipv4_whether_the_host_has_ipv6_or_not() {
        let listener = listen("[::]:0".parse().unwrap()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let taken = listen((Ipv4Addr::UNSPECIFIED, port).into()).await;
        assert!(taken.is_err(), "a port that is taken stays an error");
    }
}

//! Tunnels: on the connection that was handed over, the relay asks (CONNECT), and the courier dials what is on its list.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::copy_bidirectional;
use tokio::time::timeout;

use crate::outbound::{ByteStream, Proxy, PublicOnly, connect};

/// Tunnels at once; a relay has at most sixteen witnesses, and makes four calls at once to each of 64 hosts of webhooks.
const MOST: u32 = 256;
/// No exchange takes so long; what is left of one that was forgotten goes with it.
const LIFE: Duration = Duration::from_secs(600);
/// A relay whose node died is noticed within this and the next constant.
const PING_EVERY: Duration = Duration::from_secs(15);
const PING_PATIENCE: Duration = Duration::from_secs(10);

/// Where tunnels may lead.
#[derive(Debug)]
pub(super) struct Offer {
    /// `host:port`, exactly as the relay will ask for them.
    pub(super) destinations: Vec<String>,
    /// The way there.
    pub(super) way: Way,
}

/// How destinations are reached.
#[derive(Debug)]
pub(super) enum Way {
    /// Wherever their names lead.
    Direct,
    /// Where users chose the destinations: only to public addresses.
    PublicOnly(PublicOnly),
    /// By asking a proxy.
    Through(Proxy),
}

impl Way {
    async fn connect(&self, authority: &str) -> io::Result<Box<dyn ByteStream>> {
        match self {
            Self::Direct => connect(None, authority).await,
            Self::PublicOnly(public) => public.connect(authority).await,
            Self::Through(proxy) => connect(Some(proxy), authority).await,
        }
    }
}

/// Answers the relay until the connection ends.
pub(super) async fn serve(connection: TokioIo<Upgraded>, offer: Arc<Offer>) -> Result<(), hyper::Error> {
    let service = service_fn(move |request| {
        let offer = offer.clone();
        async move { Ok::<_, Infallible>(answer(request, &offer).await) }
    });
    http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE)
        .max_concurrent_streams(MOST)
        .max_header_list_size(4 * 1024)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(256 * 1024)
        .serve_connection(connection.into_inner(), service)
        .await
}

async fn answer(mut request: Request<Incoming>, offer: &Offer) -> Response<Full<Bytes>> {
    if request.method() != Method::CONNECT {
        return say(StatusCode::METHOD_NOT_ALLOWED, "a courier only connects");
    }
    let authority = request.uri().authority().map(|authority| authority.as_str().to_ascii_lowercase());
    let Some(authority) = authority.filter(|authority| offer.destinations.contains(authority)) else {
        tracing::warn!("the relay asked for a destination that is not on the list");
        return say(StatusCode::FORBIDDEN, "this destination is not on the courier's list");
    };
    match offer.way.connect(&authority).await {
        Err(error) => {
            tracing::warn!(destination = authority, %error, "a destination cannot be reached");
            say(StatusCode::BAD_GATEWAY, &error.to_string())
        }
        Ok(mut outside) => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let Ok(upgraded) = upgrade.await else { return };
                let mut inside = TokioIo::new(upgraded);
                // How a tunnel ends is for its two ends to judge.
                if let Ok(Ok((out, back))) =
                    timeout(LIFE, copy_bidirectional(&mut inside, &mut outside)).await
                {
                    tracing::info!(destination = authority, out, back, "carried");
                }
            });
            say(StatusCode::OK, "")
        }
    }
}

fn say(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(words.to_owned())));
    *response.status_mut() = status;
    response
}

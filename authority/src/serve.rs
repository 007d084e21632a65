//! `POST /v1/license/check` over TLS, and nothing else.
//!
//! No address, header or name of a caller is kept or logged. A question that takes too long, or is longer than any, is dropped.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::routing::post;
use futures::StreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use paramant_licensing::online::request::MAX_REQUEST;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::answer::{Answer, Authority, NoAnswer};
use crate::faults::Fault;

/// A question takes a second; whoever is slower comes again.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections at once.
const CONNECTIONS: usize = 1024;

/// The service.
pub fn router(authority: Arc<Authority>) -> Router {
    Router::new()
        .route("/v1/license/check", post(check))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state(authority)
}

/// TLS of a certificate chain and its key, in PEM.
///
/// # Errors
/// When they cannot be read or do not fit.
pub fn tls(certificates: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let shown = certificates.display();
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificates)
        .with_context(|| format!("cannot read {shown}"))?
        .collect();
    let chain = chain.with_context(|| format!("{shown} is no PEM"))?;
    ensure!(!chain.is_empty(), "{shown} holds no certificate");
    let key = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("cannot read the key {}", key.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Listens for as long as the process runs.
///
/// # Errors
/// When the address is taken.
pub async fn serve(authority: Arc<Authority>, listen: SocketAddr, tls: TlsAcceptor) -> anyhow::Result<()> {
    let socket = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    tracing::info!(address = %socket.local_addr()?, "the authority answers");
    on(socket, authority, tls).await;
    Ok(())
}

/// Serves on a socket that is bound already.
pub async fn on(socket: TcpListener, authority: Arc<Authority>, tls: TlsAcceptor) {
    let (router, seats) = (router(authority), Arc::new(Semaphore::new(CONNECTIONS)));
    loop {
        let Ok(seat) = seats.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = socket.accept().await else {
            // Out of descriptors, mostly: it passes.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (router, tls) = (router.clone(), tls.clone());
        tokio::spawn(async move {
            let _seat = seat;
            let served = async {
                let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, tls.accept(stream)).await else { return };
                let mut server = Builder::new(TokioExecutor::new());
                server.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
                let service = TowerToHyperService::new(router);
                // A caller that hangs up is no news.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            };
            // Faults outlast it: who asked has gone long before.
            let _ = tokio::time::timeout(PATIENCE * 10, served).await;
        });
    }
}

async fn check(State(authority): State<Arc<Authority>>, bytes: Bytes) -> Response<Body> {
    let answering = tokio::task::spawn_blocking(move || {
        let fault = authority.book.fault().map_err(NoAnswer::from)?;
        Ok::<_, NoAnswer>((authority.answer(&bytes, fault)?, fault))
    });
    match answering.await {
        Ok(Ok((answer, fault))) => faulty(answer, fault).await,
        Ok(Err(NoAnswer::Request(reason))) => {
            response(StatusCode::BAD_REQUEST, format!("{{\"error\":\"{reason}\"}}"))
        }
        Ok(Err(NoAnswer::Unwell(error))) => {
            tracing::error!(error = format!("{error:#}"), "a check-in has no answer");
            response(StatusCode::SERVICE_UNAVAILABLE, "{\"error\":\"the authority is not well\"}")
        }
        Err(_) => response(StatusCode::SERVICE_UNAVAILABLE, "{\"error\":\"the authority is not well\"}"),
    }
}

async fn faulty(answer: Answer, fault: Option<Fault>) -> Response<Body> {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let endless = |chunk: Bytes, pause: Duration| {
        Body::from_stream(futures::stream::repeat(chunk).then(move |chunk| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, std::io::Error>(chunk)
        }))
    };
    match fault {
        Some(Fault::Silent) => std::future::pending().await,
        Some(Fault::Status(status)) => {
            response(StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE), Body::empty())
        }
        Some(Fault::Garbage) => response(StatusCode::OK, "<html>no document</html>"),
        Some(Fault::Giant) => {
            response(StatusCode::OK, endless(Bytes::from(vec![b' '; 65536]), Duration::ZERO))
        }
        Some(Fault::Slow) => {
            let bytes = futures::stream::iter(answer.body).then(|byte| async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok::<_, std::io::Error>(Bytes::from(vec![byte]))
            });
            response(status, Body::from_stream(bytes))
        }
        Some(Fault::Redirect) => {
            let mut response = response(StatusCode::TEMPORARY_REDIRECT, Body::empty());
            response.headers_mut().insert(LOCATION, HeaderValue::from_static("https://elsewhere.example/"));
            response
        }
        _ => response(status, answer.body),
    }
}

fn response(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

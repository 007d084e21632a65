//! A relay's control listener as the interface describes it, and some that misbehave.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use http::StatusCode;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use paramant_protocol::control::{
    Directives, DirectivesAnswer, DirectivesMark, FenceReport, FenceState, Proof, RelayState,
};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, PublicKeyData as _};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Good,
    NoToken,
    WrongToken,
    LyingState,
    ClientUsage,
    /// Takes connections and says nothing, not even in the handshake.
    Mute,
    /// Shakes hands and answers no request.
    Silent,
    /// Its proof is no document.
    GarbageProof,
    /// Its events are none.
    GarbageState,
    /// Answers 503 to everything but its proof.
    Busy,
    /// Its state is longer than what is read at once, and longer than a TLS record.
    Long,
}

struct Inside {
    manner: Manner,
    spki: String,
    requests: Mutex<Vec<String>>,
    puts: Mutex<Vec<Directives>>,
    held: watch::Sender<Option<DirectivesMark>>,
    cut: watch::Sender<u32>,
    waits: AtomicBool,
}

pub(super) struct FakeRelay {
    pub(super) address: SocketAddr,
    pub(super) spki: String,
    inside: Arc<Inside>,
    task: JoinHandle<()>,
}

impl Drop for FakeRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeRelay {
    pub(super) async fn start(ca_pem: &str, name: &str, manner: Manner) -> Self {
        let pair = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let usage = if manner == Manner::ClientUsage {
            ExtendedKeyUsagePurpose::ClientAuth
        } else {
            ExtendedKeyUsagePurpose::ServerAuth
        };
        params.extended_key_usages = vec![usage];
        let certificate = params.self_signed(&pair).unwrap();
        let spki = hex::encode(Sha256::digest(pair.subject_public_key_info()));

        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));

        let inside = Arc::new(Inside {
            manner,
            spki: spki.clone(),
            requests: Mutex::default(),
            puts: Mutex::default(),
            held: watch::Sender::default(),
            cut: watch::Sender::default(),
            waits: AtomicBool::new(false),
        });
        let router = Router::new()
            .route("/control/v1/proof", get(proof))
            .route("/control/v1/events", get(events))
            .route("/control/v1/directives", put(directives))
            .with_state(inside.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, router) = (acceptor.clone(), router.clone());
                connections.spawn(async move {
                    if manner == Manner::Mute {
                        let _held = tcp;
                        return std::future::pending().await;
                    }
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let service = TowerToHyperService::new(router);
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(tls), service)
                        .await;
                });
            }
        });
        Self { address, spki, inside, task }
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.inside.requests.lock().unwrap().clone()
    }

    pub(super) fn puts(&self) -> usize {
        self.inside.puts.lock().unwrap().len()
    }

    /// What it was told last.
    pub(super) fn told(&self) -> Option<Directives> {
        self.inside.puts.lock().unwrap().last().cloned()
    }

    pub(super) fn held(&self) -> Option<DirectivesMark> {
        self.inside.held.borrow().clone()
    }

    /// Holds directives from an earlier life.
    pub(super) fn hold(&self, seq: u64) {
        self.inside.held.send_replace(Some(DirectivesMark { relay_uid: "uid".to_owned(), epoch: 1, seq }));
    }

    /// Loses its directives and says so.
    pub(super) fn forget(&self) {
        self.inside.held.send_replace(None);
    }

    /// Starts anew over the same disk: it holds what it held, and waits to hear whether it may sign its log.
    pub(super) fn restart(&self) {
        self.inside.waits.store(true, Ordering::SeqCst);
        self.cut();
    }

    /// Whether it still waits for that.
    pub(super) fn waits(&self) -> bool {
        self.inside.waits.load(Ordering::SeqCst)
    }

    /// Ends the event streams that are open now.
    pub(super) fn cut(&self) {
        self.inside.cut.send_modify(|count| *count += 1);
    }

    pub(super) fn open_streams(&self) -> usize {
        self.inside.cut.receiver_count()
    }
}

impl Inside {
    fn note(&self, request: &str) {
        self.requests.lock().unwrap().push(request.to_owned());
    }

    fn state(&self) -> RelayState {
        let spki = if self.manner == Manner::LyingState { "f".repeat(64) } else { self.spki.clone() };
        let mut state = a_state();
        state.identity.control_spki_sha256 = spki;
        state.directives = self.held.borrow().clone();
        if self.manner == Manner::Long {
            state.log.checkpoint = Some("A".repeat(50_000));
        }
        if self.waits.load(Ordering::SeqCst) {
            state.log.fence = FenceReport { state: FenceState::Waiting, reason: None };
        }
        state
    }
}

/// A quiet relay's state.
pub(super) fn a_state() -> RelayState {
    let state = json!({
        "schema": 1, "version": "0.1.0", "startedAt": "2026-01-01T00:00:00Z", "ready": true,
        "identity": { "fingerprint": "ab", "controlSpkiSha256": "" },
        "drain": { "state": "Serving", "uploads": 0, "claims": 0, "unclaimed": 0 },
        "license": { "tier": "Community", "source": "None", "maxUsers": 5, "activeUsers": 0 },
        "log": { "origin": "o", "size": 0, "root": "" },
        "caBundleSha256": "",
    });
    serde_json::from_value(state).unwrap()
}

async fn proof(State(inside): State<Arc<Inside>>) -> Result<Response, StatusCode> {
    inside.note("GET /control/v1/proof");
    match inside.manner {
        Manner::NoToken => Err(StatusCode::SERVICE_UNAVAILABLE),
        Manner::WrongToken => Ok(Json(Proof { token: "another token".to_owned() }).into_response()),
        Manner::GarbageProof => Ok("{\"token\": 7".into_response()),
        Manner::Silent => std::future::pending().await,
        _ => Ok(Json(Proof { token: "good token".to_owned() }).into_response()),
    }
}

async fn events(
    State(inside): State<Arc<Inside>>,
) -> Result<Sse<impl futures::Stream<Item = Result<Event, std::convert::Infallible>>>, StatusCode> {
    inside.note("GET /control/v1/events");
    if inside.manner == Manner::Silent {
        return std::future::pending().await;
    }
    if inside.manner == Manner::Busy {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let (mut held, mut cut) = (inside.held.subscribe(), inside.cut.subscribe());
    held.mark_changed();
    cut.mark_unchanged();
    let stream = futures::stream::unfold((inside, held, cut), |(inside, mut held, mut cut)| async move {
        tokio::select! {
            changed = held.changed() => changed.ok()?,
            _ = cut.changed() => return None,
        }
        held.mark_unchanged();
        let event = Event::default().event("state");
        let event = match inside.manner {
            Manner::GarbageState => event.data("{\"schema\": \"x\"}"),
            _ => event.json_data(inside.state()).unwrap(),
        };
        Some((Ok(event), (inside, held, cut)))
    });
    Ok(Sse::new(stream))
}

async fn directives(
    State(inside): State<Arc<Inside>>,
    Json(sent): Json<Directives>,
) -> (StatusCode, Json<DirectivesAnswer>) {
    inside.puts.lock().unwrap().push(sent.clone());
    let held = inside.held.borrow().clone();
    let mark = DirectivesMark { relay_uid: sent.relay_uid.clone(), epoch: sent.epoch, seq: sent.seq };
    if held.as_ref() == Some(&mark) {
        inside.waits.store(false, Ordering::SeqCst);
        return (StatusCode::OK, Json(DirectivesAnswer { accepted: true, held, reason: None }));
    }
    let newer = held.as_ref().is_none_or(|held| (sent.epoch, sent.seq) > (held.epoch, held.seq));
    if newer {
        inside.held.send_replace(Some(mark.clone()));
        return (StatusCode::OK, Json(DirectivesAnswer { accepted: true, held: Some(mark), reason: None }));
    }
    (StatusCode::CONFLICT, Json(DirectivesAnswer { accepted: false, held, reason: Some("older".to_owned()) }))
}

//! A witness for tests: honest by default, hostile when told to be. It checks what a real one checks.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use paramant_relay::settings::{Reach, Settings, WitnessMember, WitnessSettings};
use paramant_tlog::keys::{CosignatureKey, Seed, Signer};
use paramant_tlog::note::{Note, Signature};
use paramant_tlog::vkey::VerifierKey;
use paramant_tlog::witness::MAX_REQUEST;
use paramant_tlog::{Checkpoint, Tree, verify};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How a witness behaves.
#[derive(Debug, Clone, PartialEq)]
pub enum Manner {
    Good,
    /// Takes the question and never answers.
    Silent,
    /// Answers without end.
    Giant,
    Garbage,
    /// Cosigns with another key under its own name.
    WrongKey,
    /// Cosigns another checkpoint.
    OtherText,
    Status(u16),
    /// Always says that it cosigned this size last.
    Size(u64),
}

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub old: u64,
    pub size: u64,
}

struct Shared {
    key: CosignatureKey,
    stranger: CosignatureKey,
    manner: Mutex<Manner>,
    /// The checkpoint it cosigned last.
    last: Mutex<Option<Checkpoint>>,
    asked: Mutex<Vec<Asked>>,
}

/// A witness that runs until it is dropped.
pub struct FakeWitness {
    name: String,
    pub address: SocketAddr,
    pub ca_pem: Option<String>,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl std::fmt::Debug for FakeWitness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeWitness").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Drop for FakeWitness {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeWitness {
    pub async fn start(number: u8) -> Self {
        Self::with(number, None).await
    }

    /// With a certificate for 127.0.0.1, of an authority of its own.
    pub async fn start_tls(number: u8) -> Self {
        Self::with(number, Some(loopback_tls())).await
    }

    async fn with(number: u8, tls: Option<(TlsAcceptor, String)>) -> Self {
        let name = format!("witness.example/{number}");
        let key = |seed: u8| CosignatureKey::from_seed(&name, &Seed::new([seed; 32])).unwrap();
        let shared = Arc::new(Shared {
            key: key(number),
            stranger: key(200),
            manner: Mutex::new(Manner::Good),
            last: Mutex::default(),
            asked: Mutex::default(),
        });
        let router = Router::new().fallback(add_checkpoint).with_state(shared.clone());
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (acceptor, ca_pem) = tls.unzip();
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                let (router, acceptor) = (router.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let (service, builder) =
                        (TowerToHyperService::new(router), Builder::new(TokioExecutor::new()));
                    match acceptor {
                        Some(acceptor) => {
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                        }
                        None => {
                            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                        }
                    }
                });
            }
        });
        Self { name, address, ca_pem, shared, server }
    }

    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// As if it had cosigned this before.
    pub fn has_seen(&self, checkpoint: Option<Checkpoint>) {
        *self.shared.last.lock().unwrap() = checkpoint;
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// The size it cosigned last.
    pub fn size(&self) -> u64 {
        self.shared.last.lock().unwrap().as_ref().map_or(0, |it| it.size)
    }

    pub fn key(&self) -> &VerifierKey {
        self.shared.key.verifier()
    }

    pub fn member(&self) -> WitnessMember {
        let scheme = if self.ca_pem.is_some() { "https" } else { "http" };
        WitnessMember {
            name: self.name.replace('/', "-"),
            key: self.key().clone(),
            url: format!("{scheme}://{}/prefix", self.address).parse().unwrap(),
        }
    }
}

/// A certificate for 127.0.0.1, and the PEM of its authority.
pub fn loopback_tls() -> (TlsAcceptor, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(params, key);
    let own = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&own, &issuer).unwrap();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let own = rustls::pki_types::PrivatePkcs8KeyDer::from(own.serialize_der());
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![leaf.der().clone()], own.into()).unwrap();
    (TlsAcceptor::from(Arc::new(config)), pem)
}

/// The settings that name these witnesses, at the pace of a test.
pub fn settings(quorum: u32, witnesses: &[&FakeWitness]) -> WitnessSettings {
    let bundle: String = witnesses.iter().filter_map(|witness| witness.ca_pem.clone()).collect();
    WitnessSettings {
        quorum,
        members: witnesses.iter().map(|witness| witness.member()).collect(),
        ca_bundle: (!bundle.is_empty()).then_some(bundle),
        every: Duration::from_millis(300),
        reach: Reach::Direct,
    }
}

/// For `Relay::with`.
pub fn witnessed_by(quorum: u32, witnesses: &[&FakeWitness]) -> impl FnOnce(&mut Settings) {
    let witnesses = Arc::new(settings(quorum, witnesses));
    move |settings| settings.witnesses = Some(witnesses)
}

async fn add_checkpoint(State(shared): State<Arc<Shared>>, request: axum::extract::Request) -> Response {
    assert_eq!(request.uri().path(), "/prefix/add-checkpoint");
    assert_eq!(request.method(), "POST");
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    assert!(body.len() <= MAX_REQUEST, "public witnesses would not read {} bytes", body.len());
    let text = String::from_utf8(body.to_vec()).unwrap();
    let (head, note) = text.split_once("\n\n").unwrap();
    let mut head = head.lines();
    let old: u64 = head.next().unwrap().strip_prefix("old ").unwrap().parse().unwrap();
    let proof: Vec<[u8; 32]> =
        head.map(|line| BASE64_STANDARD.decode(line).unwrap().try_into().unwrap()).collect();
    let note = Note::parse(note.as_bytes()).unwrap();
    let checkpoint = Checkpoint::parse(&note.text).unwrap();
    shared.asked.lock().unwrap().push(Asked { old, size: checkpoint.size });
    let manner = shared.manner.lock().unwrap().clone();
    let cosign = |text: &str, key: &CosignatureKey| -> Response {
        let keys: [&dyn Signer; 1] = [key];
        let now = jiff::Timestamp::now().as_second().try_into().unwrap();
        let lines = Note::sign(text, &keys, now).unwrap().signatures;
        lines.iter().map(Signature::to_line).collect::<String>().into_response()
    };
    match manner {
        Manner::Good => {}
        Manner::Silent => std::future::pending().await,
        Manner::Giant => {
            let endless =
                futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'a'; 4096])));
            return Body::from_stream(endless).into_response();
        }
        Manner::Garbage => return "<html>not a cosignature</html>\n".into_response(),
        Manner::WrongKey => return cosign(&note.text, &shared.stranger),
        Manner::OtherText => {
            let other = Checkpoint { root: [1; 32], ..checkpoint };
            return cosign(&other.to_text(), &shared.key);
        }
        Manner::Status(status) => return StatusCode::from_u16(status).unwrap().into_response(),
        Manner::Size(size) => return conflict(size),
    }
    let mut last = shared.last.lock().unwrap();
    let (known, root) = last.as_ref().map_or((0, Tree::Sha256.empty_root()), |it| (it.size, it.root));
    if known != old {
        return conflict(known);
    }
    if verify::consistency(Tree::Sha256, old, &root, checkpoint.size, &checkpoint.root, &proof).is_err() {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    }
    *last = Some(checkpoint);
    cosign(&note.text, &shared.key)
}

fn conflict(size: u64) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/x.tlog.size")];
    (StatusCode::CONFLICT, kind, format!("{size}\n")).into_response()
}

//! A light stand-in for the relays' processes: one listener that is a thousand relays on the control port.
//!
//! It is real in all that the operator checks: each relay has a control key of its own, accepts none but a certificate of the
//! operator's authority as its ConfigMap carries it, proves itself by a token the API server bound to its pod, persists
//! nothing, but refuses lower directives, and reports a log that grows by valid proofs. Relays are told apart by the address
//! that was dialled; which pod has which address is watched. It serves nothing on the public port.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{ConfigMap, Pod, ServiceAccount},
};
use kube::{
    Api, Client,
    api::PostParams,
    runtime::watcher::{self, Event},
};
use paramant_protocol::control::{
    CONTROL_SERVER_NAME, Directives, DirectivesAnswer, DirectivesMark, LogMark, OPERATOR_AUDIENCE, Proof,
    RelayState,
};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, PublicKeyData as _};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use super::log::GrowingLog;

/// Names the relay that a pod is of.
const RELAY_LABEL: &str = "paramant.app/relay";
/// Where relays answer the operator.
const CONTROL_PORT: u16 = 7443;
/// What a relay says when it has nothing to say, as the real one does.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How often a relay under traffic tells of its counters, as the real one does at most.
const NEWS: Duration = Duration::from_secs(10);
/// Entries that each log grows by between two reports.
const GROWTH: u64 = 3;
/// A token may be younger than the ten minutes that are the API server's least.
const TOKEN_SECONDS: i64 = 3600;
/// How long a dialled address is waited for: the watch may show the operator a pod before it shows it here.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);

type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// All relays of a fleet; ends with this.
pub(super) struct StandIn {
    inner: Arc<Inner>,
    tasks: [JoinHandle<()>; 2],
}

struct Inner {
    client: Client,
    namespace: String,
    log: GrowingLog,
    /// By the address of their pod.
    places: Mutex<HashMap<IpAddr, Place>>,
    relays: Mutex<HashMap<String, Arc<Relay>>>,
    acceptors: Mutex<HashMap<String, TlsAcceptor>>,
    /// Those that accept connections and never answer.
    hung: watch::Sender<BTreeSet<String>>,
    /// Whether uploads come in, so that counters change.
    traffic: AtomicBool,
    /// State events sent.
    events: AtomicU64,
}

/// Which pod an address belongs to.
#[derive(Debug, Clone)]
struct Place {
    relay: String,
    pod: String,
    pod_uid: String,
}

/// What one relay keeps on its disk, and what it counts.
struct Relay {
    name: String,
    key: KeyPair,
    spki: String,
    held: watch::Sender<Option<(DirectivesMark, Option<LogMark>)>>,
    grown: AtomicU64,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl StandIn {
    /// Serves the relays of one namespace.
    pub(super) async fn start(client: Client, namespace: &str) -> Result<Self> {
        let inner = Arc::new(Inner {
            client: client.clone(),
            namespace: namespace.to_owned(),
            log: GrowingLog::new(),
            places: Mutex::default(),
            relays: Mutex::default(),
            acceptors: Mutex::default(),
            hung: watch::Sender::default(),
            traffic: AtomicBool::new(false),
            events: AtomicU64::new(0),
        });
        let listener = TcpListener::bind(("0.0.0.0", CONTROL_PORT))
            .await
            .with_context(|| format!("cannot listen on port {CONTROL_PORT}"))?;
        let tasks = [
            tokio::spawn(follow_pods(inner.clone(), Api::namespaced(client, namespace))),
            tokio::spawn(accept(inner.clone(), listener)),
        ];
        Ok(Self { inner, tasks })
    }

    /// Makes these relays, and no others, accept connections and never answer; their open connections are cut.
    pub(super) fn hang(&self, names: impl IntoIterator<Item = String>) {
        self.inner.hung.send_replace(names.into_iter().collect());
    }

    /// Whether uploads come in.
    pub(super) fn traffic(&self, on: bool) {
        self.inner.traffic.store(on, Ordering::SeqCst);
    }

    /// How many reports were sent so far.
    pub(super) fn reports(&self) -> u64 {
        self.inner.events.load(Ordering::SeqCst)
    }
}

async fn follow_pods(inner: Arc<Inner>, pods: Api<Pod>) {
    let config = watcher::Config::default().labels("app.kubernetes.io/managed-by=paramant-operator");
    let mut events = std::pin::pin!(watcher::watcher(pods, config));
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => inner.place(&pod),
            Ok(Event::Delete(_) | Event::Init | Event::InitDone) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

async fn accept(inner: Arc<Inner>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { connections.spawn(serve(inner.clone(), stream)); }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection. A relay that hangs holds it open and says nothing.
async fn serve(inner: Arc<Inner>, stream: TcpStream) {
    let Ok(address) = stream.local_addr() else { return };
    let Some(place) = inner.at(address.ip()).await else { return };
    let mut hung = inner.hung.subscribe();
    if hung.borrow_and_update().contains(&place.relay) {
        hung.wait_for(|all| !all.contains(&place.relay)).await.ok();
        return;
    }
    let name = place.relay.clone();
    tokio::select! {
        ended = speak(inner, place, stream) => drop(ended),
        _ = hung.wait_for(|all| all.contains(&name)) => {}
    }
}

async fn speak(inner: Arc<Inner>, place: Place, stream: TcpStream) -> Result<()> {
    let relay = inner.relay(&place.relay)?;
    let acceptor = inner.acceptor(&relay).await?;
    stream.set_nodelay(true)?;
    let tls = acceptor.accept(stream).await?;
    let service = service_fn(move |request| {
        let (inner, relay, place) = (inner.clone(), relay.clone(), place.clone());
        async move { Ok::<_, std::convert::Infallible>(answer(inner, relay, place, request).await) }
    });
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service).await?;
    Ok(())
}

async fn answer(
    inner: Arc<Inner>,
    relay: Arc<Relay>,
    place: Place,
    request: Request<Incoming>,
) -> Response<Body> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/control/v1/proof") => match inner.token(&place).await {
            Ok(token) => said(StatusCode::OK, &Proof { token }),
            Err(_) => said(StatusCode::SERVICE_UNAVAILABLE, &json!({})),
        },
        (&Method::GET, "/control/v1/state") => said(StatusCode::OK, &inner.state(&relay)),
        (&Method::GET, "/control/v1/events") => events(inner, relay),
        (&Method::PUT, "/control/v1/directives") => match request.into_body().collect().await {
            Ok(body) => match serde_json::from_slice(&body.to_bytes()) {
                Ok(directives) => take(&relay, &directives),
                Err(_) => said(StatusCode::BAD_REQUEST, &json!({})),
            },
            Err(_) => said(StatusCode::BAD_REQUEST, &json!({})),
        },
        _ => said(StatusCode::NOT_FOUND, &json!({})),
    }
}

fn said(status: StatusCode, what: &impl serde::Serialize) -> Response<Body> {
    let text = serde_json::to_vec(what).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// Takes directives unless it holds newer ones, as a relay does.
fn take(relay: &Relay, sent: &Directives) -> Response<Body> {
    let mark = DirectivesMark { relay_uid: sent.relay_uid.clone(), epoch: sent.epoch, seq: sent.seq };
    let mut accepted = false;
    relay.held.send_if_modified(|held| {
        let same = held.as_ref().filter(|(held, _)| held.relay_uid == mark.relay_uid);
        accepted = same.is_none_or(|(held, _)| (mark.epoch, mark.seq) >= (held.epoch, held.seq));
        let news = accepted && held.as_ref().is_none_or(|(held, _)| *held != mark);
        if accepted {
            *held = Some((mark.clone(), sent.log_high_water.clone()));
        }
        news
    });
    let held = relay.held.borrow().as_ref().map(|(held, _)| held.clone());
    let reason = (!accepted).then(|| "older than what is held".to_owned());
    let status = if accepted { StatusCode::OK } else { StatusCode::CONFLICT };
    said(status, &DirectivesAnswer { accepted, held, reason })
}

/// The state at once, again when directives were taken, and while there is traffic again and again.
fn events(inner: Arc<Inner>, relay: Arc<Relay>) -> Response<Body> {
    let mut held = relay.held.subscribe();
    held.mark_changed();
    // Reports of a fleet do not come all at once.
    let phase = Duration::from_millis(u64::from(relay.spki.bytes().map(u32::from).sum::<u32>()) * 7 % 10_000);
    let start = tokio::time::Instant::now() + phase;
    let news = tokio::time::interval_at(start, NEWS.min(KEEP_ALIVE));
    let frames =
        stream::unfold((inner, relay, held, news), |(inner, relay, mut held, mut news)| async move {
            let text = tokio::select! {
                changed = held.changed() => {
                    changed.ok()?;
                    inner.event(&relay)
                }
                _ = news.tick() => {
                    if inner.traffic.load(Ordering::SeqCst) {
                        relay.grown.fetch_add(GROWTH, Ordering::SeqCst);
                        inner.event(&relay)
                    } else {
                        ":\n\n".to_owned()
                    }
                }
            };
            let frame = Ok(Frame::data(Bytes::from(text)));
            Some((frame, (inner, relay, held, news)))
        });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let kind = hyper::header::HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}

impl Inner {
    fn place(&self, pod: &Pod) {
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()?.parse().ok());
        let relay = pod.metadata.labels.as_ref().and_then(|all| all.get(RELAY_LABEL));
        if let (Some(address), Some(relay), Some(pod), Some(pod_uid)) =
            (address, relay.cloned(), pod.metadata.name.clone(), pod.metadata.uid.clone())
        {
            let place = Place { relay, pod, pod_uid };
            self.places.lock().unwrap_or_else(PoisonError::into_inner).insert(address, place);
        }
    }

    async fn at(&self, address: IpAddr) -> Option<Place> {
        let began = tokio::time::Instant::now();
        loop {
            let known = self.places.lock().unwrap_or_else(PoisonError::into_inner).get(&address).cloned();
            if known.is_some() || began.elapsed() > KNOWN_WITHIN {
                return known;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn relay(&self, name: &str) -> Result<Arc<Relay>> {
        let mut relays = self.relays.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(relay) = relays.get(name) {
            return Ok(relay.clone());
        }
        let key = KeyPair::generate()?;
        let spki = hex::encode(Sha256::digest(key.subject_public_key_info()));
        let (held, grown) = (watch::Sender::default(), AtomicU64::new(0));
        let relay = Arc::new(Relay { name: name.to_owned(), key, spki, held, grown });
        relays.insert(name.to_owned(), relay.clone());
        Ok(relay)
    }

    /// Accepts the operator, by the authority that the relay's ConfigMap carries.
    async fn acceptor(&self, relay: &Relay) -> Result<TlsAcceptor> {
        let known = self.acceptors.lock().unwrap_or_else(PoisonError::into_inner).get(&relay.name).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let config = maps.get(&format!("{}-config", relay.name)).await?;
        let data = config.data.unwrap_or_default();
        let bundle = data
            .values()
            .find(|text| text.contains("BEGIN CERTIFICATE"))
            .context("the relay's ConfigMap carries no certificate")?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
        let mut params = CertificateParams::new(vec![CONTROL_SERVER_NAME.to_owned()])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.self_signed(&relay.key)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(relay.key.serialize_der()));
        let settings = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], key)?;
        let acceptor = TlsAcceptor::from(Arc::new(settings));
        let mut acceptors = self.acceptors.lock().unwrap_or_else(PoisonError::into_inner);
        acceptors.insert(relay.name.clone(), acceptor.clone());
        Ok(acceptor)
    }

    /// A token that the API server bound to the relay's pod, as its kubelet would have mounted it.
    async fn token(&self, place: &Place) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![OPERATOR_AUDIENCE.to_owned()],
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(place.pod.clone()),
                    uid: Some(place.pod_uid.clone()),
                }),
                expiration_seconds: Some(TOKEN_SECONDS),
            },
            ..TokenRequest::default()
        };
        let answer = accounts.create_token_request(&place.relay, &PostParams::default(), &request).await?;
        Ok(answer.status.context("the API server issued no token")?.token)
    }

    fn event(&self, relay: &Relay) -> String {
        self.events.fetch_add(1, Ordering::SeqCst);
        let state = serde_json::to_string(&self.state(relay)).unwrap_or_default();
        format!("event: state\ndata: {state}\n\n")
    }

    fn state(&self, relay: &Relay) -> RelayState {
        use paramant_protocol::control::*;
        let grown = relay.grown.load(Ordering::SeqCst);
        let held = relay.held.borrow().clone();
        let size = GrowingLog::FIRST + grown;
        let from = held.as_ref().and_then(|(_, mark)| mark.as_ref()).map(|mark| mark.size);
        let proof = from.and_then(|from| self.log.consistency(from, size).map(|proof| (from, proof)));
        let root = self.log.root(size);
        RelayState {
            schema: CONTROL_SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: Timestamp::UNIX_EPOCH,
            ready: true,
            not_ready: Vec::new(),
            identity: IdentityReport {
                fingerprint: hex::encode(Sha256::digest(relay.name.as_bytes())),
                control_spki_sha256: relay.spki.clone(),
            },
            drain: DrainReport {
                state: DrainState::Serving,
                requested_by: Vec::new(),
                since: None,
                deadline: None,
                uploads: grown % 5,
                claims: grown % 3,
                unclaimed: grown % 7,
            },
            license: LicenseReport {
                tier: "Community".to_owned(),
                source: LicenseSource::None,
                max_users: Some(5),
                active_users: grown % 4,
                capabilities: Vec::new(),
                valid_until: None,
                grace_until: None,
                problems: Vec::new(),
                issued_to: None,
                check_in: None,
            },
            log: LogReport {
                origin: format!("{}.{}.example/log", relay.name, self.namespace),
                size,
                checkpoint_at: Some(Timestamp::now()),
                checkpoint: Some(self.log.checkpoint(&relay.name, size, &root)),
                root,
                consistency: proof.map(|(from, proof)| ConsistencyReport { from, proof }),
                fence: FenceReport::default(),
                retired: Vec::new(),
                witnesses: None,
            },
            directives: held.map(|(mark, _)| mark),
            ca_bundle_sha256: String::new(),
            admin: AdminReport::TokenFile,
            remote: None,
            data: None,
        }
    }
}

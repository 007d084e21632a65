//! A thief of the vendor's signing key, for tests: answers check-ins as it likes, with real signatures under every kind of document.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use jiff::{SignedDuration, Timestamp};
use paramant_authority::decide::usual;
use paramant_authority::keys::{self, SigningKey};
use paramant_licensing::OnlineKey;
use paramant_licensing::actions::{Ask, Request, Role, Silence, Why};
use paramant_licensing::online::capability::Tier;
use paramant_licensing::online::keys::LicensingKeys;
use paramant_licensing::online::request::{CheckIn, digest};
use paramant_protocol::canonical;
use paramant_protocol::leaf::sha256;
use paramant_relay::settings::{OnlineSettings, Reach, Settings};
use paramant_relay::world::World;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::control::fingerprint;
use crate::relay::{Relay, until};
use crate::remote_actions::{settled, told};
use crate::vendor::{Clock, ask, online, report};
use crate::witness::loopback_tls;

/// What the thief answers with.
#[derive(Default)]
pub struct Plan {
    /// Requests that follow one another.
    pub chain: Vec<Vec<u8>>,
    /// Signed documents that it sends along as if they were requests.
    pub beside: Vec<Value>,
    /// In place of the honest statement.
    pub silence: Option<Value>,
    /// Fields of the reply that it sets otherwise.
    pub edits: Vec<(&'static str, Value)>,
    /// Bytes that it sends in place of any reply.
    pub instead: Option<Vec<u8>>,
    pub tier: Option<Tier>,
}

pub struct Shared {
    pub signer: SigningKey,
    plan: Mutex<Plan>,
}

pub struct Thief {
    pub shared: Arc<Shared>,
    licence: OnlineKey,
    address: SocketAddr,
    ca_pem: String,
    clock: Clock,
    server: JoinHandle<()>,
    _keys: TempDir,
}

impl Drop for Thief {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    /// Any document with a signature of the pinned key.
    pub fn sign(&self, mut document: Value) -> Value {
        let signature = self.signer.sign(&canonical::value_to_vec(&document).unwrap()).unwrap();
        document
            .as_object_mut()
            .unwrap()
            .insert("signature".into(), BASE64_STANDARD.encode(signature).into());
        document
    }

    pub fn reply(&self, asked: &[u8]) -> Vec<u8> {
        let question = CheckIn::parse(asked).unwrap();
        let plan = self.plan.lock().unwrap();
        if let Some(bytes) = &plan.instead {
            return bytes.clone();
        }
        let (now, sold) = (Timestamp::now(), usual(plan.tier.unwrap_or(Tier::Pro)));
        let carried = plan.chain.iter().map(|it| serde_json::from_slice(it).unwrap());
        let carried: Vec<Value> = carried.chain(plan.beside.iter().cloned()).collect();
        let head = plan.chain.last().map(|last| sha256(last)).unwrap_or_default();
        let honest = Silence {
            relay_id: question.relay_id.clone(),
            seq: plan.chain.len() as u64,
            head,
            issued_at: now,
        };
        let silence = plan.silence.clone().unwrap_or_else(|| self.silence(&honest));
        let mut document = json!({
            "issued_at": now, "expires_at": now + SignedDuration::from_hours(12),
            "license_key": question.license_key, "relay_id": question.relay_id, "nonce": question.nonce,
            "request_sha256": digest(asked), "sequence": now.as_millisecond(),
            "tier": sold.tier, "capabilities": sold.capabilities, "next_check_in_seconds": 21_600,
            // As many as one reply carries.
            "actions": &carried[carried.len().saturating_sub(8)..], "silence": silence,
        });
        for (name, value) in &plan.edits {
            document[*name] = value.clone();
        }
        canonical::value_to_vec(&self.sign(document)).unwrap()
    }

    pub fn silence(&self, silence: &Silence) -> Value {
        let signed = silence.to_signed(|message| self.signer.sign(message)).unwrap();
        serde_json::from_slice(&signed).unwrap()
    }
}

async fn check(State(shared): State<Arc<Shared>>, asked: Bytes) -> (StatusCode, Vec<u8>) {
    let reply = shared.reply(&asked);
    let status: Option<u16> =
        serde_json::from_slice(&reply).ok().and_then(|it: Value| it["status"].as_u64()?.try_into().ok());
    (StatusCode::from_u16(status.unwrap_or(200)).unwrap(), reply)
}

impl Thief {
    pub async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (directory, now) = (TempDir::new().unwrap(), Timestamp::now());
        let signer = keys::add(directory.path(), now, now + SignedDuration::from_hours(24 * 400)).unwrap();
        let shared = Arc::new(Shared { signer, plan: Mutex::default() });
        let router = Router::new().fallback(check).with_state(shared.clone());
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (acceptor, ca_pem) = loopback_tls();
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                let (router, acceptor) = (router.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let (server, service) =
                        (Builder::new(TokioExecutor::new()), TowerToHyperService::new(router));
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        let licence = OnlineKey::parse(&format!("plk_{}", "5a".repeat(32))).unwrap();
        Self { shared, licence, address, ca_pem, clock: Clock::default(), server, _keys: directory }
    }

    fn world(&self) -> World {
        World { online: LicensingKeys::of([self.shared.signer.public.clone()]), ..self.clock.world() }
    }

    /// Settings of a relay that takes the thief for its vendor.
    fn asked_by(&self, settings: &mut Settings, dir: &Path) {
        let directory = dir.join("licence");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("licence"), self.licence.expose()).unwrap();
        settings.license_directory = Some(directory);
        settings.online = Some(Arc::new(OnlineSettings {
            endpoint: format!("https://{}/v1/license/check", self.address).parse().unwrap(),
            interval: Duration::from_secs(6 * 3600),
            ca_bundle: Some(self.ca_pem.clone()),
            reach: Reach::Direct,
        }));
    }

    pub async fn relay(&self, change: impl FnOnce(&mut Settings)) -> Relay {
        let relay = self.starts(change).await;
        online(&relay).await;
        settled(&relay).await;
        relay
    }

    pub async fn starts(&self, change: impl FnOnce(&mut Settings)) -> Relay {
        let dir = TempDir::new().unwrap();
        let path = dir.path().to_owned();
        let change = |settings: &mut Settings| {
            self.asked_by(settings, &path);
            change(settings);
        };
        Relay::in_world(self.world(), dir, change).await
    }

    pub fn plan<T>(&self, change: impl FnOnce(&mut Plan) -> T) -> T {
        change(&mut self.shared.plan.lock().unwrap())
    }

    /// The next request of the chain.
    pub fn next(&self, relay: &Relay, ask: Ask) -> Request {
        let (seq, prev) = self.plan(|plan| (plan.chain.len() + 1, plan.chain.last().map(|it| sha256(it))));
        let now = Timestamp::now();
        Request {
            relay_id: fingerprint(relay),
            seq: seq as u64,
            prev: prev.unwrap_or_default(),
            id: hex::encode(&sha256(format!("{seq} {now}").as_bytes())[..16]),
            role: Role::Owner,
            why: Why::LegalOrder,
            issued_at: now,
            expires_at: now + SignedDuration::from_hours(24 * 365),
            actor_commitment: [3; 32],
            ask,
        }
    }

    pub fn signed(&self, request: &Request) -> Vec<u8> {
        request.to_signed(|message| self.shared.signer.sign(message)).unwrap()
    }

    /// Asks, as a vendor may, and waits until the relay has settled it. Answers the last id.
    pub async fn asks(&self, relay: &Relay, asks: impl IntoIterator<Item = Ask>) -> String {
        let mut last = String::new();
        for ask in asks {
            let request = self.next(relay, ask);
            let signed = self.signed(&request);
            self.plan(|plan| plan.chain.push(signed));
            last = request.id;
        }
        settled(relay).await;
        until("it is under a checkpoint", async || {
            let told = told(relay).requests;
            told.iter().any(|it| it.id == last && it.checkpoint_size.is_some())
        })
        .await;
        last
    }

    /// Sends these along once, each as if it were a request.
    pub async fn sends(&self, relay: &Relay, beside: Vec<Value>) {
        self.plan(|plan| plan.beside = beside);
        settled(relay).await;
        self.plan(|plan| plan.beside.clear());
        settled(relay).await;
    }

    /// Answers once with what no relay believes.
    pub async fn is_not_believed(&self, relay: &Relay, words: &str) {
        ask(relay).await;
        until(&format!("it is told: {words}"), async || {
            let told = report(relay).check_in.and_then(|it| it.problem);
            told.is_some_and(|problem| problem.contains(words))
        })
        .await;
        self.plan(|plan| (plan.edits, plan.instead) = (Vec::new(), None));
        settled(relay).await;
    }
}

//! What users write is in nothing that leaves: not in a check-in, nor at the vendor, in the log, the metrics, the report for the
//! operator, what a support key reads or the relay's own log lines. Each search is first shown what it must find.

use std::io::Write;
use std::sync::{Arc, Mutex};

use paramant_canary::found_in;
use paramant_licensing::online::capability::Tier;
use paramant_licensing::online::request;
use paramant_protocol::entry::Kind;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::relay::{Relay, hash, until};
use crate::remote_actions;
use crate::vendor::{self, Clock, Vendor};

/// One for each field that a user or an admin fills, named after it.
pub const CANARIES: &[&str] = &[
    "canary-label-5f0c1d",
    "canary.email.83b2aa@acme.example",
    "canary-plan-0d91f4",
    "canary-agent-71e6b0",
    "canary-query-c9d2e8",
    "canary-payload-4417ab",
    "canary-device-9be3f1",
    "canary-request-id-2c40d7",
];

/// Log lines of this thread.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// All lines from here on, for as long as the guard lives. A planted one is caught.
    pub fn catch() -> (Self, impl Sized) {
        let lines = Self::default();
        let ours = Targets::new().with_target("paramant", Level::TRACE).with_target("planted", Level::TRACE);
        let written = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(lines.clone());
        // Where one subscriber is all there is, a line that another thread says first is switched off for this thread too.
        let second = tracing::Dispatch::new(tracing_subscriber::registry());
        let caught = tracing_subscriber::registry().with(written.with_filter(ours)).set_default();
        let say = |what| tracing::info!(target: "planted", "{what}");
        std::thread::spawn(move || say("another thread")).join().unwrap();
        say(CANARIES[0]);
        let planted = lines.0.lock().unwrap().split_off(0);
        assert_eq!(found_in(CANARIES, &planted), [CANARIES[0]], "a planted line is caught");
        (lines, (second, caught))
    }

    /// What was caught so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Everything a user can fill is filled.
pub async fn fill(relay: &Relay) {
    let [label, email, plan, agent, query, payload, device, request_id] = CANARIES else { unreachable!() };
    let user = relay.user_with(json!({ "label": label, "email": email })).await;
    let sent = user.upload(payload.as_bytes(), json!({})).await;
    assert!(sent.status().is_success());
    let path = format!("/v2/outbound/{}?why={query}", hash(payload.as_bytes()));
    let asked =
        user.request(Method::GET, &path).header("User-Agent", *agent).header("X-Request-Id", *request_id);
    assert!(asked.send().await.unwrap().status().is_success());
    for path in [format!("/v2/pubkey/{device}"), format!("/v2/{query}"), format!("/v2/outbound/{query}")] {
        user.request(Method::GET, &path).header("X-Api-Key", *agent).send().await.unwrap();
    }
    let body = json!({ "device_id": device, "label": label, "ecdh_pub": payload, "kyber_pub": payload });
    user.request(Method::POST, "/v2/pubkey").body(body.to_string()).send().await.unwrap();
    for body in [format!("{{\"label\":\"{label}\","), json!({ "plan": plan }).to_string()] {
        relay.admin(Method::POST, "/v2/admin/keys").body(body).send().await.unwrap();
    }
}

/// One thread: what it says is caught.
#[tokio::test]
async fn what_users_write_is_in_nothing_that_leaves() {
    let (lines, _caught) = Lines::catch();
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = vendor::relay(&vendor, &clock).await;
    vendor::online(&relay).await;
    fill(&relay).await;
    let shown =
        relay.admin(Method::GET, "/v2/admin/telemetry/preview").send().await.unwrap().bytes().await.unwrap();
    let consent = json!({ "enabled": true, "schema": 1, "previewSha256": request::digest(&shown) });
    let agreed =
        relay.admin(Method::POST, "/v2/admin/telemetry").body(consent.to_string()).send().await.unwrap();
    assert!(agreed.status().is_success());
    fill(&relay).await;
    let before = vendor.authority.book.record().unwrap().len();
    relay.running.app.store.check_ins.ask_now().await.unwrap();
    until("it checked in", async || vendor.authority.book.record().unwrap().len() > before).await;
    let over = async || relay.running.app.store.check_ins.history(10).await.unwrap().len() >= 2;
    until("the check-in is over", over).await;
    // All four actions, an answer to each, and check-ins that follow them.
    let [_, drain] = remote_actions::asks_of_every_kind(&vendor, &relay).await;
    assert_eq!(remote_actions::answer(&relay, &drain, "approve").await, StatusCode::ACCEPTED);
    remote_actions::sell(&vendor, Tier::Enterprise);
    vendor::ask(&relay).await;
    until("the other set counts", async || vendor::report(&relay).tier == "Enterprise").await;
    let diagnostics = remote_actions::diagnostics(&vendor, &relay).await;
    for effect in [Kind::DrainChanged, Kind::UpdateOffered, Kind::CapabilityChanged, Kind::SupportKeyIssued] {
        assert_ne!(remote_actions::count(&relay, effect), 0, "{effect:?}");
    }
    remote_actions::settled(&relay).await;

    let store = &relay.running.app.store;
    let sent = store.check_ins.history(100).await.unwrap();
    let sent: Vec<u8> = sent.into_iter().flat_map(|it| it.request).chain(shown).collect();
    let log = &relay.running.app.core.log;
    let entries = (0..log.head().size).flat_map(|index| log.engine().entry(index).unwrap().unwrap().bytes);
    let probes = format!("http://{}/metrics", relay.running.addresses.probes);
    let metrics = relay.http.get(probes).send().await.unwrap().bytes().await.unwrap();
    let report = serde_json::to_vec(&store.license_report()).unwrap();
    let places: [(&str, Vec<u8>); 7] = [
        ("a check-in", sent),
        ("the vendor's files", vendor.files()),
        ("the log", entries.collect()),
        ("the metrics", metrics.to_vec()),
        ("the report", report),
        ("what a support key reads", diagnostics),
        ("the relay's own lines", lines.bytes()),
    ];
    for (name, mut place) in places {
        assert!(place.len() > 100, "{name} is nearly empty: {} bytes", place.len());
        assert_eq!(found_in(CANARIES, &place), [""; 0], "in {name}");
        place.extend(CANARIES[1].as_bytes());
        assert_eq!(found_in(CANARIES, &place), [CANARIES[1]], "a planted one is found in {name}");
    }
}

//! Webhooks: real calls over TLS to a receiver on this machine, which the settings name as an allowed private network.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode as Status, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use paramant_relay::outbound::PublicOnly;
use paramant_relay::settings::{Reach, WebhookSettings};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::relay::{Relay, User, hash, noise, until};
use crate::witness::loopback_tls;

/// A status that is none: the receiver takes the call and never answers.
const SILENT: u16 = 0;

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Call {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn hash(&self) -> String {
        let said: Value = serde_json::from_slice(&self.body).unwrap();
        said["hash"].as_str().unwrap().to_owned()
    }
}

#[derive(Default)]
struct Shared {
    calls: Mutex<Vec<Call>>,
    status: AtomicU16,
}

/// Takes calls until it is dropped.
pub struct Receiver {
    pub address: SocketAddr,
    ca_pem: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Receiver {
    pub async fn start() -> Self {
        let shared = Arc::new(Shared { status: AtomicU16::new(200), ..Shared::default() });
        let router = Router::new().fallback(take).with_state(shared.clone());
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (acceptor, ca_pem) = loopback_tls();
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                let (router, acceptor) = (router.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = TowerToHyperService::new(router);
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, ca_pem, shared, server }
    }

    pub fn answer(&self, status: u16) {
        self.shared.status.store(status, Ordering::SeqCst);
    }

    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    pub fn settings(&self) -> WebhookSettings {
        settings(&[self])
    }

    /// The id of a webhook for this receiver.
    pub async fn register(&self, user: &User, device: &str, path: &str, secret: &str) -> String {
        let url = format!("https://{}{path}", self.address);
        let (status, answer) =
            register(user, json!({ "device_id": device, "url": url, "secret": secret })).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }
}

fn settings(receivers: &[&Receiver]) -> WebhookSettings {
    WebhookSettings {
        hosts: receivers.iter().map(|receiver| receiver.address.to_string()).collect(),
        addresses: PublicOnly::and(&["127.0.0.0/8".parse().unwrap()]),
        ca_bundle: Some(receivers.iter().map(|receiver| receiver.ca_pem.as_str()).collect()),
        reach: Reach::Direct,
    }
}

async fn take(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    assert_eq!(request.method(), "POST");
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap().to_vec();
    let path = parts.uri.path_and_query().unwrap().to_string();
    shared.calls.lock().unwrap().push(Call { path, headers: parts.headers, body });
    match shared.status.load(Ordering::SeqCst) {
        SILENT => std::future::pending().await,
        302 => (Status::FOUND, [(header::LOCATION, "/elsewhere")]).into_response(),
        status => Status::from_u16(status).unwrap().into_response(),
    }
}

async fn register(user: &User, body: Value) -> (StatusCode, Value) {
    let answer = user.request(Method::POST, "/v2/webhook").body(body.to_string()).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn list(user: &User) -> Vec<Value> {
    let answer = user.request(Method::GET, "/v2/webhook").send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    answer["webhooks"].as_array().unwrap().clone()
}

async fn relay_with(receivers: &[&Receiver]) -> Relay {
    let hooks = Arc::new(settings(receivers));
    Relay::with(move |settings| settings.webhooks = Some(hooks)).await
}

fn to(device: &str) -> Value {
    json!({ "ttl_ms": 3_600_000, "meta": { "device_id": device } })
}

async fn called(receiver: &Receiver, times: usize) -> Vec<Call> {
    until("it was called", async || receiver.calls().len() >= times).await;
    receiver.calls()
}

/// The example of docs/notifications.md, run on what the receiver got.
pub fn python_says(secret: &str, call: &Call) -> bool {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/notifications.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let example = docs.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let script = format!(
        "{example}\nimport sys\nsys.exit(0 if is_from_my_relay(sys.argv[1], sys.stdin.buffer.read(), sys.argv[2]) else 3)"
    );
    let mut child = std::process::Command::new("python3")
        .args(["-c", &script, secret, call.header("x-paramant-sig")])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &call.body).unwrap();
    match child.wait().unwrap().code() {
        Some(0) => true,
        Some(3) => false,
        other => panic!("the example of the docs does not run: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_told_to_the_hooks_of_its_device_signed_and_once() {
    let receiver = Receiver::start().await;
    let relay = relay_with(&[&receiver]).await;
    let (user, other) = (relay.user().await, relay.user().await);
    let signed = receiver.register(&user, "d", "/signed?token=x", "topsecret").await;
    receiver.register(&user, "d", "/unsigned", "").await;
    receiver.register(&user, "another", "/another", "").await;
    receiver.register(&other, "d", "/foreign", "").await;

    let payload = noise(50, 600);
    user.upload(&payload, to("d")).await;
    user.upload(&payload, to("d")).await;
    user.upload(&noise(51, 60), json!({})).await;
    let mut calls = called(&receiver, 2).await;
    until("nothing waits", async || list(&user).await.iter().all(|hook| hook["waiting"] == 0)).await;
    assert_eq!(receiver.calls().len(), 2, "sent again while unread it is the same upload");
    calls.sort_by(|a, b| a.path.cmp(&b.path));
    let [first, second] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!((first.path.as_str(), second.path.as_str()), ("/signed?token=x", "/unsigned"));
    assert_eq!(first.header("content-type"), "application/json");
    assert_eq!(first.header("x-paramant-event"), "blob_ready");
    assert_eq!(first.header("user-agent"), format!("paramant-relay/{}", paramant_relay::VERSION));
    assert_ne!(first.header("x-paramant-delivery"), second.header("x-paramant-delivery"));
    assert_eq!(second.header("x-paramant-sig"), "");
    let mut said: Value = serde_json::from_slice(&first.body).unwrap();
    assert!(said.as_object_mut().unwrap().remove("ts").unwrap().as_str().unwrap().ends_with('Z'));
    let expected = json!({
        "event": "blob_ready", "device_id": "d", "hash": hash(&payload), "size": 600, "ttl_ms": 3_600_000, "sig_valid": false,
    });
    assert_eq!(said, expected);
    assert!(python_says("topsecret", first));
    assert!(!python_says("another secret", first));
    assert!(!python_says("topsecret", &Call { body: b"{}".to_vec(), ..first.clone() }));

    let monitor: Value = user.request(Method::GET, "/v2/monitor").send().await.unwrap().json().await.unwrap();
    assert_eq!(monitor["stats"]["webhooks_sent"], 2);
    let hooks = list(&user).await;
    assert_eq!(hooks.len(), 3);
    let shown = hooks.iter().find(|hook| hook["id"] == signed).unwrap();
    assert_eq!(
        (&shown["signed"], &shown["device_id"], &shown["failures"]),
        (&json!(true), &json!("d"), &json!(0))
    );
    assert!(!json!(hooks).to_string().contains("topsecret"));
    assert_eq!(shown["last_outcome"], "delivered");

    let path = format!("/v2/webhook/{signed}");
    assert_eq!(other.request(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(user.request(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(user.request(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    user.upload(&noise(52, 60), to("d")).await;
    let calls = called(&receiver, 3).await;
    assert_eq!(calls.last().unwrap().path, "/unsigned");

    // Every call is counted for the log, in one entry for the destination and hour.
    let from = relay.running.app.core.log.head().size;
    relay.running.app.store.webhooks.settle_calls().await;
    let log = &relay.running.app.core.log;
    let entries: Vec<Value> = (from..log.head().size)
        .map(|index| serde_json::from_slice(&log.engine().entry(index).unwrap().unwrap().bytes).unwrap())
        .collect();
    let sums: Vec<u64> = entries
        .iter()
        .filter(|entry| entry["k"] == "outbound_call" && entry["b"]["purpose"] == "webhook")
        .map(|entry| entry["b"]["count"].as_u64().unwrap())
        .collect();
    // Two entries if an hour ended meanwhile.
    assert_eq!(sums.iter().sum::<u64>(), 3, "{entries:?}");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_taken_is_told_again_in_order_also_after_a_restart() {
    let receiver = Receiver::start().await;
    let relay = relay_with(&[&receiver]).await;
    let user = relay.user().await;
    receiver.register(&user, "d", "/", "s").await;
    receiver.answer(500);
    let payloads: Vec<_> = (60..63).map(|seed| noise(seed, 60)).collect();
    for payload in &payloads {
        user.upload(payload, to("d")).await;
    }
    let first = called(&receiver, 1).await.remove(0);
    until("the failure is shown", async || list(&user).await[0]["last_outcome"] == "refused").await;
    assert_eq!(list(&user).await[0]["waiting"], 3);
    let calls_before = receiver.calls().len();
    receiver.answer(302);
    let hooks = Arc::new(receiver.settings());
    let relay = Relay::over(relay.stop().await, move |settings| settings.webhooks = Some(hooks)).await;
    let user = User { url: relay.url.clone(), ..user };
    until("a redirect is a failure", async || list(&user).await[0]["last_outcome"] == "redirected").await;
    receiver.answer(204);
    until("all is delivered", async || list(&user).await[0]["waiting"] == 0).await;
    let calls = receiver.calls();
    assert!(calls.iter().all(|call| call.path == "/"), "no redirect was followed");
    assert!(calls.len() >= calls_before + 4);
    let delivered: Vec<String> = calls[calls.len() - 3..].iter().map(Call::hash).collect();
    assert_eq!(delivered, payloads.iter().map(|payload| hash(payload)).collect::<Vec<_>>());
    let again = &calls[calls.len() - 3];
    assert_eq!(
        again.header("x-paramant-delivery"),
        first.header("x-paramant-delivery"),
        "so that it can be told"
    );
    assert_eq!(again.body, first.body);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_host_delays_no_other_and_neither_delays_an_upload() {
    let (dead, good) = (Receiver::start().await, Receiver::start().await);
    dead.answer(SILENT);
    let relay = relay_with(&[&dead, &good]).await;
    let user = relay.user().await;
    for n in 0..7 {
        dead.register(&user, "d", &format!("/{n}"), "").await;
    }
    good.register(&user, "d", "/good", "").await;
    let began = Instant::now();
    for n in 0..20 {
        user.upload(&noise(70 + n, 60), to("d")).await;
    }
    let uploaded = began.elapsed();
    called(&good, 20).await;
    let delivered = began.elapsed();
    println!("20 uploads in {uploaded:?}, all told to the living host after {delivered:?}");
    // A single call to the dead host takes five seconds.
    assert!(delivered < Duration::from_secs(4) || delivered < uploaded * 2, "{delivered:?}");
    assert!(dead.calls().len() <= 8, "a few at once, and then it rests");
    until("the dead host's failure is shown", async || {
        list(&user).await.iter().any(|hook| hook["last_outcome"] == "slow")
    })
    .await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_safe_addresses_on_listed_hosts_are_taken() {
    let receiver = Receiver::start().await;
    let relay = relay_with(&[&receiver]).await;
    let user = relay.user().await;
    let ask = async |user: &User, url: &str| register(user, json!({ "device_id": "d", "url": url })).await;
    for url in [
        "http://hooks.example/",
        "https://localhost/",
        "https://10.0.0.1/",
        "https://hooks.example:444/",
        "https://u@hooks.example/",
    ] {
        let (status, answer) = ask(&user, url).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{url}");
        assert!(answer["error"].as_str().unwrap().starts_with("url"), "{answer}");
    }
    let (status, answer) = ask(&user, "https://hooks.example/").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(answer["error"].as_str().unwrap().contains("webhooks.hosts"), "{answer}");
    for body in [json!({}), json!({ "device_id": "d" }), json!({ "url": "https://hooks.example/" })] {
        assert_eq!(register(&user, body).await.0, StatusCode::BAD_REQUEST);
    }
    let url = format!("https://{}/", receiver.address);
    let long = json!({ "device_id": "d", "url": url, "secret": "s".repeat(300) });
    assert_eq!(register(&user, long).await.0, StatusCode::BAD_REQUEST);
    for n in 0..8 {
        receiver.register(&user, "d", &format!("/{n}"), "").await;
    }
    let (status, answer) = ask(&user, &format!("{url}9")).await;
    assert_eq!((status, &answer["limit"]), (StatusCode::TOO_MANY_REQUESTS, &json!(8)));
    assert_eq!(list(&user).await.len(), 8);
    let nobody = relay.http.get(format!("{}/v2/webhook", relay.url)).send().await.unwrap();
    assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED);

    // A host that is taken off the list is called no more, and a relay without a list takes none.
    let relay = Relay::over(relay.stop().await, |_| ()).await;
    let user = User { url: relay.url.clone(), ..user };
    assert_eq!(ask(&user, "https://hooks.example/").await.0, StatusCode::FORBIDDEN);
    user.upload(&noise(90, 60), to("d")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(receiver.calls().is_empty());
    assert_eq!(list(&user).await.iter().map(|hook| hook["waiting"].as_u64().unwrap()).sum::<u64>(), 8);
    relay.stop().await;
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_refused_by_the_address_it_has() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap();
    let names: Vec<&str> = hosts
        .lines()
        .filter_map(|line| line.strip_prefix("127.0.0.1"))
        .flat_map(str::split_whitespace)
        .filter(|name| !name.contains("localhost"))
        .collect();
    if names.is_empty() {
        println!("skipped: /etc/hosts names no host on 127.0.0.1 but localhost");
    }
    for name in names {
        let authority = format!("{name}:{port}");
        let refused = PublicOnly::default().connect(&authority).await.map(drop).unwrap_err();
        assert_eq!(refused.to_string(), "127.0.0.1 is not a public address", "{name}");
        let allowed = PublicOnly::and(&["127.0.0.0/8".parse().unwrap()]);
        assert!(allowed.connect(&authority).await.is_ok(), "{name}: the name itself is none to refuse");
    }
}

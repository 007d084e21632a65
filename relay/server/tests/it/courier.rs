//! The courier from outside: the real program beside a relay that opens nothing itself.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use paramant_protocol::control::{
    AdmittedCourier, CONTROL_AUDIENCE, CourierPurpose, CouriersDirective, Directives, TUNNEL_PROTOCOL,
    WitnessState,
};
use paramant_relay::outbound::OutboundError;
use paramant_relay::settings::{Control, Reach};
use paramant_relay::witnesses::WitnessVerdict;
use reqwest::StatusCode;
use rustls::ClientConfig;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::control::{Authority, OPERATOR, at, client, directives, fingerprint, put, roots, spec};
use crate::relay::{Relay, until};
use crate::webhooks::Receiver;
use crate::witness::{FakeWitness, settings};

/// The cluster: signs tokens, and publishes its key.
pub struct Cluster {
    key: EcdsaKeyPair,
}

impl Cluster {
    pub fn new() -> Self {
        Self { key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    pub fn key_set(&self) -> String {
        let point = self.key.public_key().as_ref();
        let b64 = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "k", "x": b64(&point[1..33]), "y": b64(&point[33..]) }] })
            .to_string()
    }

    pub fn token(&self, claims: &Value) -> String {
        let b64 = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
        let signed =
            format!("{}.{}", b64(json!({ "alg": "ES256", "kid": "k" }).to_string()), b64(claims.to_string()));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

pub fn claims() -> Value {
    let now = Timestamp::now().as_second();
    json!({
        "aud": [CONTROL_AUDIENCE], "exp": now + 3600, "nbf": now,
        "sub": "system:serviceaccount:transfers:health-courier-witness",
        "kubernetes.io": { "namespace": "transfers", "pod": { "name": "c", "uid": "pod-uid" } },
    })
}

fn admitting(cluster: &Cluster, relay: &Relay, seq: u64) -> Directives {
    let admitted = AdmittedCourier {
        purpose: CourierPurpose::Witness,
        namespace: "transfers".into(),
        service_account: "health-courier-witness".into(),
    };
    let couriers = CouriersDirective { token_keys: cluster.key_set(), admitted: vec![admitted] };
    // Judged: the relay signs only then.
    let log_identity = Some(fingerprint(relay));
    Directives { couriers: Some(couriers), log_identity, ..directives(seq, spec(false)) }
}

async fn relay_over(dir: TempDir, authority: &Authority, witnesses: &[&FakeWitness], control: u16) -> Relay {
    let ca = dir.path().join("operator-ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let mut wanted = settings(1, witnesses);
    wanted.reach = Reach::Courier;
    Relay::over(dir, move |settings| {
        settings.listen.control.set_port(control);
        settings.control = Some(Control { operator_ca: ca, token_file: None });
        settings.witnesses = Some(Arc::new(wanted));
    })
    .await
}

/// A free port below those that the kernel hands out: while no relay listens there, no other socket gets it by chance.
fn port_that_nobody_is_given() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let lowest: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    // Two runs of the tests begin in two places.
    let first = 10_000 + (std::process::id() % 10_000) as u16;
    let mut ports = (first..lowest).chain(1024..first);
    ports.find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// The courier's process, ended with its owner.
pub struct Courier(Child);

impl Drop for Courier {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn courier(relay: &Relay, key: &str, token: &Path, destinations: &[SocketAddr], more: &[&str]) -> Courier {
    courier_for("witness", relay, key, token, destinations, more)
}

pub fn courier_for(
    purpose: &str,
    relay: &Relay,
    key: &str,
    token: &Path,
    destinations: &[SocketAddr],
    more: &[&str],
) -> Courier {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paramant-relay"));
    command.args(["courier", "--purpose", purpose, "--relay-key", key]);
    command.args(["--relay", &relay.running.addresses.control.unwrap().to_string()]);
    command.arg("--token-file").arg(token).args(more);
    for destination in destinations {
        command.args(["--destination", &destination.to_string()]);
    }
    Courier(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

pub fn key(relay: &Relay) -> String {
    relay.running.app.core.control_key.spki_sha256().to_owned()
}

fn verdict(relay: &Relay, witness: &FakeWitness) -> Option<WitnessVerdict> {
    relay.running.app.core.witnesses.verdicts().borrow().get(&witness.member().name).cloned()
}

async fn cosigned(relay: &Relay, witness: &FakeWitness) {
    let cosigned = async || matches!(verdict(relay, witness), Some(WitnessVerdict::Cosigned { .. }));
    until("the witness cosigned", cosigned).await;
}

fn without_certificate(relay: &Relay) -> reqwest::Client {
    client(relay, ClientConfig::builder().with_root_certificates(roots(relay)).with_no_client_auth())
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_travel_through_the_courier_and_only_where_it_was_started_for() {
    let (authority, cluster) = (Authority::new(), Cluster::new());
    let (near, far) = (FakeWitness::start_tls(1).await, FakeWitness::start_tls(2).await);
    let relay = relay_over(TempDir::new().unwrap(), &authority, &[&near, &far], 0).await;
    let operator = authority.client(&relay, &OPERATOR());
    let judged = Directives { log_identity: Some(fingerprint(&relay)), ..directives(1, spec(false)) };
    assert_eq!(put(&operator, &relay, &judged).await.0, StatusCode::OK);
    until("it was tried", async || verdict(&relay, &near).is_some()).await;
    assert_eq!(verdict(&relay, &near), Some(WitnessVerdict::Unreachable(OutboundError::NoCourier)));
    assert!(near.asked().is_empty(), "the relay itself dials nobody");

    assert_eq!(put(&operator, &relay, &admitting(&cluster, &relay, 2)).await.0, StatusCode::OK);
    let token = relay.dir.path().join("control-token");
    std::fs::write(&token, cluster.token(&claims())).unwrap();
    let _courier = courier(&relay, &key(&relay), &token, &[near.address], &[]);
    cosigned(&relay, &near).await;
    until("the other was refused", async || {
        matches!(verdict(&relay, &far), Some(WitnessVerdict::Unreachable(OutboundError::NotForCourier(_))))
    })
    .await;
    assert!(far.asked().is_empty());
    let witnessed = relay.http.get(format!("{}/log/checkpoint.witnessed", relay.url)).send().await.unwrap();
    assert_eq!(witnessed.status(), StatusCode::OK);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_courier_outlives_its_relay_and_comes_back_to_it() {
    let (authority, cluster) = (Authority::new(), Cluster::new());
    let witness = FakeWitness::start_tls(1).await;
    // A port of its own, so that the relay is found again where it was.
    let port = port_that_nobody_is_given();
    let relay = relay_over(TempDir::new().unwrap(), &authority, &[&witness], port).await;
    let operator = authority.client(&relay, &OPERATOR());
    put(&operator, &relay, &admitting(&cluster, &relay, 1)).await;
    let token = relay.dir.path().join("control-token");
    std::fs::write(&token, cluster.token(&claims())).unwrap();
    let _courier = courier(&relay, &key(&relay), &token, &[witness.address], &[]);
    cosigned(&relay, &witness).await;
    let began = std::time::Instant::now();
    let dir = relay.stop().await;
    assert!(began.elapsed() < Duration::from_secs(30), "an open tunnel must not hold up the end");
    let asked = witness.asked().len();
    // The operator is away: what it said of couriers is remembered.
    let relay = relay_over(dir, &authority, &[&witness], port).await;
    until("it cosigns again", async || witness.asked().len() > asked).await;
    cosigned(&relay, &witness).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_named_couriers_token_opens_its_route_and_it_opens_no_other() {
    let (authority, cluster) = (Authority::new(), Cluster::new());
    let witness = FakeWitness::start_tls(1).await;
    let relay = relay_over(TempDir::new().unwrap(), &authority, &[&witness], 0).await;
    let nobody = without_certificate(&relay);
    assert!(
        nobody.get(at(&relay, "state")).send().await.is_err(),
        "no courier is admitted: no certificate, no TLS"
    );

    let operator = authority.client(&relay, &OPERATOR());
    put(&operator, &relay, &admitting(&cluster, &relay, 1)).await;
    let good = cluster.token(&claims());
    for (method, path) in
        [("GET", "state"), ("GET", "events"), ("PUT", "directives"), ("GET", "proof"), ("GET", "nothing")]
    {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let answer = nobody.request(method, at(&relay, path)).bearer_auth(&good).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
    }

    let stranger = Cluster::new();
    let changed = |pointer: &str, value: Value| {
        let mut claims = claims();
        *claims.pointer_mut(pointer).unwrap() = value;
        cluster.token(&claims)
    };
    let ask = async |path: &str, token: Option<&str>| {
        let mut request =
            nobody.get(at(&relay, path)).header("upgrade", TUNNEL_PROTOCOL).header("connection", "upgrade");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.version(reqwest::Version::HTTP_11).send().await.unwrap().status()
    };
    let now = Timestamp::now().as_second();
    for (what, token) in [
        ("no token", None),
        ("another cluster's", Some(stranger.token(&claims()))),
        ("for the operator", Some(changed("/aud", json!(["paramant-operator"])))),
        ("of another account", Some(changed("/sub", json!("system:serviceaccount:transfers:health")))),
        ("of another namespace", Some(changed("/kubernetes.io/namespace", json!("elsewhere")))),
        ("bound to no pod", Some(changed("/kubernetes.io/pod", Value::Null))),
        ("expired", Some(changed("/exp", json!(now - 60)))),
        ("not a token", Some("x.y.z".to_owned())),
    ] {
        assert_eq!(ask("courier/witness", token.as_deref()).await, StatusCode::FORBIDDEN, "{what}");
    }
    for purpose in ["license", "unknown", "Witness"] {
        assert_eq!(ask(&format!("courier/{purpose}"), Some(&good)).await, StatusCode::FORBIDDEN, "{purpose}");
    }
    assert_eq!(
        ask("courier/witness", Some(&good)).await,
        StatusCode::SWITCHING_PROTOCOLS,
        "the right one is let in"
    );
    assert_eq!(operator.get(at(&relay, "state")).send().await.unwrap().status(), StatusCode::OK);

    put(&operator, &relay, &directives(2, spec(false))).await;
    assert!(
        without_certificate(&relay).get(at(&relay, "courier/witness")).send().await.is_err(),
        "closed again"
    );
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_courier_shows_its_token_to_the_pinned_key_only() {
    let (authority, cluster) = (Authority::new(), Cluster::new());
    let witness = FakeWitness::start_tls(1).await;
    let relay = relay_over(TempDir::new().unwrap(), &authority, &[&witness], 0).await;
    put(&authority.client(&relay, &OPERATOR()), &relay, &admitting(&cluster, &relay, 1)).await;
    let token = relay.dir.path().join("control-token");
    std::fs::write(&token, cluster.token(&claims())).unwrap();
    let wrong = courier(&relay, &"0".repeat(64), &token, &[witness.address], &[]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!relay.running.app.core.couriers.is_connected(CourierPurpose::Witness));
    drop(wrong);
    let _right = courier(&relay, &key(&relay), &token, &[witness.address], &[]);
    cosigned(&relay, &witness).await;
    relay.stop().await;
}

/// A forward proxy that says where it was asked to go.
async fn proxy() -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut inside, _) = socket.accept().await.unwrap();
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(inside.read_u8().await.unwrap());
                }
                let line = String::from_utf8(head).unwrap().lines().next().unwrap().to_owned();
                let target = line.split(' ').nth(1).unwrap().to_owned();
                let mut outside = TcpStream::connect(&target).await.unwrap();
                sender.send(line).unwrap();
                inside.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                let _ = copy_bidirectional(&mut inside, &mut outside).await;
            });
        }
    });
    (address, receiver)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_proxy_everything_goes_through_it() {
    let (authority, cluster) = (Authority::new(), Cluster::new());
    let witness = FakeWitness::start_tls(1).await;
    let relay = relay_over(TempDir::new().unwrap(), &authority, &[&witness], 0).await;
    put(&authority.client(&relay, &OPERATOR()), &relay, &admitting(&cluster, &relay, 1)).await;
    let token = relay.dir.path().join("control-token");
    std::fs::write(&token, cluster.token(&claims())).unwrap();
    let (address, mut asked) = proxy().await;
    let proxy = format!("http://{address}");
    let _courier = courier(&relay, &key(&relay), &token, &[witness.address], &["--proxy", &proxy]);
    cosigned(&relay, &witness).await;
    assert_eq!(asked.recv().await.unwrap(), format!("CONNECT {} HTTP/1.1", witness.address));
    let state = relay.running.app.core.witnesses.report().unwrap().members.first().unwrap().state;
    assert_eq!(state, WitnessState::Cosigning);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_leave_through_a_courier_of_their_own_and_only_to_public_addresses() {
    let (authority, cluster) = (Authority::new(), Cluster::new());
    let receiver = Receiver::start().await;
    let (ca, dir) = (authority.pem.clone(), TempDir::new().unwrap());
    let operator_ca = dir.path().join("operator-ca.pem");
    std::fs::write(&operator_ca, &ca).unwrap();
    let mut hooks = receiver.settings();
    hooks.reach = Reach::Courier;
    let relay = Relay::over(dir, move |settings| {
        settings.listen.control.set_port(0);
        settings.control = Some(Control { operator_ca, token_file: None });
        settings.webhooks = Some(Arc::new(hooks));
    })
    .await;
    let user = relay.user().await;
    receiver.register(&user, "d", "/hook", "secret").await;
    user.upload(b"one", json!({ "meta": { "device_id": "d" }, "ttl_ms": 3_600_000 })).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(receiver.calls().is_empty(), "the relay itself dials nobody");
    let waiting = async || relay.running.app.core.metrics.webhooks.waiting.get();

    let admitted = ["witness", "webhook"].map(|purpose| AdmittedCourier {
        purpose: if purpose == "webhook" { CourierPurpose::Webhook } else { CourierPurpose::Witness },
        namespace: "transfers".into(),
        service_account: format!("health-courier-{purpose}"),
    });
    let couriers = CouriersDirective { token_keys: cluster.key_set(), admitted: admitted.to_vec() };
    let admitting = Directives { couriers: Some(couriers), ..directives(1, spec(false)) };
    let operator = authority.client(&relay, &OPERATOR());
    assert_eq!(put(&operator, &relay, &admitting).await.0, StatusCode::OK);
    let token = relay.dir.path().join("control-token");
    let mut of_webhooks = claims();
    *of_webhooks.pointer_mut("/sub").unwrap() =
        json!("system:serviceaccount:transfers:health-courier-webhook");
    std::fs::write(&token, cluster.token(&of_webhooks)).unwrap();
    let start =
        |more: &[&str]| courier_for("webhook", &relay, &key(&relay), &token, &[receiver.address], more);

    // 127.0.0.1 is listed, and still not public: the courier judges the address it would connect to.
    let strict = start(&[]);
    let outcome = async || {
        let hooks: Value =
            user.request(reqwest::Method::GET, "/v2/webhook").send().await.unwrap().json().await.unwrap();
        hooks["webhooks"][0]["last_outcome"].as_str().unwrap_or_default().to_owned()
    };
    until("it was refused", async || outcome().await == "unreachable").await;
    assert!(receiver.calls().is_empty());
    drop(strict);
    let _allowing = start(&["--private-network", "127.0.0.0/8"]);
    until("it was delivered", async || outcome().await == "delivered").await;
    assert_eq!(receiver.calls().len(), 1);
    until("nothing waits", async || waiting().await == 0).await;
    relay.stop().await;
}

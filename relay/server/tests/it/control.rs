//! The control listener from outside: who gets in, what the operator sees, and what its directives do.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use paramant_protocol::control::{
    CONTROL_SERVER_NAME, Directives, DirectivesAnswer, DrainDirective, DrainSource, DrainState, LogMark,
    OPERATOR_URI, Proof, RelayState,
};
use paramant_relay::settings::{Control, Settings};
use paramant_tlog::{Tree, verify};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use reqwest::{Client, Response, StatusCode};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tempfile::TempDir;

use crate::relay::{Relay, noise, until};

/// A CA as the operator keeps one.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// What a client certificate says.
pub struct Claims {
    pub uri: &'static str,
    pub usage: Vec<ExtendedKeyUsagePurpose>,
}

pub const OPERATOR: fn() -> Claims =
    || Claims { uri: OPERATOR_URI, usage: vec![ExtendedKeyUsagePurpose::ClientAuth] };

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A client that presents a certificate of this CA and takes only this relay's key for an answer.
    pub fn client(&self, relay: &Relay, claims: &Claims) -> Client {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.subject_alt_names = vec![SanType::URI(claims.uri.try_into().unwrap())];
        params.extended_key_usages = claims.usage.clone();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let tls = ClientConfig::builder().with_root_certificates(roots(relay));
        client(relay, tls.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap())
    }
}

pub fn roots(relay: &Relay) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(relay.running.app.core.control_key.certificate()).unwrap();
    roots
}

pub fn client(relay: &Relay, tls: ClientConfig) -> Client {
    let address = relay.running.addresses.control.unwrap();
    Client::builder().tls_backend_preconfigured(tls).resolve(CONTROL_SERVER_NAME, address).build().unwrap()
}

pub fn at(relay: &Relay, path: &str) -> String {
    let port = relay.running.addresses.control.unwrap().port();
    format!("https://{CONTROL_SERVER_NAME}:{port}/control/v1/{path}")
}

pub async fn relay_over(dir: TempDir, authority: &Authority) -> Relay {
    relay_with(dir, authority, |_| ()).await
}

pub async fn relay_with(dir: TempDir, authority: &Authority, change: impl FnOnce(&mut Settings)) -> Relay {
    let ca = dir.path().join("operator-ca.pem");
    let token = dir.path().join("operator-token");
    std::fs::write(&ca, &authority.pem).unwrap();
    std::fs::write(&token, "first token\n").unwrap();
    Relay::over(dir, |settings| {
        settings.listen.control.set_port(0);
        settings.control = Some(Control { operator_ca: ca, token_file: Some(token) });
        change(settings);
    })
    .await
}

pub async fn relay(authority: &Authority) -> Relay {
    relay_over(TempDir::new().unwrap(), authority).await
}

pub fn directives(seq: u64, drain: DrainDirective) -> Directives {
    Directives {
        relay_uid: "uid-1".into(),
        epoch: 1,
        seq,
        drain,
        log_high_water: None,
        log_identity: None,
        log_refused: None,
        commit_schema: None,
        deleting: false,
        couriers: None,
        remote: None,
    }
}

pub fn spec(drain: bool) -> DrainDirective {
    DrainDirective { spec: Some(drain), deadline_seconds: 60, ..DrainDirective::default() }
}

pub async fn put(client: &Client, relay: &Relay, directives: &Directives) -> (StatusCode, DirectivesAnswer) {
    let answer = client.put(at(relay, "directives")).json(directives).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

pub async fn state(client: &Client, relay: &Relay) -> RelayState {
    client.get(at(relay, "state")).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
}

pub fn fingerprint(relay: &Relay) -> String {
    relay.running.app.core.identity.fingerprint().to_owned()
}

/// The next `state` event of a stream.
async fn next_state(events: &mut Response, buffer: &mut String) -> RelayState {
    loop {
        if let Some((event, rest)) = buffer.split_once("\n\n") {
            let data = event.strip_prefix("event: state\ndata: ").map(str::to_owned);
            let rest = rest.to_owned();
            *buffer = rest;
            if let Some(data) = data {
                return serde_json::from_str(&data).unwrap();
            }
            continue;
        }
        let chunk =
            tokio::time::timeout(Duration::from_secs(15), events.chunk()).await.unwrap().unwrap().unwrap();
        buffer.push_str(std::str::from_utf8(&chunk).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_operators_certificate_opens_the_control_listener() {
    let authority = Authority::new();
    let relay = relay(&authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    assert_eq!(operator.get(at(&relay, "state")).send().await.unwrap().status(), StatusCode::OK);

    let stranger = Authority::new();
    let client_auth = || vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (who, client) in [
        ("another CA", stranger.client(&relay, &OPERATOR())),
        (
            "another name",
            authority.client(&relay, &Claims { uri: "spiffe://paramant.app/courier", usage: client_auth() }),
        ),
        (
            "a server certificate",
            authority.client(
                &relay,
                &Claims { uri: OPERATOR_URI, usage: vec![ExtendedKeyUsagePurpose::ServerAuth] },
            ),
        ),
        ("no usage at all", authority.client(&relay, &Claims { uri: OPERATOR_URI, usage: vec![] })),
        (
            "no certificate",
            client(
                &relay,
                ClientConfig::builder().with_root_certificates(roots(&relay)).with_no_client_auth(),
            ),
        ),
    ] {
        assert!(client.get(at(&relay, "state")).send().await.is_err(), "{who} got in");
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_operator_ca_takes_effect_without_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let relay = relay(&old).await;
    let before = state(&old.client(&relay, &OPERATOR()), &relay).await.ca_bundle_sha256;
    let both = format!("{}{}", old.pem, new.pem);
    std::fs::write(relay.dir.path().join("operator-ca.pem"), both).unwrap();
    until("the new bundle is in force", async || {
        new.client(&relay, &OPERATOR()).get(at(&relay, "state")).send().await.is_ok()
    })
    .await;
    let during = state(&new.client(&relay, &OPERATOR()), &relay).await.ca_bundle_sha256;
    assert_ne!(before, during);
    assert_eq!(state(&old.client(&relay, &OPERATOR()), &relay).await.ca_bundle_sha256, during);

    std::fs::write(relay.dir.path().join("operator-ca.pem"), "not a certificate").unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = state(&new.client(&relay, &OPERATOR()), &relay).await.ca_bundle_sha256;
    assert_eq!(after, during, "a broken bundle leaves the last good one in force");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_directive_refuses_the_very_next_upload_and_reads_go_on() {
    let authority = Authority::new();
    let relay = relay(&authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    let user = relay.user().await;
    let kept = noise(1, 2000);
    assert_eq!(user.upload(&kept, json!({})).await.status(), StatusCode::OK);

    for round in 0..10 {
        let (status, answer) = put(&operator, &relay, &directives(2 * round + 1, spec(true))).await;
        assert!(status == StatusCode::OK && answer.accepted, "{answer:?}");
        let refused = user.upload(&noise(2 + round, 2000), json!({})).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
        put(&operator, &relay, &directives(2 * round + 2, spec(false))).await;
    }
    put(&operator, &relay, &directives(100, spec(true))).await;
    let drained = state(&operator, &relay).await;
    assert_eq!(drained.drain.requested_by, [DrainSource::Spec]);
    assert!(drained.ready, "a draining relay still serves reads");
    let probes = format!("http://{}/readyz", relay.running.addresses.probes);
    assert_eq!(relay.http.get(probes).send().await.unwrap().status(), StatusCode::OK);
    let read = user.download(&crate::relay::hash(&kept)).await;
    assert_eq!(read.status(), StatusCode::OK);
    assert_eq!(read.bytes().await.unwrap(), kept);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_stream_begins_with_the_state_and_pushes_a_drain_at_once() {
    let authority = Authority::new();
    let relay = relay(&authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    let mut events = operator.get(at(&relay, "events")).send().await.unwrap();
    let mut buffer = String::new();
    assert_eq!(next_state(&mut events, &mut buffer).await.drain.state, DrainState::Serving);

    let asked = std::time::Instant::now();
    put(&operator, &relay, &directives(1, spec(true))).await;
    let mut seen = next_state(&mut events, &mut buffer).await;
    while seen.drain.state == DrainState::Serving {
        seen = next_state(&mut events, &mut buffer).await;
    }
    // Growth of the log alone would be told ten seconds later.
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    assert_eq!(seen.drain.state, DrainState::Drained);
    assert_eq!(seen.directives.unwrap().seq, 1);
    // An endless answer must not hold up the end of the process.
    let began = std::time::Instant::now();
    relay.stop().await;
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_alone_does_not_wake_the_operator() {
    let authority = Authority::new();
    let relay = relay(&authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    let user = relay.user().await;
    let judged = Directives { log_identity: Some(fingerprint(&relay)), ..directives(1, spec(false)) };
    put(&operator, &relay, &judged).await;
    until("a checkpoint is published", async || state(&operator, &relay).await.log.checkpoint.is_some())
        .await;
    let mut events = operator.get(at(&relay, "events")).send().await.unwrap();
    let mut buffer = String::new();
    let before = next_state(&mut events, &mut buffer).await.log.size;
    for round in 0..3 {
        assert_eq!(user.upload(&noise(round, 500), json!({})).await.status(), StatusCode::OK);
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    assert!(state(&operator, &relay).await.log.size > before, "there was something to tell");
    let quiet = tokio::time::timeout(Duration::from_millis(500), next_state(&mut events, &mut buffer)).await;
    assert!(quiet.is_err(), "{quiet:?}");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn older_directives_are_refused_also_after_a_restart() {
    let authority = Authority::new();
    let relay = relay(&authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    assert_eq!(put(&operator, &relay, &directives(5, spec(true))).await.0, StatusCode::OK);
    let (status, answer) = put(&operator, &relay, &directives(4, spec(false))).await;
    assert_eq!((status, answer.accepted, answer.held.unwrap().seq), (StatusCode::CONFLICT, false, 5));
    assert!(answer.reason.unwrap().contains("older"));

    let relay = relay_over(relay.stop().await, &authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    let restored = state(&operator, &relay).await;
    assert_eq!(restored.directives.unwrap().seq, 5);
    assert_eq!(restored.drain.requested_by, [DrainSource::Spec], "the drain outlives the process");
    assert_eq!(put(&operator, &relay, &directives(4, spec(false))).await.0, StatusCode::CONFLICT);
    let reborn = Directives { relay_uid: "uid-2".into(), ..directives(0, spec(false)) };
    assert_eq!(put(&operator, &relay, &reborn).await.0, StatusCode::OK);
    assert_eq!(state(&operator, &relay).await.drain.state, DrainState::Serving);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_directives_are_refused_and_change_nothing() {
    let authority = Authority::new();
    let relay = relay(&authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    for body in ["", "{}", "[]", r#"{"relayUid":"a","epoch":-1,"seq":0}"#, &"x".repeat(100_000)] {
        let answer = operator.put(at(&relay, "directives")).body(body.to_owned()).send().await.unwrap();
        assert!(answer.status().is_client_error(), "{} {}", answer.status(), body.get(..40).unwrap_or(body));
    }
    assert_eq!(state(&operator, &relay).await.directives, None);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_drain_ends_alone_when_the_operator_is_gone() {
    let authority = Authority::new();
    let relay = relay(&authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    let user = relay.user().await;
    let update_until = Some(Timestamp::now() + SignedDuration::from_secs(5));
    put(&operator, &relay, &directives(1, DrainDirective { update_until, ..DrainDirective::default() }))
        .await;
    assert_eq!(user.upload(&noise(1, 100), json!({})).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let taken = async || user.upload(&noise(1, 100), json!({})).await.status() == StatusCode::OK;
    until("uploads are taken again", taken).await;
    assert!(Some(Timestamp::now()) >= update_until, "not before its time");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reported_log_continues_the_mark_it_was_given() {
    let authority = Authority::new();
    let relay = relay(&authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    let user = relay.user().await;
    let judged = Directives { log_identity: Some(fingerprint(&relay)), ..directives(1, spec(false)) };
    put(&operator, &relay, &judged).await;
    until("a checkpoint is published", async || state(&operator, &relay).await.log.checkpoint.is_some())
        .await;
    let old = state(&operator, &relay).await.log;
    assert!(old.size > 0 && old.consistency.is_none() && old.checkpoint.is_some());
    for round in 0..5 {
        user.upload(&noise(round, 100), json!({})).await;
    }
    until("the uploads are published", async || state(&operator, &relay).await.log.size > old.size).await;
    let mark = LogMark { origin: Some(old.origin.clone()), size: old.size, root: old.root.clone() };
    put(&operator, &relay, &Directives { seq: 2, log_high_water: Some(mark), ..judged }).await;
    let new = state(&operator, &relay).await.log;
    assert!(new.size > old.size);
    let given = new.consistency.unwrap();
    let hash = |text: &str| <[u8; 32]>::try_from(hex::decode(text).unwrap()).unwrap();
    let proof: Vec<_> = given.proof.iter().map(|node| hash(node)).collect();
    assert_eq!(given.from, old.size);
    verify::consistency(Tree::Sha256, old.size, &hash(&old.root), new.size, &hash(&new.root), &proof)
        .unwrap();
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_read_anew_for_each_proof() {
    let authority = Authority::new();
    let relay = relay(&authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    let proof =
        async || operator.get(at(&relay, "proof")).send().await.unwrap().json::<Proof>().await.unwrap().token;
    assert_eq!(proof().await, "first token");
    std::fs::write(relay.dir.path().join("operator-token"), "second token\n").unwrap();
    assert_eq!(proof().await, "second token");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_deleted_closes_its_log_and_another_follows_if_it_comes_back() {
    let authority = Authority::new();
    let relay = relay(&authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    let closed = relay.running.app.core.log.origin().to_owned();
    let log_identity = Some(fingerprint(&relay));
    let directives = Directives { deleting: true, log_identity, ..directives(1, spec(true)) };
    put(&operator, &relay, &directives).await;
    let dir = relay.stop().await;
    let copy = dir.path().join("data/log");
    let last = std::fs::read_to_string(copy.join("checkpoint")).unwrap();
    let size: u64 = last.lines().nth(1).unwrap().parse().unwrap();
    assert!(copy.join(format!("tile/entries/000.p/{size}")).is_file(), "the copy has its partial bundle");
    for part in ["vkeys", "policy", "sth.ndjson"] {
        assert!(copy.join(part).is_file(), "{part}");
    }

    // Created again over the same volume, it is not being deleted, whatever the last directives said.
    let mut dir = dir;
    for life in ["/2", "/2"] {
        let relay = relay_over(dir, &authority).await;
        assert_eq!(relay.running.app.core.log.origin(), format!("{closed}{life}"));
        let page: serde_json::Value =
            relay.http.get(format!("{}/v2/ct", relay.url)).send().await.unwrap().json().await.unwrap();
        let kinds: Vec<_> =
            page["entries"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
        assert_eq!(kinds[0], "log_adopted", "{kinds:?}");
        assert!(!kinds.contains(&"log_closed"), "{kinds:?}");
        dir = relay.stop().await;
    }
    let kept = dir.path().join("data/retired-logs/0/log");
    assert_eq!(std::fs::read_to_string(kept.join("checkpoint")).unwrap(), last);
}

/// The pod of a deleted relay may be told to end before its operator has seen the deletion.
#[tokio::test(flavor = "multi_thread")]
async fn that_it_was_deleted_may_be_said_after_the_signal() {
    let authority = Authority::new();
    let relay = relay(&authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    tokio::time::timeout(Duration::from_millis(500), relay.running.hear_why())
        .await
        .expect("nobody spoke in this run, so nobody is waited for");
    let judged = Directives { log_identity: Some(fingerprint(&relay)), ..directives(1, spec(false)) };
    put(&operator, &relay, &judged).await;
    let late = Directives { seq: 2, deleting: true, ..judged.clone() };
    let told = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        put(&operator, &relay, &late).await;
    };
    let heard = tokio::time::timeout(Duration::from_millis(1500), async {
        tokio::join!(relay.running.hear_why(), told);
    });
    heard.await.expect("it ends as soon as it was told");
    let log = relay.running.app.core.log.clone();
    let before = log.head().size;
    relay.stop().await;
    assert!(log.head().size > before, "log_closed is appended");
    assert!(log.is_closed().unwrap());
}

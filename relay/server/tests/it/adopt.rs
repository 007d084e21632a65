//! `paramant-relay log adopt` and `log status`: a log whose newest copy is lost ends, and another begins in its place.

use std::path::Path;
use std::process::{Command, Output};

use paramant_protocol::entry::Entry;
use paramant_protocol::entry::body::{Body, LogAdopted};
use paramant_protocol::receipt::{self, Document};
use paramant_relay::adoption::{AdoptError, Request, adopt};
use paramant_relay::data_dir::DataDirError;
use paramant_tlog::Checkpoint;
use paramant_tlog::note::Note;
use paramant_tlog::vkey::VerifierKey;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::relay::{Relay, User, hash, noise, until};

fn checkpoint(data: &Path) -> Checkpoint {
    let note = Note::parse(&std::fs::read(data.join("log/checkpoint")).unwrap()).unwrap();
    Checkpoint::parse(&note.text).unwrap()
}

async fn fetch(relay: &Relay, path: &str) -> String {
    relay.http.get(format!("{}{path}", relay.url)).send().await.unwrap().text().await.unwrap()
}

fn bodies(relay: &Relay) -> Vec<(String, Option<Body>)> {
    let entries = relay.running.app.core.log.engine().entries(0, 10_000).unwrap();
    let parsed = entries.iter().map(|entry| Entry::parse(&entry.bytes).unwrap());
    parsed.map(|entry| (entry.kind().name().to_owned(), entry.body().cloned())).collect()
}

/// The same account in another run of its relay.
fn again(user: &User, relay: &Relay) -> User {
    User { url: relay.url.clone(), http: relay.http.clone(), ..user.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unread_stays_and_is_proven_by_the_new_log() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let (kept, half_read, read) = (noise(1, 500), noise(2, 500), noise(3, 500));
    for (payload, views) in [(&kept, 1), (&half_read, 2), (&read, 1)] {
        assert_eq!(user.upload(payload, json!({ "max_views": views })).await.status(), StatusCode::OK);
    }
    for payload in [&half_read, &read] {
        assert_eq!(user.download(&hash(payload)).await.bytes().await.unwrap(), *payload);
    }
    until("what was read is burned", async || relay.payload_files() == 2).await;
    let old_name = relay.running.app.core.log.origin().to_owned();
    let identity = relay.running.app.core.identity.public_key().to_vec();
    let dir = relay.stop().await;
    let data = dir.path().join("data");
    let last = checkpoint(&data);

    let done = adopt(&data, Request { retire: &old_name, origin: None }).unwrap();
    assert_eq!((done.origin.as_str(), done.size), (format!("{old_name}/2").as_str(), last.size));

    // The settings still name the old log, as a person's do until somebody edits them.
    let named = old_name.clone();
    let relay = Relay::over(dir, |settings| settings.log_origin = Some(named)).await;
    assert_eq!(relay.running.app.core.log.origin(), done.origin);
    let first =
        Body::LogAdopted(LogAdopted { origin: old_name.clone(), size: last.size, root: last.root.into() });
    let all = bodies(&relay);
    assert_eq!(all[0].1, Some(first));
    assert_eq!(all.iter().filter(|(kind, _)| kind == "transfer").count(), 2);

    let note = Note::parse(fetch(&relay, "/log/checkpoint").await.as_bytes()).unwrap();
    let keys: Vec<VerifierKey> =
        fetch(&relay, "/log/vkeys").await.lines().map(|key| key.parse().unwrap()).collect();
    assert_eq!(note.open(&keys).unwrap().len(), 3);
    assert!(keys.iter().all(|key| key.name() == done.origin));

    let user = again(&user, &relay);
    let answer = user.download(&hash(&kept)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let header = answer.headers()["x-paramant-receipt"].to_str().unwrap().to_owned();
    assert_eq!(answer.bytes().await.unwrap(), kept);
    let receipt: Value = serde_json::from_slice(
        &base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, header).unwrap(),
    )
    .unwrap();
    let signed = |message: &[u8], signature: &[u8]| {
        aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ML_DSA_65, &identity)
            .verify(message, signature)
            .is_ok()
    };
    let opened = receipt::verify(&Document::from_value(receipt).unwrap(), &signed).unwrap();
    assert_eq!(all[usize::try_from(opened.index).unwrap()].0, "transfer");

    let place = relay.dir.path().join("data/retired-logs/0");
    assert_eq!(checkpoint(&place), last);
    assert_eq!(std::fs::read_to_string(place.join("vkeys")).unwrap().lines().count(), 3);
    assert!(!place.join("log-keys/ed25519.seed").exists(), "its keys sign nothing more");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_can_be_adopted_again_and_an_ended_name_is_never_used_again() {
    let relay = Relay::start().await;
    let first = relay.running.app.core.log.origin().to_owned();
    let dir = relay.stop().await;
    let data = dir.path().join("data");
    let adopting = |retire: &str, origin: Option<&str>| adopt(&data, Request { retire, origin });
    adopting(&first, Some("second.example/log")).unwrap();
    assert!(matches!(adopting("second.example/log", Some(&first)), Err(AdoptError::Name { .. })));
    assert!(matches!(adopting("second.example/log", Some("with space")), Err(AdoptError::Name { .. })));
    let third = adopting("second.example/log", None).unwrap();
    assert_eq!(third.origin, format!("{first}/3"));
    let relay = Relay::over(dir, |_| ()).await;
    assert_eq!(relay.running.app.core.log.retired(), ["second.example/log".to_owned(), first]);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_relay_another_name_and_an_empty_directory_are_refused() {
    let relay = Relay::start().await;
    let data = relay.dir.path().join("data");
    let name = relay.running.app.core.log.origin().to_owned();
    let refused = adopt(&data, Request { retire: &name, origin: None });
    assert!(matches!(refused, Err(AdoptError::Data(DataDirError::Locked(_)))), "{refused:?}");
    let dir = relay.stop().await;
    let refused = adopt(&data, Request { retire: "another.example/log", origin: None });
    assert!(matches!(refused, Err(AdoptError::AnotherLog { .. })), "{refused:?}");
    let nowhere = dir.path().join("nowhere");
    let refused = adopt(&nowhere, Request { retire: &name, origin: None });
    assert!(matches!(refused, Err(AdoptError::NoLog(_))) && !nowhere.exists(), "{refused:?}");
    Relay::over(dir, |_| ()).await.stop().await;
}

/// Registered devices are in the new log too: their rows are, so they are shown only once their entry is.
#[tokio::test(flavor = "multi_thread")]
async fn devices_are_registered_in_the_new_log_as_well() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let keys = json!({ "device_id": "one", "kem_pub": hex::encode(noise(1, 1184)), "sig_pub": "" });
    let made = user.request(Method::POST, "/v2/pubkey").body(keys.to_string()).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::OK, "{}", made.text().await.unwrap());
    let name = relay.running.app.core.log.origin().to_owned();
    let dir = relay.stop().await;
    adopt(&dir.path().join("data"), Request { retire: &name, origin: None }).unwrap();
    let relay = Relay::over(dir, |_| ()).await;
    assert_eq!(bodies(&relay).iter().filter(|(kind, _)| kind == "key_registered").count(), 1);
    let shown = again(&user, &relay).request(Method::GET, "/v2/pubkey/one").send().await.unwrap();
    assert_eq!(shown.status(), StatusCode::OK);
    relay.stop().await;
}

fn command(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_paramant-relay")).arg("log").args(words).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_asks_for_the_old_name_and_says_what_it_did() {
    let relay = Relay::start().await;
    let name = relay.running.app.core.log.origin().to_owned();
    let data = relay.dir.path().join("data").display().to_string();
    let running = command(&["status", "--data", &data]);
    assert!(running.status.success(), "it looks beside a running relay");
    let said = String::from_utf8(running.stdout).unwrap();
    assert!(said.contains(&name) && said.contains("checkpoint") && said.contains("never heard"), "{said}");
    let locked = command(&["adopt", "--data", &data, "--i-understand-that-this-retires", &name]);
    assert_eq!(locked.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&locked.stderr).contains("another paramant-relay"));
    let _dir = relay.stop().await;

    let unconfirmed = command(&["adopt", "--data", &data]);
    assert_eq!(unconfirmed.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unconfirmed.stderr).contains("--i-understand-that-this-retires"));
    let retire = ["adopt", "--data", &data, "--i-understand-that-this-retires", &name];
    let done = command(&[&retire[..], &["--origin", "new.example/log"]].concat());
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(
        done.status.success() && said.contains("new.example/log") && said.contains("retired-logs/0"),
        "{said}"
    );
    let twice = command(&retire);
    assert!(String::from_utf8_lossy(&twice.stderr).contains("new.example/log"), "it is another log now");
    let said = String::from_utf8(command(&["status", "--data", &data]).stdout).unwrap();
    assert!(said.contains("none was published") && said.contains(&format!("retired      {name}")), "{said}");
}

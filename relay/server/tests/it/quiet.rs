//! A relay that nobody told to call anybody opens no connection and asks about no name: its system calls, seen by `strace`.
//!
//! The scenarios count the same at a node. Needs `strace`, as the tests in `struck` do.

use jiff::{SignedDuration, Timestamp};
use paramant_authority::{create_seed, issue, offline_key};
use paramant_licensing::offline::UserCap;
use paramant_tlog::keys::{CosignatureKey, Seed, Signer as _};
use reqwest::StatusCode;
use serde_json::json;
use tempfile::TempDir;

use crate::relay::{User, hash, noise, until};
use crate::spawned::{Process, said};
use crate::struck::{tracer, unable};

/// System calls by which something leaves for an address of the network: what is answered to a client has none.
fn leaves(trace: &str) -> Vec<String> {
    let outward = |line: &&str| line.contains("sa_family=AF_INET");
    trace.lines().filter(outward).map(str::to_owned).collect()
}

/// An offline licence. The release believes another vendor, which it finds out by itself.
fn offline() -> String {
    let dir = TempDir::new().unwrap();
    let (key, now) = (offline_key(&create_seed(&dir.path().join("seed")).unwrap()), Timestamp::now());
    let until = (now + SignedDuration::from_hours(24 * 30)).to_string();
    issue::license(&key, UserCap::Users(25), until, "Acme".to_owned(), now).unwrap()
}

/// A relay with these settings and this licence, used a little. Answers what left.
async fn left(settings: &str, licence: &str, last: impl Fn(&str) -> bool) -> Vec<String> {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir(dir.path().join("licence")).unwrap();
    std::fs::write(dir.path().join("licence/licence"), licence).unwrap();
    let trace = dir.path().join("trace");
    let tracer = tracer(&trace, &["trace=connect,sendto,sendmsg,sendmmsg".to_owned()]);
    let settings = settings.replace("LICENCE", &dir.path().join("licence").display().to_string());
    let process = Process::traced_with(dir.path(), &settings, tracer).unwrap();
    let user = User::new(&process.url).await;
    let payload = noise(1, 5000);
    assert_eq!(user.upload(&payload, json!({})).await.status(), StatusCode::OK);
    assert_eq!(user.download(&hash(&payload)).await.status(), StatusCode::OK);
    let checkpoint = format!("{}/log/checkpoint", process.url);
    let signed = async || reqwest::get(&checkpoint).await.unwrap().status() == StatusCode::OK;
    until("the log is signed", signed).await;
    until("it has done what is looked for", async || last(&said(dir.path()))).await;
    process.kill();
    leaves(&std::fs::read_to_string(&trace).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_offline_licence_or_none_a_relay_connects_to_nobody_and_asks_about_no_name() {
    if unable() {
        return;
    }
    // Seen to be found: an address, and a name that is asked about.
    let key = CosignatureKey::from_seed("witness.example/1", &Seed::new([1; 32])).unwrap();
    let witness = |url: &str| {
        let member = format!("{{ name: one, publicKey: {}, url: '{url}' }}", key.verifier());
        format!("log: {{ witnesses: {{ quorum: 1, members: [{member}] }} }}\n")
    };
    let pushed = |said: &str| said.contains("pushed a checkpoint to a witness");
    let address = left(&witness("http://127.0.0.1:9"), "", pushed).await;
    assert!(address.iter().any(|line| line.contains("htons(9)")), "{address:?}");
    let name = left(&witness("http://witness.invalid:9"), "", pushed).await;
    assert!(name.iter().any(|line| line.contains("htons(53)")), "{name:?}");

    let licences = "license: { directory: 'LICENCE' }\n";
    let online = "license: { directory: 'LICENCE', online: { endpoint: 'https://licence.invalid/check' } }\n";
    let online_key = format!("plk_{}", "ab".repeat(32));
    for (what, settings, licence) in [
        ("no licence", "", ""),
        ("a licence that is none", licences, "plk_AAAA"),
        ("an offline licence", licences, &offline()),
        ("an online key that nobody switched on", licences, &online_key),
        ("an online key, and no key pinned that could sign an answer", online, &online_key),
    ] {
        assert_eq!(left(settings, licence, |_| true).await, [""; 0], "with {what}");
    }
}

//! The relay killed while uploads run: what was acknowledged is there, what was not is whole or absent, nothing is left over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::relay::{ADMIN, User, hash, keys_left, noise, payload_files, until};
use crate::spawned::{Process, setup_code};

const UPLOADS: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_killed_in_mid_upload_keeps_what_it_acknowledged_and_nothing_else() {
    let rounds: u64 =
        std::env::var("PARAMANT_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let dir = TempDir::new().unwrap();
    let mut told = 0;
    let mut process = Process::start(dir.path());
    let made = Client::new()
        .post(format!("{}/v2/admin/keys", process.url))
        .header("X-Admin-Token", ADMIN)
        .send()
        .await
        .unwrap();
    let made: Value = made.json().await.unwrap();
    let (key, account) =
        (made["key"].as_str().unwrap().to_owned(), made["account_id"].as_str().unwrap().to_owned());
    for round in 0..rounds {
        // 20 %, 35 %, 50 %, 65 %, 80 % of the uploads acknowledged, in turn.
        let threshold = UPLOADS * (20 + 15 * (usize::try_from(round).unwrap() % 5)) / 100;
        let user = User {
            url: process.url.clone(),
            http: Client::new(),
            key: key.clone(),
            account: account.clone(),
        };
        let payloads: Vec<_> = (0..UPLOADS as u64)
            .map(|n| {
                Arc::new(noise(round * 1000 + n + 1, [700, 70_000, 300_000][usize::try_from(n % 3).unwrap()]))
            })
            .collect();
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let uploads = payloads.iter().enumerate().map(|(n, payload)| {
            let (user, payload, acknowledged) =
                (user.clone(), Arc::clone(payload), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                let sent = if n % 2 == 0 {
                    let more = json!({ "ttl_ms": 3_600_000, "meta": { "device_id": "d" } });
                    let body = crate::relay::inbound(&hash(&payload), &payload, more);
                    user.request(reqwest::Method::POST, "/v2/inbound").body(body.to_string()).send().await
                } else {
                    let path = format!("/v3/blobs/{}?ttl_ms=3600000&device_id=d", hash(&payload));
                    user.request(reqwest::Method::PUT, &path).body(payload.to_vec()).send().await
                };
                let kept = match sent {
                    Ok(answer) => answer.status() == StatusCode::OK,
                    Err(_) => false,
                };
                if kept {
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                kept
            })
        });
        let uploads: Vec<_> = uploads.collect();
        while acknowledged.load(Ordering::SeqCst) < threshold {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        process.kill();
        let mut kept = Vec::new();
        for upload in uploads {
            kept.push(upload.await.unwrap());
        }
        let count = kept.iter().filter(|kept| **kept).count();
        assert!((1..UPLOADS).contains(&count), "round {round}: {count} acknowledged; the kill cut nothing");

        process = Process::start(dir.path());
        let files = payload_files(dir.path());
        let user = User {
            url: process.url.clone(),
            http: Client::new(),
            key: key.clone(),
            account: account.clone(),
        };
        let mut whole = 0;
        for (payload, kept) in payloads.iter().zip(&kept) {
            let answer = user.download(&hash(payload)).await;
            match answer.status() {
                StatusCode::OK => {
                    assert_eq!(answer.bytes().await.unwrap(), **payload, "round {round}");
                    assert_eq!(user.download(&hash(payload)).await.status(), StatusCode::NOT_FOUND);
                    whole += 1;
                }
                status => assert!(
                    !kept && status == StatusCode::NOT_FOUND,
                    "round {round}: an acknowledged upload answers {status}"
                ),
            }
        }
        assert_eq!(files, whole, "round {round}: after the start, as many files as uploads that can be read");
        let nothing = async || payload_files(dir.path()) == 0 && !keys_left(dir.path());
        until("nothing of any payload is left", nothing).await;
        // What its account is told: each upload that came to be, and its read, once; nothing of those that did not.
        told += whole;
        let get = async |path: &str| -> Value {
            user.request(reqwest::Method::GET, path).send().await.unwrap().json().await.unwrap()
        };
        let stats = get("/v2/monitor").await["stats"].clone();
        assert_eq!(stats, json!({ "inbound": told, "burned": told, "webhooks_sent": 0 }), "round {round}");
        let audit = get("/v2/audit").await;
        assert_eq!(
            (&audit["chain_valid"], &audit["total"]),
            (&json!(true), &json!(2 * told)),
            "round {round}"
        );
        assert_eq!(get("/v2/stream-next?device=d").await["available"], false, "round {round}");
        println!("round {round}: {count} acknowledged, {whole} whole, {} absent", UPLOADS - whole);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_cut_by_a_kill_can_be_had_again_after_the_restart() {
    use futures::StreamExt;
    let dir = TempDir::new().unwrap();
    let process = Process::start(dir.path());
    let made = Client::new()
        .post(format!("{}/v2/admin/keys", process.url))
        .header("X-Admin-Token", ADMIN)
        .send()
        .await
        .unwrap();
    let made: Value = made.json().await.unwrap();
    let mut user = User {
        url: process.url.clone(),
        http: Client::new(),
        key: made["key"].as_str().unwrap().to_owned(),
        account: String::new(),
    };
    let payload = noise(1, 5_000_000);
    assert_eq!(user.upload(&payload, json!({ "ttl_ms": 60_000 })).await.status(), StatusCode::OK);
    let mut pieces = user.download(&hash(&payload)).await.bytes_stream();
    assert!(pieces.next().await.is_some());
    process.kill();
    drop(pieces);
    let process = Process::start(dir.path());
    user.url.clone_from(&process.url);
    assert_eq!(user.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_the_code_in_the_log_is_good_until_its_token_is_used() {
    let dir = TempDir::new().unwrap();
    let process = Process::with(dir.path(), "");
    let code = setup_code(dir.path());
    let redeem = async |url: &str, code: &str| {
        let answer = Client::new()
            .post(format!("{url}/v3/setup"))
            .body(json!({ "code": code }).to_string())
            .send()
            .await
            .unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    assert_eq!(redeem(&process.url, "AAAA-BBBB").await.0, StatusCode::FORBIDDEN);
    let (status, given) = redeem(&process.url, &code).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(given["totp_secret"].as_str().unwrap().len(), 32);
    let make_key = async |url: &str| {
        let path = format!("{url}/v2/admin/keys");
        Client::new().post(path).bearer_auth(given["token"].as_str().unwrap()).send().await.unwrap().status()
    };
    assert_eq!(make_key(&process.url).await, StatusCode::OK);
    // The code is spent a moment after the answer; redeeming it meanwhile would replace the token.
    until("the code is spent", async || !awaits_setup(dir.path())).await;
    assert_eq!(redeem(&process.url, &code).await.0, StatusCode::FORBIDDEN);
    process.kill();
    let process = Process::with(dir.path(), "");
    assert!(!std::fs::read_to_string(dir.path().join("log")).unwrap().contains("setup_code"));
    assert_eq!(make_key(&process.url).await, StatusCode::OK);
}

/// Whether the relay over this directory still remembers a token that was not used.
fn awaits_setup(dir: &std::path::Path) -> bool {
    let meta = rusqlite::Connection::open(dir.join("data/meta.db")).unwrap();
    let unused = "SELECT EXISTS (SELECT 1 FROM settings WHERE name = 'admin_token_unused')";
    meta.query_row(unused, [], |row| row.get(0)).unwrap()
}

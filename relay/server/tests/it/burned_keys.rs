//! Keys of payloads that were read, cancelled or expired are found nowhere: not on disk, not in a backup, not in the memory of
//! the relay. The search is shown to find them first, in all three places.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use futures::StreamExt as _;
use paramant_canary::keys::Keys;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;

use crate::relay::{User, hash, noise, until};
use crate::spawned::Process;

fn backup(data: &Path, to: &Path) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paramant-relay"));
    let output = command.args(["backup", "--data"]).arg(data).arg("--to").arg(to).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(to).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn burned_keys_are_found_nowhere() {
    let home = TempDir::new().unwrap();
    let data = home.path().join("data");
    let relay = Process::with_limits(home.path(), "maxBlob: 64Mi");
    let user = User::new(&relay.url).await;
    // One is more than sockets hold: its reader is still in the middle of it when the memory is searched.
    let sizes = [100, 3000, 70_000, 1_000_000, 100, 3000, 70_000, 20_000_000, 100, 3000, 70_000, 1_000_000];
    let payloads: Vec<Vec<u8>> = (0..).zip(sizes).map(|(seed, size)| noise(seed, size)).collect();
    for (n, payload) in payloads.iter().enumerate() {
        // The last two expire by themselves.
        let ttl = if n < 10 { 600_000 } else { 15_000 };
        let kept = if n % 2 == 0 {
            user.upload(payload, json!({ "ttl_ms": ttl })).await
        } else {
            user.upload_raw(payload.clone(), &format!("?ttl_ms={ttl}")).await
        };
        assert_eq!(kept.status(), StatusCode::OK);
    }
    let keys = Keys::in_use(&data).unwrap();
    assert_eq!(keys.len(), payloads.len());
    assert_eq!(
        keys.on_disk(&data).unwrap()["keys.slots"],
        keys.len(),
        "the search finds them where they are"
    );
    let before = backup(&data, &home.path().join("before.tar"));
    assert_eq!(keys.count(keys.planted(&before)), 1, "the search would find one in a backup");
    assert_eq!(keys.count(before), 0, "no backup holds a key");

    // A reader in the middle of a file: its key is in memory.
    let mut reading = user.download(&hash(&payloads[7])).await.bytes_stream();
    let mut read = reading.next().await.unwrap().unwrap().len();
    assert!(!keys.in_memory(relay.id()).unwrap().is_empty(), "the search finds a key that is in use");
    while let Some(piece) = reading.next().await {
        read += piece.unwrap().len();
    }
    assert_eq!(read, payloads[7].len());

    for payload in payloads.iter().take(7) {
        assert_eq!(user.download(&hash(payload)).await.bytes().await.unwrap(), payload);
    }
    for payload in &payloads[8..10] {
        let path = format!("/v2/inbound/{}", hash(payload));
        assert_eq!(user.request(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::OK);
    }
    until("all is burned", async || keys.on_disk(&data).unwrap().is_empty()).await;
    let after = backup(&data, &home.path().join("after.tar"));
    assert_eq!(keys.count(after), 0);
    // What holds a connection or a thread's memory may be given back a moment later.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let left = keys.in_memory(relay.id()).unwrap();
    assert!(left.is_empty(), "{left:#?}");
}

//! Backups as a person makes them: by the command, beside a relay that works, and a relay over what was restored.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::relay::{User, hash, noise, until};
use crate::spawned::{Process, said};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_paramant-relay")).args(args).output().unwrap()
}

fn succeeds(args: &[&str]) -> String {
    let output = run(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {said}");
    said
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn size(url: &str) -> u64 {
    let answer = Client::new().get(format!("{url}/v2/ct/log?limit=1")).send().await.unwrap();
    answer.json::<Value>().await.unwrap()["tree_size"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_of_a_busy_relay_come_back_with_their_accounts_and_their_log_and_without_payloads() {
    let home = TempDir::new().unwrap();
    let relay = Process::start(home.path());
    let sender = User::new(&relay.url).await;
    let unread = noise(1, 100_000);
    assert_eq!(sender.upload(&unread, json!({ "ttl_ms": 3_600_000 })).await.status(), StatusCode::OK);

    let unfinished = sender.request(Method::POST, "/v3/uploads").body(json!({ "size": 70_000 }).to_string());
    assert_eq!(unfinished.send().await.unwrap().status(), StatusCode::CREATED);

    // Traffic of every kind while backups are made.
    let busy = tokio::spawn({
        let sender = sender.clone();
        async move {
            for n in 10_u64.. {
                let payload = noise(n, 3000);
                let kept = sender.upload(&payload, json!({ "ttl_ms": 60_000 })).await;
                if kept.status() != StatusCode::OK {
                    return;
                }
                sender.download(&hash(&payload)).await.bytes().await.unwrap();
            }
        }
    });
    let mut backups = Vec::new();
    for n in 0..4 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = size(&relay.url).await;
        let to = home.path().join(format!("backup-{n}.tar"));
        let data = home.path().join("data");
        let said = tokio::task::spawn_blocking({
            let to = to.clone();
            move || succeeds(&["backup", "--data", text(&data), "--to", text(&to)])
        });
        assert!(said.await.unwrap().contains("entries under its checkpoint"));
        backups.push((before, to));
    }
    busy.abort();
    drop(busy.await);
    relay.kill();

    for (before, backup) in backups {
        let to = TempDir::new().unwrap();
        let data = to.path().join("data");
        let told = succeeds(&["restore", "--data", text(&data), "--from", text(&backup)]);
        assert!(told.contains(&hash(&unread)) && told.contains("log adopt"), "{told}");
        assert!(!data.join("blobs").exists() && !data.join("keys.slots").exists());
        let restored = Process::start(to.path());
        assert!(size(&restored.url).await >= before, "all that was in the log when it began");
        let sender = User { url: restored.url.clone(), ..sender.clone() };
        assert!(!sender.available(&hash(&unread)).await, "its payload is not in a backup");
        assert!(said(to.path()).contains("lost its key or its file"), "{}", said(to.path()));
        // It works on.
        let payload = noise(2, 5000);
        assert_eq!(sender.upload(&payload, json!({})).await.status(), StatusCode::OK);
        assert_eq!(sender.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_copy_with_its_log_retired_is_a_relay_of_the_same_accounts() {
    let home = TempDir::new().unwrap();
    let relay = Process::start(home.path());
    let sender = User::new(&relay.url).await;
    until("there is a checkpoint", async || {
        let answer = Client::new().get(format!("{}/log/checkpoint", relay.url)).send().await.unwrap();
        answer.status() == StatusCode::OK
    })
    .await;
    let (data, backup) = (home.path().join("data"), home.path().join("backup.tar"));
    succeeds(&["backup", "--data", text(&data), "--to", text(&backup)]);
    let again = run(&["backup", "--data", text(&data), "--to", text(&backup)]);
    assert!(!again.status.success(), "a backup is never written over");
    relay.kill();

    let to = TempDir::new().unwrap();
    let data = to.path().join("data");
    succeeds(&["restore", "--data", text(&data), "--from", text(&backup)]);
    let origin = std::fs::read_to_string(data.join("log-origin")).unwrap();
    succeeds(&["log", "adopt", "--data", text(&data), "--i-understand-that-this-retires", origin.trim()]);
    let restored = Process::start(to.path());
    let sender = User { url: restored.url.clone(), ..sender };
    let payload = noise(3, 5000);
    assert_eq!(sender.upload(&payload, json!({})).await.status(), StatusCode::OK);
    let answer = sender.request(Method::GET, "/log/checkpoint").send().await.unwrap();
    assert!(!answer.text().await.unwrap().starts_with(&origin), "the log has another name");
}

#[test]
fn a_restore_that_was_cut_off_keeps_a_relay_from_starting() {
    let home = TempDir::new().unwrap();
    let (data, backup) = (home.path().join("data"), home.path().join("backup.tar"));
    std::fs::write(&backup, b"not a tar at all").unwrap();
    assert!(!run(&["restore", "--data", text(&data), "--from", text(&backup)]).status.success());
    let refused = run(&["--data", text(&data)]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("paramant-relay restore"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_keeps_relays_and_other_restores_out_until_it_has_ended() {
    let home = TempDir::new().unwrap();
    let relay = Process::start(home.path());
    let sender = User::new(&relay.url).await;
    until("there is a checkpoint", async || {
        let answer = Client::new().get(format!("{}/log/checkpoint", relay.url)).send().await.unwrap();
        answer.status() == StatusCode::OK
    })
    .await;
    let (data, backup) = (home.path().join("data"), home.path().join("backup.tar"));
    succeeds(&["backup", "--data", text(&data), "--to", text(&backup)]);
    relay.kill();

    let to = TempDir::new().unwrap();
    let data = to.path().join("data");
    let mut slow = Command::new(env!("CARGO_BIN_EXE_paramant-relay"))
        .args(["restore", "--data", text(&data), "--from", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes = std::fs::read(&backup).unwrap();
    let mut input = slow.stdin.take().unwrap();
    input.write_all(&bytes[..bytes.len() / 2]).unwrap();
    until("the first restore is at work", async || data.join("restoring").exists()).await;
    for other in
        [vec!["restore", "--data", text(&data), "--from", text(&backup)], vec!["--data", text(&data)]]
    {
        let refused = run(&other);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("a restore into it"), "{other:?}: {said}");
    }
    input.write_all(&bytes[bytes.len() / 2..]).unwrap();
    drop(input);
    assert!(slow.wait().unwrap().success());
    let restored = Process::start(to.path());
    let sender = User { url: restored.url.clone(), ..sender };
    assert_eq!(sender.upload(&noise(4, 100), json!({})).await.status(), StatusCode::OK);
}

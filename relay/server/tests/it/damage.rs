//! Files of a relay that were removed, shortened or changed behind its back: nothing false is served, what is lost is said where
//! people look, and what is left is put in order or left alone.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use futures::StreamExt as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::history::left;
use crate::relay::{Relay, User, hash, noise, until};
use crate::spawned::{Process, said};
use crate::uploads::list_hash;

/// The files of all payloads.
fn payloads(dir: &Path) -> Vec<PathBuf> {
    let directories = std::fs::read_dir(dir.join("data/blobs")).unwrap();
    let files = directories.flat_map(|directory| std::fs::read_dir(directory.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

fn flip(file: &Path, at: u64) {
    let mut file = std::fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
}

async fn lost(relay: &Relay, what: &str) -> u64 {
    let url = format!("http://{}/metrics", relay.running.addresses.probes);
    let text = relay.http.get(url).send().await.unwrap().text().await.unwrap();
    let line = format!("paramant_payloads_lost_total{{what=\"{what}\"}} ");
    text.lines().find_map(|it| it.strip_prefix(&line)).unwrap().parse().unwrap()
}

/// Causes of burns in the log.
async fn burns(relay: &Relay) -> Vec<String> {
    let log = relay.running.app.core.log.clone();
    let entries = tokio::task::spawn_blocking(move || log.engine().entries(0, 1000)).await.unwrap().unwrap();
    let entries = entries.iter().map(|entry| serde_json::from_slice::<Value>(&entry.bytes).unwrap());
    let burns = entries.filter(|entry| entry["k"] == "transfer_burned");
    burns.map(|entry| entry["b"]["cause"].as_str().unwrap().to_owned()).collect()
}

/// Reads; what came, and whether it ended as announced.
async fn read(user: &User, name: &str) -> (StatusCode, Vec<u8>, bool) {
    let answer = user.download(name).await;
    let status = answer.status();
    let (mut got, mut pieces) = (Vec::new(), answer.bytes_stream());
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => got.extend_from_slice(&piece),
            Err(_) => return (status, got, false),
        }
    }
    (status, got, true)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_with_a_flipped_byte_is_never_served_and_reported() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    // In the first frame, in the last tag, and far behind what is read before the first byte goes out.
    for (round, (len, at)) in
        [(100, 50), (100, 115), (5_000_000, 4_000_000), (5_000_000, 700_000)].into_iter().enumerate()
    {
        let payload = noise(round as u64 + 1, len);
        assert_eq!(user.upload_raw(payload.clone(), "?max_views=3").await.status(), StatusCode::OK);
        flip(&payloads(relay.dir.path())[0], at);
        let (status, got, whole) = read(&user, &hash(&payload)).await;
        if len == 100 {
            assert_eq!(status, StatusCode::NOT_FOUND);
        } else {
            assert!(status == StatusCode::OK && !whole, "{at}");
            assert!(payload.starts_with(&got) && got.len() as u64 <= at, "what came is what was sent: {at}");
        }
        relay.all_burned().await;
        until("its row is gone", async || left::rows(relay.dir.path()) == 0).await;
        assert_eq!(user.download(&hash(&payload)).await.status(), StatusCode::NOT_FOUND);
        assert_eq!(lost(&relay, "damaged").await, round as u64 + 1);
    }
    assert_eq!(burns(&relay).await, ["lost"; 4]);
    assert_eq!((lost(&relay, "file").await, lost(&relay, "key").await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_whose_file_is_gone_or_short_is_absent_and_reported() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 200_000);
    assert_eq!(user.upload_raw(payload.clone(), "?max_views=3").await.status(), StatusCode::OK);
    std::fs::remove_file(&payloads(relay.dir.path())[0]).unwrap();
    assert_eq!(read(&user, &hash(&payload)).await.0, StatusCode::NOT_FOUND);
    relay.all_burned().await;
    assert_eq!(lost(&relay, "file").await, 1);

    let payload = noise(2, 3_000_000);
    assert_eq!(user.upload_raw(payload.clone(), "").await.status(), StatusCode::OK);
    let file = std::fs::OpenOptions::new().write(true).open(&payloads(relay.dir.path())[0]).unwrap();
    file.set_len(1_000_000).unwrap();
    let (_, got, whole) = read(&user, &hash(&payload)).await;
    assert!(!whole && payload.starts_with(&got) && got.len() <= 1_000_000);
    relay.all_burned().await;
    assert_eq!(lost(&relay, "file").await, 2);

    // One chunk of several.
    let upload = user.opened(payload.len(), json!({})).await;
    user.put_all(&upload, &payload).await;
    assert_eq!(user.complete(&upload).await.status(), StatusCode::OK);
    let mut files = payloads(relay.dir.path());
    assert_eq!(files.len(), payload.len().div_ceil(64 << 10));
    // A directory has no order. They were written one after the other; without the first, nothing of the payload is sent.
    files.sort_by_key(|file| file.metadata().unwrap().modified().unwrap());
    std::fs::remove_file(files.last().unwrap()).unwrap();
    let (status, got, whole) = read(&user, &list_hash(&payload, 64 << 10)).await;
    assert_eq!(status, StatusCode::OK);
    assert!(!whole && got.len() < payload.len() && payload.starts_with(&got));
    relay.all_burned().await;
    assert_eq!(lost(&relay, "file").await, 3);
    until("its row is gone", async || left::rows(relay.dir.path()) == 0).await;
    assert_eq!(burns(&relay).await, ["lost"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_is_taken_back_under_its_readers_is_no_loss() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    for seed in 0..40 {
        let payload = noise(seed, 1_000_000);
        assert_eq!(user.upload_raw(payload.clone(), "?max_views=4").await.status(), StatusCode::OK);
        let name = hash(&payload);
        let path = format!("/v2/inbound/{name}");
        let taking_back = user.request(Method::DELETE, &path).send();
        // A reader whose view is taken back before its first byte may be left without any answer.
        let read = async || match user.request(Method::GET, &format!("/v2/outbound/{name}")).send().await {
            Ok(answer) => drop(answer.bytes().await),
            Err(error) => assert!(error.is_request(), "{error}"),
        };
        let reads = futures::future::join_all((0..3).map(|_| read()));
        let (_, taken_back) = tokio::join!(reads, taking_back);
        assert_eq!(taken_back.unwrap().status(), StatusCode::OK);
        relay.all_burned().await;
    }
    for what in ["key", "file", "damaged"] {
        assert_eq!(lost(&relay, what).await, 0, "{what}");
    }
}

/// A directory with one unread payload, left by a relay that was killed; its reader.
async fn left_with_a_payload(home: &TempDir) -> (User, Vec<u8>) {
    let process = Process::start(home.path());
    let user = User::new(&process.url).await;
    let payload = noise(1, 5000);
    assert_eq!(user.upload(&payload, json!({ "ttl_ms": 3_600_000 })).await.status(), StatusCode::OK);
    process.kill();
    (user, payload)
}

fn refused(home: &TempDir) -> String {
    assert!(Process::try_start(home.path()).is_err(), "it started: {}", said(home.path()));
    said(home.path())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_was_cut_stops_the_start_until_somebody_says_that_it_is_lost() {
    for removed in [false, true] {
        let home = TempDir::new().unwrap();
        let (user, payload) = left_with_a_payload(&home).await;
        let slots = home.path().join("data/keys.slots");
        let whole = std::fs::read(&slots).unwrap();
        if removed {
            std::fs::remove_file(&slots).unwrap();
        } else {
            std::fs::write(&slots, b"").unwrap();
        }
        let said_first = refused(&home);
        assert!(
            said_first.contains("keys.slots") && said_first.contains("truncate -s 262144"),
            "{said_first}"
        );
        assert_eq!(payloads(home.path()).len(), 1, "nothing is destroyed");

        if removed {
            // It was found again.
            std::fs::write(&slots, whole).unwrap();
            let process = Process::start(home.path());
            let user = User { url: process.url.clone(), ..user };
            assert_eq!(user.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
        } else {
            std::fs::OpenOptions::new().write(true).open(&slots).unwrap().set_len(262_144).unwrap();
            let process = Process::start(home.path());
            let user = User { url: process.url.clone(), ..user };
            assert_eq!(user.download(&hash(&payload)).await.status(), StatusCode::NOT_FOUND);
            assert_eq!((payloads(home.path()).len(), left::rows(home.path())), (0, 0));
            assert!(said(home.path()).contains("lost its key or its file"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_damaged_or_missing_stops_the_start_and_nothing_is_destroyed() {
    let home = TempDir::new().unwrap();
    let (user, payload) = left_with_a_payload(&home).await;
    let data = home.path().join("data");
    let meta = |suffix: &str| data.join(format!("meta.db{suffix}"));
    // What is in the log beside it is checked into it first.
    rusqlite::Connection::open(meta("")).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let whole = std::fs::read(meta("")).unwrap();

    let mut damaged = whole.clone();
    damaged[..4096].fill(b'x');
    std::fs::write(meta(""), damaged).unwrap();
    let text = refused(&home);
    assert!(text.contains("meta.db is damaged") && text.contains("paramant-relay restore"), "{text}");

    let mut damaged = whole.clone();
    damaged[4096..200_000].fill(b'x');
    std::fs::write(meta(""), damaged).unwrap();
    let text = refused(&home);
    assert!(text.contains("meta.db is damaged") && text.contains("paramant-relay restore"), "{text}");

    for file in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(meta(file));
    }
    let text = refused(&home);
    assert!(text.contains("meta.db is missing") && text.contains("paramant-relay restore"), "{text}");
    assert!(!meta("").exists(), "no empty one is put in its place");
    assert_eq!(payloads(home.path()).len(), 1);

    std::fs::write(meta(""), whole).unwrap();
    let process = Process::start(home.path());
    let user = User { url: process.url.clone(), ..user };
    assert_eq!(user.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
}

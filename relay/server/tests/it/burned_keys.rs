//! Keys of payloads that were read, cancelled or expired are found nowhere: not on disk, not in a backup, not in the memory of
//! the relay. The search is shown to find them first, in all three places.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures::StreamExt as _;
use memchr::memmem;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;

use crate::relay::{User, hash, noise, until};
use crate::spawned::Process;

/// Bytes of memory searched at a time; a key that lies across two pieces is seen in the overlap.
const PIECE: usize = 4 << 20;

/// A key, held so that this process's own copy is not what is found.
struct Masked([u8; 32]);

impl Masked {
    fn pattern(&self) -> [u8; 32] {
        self.0.map(|byte| byte ^ 0xA5)
    }
}

/// The keys in the slots of a data directory.
fn keys(data: &Path) -> Vec<Masked> {
    let slots = std::fs::read(data.join("keys.slots")).unwrap();
    let used = slots.chunks_exact(64).filter(|slot| slot.starts_with(b"PKS1"));
    used.map(|slot| Masked(<[u8; 32]>::try_from(&slot[8..40]).unwrap().map(|byte| byte ^ 0xA5))).collect()
}

/// How many of the keys are in these bytes.
fn count(keys: &[Masked], bytes: &[u8]) -> usize {
    keys.iter().filter(|key| memmem::find(bytes, &key.pattern()).is_some()).count()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn on_disk(keys: &[Masked], directory: &Path) -> BTreeMap<String, usize> {
    let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    // A file may be gone by the time it is read: payloads are being burned.
    let counted = files(directory).into_iter().filter_map(|path| {
        let bytes = std::fs::read(&path).ok()?;
        Some((named(&path), count(keys, &bytes))).filter(|(_, count)| *count > 0)
    });
    counted.collect()
}

/// In which parts of a process's memory keys are, and how many.
fn in_memory(keys: &[Masked], process: u32) -> BTreeMap<String, usize> {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mut memory = std::fs::File::open(format!("/proc/{process}/mem")).unwrap();
    let mut found = BTreeMap::new();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        if !rights.starts_with('r') || line.ends_with("[vvar]") || line.ends_with("[vsyscall]") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let (mut at, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        let mut piece = vec![0; PIECE];
        while at < to {
            let length = PIECE.min(usize::try_from(to - at).unwrap());
            memory.seek(SeekFrom::Start(at)).unwrap();
            // Pages may go while they are read.
            let Ok(read) = memory.read(&mut piece[..length]) else { break };
            let here = count(keys, &piece[..read]);
            if here > 0 {
                *found.entry(line.to_owned()).or_default() += here;
            }
            if read <= 32 || at + read as u64 >= to {
                break;
            }
            at += read as u64 - 31;
        }
    }
    found
}

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
    let keys = keys(&data);
    assert_eq!(keys.len(), payloads.len());
    assert_eq!(on_disk(&keys, &data)["keys.slots"], keys.len(), "the search finds them where they are");
    let before = backup(&data, &home.path().join("before.tar"));
    assert_eq!(count(&keys, &before), 0, "no backup holds a key");
    let planted = [&before[..], &keys[3].pattern()].concat();
    assert_eq!(count(&keys, &planted), 1, "the search would find one in a backup");

    // A reader in the middle of a file: its key is in memory.
    let mut reading = user.download(&hash(&payloads[7])).await.bytes_stream();
    let mut read = reading.next().await.unwrap().unwrap().len();
    assert!(!in_memory(&keys, relay.id()).is_empty(), "the search finds a key that is in use");
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
    until("all is burned", async || on_disk(&keys, &data).is_empty()).await;
    let after = backup(&data, &home.path().join("after.tar"));
    assert_eq!(count(&keys, &after), 0);
    // What holds a connection or a thread's memory may be given back a moment later.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let left = in_memory(&keys, relay.id());
    assert!(left.is_empty(), "{left:#?}");
}

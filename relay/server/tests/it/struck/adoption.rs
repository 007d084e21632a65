//! `paramant-relay log adopt` with its system calls made to fail, or to be its last: the next run brings it to its end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use paramant_protocol::entry::Entry;
use paramant_protocol::entry::body::Body;
use paramant_relay::adoption::{AdoptError, Request, adopt};
use reqwest::StatusCode;
use serde_json::json;
use tempfile::TempDir;

use super::{CALLS, Strike, counts, spread, tracer, unable, was_struck};
use crate::relay::{Relay, User, hash, noise};

const NEW: &str = "new.example/log";
/// How many of each call are struck.
const OF_EACH: u64 = 3;

/// A data directory that is to be adopted, and what must outlive that.
struct Original {
    dir: TempDir,
    name: String,
    user: User,
    payload: Vec<u8>,
    log: BTreeMap<PathBuf, Vec<u8>>,
}

impl Original {
    async fn new() -> Self {
        let relay = Relay::start().await;
        let (user, payload) = (relay.user().await, noise(1, 500));
        assert_eq!(user.upload(&payload, json!({ "ttl_ms": 3_600_000 })).await.status(), StatusCode::OK);
        let name = relay.running.app.core.log.origin().to_owned();
        let dir = relay.stop().await;
        let log = files(&dir.path().join("data/log"));
        Self { dir, name, user, payload, log }
    }

    /// A copy; zeros take no time and no room.
    fn copy(&self) -> TempDir {
        let to = TempDir::new().unwrap();
        let copied = Command::new("cp")
            .args(["-a", "--sparse=always"])
            .arg(self.dir.path().join("data"))
            .arg(to.path())
            .status();
        assert!(copied.unwrap().success());
        to
    }

    /// The command, under a tracer that becomes it.
    fn adopt(&self, dir: &Path, mut tracer: Command) -> bool {
        tracer
            .arg(env!("CARGO_BIN_EXE_paramant-relay"))
            .args(["log", "adopt", "--data"])
            .arg(dir.join("data"));
        tracer.args(["--i-understand-that-this-retires", &self.name, "--origin", NEW]);
        // Its output is at its end when the tracer has ended as well.
        tracer.output().unwrap().status.success()
    }

    /// Another run, not struck; then the relay over the new log.
    async fn settle(&self, dir: TempDir) -> Result<(), String> {
        let data = dir.path().join("data");
        match adopt(&data, Request { retire: &self.name, origin: Some(NEW) }) {
            Ok(done) if done.origin == NEW => {}
            // The one before came to its end, and only its answer was lost.
            Err(AdoptError::AnotherLog { found, .. }) if found == NEW => {}
            other => return Err(format!("{other:?}")),
        }
        let place = data.join("retired-logs/0");
        if files(&place.join("log")) != self.log {
            return Err("the old log is not as it was".to_owned());
        }
        if std::fs::read_dir(place.join("log-keys")).unwrap().any(|left| left.unwrap().path().is_file()) {
            return Err("private keys of the old log are left".to_owned());
        }
        if data.join("adopting").exists() || data.join("adoption.json").exists() {
            return Err("something of the adoption is left".to_owned());
        }
        let relay = Relay::over(dir, |_| ()).await;
        let first = relay.running.app.core.log.engine().entry(0).unwrap().unwrap();
        let first = Entry::parse(&first.bytes).unwrap();
        if !matches!(first.body(), Some(Body::LogAdopted(it)) if it.origin == self.name) {
            return Err("the new log does not begin with the old one's name".to_owned());
        }
        let user = User { url: relay.url.clone(), ..self.user.clone() };
        let answer = user.download(&hash(&self.payload)).await;
        let whole = answer.bytes().await.is_ok_and(|got| got == self.payload);
        relay.stop().await;
        if whole { Ok(()) } else { Err("what was unread is gone".to_owned()) }
    }
}

fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adoption_whose_system_calls_fail_or_are_its_last_is_brought_to_its_end() {
    if unable() {
        return;
    }
    let started = std::time::Instant::now();
    let original = Arc::new(Original::new().await);
    let dir = original.copy();
    let trace = dir.path().join("trace");
    assert!(original.adopt(dir.path(), tracer(&trace, &[format!("trace={}", CALLS.join(","))])));
    let counts = counts(&std::fs::read_to_string(trace).unwrap());
    original.settle(dir).await.unwrap();

    // Planted: a log that changes while it is retired, and keys that stay.
    let dir = original.copy();
    adopt(&dir.path().join("data"), Request { retire: &original.name, origin: Some(NEW) }).unwrap();
    let keys = dir.path().join("data/retired-logs/0/log-keys");
    std::fs::set_permissions(&keys, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(keys.join("ed25519.seed"), "planted").unwrap();
    assert!(original.settle(dir).await.unwrap_err().contains("private keys"));

    let strikes = spread(&counts, OF_EACH);
    let total = strikes.len();
    let queue = Arc::new(Mutex::new(strikes));
    let workers = (0..4).map(|_| tokio::spawn(strike_all(Arc::clone(&original), Arc::clone(&queue))));
    let (mut struck, mut cut, mut wrong) = (0, 0, Vec::new());
    for worker in workers.collect::<Vec<_>>() {
        let tally = worker.await.unwrap();
        struck += tally.struck;
        cut += tally.cut;
        wrong.extend(tally.wrong);
    }
    println!(
        "adoption under strace: calls {counts:?}; {total} runs, {struck} struck, {cut} cut off, {:.1} s",
        started.elapsed().as_secs_f64()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(struck * 10 >= total * 9, "only {struck} of {total} runs were struck");
    assert!(cut * 2 >= total, "only {cut} of {total} runs were cut off");
}

#[derive(Default)]
struct Tally {
    struck: usize,
    cut: usize,
    wrong: Vec<String>,
}

async fn strike_all(original: Arc<Original>, queue: Arc<Mutex<Vec<Strike>>>) -> Tally {
    let mut tally = Tally::default();
    loop {
        let Some(strike) = queue.lock().unwrap().pop() else { return tally };
        let dir = original.copy();
        let trace = dir.path().join("trace");
        let ended = original.adopt(dir.path(), strike.tracer(&trace, &dir.path().join("data")));
        tally.struck += usize::from(was_struck(&trace) || !ended);
        tally.cut += usize::from(!ended);
        tally.wrong.extend(original.settle(dir).await.err().map(|what| format!("{strike:?}: {what}")));
    }
}

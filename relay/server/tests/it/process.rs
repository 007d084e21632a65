//! The command itself: what it prints, how it ends, what it refuses.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::relay::{hash, inbound, noise, until};

const ADMIN: &str = "token of the process tests";

struct Process {
    child: Child,
    url: String,
    probes: String,
    _stdout: BufReader<ChildStdout>,
}

fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paramant-relay"));
    command.arg("--data").arg(data).args(["--listen", "127.0.0.1:0", "--probes-listen", "127.0.0.1:0"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Process {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (mut url, mut probes) = (None, None);
        while url.is_none() || probes.is_none() {
            let mut line = String::new();
            if stdout.read_line(&mut line).unwrap() == 0 {
                let mut said = String::new();
                child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("the relay did not start: {said}");
            }
            let word = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
            if line.contains("clients") {
                url = word(&line);
            } else if line.contains("probes") {
                probes = word(&line).map(|readyz| readyz.trim_end_matches("/readyz").to_owned());
            }
        }
        Self { child, url: url.unwrap(), probes: probes.unwrap(), _stdout: stdout }
    }

    /// Waits until an upload is under way.
    async fn takes_an_upload(&self, http: &reqwest::Client) {
        let metrics = format!("{}/metrics", self.probes);
        until("the upload is under way", async || {
            let text = http.get(&metrics).send().await.unwrap().text().await.unwrap();
            text.contains("paramant_in_flight{kind=\"uploads\"} 1")
        })
        .await;
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(&mut self, within: Duration) -> ExitStatus {
        end_of(&mut self.child, within)
    }

    fn said(&mut self) -> String {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn end_of(child: &mut Child, within: Duration) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if began.elapsed() > within {
            child.kill().unwrap();
            panic!("the relay did not end in {within:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn config(dir: &Path, more: &str) -> std::path::PathBuf {
    let token = dir.join("token");
    std::fs::write(&token, ADMIN).unwrap();
    let path = dir.join("relay.yaml");
    std::fs::write(&path, format!("admin: {{ tokenFile: {} }}\n{more}", token.display())).unwrap();
    path
}

async fn key(url: &str) -> String {
    let made = reqwest::Client::new()
        .post(format!("{url}/v2/admin/keys"))
        .header("X-Admin-Token", ADMIN)
        .body("{}")
        .send()
        .await
        .unwrap();
    made.json::<Value>().await.unwrap()["key"].as_str().unwrap().to_owned()
}

#[test]
fn a_data_directory_is_all_it_needs_and_sigterm_ends_it_with_zero() {
    let temp = TempDir::new().unwrap();
    let mut relay = Process::start(command(&temp.path().join("data")));
    relay.signal(Signal::TERM);
    assert_eq!(relay.end(Duration::from_secs(60)).code(), Some(0));
    let said = relay.said();
    assert!(said.contains("setup_code"), "{said}");
    for line in said.lines() {
        let line: Value = serde_json::from_str(line).expect(line);
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
}

#[test]
fn a_second_process_on_the_same_directory_is_told_so() {
    let temp = TempDir::new().unwrap();
    let _first = Process::start(command(temp.path()));
    let second = command(temp.path()).output().unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(
        said.contains(temp.path().to_str().unwrap()) && said.contains("another paramant-relay"),
        "{said}"
    );
}

#[test]
fn a_wrong_settings_file_keeps_it_from_starting_and_names_the_field() {
    let temp = TempDir::new().unwrap();
    let path = config(temp.path(), "limits: { maxBlobb: 5Mi }\n");
    let refused = command(&temp.path().join("data")).arg("--config").arg(&path).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("maxBlobb") && said.contains("relay.yaml"), "{said}");
    let missing =
        command(&temp.path().join("data")).args(["--config", "/nowhere/relay.yaml"]).output().unwrap();
    assert!(String::from_utf8(missing.stderr).unwrap().contains("/nowhere/relay.yaml"));
}

#[test]
fn a_damaged_log_ends_it_with_exit_code_70() {
    let temp = TempDir::new().unwrap();
    let mut relay = Process::start(command(temp.path()));
    relay.signal(Signal::TERM);
    relay.end(Duration::from_secs(60));
    std::fs::write(temp.path().join("log/checkpoint"), "not a checkpoint").unwrap();
    let refused = command(temp.path()).output().unwrap();
    assert_eq!(refused.status.code(), Some(70), "{}", String::from_utf8_lossy(&refused.stderr));
}

/// A relay that took one upload and was ended; answers its directory, and its log as it was before the upload.
async fn one_upload(temp: &TempDir) -> (PathBuf, PathBuf) {
    let (data, before) = (temp.path().join("data"), temp.path().join("before"));
    let config = config(temp.path(), "limits: { minFreeDisk: 0 }\n");
    let start = || {
        let mut start = command(&data);
        start.arg("--config").arg(&config);
        Process::start(start)
    };
    let end = |mut relay: Process| {
        relay.signal(Signal::TERM);
        assert_eq!(relay.end(Duration::from_secs(60)).code(), Some(0));
    };
    let relay = start();
    let key = key(&relay.url).await;
    end(relay);
    for part in ["log", "sth"] {
        copy(&data.join(part), &before.join(part));
    }
    let relay = start();
    let body = inbound(&hash(b"x"), b"x", json!({ "ttl_ms": 3_600_000 })).to_string();
    let path = format!("{}/v2/inbound", relay.url);
    let sent = reqwest::Client::new().post(path).header("X-Api-Key", key).body(body).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::OK);
    end(relay);
    (data, before)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() { copy(&from, &to) } else { std::fs::copy(from, to).map(drop).unwrap() }
    }
}

fn refused_with_70(data: &Path) -> String {
    let mut refused = command(data).spawn().unwrap();
    let code = end_of(&mut refused, Duration::from_secs(60)).code();
    let mut said = String::new();
    refused.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(code, Some(70), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_older_than_the_rows_beside_it_ends_the_start_with_exit_code_70() {
    let temp = TempDir::new().unwrap();
    let (data, before) = one_upload(&temp).await;
    for part in ["log", "sth"] {
        std::fs::remove_dir_all(data.join(part)).unwrap();
        copy(&before.join(part), &data.join(part));
    }
    let said = refused_with_70(&data);
    assert!(said.contains("meta.db") && said.contains("blobs") && said.contains("restore"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_names_another_entry_of_the_log_ends_the_start_with_exit_code_70() {
    let temp = TempDir::new().unwrap();
    let (data, _) = one_upload(&temp).await;
    let meta = rusqlite::Connection::open(data.join("meta.db")).unwrap();
    meta.execute("UPDATE blobs SET leaf = zeroblob(32)", []).unwrap();
    drop(meta);
    let said = refused_with_70(&data);
    assert!(said.contains("meta.db") && said.contains("blobs") && said.contains("restore"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_refuses_uploads_and_waits_for_the_one_in_progress() {
    let temp = TempDir::new().unwrap();
    let path = config(temp.path(), "terminationGrace: 60s\n");
    let mut start = command(&temp.path().join("data"));
    start.arg("--config").arg(&path);
    let mut relay = Process::start(start);
    let key = key(&relay.url).await;
    let payload = noise(1, 60_000);
    let body = inbound(&hash(&payload), &payload, json!({})).to_string().into_bytes();

    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(4);
    let slow = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let http = reqwest::Client::new();
    let upload = http.post(format!("{}/v2/inbound", relay.url)).header("X-Api-Key", &key).body(slow).send();
    let upload = tokio::spawn(upload);
    let (first, second) = body.split_at(body.len() / 2);
    sender.send(Ok(first.to_vec())).await.unwrap();
    relay.takes_an_upload(&http).await;

    relay.signal(Signal::TERM);
    until("other uploads are refused", async || {
        let other = inbound(&hash(b"x"), b"x", json!({})).to_string();
        let other = http.post(format!("{}/v2/inbound", relay.url)).header("X-Api-Key", &key).body(other);
        other.send().await.unwrap().status() == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    assert!(relay.child.try_wait().unwrap().is_none(), "it waits for the upload");

    sender.send(Ok(second.to_vec())).await.unwrap();
    drop(sender);
    assert_eq!(upload.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(relay.end(Duration::from_secs(60)).code(), Some(0));

    let mut again = command(&temp.path().join("data"));
    again.arg("--config").arg(&path);
    let again = Process::start(again);
    let url = format!("{}/v2/outbound/{}", again.url, hash(&payload));
    let read = http.get(url).header("X-Api-Key", &key).send().await.unwrap();
    assert_eq!(read.bytes().await.unwrap(), payload, "what was acknowledged while ending is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_waits_for_readers_of_what_is_in_memory_only() {
    let temp = TempDir::new().unwrap();
    let path = config(temp.path(), "terminationGrace: 60s\npayload: Memory\nlimits: { minFreeDisk: 0 }\n");
    let mut start = command(&temp.path().join("data"));
    start.arg("--config").arg(&path);
    let mut relay = Process::start(start);
    let key = key(&relay.url).await;
    let payload = noise(1, 60_000);
    let body = inbound(&hash(&payload), &payload, json!({})).to_string();
    let http = reqwest::Client::new();
    let upload = async |body: String| {
        let upload = http.post(format!("{}/v2/inbound", relay.url)).header("X-Api-Key", &key).body(body);
        upload.send().await.unwrap().status()
    };
    assert_eq!(upload(body).await, StatusCode::OK);
    relay.signal(Signal::TERM);
    // Under another hash: taken a moment before the signal is heard, it would be one more file to wait for.
    let other = inbound(&hash(b"x"), b"y", json!({})).to_string();
    until("uploads are refused", async || upload(other.clone()).await == StatusCode::SERVICE_UNAVAILABLE)
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(relay.child.try_wait().unwrap().is_none(), "it waits for the reader");
    let ready = http.get(format!("{}/readyz", relay.probes)).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::OK, "and can be reached");
    let url = format!("{}/v2/outbound/{}", relay.url, hash(&payload));
    let read = http.get(url).header("X-Api-Key", &key).send().await.unwrap();
    assert_eq!(read.bytes().await.unwrap(), payload);
    assert_eq!(relay.end(Duration::from_secs(30)).code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let temp = TempDir::new().unwrap();
    let path = config(temp.path(), "terminationGrace: 60s\n");
    let mut start = command(&temp.path().join("data"));
    start.arg("--config").arg(&path);
    let mut relay = Process::start(start);
    let key = key(&relay.url).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let endless = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let url = format!("{}/v2/inbound", relay.url);
    let upload = reqwest::Client::new().post(url).header("X-Api-Key", &key).body(endless).send();
    let upload = tokio::spawn(upload);
    sender.send(Ok(b"{\"hash\":".to_vec())).await.unwrap();
    let http = reqwest::Client::new();
    relay.takes_an_upload(&http).await;
    relay.signal(Signal::TERM);
    until("the first signal is heard", async || {
        let other = inbound(&hash(b"x"), b"x", json!({})).to_string();
        let other = http.post(format!("{}/v2/inbound", relay.url)).header("X-Api-Key", &key).body(other);
        other.send().await.unwrap().status() == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    assert!(relay.child.try_wait().unwrap().is_none());
    relay.signal(Signal::TERM);
    // Long before the grace is over.
    assert_eq!(relay.end(Duration::from_secs(30)).code(), Some(130));
    upload.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_limit_takes_effect_and_a_broken_file_changes_nothing() {
    let temp = TempDir::new().unwrap();
    let path = config(temp.path(), "limits: { maxBlob: 1Ki, minFreeDisk: 0 }\n");
    let mut start = command(&temp.path().join("data"));
    start.arg("--config").arg(&path);
    let relay = Process::start(start);
    let key = key(&relay.url).await;
    let http = reqwest::Client::new();
    let upload = async |seed: u64| {
        let payload = noise(seed, 3000);
        let body = inbound(&hash(&payload), &payload, json!({})).to_string();
        let sent = http.post(format!("{}/v2/inbound", relay.url)).header("X-Api-Key", &key).body(body).send();
        sent.await.unwrap().status()
    };
    assert_eq!(upload(1).await, StatusCode::PAYLOAD_TOO_LARGE);
    config(temp.path(), "limits: { maxBlob: 1Mi, minFreeDisk: 0 }\n");
    until("the new limit is in force", async || upload(1).await == StatusCode::OK).await;
    config(temp.path(), "limits: { maxBlob: 1Ki\n");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(upload(2).await, StatusCode::OK, "the last good settings stay in force");
}

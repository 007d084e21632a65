//! Uploads and downloads over lines that cut, reset, delay and shred, both ways: by Toxiproxy, written elsewhere.
//!
//! Runs when `PARAMANT_JUDGES` names the directory with `toxiproxy`, as `cargo xtask test` does.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::future::join_all;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::relay::{User, hash, keys_left, noise, payload_files, until};
use crate::spawned::Process;
use crate::vitals::Vitals;

/// More than all buffers between relay and client hold, so that a line that ends early is noticed.
const LARGE: usize = 12_000_000;
/// Of each kind of line and direction.
const UPLOADS: u64 = 4;

struct Toxiproxy {
    child: Child,
    admin: String,
    http: Client,
}

impl Toxiproxy {
    async fn start(program: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command
            .args(["-host", "127.0.0.1", "-port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let this = Self {
            child: command.spawn().unwrap(),
            admin: format!("http://127.0.0.1:{port}"),
            http: Client::new(),
        };
        until("toxiproxy answers", async || {
            this.http.get(format!("{}/version", this.admin)).send().await.is_ok()
        })
        .await;
        this
    }

    /// A line to the relay that suffers from this; its address.
    async fn line(&self, to: &str, line: &Line) -> String {
        let name = format!("{}-{}", line.toxic, line.direction);
        let proxy = json!({ "name": name, "listen": "127.0.0.1:0", "upstream": to, "enabled": true });
        let made = self.ask("/proxies", proxy).await;
        let toxic = json!({ "type": line.toxic, "stream": line.direction, "toxicity": 1.0, "attributes": line.attributes });
        self.ask(&format!("/proxies/{name}/toxics"), toxic).await;
        format!("http://{}", made["listen"].as_str().unwrap())
    }

    async fn ask(&self, path: &str, body: Value) -> Value {
        let answer =
            self.http.post(format!("{}{path}", self.admin)).body(body.to_string()).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap()
    }
}

impl Drop for Toxiproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Line {
    toxic: &'static str,
    /// `upstream` is towards the relay.
    direction: &'static str,
    attributes: Value,
    /// Whether nothing of some size comes through it.
    cuts: bool,
}

impl Line {
    /// Whether it takes what the relay sends and throws it away: as far as a relay can know, that was read.
    fn swallows(&self) -> bool {
        self.toxic == "timeout" && self.direction == "downstream"
    }
}

fn lines() -> Vec<Line> {
    let kinds = [
        ("timeout", json!({ "timeout": 700 }), true),
        ("reset_peer", json!({ "timeout": 150 }), true),
        ("limit_data", json!({ "bytes": 1_000_000 }), true),
        ("slow_close", json!({ "delay": 500 }), false),
        ("latency", json!({ "latency": 60, "jitter": 40 }), false),
        ("bandwidth", json!({ "rate": 8000 }), false),
        ("slicer", json!({ "average_size": 3000, "size_variation": 2000, "delay": 20 }), false),
    ];
    let both = ["upstream", "downstream"];
    kinds
        .into_iter()
        .flat_map(|(toxic, attributes, cuts)| {
            both.map(|direction| Line { toxic, direction, attributes: attributes.clone(), cuts })
        })
        .collect()
}

/// What came of one line.
#[derive(Debug, Default)]
struct Tally {
    acknowledged: usize,
    cut: usize,
}

/// Uploads over the line. Whatever became of them, each is there once, whole, after it was sent again.
async fn uploads(direct: &User, line: &User, seed: u64) -> Tally {
    let sent = (0..UPLOADS).map(async |n| {
        let payload = noise(seed + n, if n % 2 == 0 { 2_000_000 } else { 70_000 });
        let (name, path) = (hash(&payload), format!("/v3/blobs/{}", hash(&payload)));
        let answer = line
            .request(Method::PUT, &path)
            .body(payload.clone())
            .timeout(Duration::from_secs(20))
            .send()
            .await;
        let acknowledged = answer.is_ok_and(|answer| answer.status() == StatusCode::OK);
        if acknowledged {
            assert!(direct.available(&name).await, "acknowledged and lost");
        }
        // A client that heard nothing sends it again.
        until("it is taken", async || {
            direct.upload_raw(payload.clone(), "").await.status() == StatusCode::OK
        })
        .await;
        assert_eq!(direct.download(&name).await.bytes().await.unwrap(), payload);
        assert_eq!(direct.download(&name).await.status(), StatusCode::NOT_FOUND, "once");
        acknowledged
    });
    let acknowledged = join_all(sent).await.into_iter().filter(|acknowledged| *acknowledged).count();
    Tally { acknowledged, cut: UPLOADS as usize - acknowledged }
}

/// A download over the line. What it did not bring whole is still there.
async fn download(direct: &User, line: &User, seed: u64, swallows: bool) -> Tally {
    let payload = noise(seed, LARGE);
    let name = hash(&payload);
    assert_eq!(direct.upload_raw(payload.clone(), "").await.status(), StatusCode::OK);
    let path = format!("/v2/outbound/{name}");
    let got = async {
        let answer = line.request(Method::GET, &path).timeout(Duration::from_secs(40)).send().await.ok()?;
        answer.bytes().await.ok()
    };
    let whole = got.await.is_some_and(|got| got == payload);
    if whole {
        assert_eq!(
            direct.download(&name).await.status(),
            StatusCode::NOT_FOUND,
            "read to its end, and disclosed again"
        );
        return Tally { acknowledged: 1, cut: 0 };
    }
    if swallows {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let answer = direct.download(&name).await;
        let status = answer.status();
        drop(answer.bytes().await.unwrap());
        assert!([StatusCode::OK, StatusCode::NOT_FOUND].contains(&status), "{status}");
        return Tally { acknowledged: 0, cut: 1 };
    }
    until("the view is back", async || direct.available(&name).await).await;
    assert_eq!(direct.download(&name).await.bytes().await.unwrap(), payload);
    assert_eq!(direct.download(&name).await.status(), StatusCode::NOT_FOUND);
    Tally { acknowledged: 0, cut: 1 }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_cut_delay_and_shred_lose_nothing_that_was_acknowledged() {
    let Some(judges) = std::env::var_os("PARAMANT_JUDGES").map(PathBuf::from) else {
        eprintln!("PARAMANT_JUDGES is not set: toxiproxy was not asked");
        return;
    };
    let program = judges.join("toxiproxy");
    assert!(program.is_file(), "PARAMANT_JUDGES is set, but toxiproxy is not in {}", judges.display());
    let dir = TempDir::new().unwrap();
    let process = Process::with_limits(dir.path(), "maxBlob: 16Mi");
    let toxiproxy = Toxiproxy::start(&program).await;
    let relay = process.url.strip_prefix("http://").unwrap();
    let user = User::new(&process.url).await;
    user.upload_raw(noise(9, LARGE), "").await;
    user.download(&hash(&noise(9, LARGE))).await.bytes().await.unwrap();
    let idle = Vitals::of(process.id());

    let lines = lines();
    for (number, line) in (0_u64..).zip(&lines) {
        let bad = User { url: toxiproxy.line(relay, line).await, http: Client::new(), ..user.clone() };
        let fresh = User { http: Client::new(), ..user.clone() };
        let seed = 100 * (number + 1);
        let (up, down) =
            tokio::join!(uploads(&fresh, &bad, seed), download(&fresh, &bad, seed + 50, line.swallows()));
        println!("{} {}: uploads {up:?}, downloads {down:?}", line.toxic, line.direction);
        if line.cuts {
            assert!(up.cut + down.cut > 0, "{} {} did no harm", line.toxic, line.direction);
        } else {
            let all = (UPLOADS as usize, 1);
            assert_eq!(
                (up.acknowledged, down.acknowledged),
                all,
                "{} {} only delays",
                line.toxic,
                line.direction
            );
        }
    }
    drop(toxiproxy);
    until("nothing of any payload is left", async || {
        payload_files(dir.path()) == 0 && !keys_left(dir.path())
    })
    .await;
    until("descriptors are back", async || Vitals::of(process.id()).descriptors <= idle.descriptors + 8)
        .await;
    let grown = Vitals::of(process.id()).memory.saturating_sub(idle.memory);
    assert!(grown < 32 << 20, "{grown} bytes more than before");
    let entries: Value = user.request(Method::GET, "/v2/ct/log").send().await.unwrap().json().await.unwrap();
    assert!(entries.is_object());
}

//! What one may not read takes the same time whatever the reason: measured, against a delay that was planted and must be found.
//!
//! Questions of all kinds are asked in turn, in an order that changes, over one connection. What counts is the median of the
//! differences to an unknown name asked for in the same round, so that what the machine does meanwhile meets all alike; how far
//! such a median strays by chance is told by the differences themselves, and by a second kind of unknown names.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;

use crate::relay::{User, hash, noise};
use crate::spawned::Process;

/// Names of each kind, so that no single page of the database decides.
const NAMES: u64 = 16;
const ROUNDS: usize = 1000;
/// A noisy machine is asked so often, until chance is small beside what was planted.
const MOST_ROUNDS: usize = 30 * ROUNDS;
/// How far chance may move a median that is judged.
const CERTAIN: f64 = 80.0;
/// A difference that nobody can use over a network, and that is a few reads of a database.
const NEGLIGIBLE: f64 = 25.0;
/// A difference that must be found.
const PLANTED: Duration = Duration::from_micros(200);
/// Times that a difference must be seen in a row. Chance does not repeat itself.
const REPEATED: usize = 3;

struct Kind {
    name: &'static str,
    hashes: Vec<String>,
    /// Waited for as part of the answer.
    planted: Duration,
}

fn kind(name: &'static str, seeds: u64) -> Kind {
    let hashes = (0..NAMES).map(|n| hash(&noise(seeds + n, 300))).collect();
    Kind { name, hashes, planted: Duration::ZERO }
}

struct Line(TcpStream);

impl Line {
    /// Asks, and answers how many microseconds it took to hear that there is nothing.
    fn ask(&mut self, question: &[u8], planted: Duration) -> f64 {
        let mut answer = Vec::with_capacity(2048);
        let mut piece = [0; 2048];
        let began = Instant::now();
        self.0.write_all(question).unwrap();
        while !is_whole(&answer) {
            let read = self.0.read(&mut piece).unwrap();
            assert!(read > 0, "the relay hung up");
            answer.extend_from_slice(&piece[..read]);
        }
        let end = Instant::now() + planted;
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        let took = began.elapsed();
        assert!(answer.starts_with(b"HTTP/1.1 404") || answer.starts_with(b"HTTP/1.1 200"));
        took.as_secs_f64() * 1e6
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A median of differences, and how far chance may have moved it: six standard errors.
fn estimate(differences: &[f64]) -> (f64, f64) {
    let middle = median(differences.to_vec());
    let spread = median(differences.iter().map(|value| (value - middle).abs()).collect());
    (middle, 6.0 * 1.2533 * 1.4826 * spread / (differences.len() as f64).sqrt())
}

/// The kinds whose time differs from that of unknown names, by how much.
fn differing(line: &mut Line, kinds: &[Kind], ask: impl Fn(&str) -> Vec<u8>) -> Vec<(&'static str, f64)> {
    let mut differences = vec![Vec::with_capacity(ROUNDS); kinds.len()];
    let mut order: Vec<usize> = (0..kinds.len()).collect();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for round in 0..MOST_ROUNDS {
        let certain = |differences: &Vec<f64>| estimate(differences).1 <= CERTAIN;
        if round >= ROUNDS && round % ROUNDS == 0 && differences.iter().all(certain) {
            break;
        }
        for last in (1..order.len()).rev() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            order.swap(last, usize::try_from(state % (last as u64 + 1)).unwrap());
        }
        let mut took = vec![0.0; kinds.len()];
        for at in &order {
            let question = ask(&kinds[*at].hashes[round % kinds[*at].hashes.len()]);
            took[*at] = line.ask(&question, kinds[*at].planted);
        }
        for (at, differences) in differences.iter_mut().enumerate() {
            differences.push(took[at] - took[0]);
        }
    }
    // The second kind of unknown names: what it differs by is chance.
    let (chance, _) = estimate(&differences[1]);
    let judged = kinds.iter().zip(&differences).skip(1);
    let found = judged.filter_map(|(kind, differences)| {
        let (middle, error) = estimate(differences);
        println!("  {}: {middle:.1} µs, give or take {error:.1}", kind.name);
        (middle.abs() > NEGLIGIBLE + chance.abs() + error).then_some((kind.name, middle))
    });
    found.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_expired_burned_and_foreign_take_the_same_time() {
    let dir = TempDir::new().unwrap();
    let process = Process::start(dir.path());
    let (user, other) = (User::new(&process.url).await, User::new(&process.url).await);
    let kinds = vec![
        kind("unknown", 1000),
        kind("unknown, others", 2000),
        kind("expired", 3000),
        kind("burned", 4000),
        kind("taken back", 5000),
        kind("foreign", 6000),
        kind("foreign with a password", 7000),
        Kind { planted: PLANTED, ..kind("planted", 8000) },
    ];
    for n in 0..NAMES {
        let payload = |seeds| noise(seeds + n, 300);
        user.upload(&payload(3000), json!({ "ttl_ms": 1000 })).await;
        user.upload(&payload(4000), json!({})).await;
        user.download(&hash(&payload(4000))).await.bytes().await.unwrap();
        user.upload(&payload(5000), json!({})).await;
        let taken_back = format!("/v2/inbound/{}", hash(&payload(5000)));
        user.request(Method::DELETE, &taken_back).send().await.unwrap();
        assert_eq!(
            other.upload(&payload(6000), json!({ "ttl_ms": 3_600_000 })).await.status(),
            StatusCode::OK
        );
        assert_eq!(
            other.upload(&payload(7000), json!({ "password": "p", "ttl_ms": 3_600_000 })).await.status(),
            StatusCode::OK
        );
    }
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let address = process.url.strip_prefix("http://").unwrap().to_owned();
    let measured = tokio::task::spawn_blocking(move || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        measure(&mut Line(stream), &kinds, &user.key)
    });
    measured.await.unwrap();
}

fn measure(line: &mut Line, kinds: &[Kind], key: &str) {
    for (method, path) in [("GET", "/v2/outbound/"), ("GET", "/v2/status/"), ("DELETE", "/v2/inbound/")] {
        let ask = |hash: &str| {
            format!("{method} {path}{hash} HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n\r\n").into_bytes()
        };
        let usual = median((0..200).map(|_| line.ask(&ask(&kinds[0].hashes[0]), Duration::ZERO)).collect());
        println!("{method} {path}: {usual:.0} µs");
        let mut suspects: Option<Vec<&str>> = None;
        for _ in 0..REPEATED {
            let found = differing(line, kinds, ask);
            assert!(
                found.iter().any(|(name, _)| *name == "planted"),
                "{method} {path}: what was planted was not found"
            );
            let names = found.iter().map(|(name, _)| *name).filter(|name| *name != "planted");
            let names: Vec<&str> =
                names.filter(|name| suspects.as_ref().is_none_or(|before| before.contains(name))).collect();
            let cleared = names.is_empty();
            suspects = Some(names);
            if cleared {
                break;
            }
        }
        assert_eq!(
            suspects,
            Some(vec![]),
            "{method} {path}: these can be told from unknown names by their time"
        );
    }
}

//! The relay itself, with its system calls made to fail, or to be its last, by `strace`, while uploads come in over HTTP and
//! the log's keys are rotated. Afterwards it is started without `strace`, and what clients were told is compared with
//! what it shows ([`told`]); Tessera's fsck looks at the log where `PARAMANT_JUDGES` names the judges' programs.
//!
//! Struck are calls on the files that count ([`TARGETS`]), and some of all calls of the process, spread over those that an
//! undisturbed run makes. `strace` counts the calls of each thread apart, so the N-th call fails in each thread that gets so far.
//! A fixed sample is tried; `PARAMANT_STRUCK=all` tries every one of the first calls on each file.
//!
//! Needs `strace` and the right to trace. With `CI=true` their lack is a failure, otherwise the test says so and passes.

mod adoption;
mod power;
pub mod told;
mod transfers;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use paramant_protocol::transparency::SthAnswer;
use paramant_protocol::upload::UploadAnswer;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::relay::{ADMIN, User, hash, inbound, noise};
use crate::spawned::{Process, said};
use told::{Told, Upload, wrong_after};

/// Calls that change files, as `strace` names them; a question mark for those that not every processor has.
const CALLS: [&str; 11] = [
    "pwrite64",
    "fdatasync",
    "fsync",
    "?rename",
    "renameat",
    "openat",
    "ftruncate",
    "fallocate",
    "?unlink",
    "unlinkat",
    "?mkdir",
];
/// Files below the data directory, each by the name under which it is written in a first run of a relay; calls on it; and
/// which of these calls are struck, one in each run.
const TARGETS: [(&str, &[&str], &[u64]); 8] = [
    ("log/wal/0000000000000001.wal", &["pwrite64", "fdatasync"], &[1, 4]),
    ("log/wal/spare-0.tmp", &["pwrite64", "fdatasync"], &[1]),
    ("log/wal", &["fsync"], &[2]),
    ("log/checkpoint.tmp", &["pwrite64", "fdatasync", "?rename"], &[2]),
    ("log-keys/.keys.json.tmp", &["write", "fsync", "?rename"], &[2]),
    ("sth/tree-heads", &["write", "fdatasync"], &[2]),
    ("meta.db-wal", &["pwrite64", "fdatasync"], &[7]),
    ("keys.slots", &["pwrite64", "fdatasync"], &[3]),
];
const SENDERS: u64 = 3;
const EACH: u64 = 5;
/// Longer than any answer takes, a rotation under `strace` on a busy machine included.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the tests cannot run here, if they cannot.
pub fn unable() -> bool {
    let reason = match Command::new("strace").args(["-D", "-f", "-qq", "-o", "/dev/null", "true"]).output() {
        Ok(output) if output.status.success() => return false,
        Ok(output) => format!("strace cannot trace: {}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => format!("strace is not installed ({error}); on Debian: apt-get install strace"),
    };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}");
    println!("skipped: {reason}");
    true
}

/// `strace` that becomes what it traces, so that the child is that; writes what it sees into `trace`.
pub fn tracer(trace: &Path, expressions: &[String]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qq", "-o"]).arg(trace);
    for expression in expressions {
        command.args(["-e", expression]);
    }
    command
}

/// How often each of the calls is made, at most, by one thread.
fn counts(trace: &str) -> BTreeMap<&'static str, u64> {
    let mut by_thread: BTreeMap<(&str, &'static str), u64> = BTreeMap::new();
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let name = rest.trim_start().split('(').next().unwrap_or_default();
        if let Some(call) = CALLS.iter().find(|call| call.trim_start_matches('?') == name) {
            *by_thread.entry((thread, call)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, call), count) in by_thread {
        let highest: &mut u64 = most.entry(call).or_default();
        *highest = count.max(*highest);
    }
    most
}

/// One thing that goes wrong in a run.
#[derive(Debug, Clone)]
struct Strike {
    /// Only calls on this file below the data directory count.
    on: Option<&'static str>,
    call: &'static str,
    effect: &'static str,
    when: u64,
}

impl Strike {
    const EFFECTS: [&str; 3] = ["error=EIO", "error=ENOSPC", "signal=KILL"];

    /// `strace` that becomes what it traces, so that the child is that; writes what it sees into `trace`.
    fn tracer(&self, trace: &Path, data: &Path) -> Command {
        let Self { call, effect, when, .. } = self;
        let expressions = [format!("trace={call}"), format!("inject={call}:{effect}:when={when}")];
        let mut command = tracer(trace, &expressions);
        // Much quicker; but with it strace 6.1 sends no signal from the second call on.
        if *effect != "signal=KILL" {
            command.arg("--seccomp-bpf");
        }
        if let Some(file) = self.on {
            command.arg("-P").arg(data.join(file));
        }
        command
    }
}

/// The same calls of all threads, struck from the first to the last: so many of each, every effect in turn.
fn spread(counts: &BTreeMap<&'static str, u64>, of_each: u64) -> Vec<Strike> {
    let mut strikes = Vec::new();
    for (call, count) in counts {
        for step in 1..=of_each.min(*count) {
            let when = (step * count).div_ceil(of_each.min(*count) + 1);
            let effect = Strike::EFFECTS[strikes.len() % Strike::EFFECTS.len()];
            strikes.push(Strike { on: None, call, effect, when });
        }
    }
    strikes
}

/// Calls on the files that count.
fn targeted(all: bool) -> Vec<Strike> {
    let mut strikes = Vec::new();
    for (file, calls, sample) in TARGETS {
        for call in calls {
            let whens = if all { (1..=12).collect() } else { sample.to_vec() };
            for when in whens {
                // In the sample each call fails in one way, and is the last one.
                let one = Strike::EFFECTS[strikes.len() / 2 % 2];
                let effects = if all { Strike::EFFECTS.to_vec() } else { vec![one, "signal=KILL"] };
                let struck = |effect| Strike { on: Some(file), call, effect, when };
                strikes.extend(effects.into_iter().map(struck));
            }
        }
    }
    strikes
}

/// Whether a call was made to fail.
fn was_struck(trace: &Path) -> bool {
    std::fs::read_to_string(trace).unwrap().contains("(INJECTED)")
}

/// Clients: uploads from several, a rotation of the log's keys, and somebody who looks at the log all the time.
async fn clients(url: &str) -> Told {
    let http = Client::builder().timeout(PATIENCE).build().unwrap();
    let made = http.post(format!("{url}/v2/admin/keys")).header("X-Admin-Token", ADMIN).send().await;
    let made: Value = match made {
        Ok(answer) if answer.status() == StatusCode::OK => answer.json().await.unwrap_or_default(),
        _ => Value::Null,
    };
    let told = Arc::new(Mutex::new(Told::default()));
    let Some(key) = made["key"].as_str() else { return Told::default() };
    told.lock().await.key = key.to_owned();
    let user = User { url: url.to_owned(), http, key: key.to_owned(), account: String::new() };
    let done = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn(watch(user.clone(), Arc::clone(&told), Arc::clone(&done)));
    let senders = (0..SENDERS).map(|sender| tokio::spawn(send(user.clone(), Arc::clone(&told), sender)));
    let senders: Vec<_> = senders.collect();
    rotate(&user).await;
    for sender in senders {
        sender.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    watcher.await.unwrap();
    told.lock().await.clone()
}

async fn send(user: User, told: Arc<Mutex<Told>>, sender: u64) {
    for number in 0..EACH {
        let seed = sender * 1000 + number;
        let payload = noise(seed, if number % 2 == 0 { 700 } else { 70_000 });
        let sent = if sender == 0 {
            let path = format!("/v3/blobs/{}?ttl_ms=3600000&max_views=9", hash(&payload));
            user.request(Method::PUT, &path).body(payload.clone()).send().await
        } else {
            let body = inbound(&hash(&payload), &payload, json!({ "ttl_ms": 3_600_000, "max_views": 9 }));
            user.request(Method::POST, "/v2/inbound").body(body.to_string()).send().await
        };
        let Ok(answer) = sent else { return };
        if answer.status() == StatusCode::OK
            && let Ok(answer) = answer.json::<UploadAnswer>().await
        {
            // Kept and logged, but its proof could not be read: there is nothing to compare it by.
            let Some(proof) = answer.merkle_proof else { continue };
            let upload = Upload { payload, index: proof.leaf_index, leaf: proof.leaf_hash };
            let mut told = told.lock().await;
            told.uploads.push(upload);
            told.heads.insert((proof.tree_size, proof.root));
        }
    }
}

/// Begins a rotation, and ends it once both pairs were seen.
async fn rotate(user: &User) {
    let step = async |step: &str| {
        let path = format!("{}/v2/admin/log/{step}", user.url);
        user.http.post(path).header("X-Admin-Token", ADMIN).send().await.map(|answer| answer.status())
    };
    if step("rotate").await.ok() != Some(StatusCode::OK) {
        return;
    }
    let since = Instant::now();
    while since.elapsed() < PATIENCE && step("rotate/finish").await.ok() == Some(StatusCode::CONFLICT) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn watch(user: User, told: Arc<Mutex<Told>>, done: Arc<AtomicBool>) {
    while !done.load(Ordering::SeqCst) {
        let get = async |path: &str| {
            let answer = user.http.get(format!("{}{path}", user.url)).send().await.ok()?;
            if answer.status() == StatusCode::OK { answer.text().await.ok() } else { None }
        };
        let checkpoint = get("/log/checkpoint").await;
        let sth = get("/v2/sth").await.and_then(|text| serde_json::from_str::<SthAnswer>(&text).ok());
        {
            let mut told = told.lock().await;
            told.checkpoints.extend(checkpoint);
            told.sths.extend(sth.map(|answer| serde_json::to_string(&answer.sth).unwrap()));
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// How a run ended, and what its clients were told.
struct Run {
    told: Told,
    ended_by_itself: bool,
}

/// Starts a relay over an empty directory, struck or not, lets the clients come, and kills what is left of it.
async fn run(dir: &Path, tracer: Command) -> Run {
    let started = Process::traced(dir, tracer);
    let (told, ended_by_itself) = match started {
        Err(_) => (Told::default(), true),
        Ok(process) => {
            let told = clients(&process.url).await;
            let answers = reqwest::get(format!("{}/health", process.url)).await.is_ok();
            process.kill();
            (told, !answers)
        }
    };
    Run { told, ended_by_itself }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_system_calls_fail_or_are_its_last_takes_nothing_back() {
    if unable() {
        return;
    }
    let started = Instant::now();
    let dir = TempDir::new().unwrap();
    let trace = dir.path().join("trace");
    let undisturbed = run(dir.path(), tracer(&trace, &[format!("trace={}", CALLS.join(","))])).await;
    assert!(!undisturbed.ended_by_itself, "{}", said(dir.path()));
    assert_eq!(undisturbed.told.uploads.len() as u64, SENDERS * EACH);
    assert_eq!(wrong_after(dir.path(), &undisturbed.told).await, Vec::<String>::new());
    let counts = counts(&std::fs::read_to_string(trace).unwrap());
    println!("calls of the busiest thread: {counts:?}");
    for call in ["pwrite64", "fdatasync", "fsync", "openat"] {
        assert!(counts.get(call).is_some_and(|count| *count >= 3), "{call}: {counts:?}");
    }

    let all = std::env::var("PARAMANT_STRUCK").as_deref() == Ok("all");
    let mut strikes = targeted(all);
    strikes.extend(spread(&counts, if all { 30 } else { 1 }));
    let total = strikes.len();
    let queue = Arc::new(std::sync::Mutex::new(strikes));
    let workers = (0..6).map(|_| tokio::spawn(strike_all(Arc::clone(&queue))));
    let (mut struck, mut ended, mut kept, mut wrong) = (0, 0, 0, Vec::new());
    for worker in workers.collect::<Vec<_>>() {
        let tally = worker.await.unwrap();
        struck += tally.struck;
        ended += tally.ended;
        kept += tally.kept;
        wrong.extend(tally.wrong);
    }
    println!(
        "relay under strace: {total} runs, {struck} struck, {ended} ended by it, {kept} uploads acknowledged, {:.1} s",
        started.elapsed().as_secs_f64()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // How often a thread makes a call varies a little from run to run.
    assert!(struck * 10 >= total * 7, "only {struck} of {total} runs were struck");
    assert!(ended * 3 >= total, "only {ended} of {total} runs were ended by what struck them");
    assert!(kept >= total, "only {kept} uploads were acknowledged in {total} runs");
}

#[derive(Default)]
struct Tally {
    struck: usize,
    ended: usize,
    kept: usize,
    wrong: Vec<String>,
}

async fn strike_all(queue: Arc<std::sync::Mutex<Vec<Strike>>>) -> Tally {
    let mut tally = Tally::default();
    loop {
        let Some(strike) = queue.lock().unwrap().pop() else { return tally };
        let dir = TempDir::new().unwrap();
        let trace = dir.path().join("trace");
        let run = run(dir.path(), strike.tracer(&trace, &dir.path().join("data"))).await;
        // Of a kill the trace says no more than that it came.
        let struck = was_struck(&trace) || (run.ended_by_itself && strike.effect == "signal=KILL");
        tally.struck += usize::from(struck);
        tally.ended += usize::from(run.ended_by_itself);
        tally.kept += run.told.uploads.len();
        if !struck {
            println!("not struck: {strike:?}");
        }
        let wrong = wrong_after(dir.path(), &run.told).await;
        tally.wrong.extend(wrong.iter().map(|what| format!("{strike:?}: {what}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_were_told_is_compared_and_a_lost_batch_is_noticed() {
    if unable() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let tracer = tracer(&dir.path().join("trace"), &["trace=none".to_owned()]);
    let told = run(dir.path(), tracer).await.told;
    assert!(told.uploads.len() > 3 && told.checkpoints.len() > 1 && told.sths.len() > 1);
    for (planted, expected) in told::planted(&told) {
        let wrong = wrong_after(dir.path(), &planted).await;
        assert!(wrong.iter().any(|what| what.contains(expected)), "{expected:?} is not noticed: {wrong:?}");
    }
    assert_eq!(wrong_after(dir.path(), &told).await, Vec::<String>::new());

    // As if the disk had lost what it had said to have synced.
    told::covered(dir.path()).await;
    told::lose_the_newest_entries(&dir.path().join("data/log/wal"), 4096);
    let wrong = wrong_after(dir.path(), &told).await;
    assert!(wrong.iter().any(|what| what.contains("does not start")), "{wrong:?}");
}

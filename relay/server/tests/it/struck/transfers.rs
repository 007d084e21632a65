//! Relays struck at each step of uploads, claims, burns and sweeps, and the history that clients made of it.
//!
//! As in the parent, `strace` makes a call fail or be the relay's last. Struck are calls on the files that transfers write
//! ([`PLACES`]), among them every directory of payloads, and the first calls of each thread that make, write, rename, remove or sync
//! a payload's file, whose names nobody knows beforehand. A fixed sample is tried; `PARAMANT_STRUCK=all` tries every one.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tempfile::TempDir;

use super::{Strike, tracer, unable, was_struck};
use crate::history::drive::Plan;
use crate::history::kills::{Life, Outcome, run};

/// Every directory of payloads.
const PAYLOADS: &str = "blobs/*";
/// Where; calls there; which of them are struck in a sample.
const PLACES: [(Option<&str>, &[&str], &[u64]); 9] = [
    (Some("keys.slots"), &["pwrite64", "fdatasync"], &[2, 6]),
    (Some("meta.db-wal"), &["pwrite64", "fdatasync"], &[9]),
    (Some("log/wal/0000000000000002.wal"), &["pwrite64", "fdatasync"], &[3]),
    (Some(PAYLOADS), &["fsync"], &[1]),
    (None, &["?rename"], &[1]),
    (None, &["?unlink"], &[1]),
    (None, &["fdatasync"], &[2]),
    (None, &["write"], &[4]),
    (None, &["openat"], &[2]),
];
/// Calls of each kind that are struck when all are.
const FIRST: u64 = 5;
const BLOBS: u64 = 9;

fn strikes(all: bool) -> Vec<Strike> {
    let mut strikes = Vec::new();
    for (on, calls, sample) in PLACES {
        for call in calls {
            let whens = if all { (1..=FIRST).collect() } else { sample.to_vec() };
            for when in whens {
                let one = Strike::EFFECTS[strikes.len() % Strike::EFFECTS.len()];
                let effects = if all { Strike::EFFECTS.to_vec() } else { vec![one] };
                strikes.extend(effects.into_iter().map(|effect| Strike { on, call, effect, when }));
            }
        }
    }
    strikes
}

/// As [`Strike::tracer`], which knows no directory of many.
fn tracer_of(strike: &Strike, trace: &Path, data: &Path) -> Command {
    if strike.on != Some(PAYLOADS) {
        return strike.tracer(trace, data);
    }
    let Strike { call, effect, when, .. } = strike;
    let mut command =
        tracer(trace, &[format!("trace={call}"), format!("inject={call}:{effect}:when={when}")]);
    for byte in 0..=u8::MAX {
        command.arg("-P").arg(data.join("blobs").join(hex::encode([byte])));
    }
    command
}

#[derive(Default)]
struct Tally {
    outcome: Outcome,
    struck: usize,
}

async fn strike_all(queue: Arc<Mutex<Vec<(usize, Strike)>>>) -> Tally {
    let mut tally = Tally::default();
    loop {
        let Some((number, strike)) = queue.lock().unwrap().pop() else { return tally };
        let dir = TempDir::new().unwrap();
        let trace = dir.path().join("trace");
        let tracer = tracer_of(&strike, &trace, &dir.path().join("data"));
        let first = 1_000_000 + number as u64 * 100;
        let plans = (first..first + BLOBS).map(Plan::new).collect();
        let mut outcome = run(dir.path(), vec![Life { tracer: Some(tracer), plans, ends: None }]).await;
        // Of a kill the trace says no more than that it came.
        let struck = was_struck(&trace) || (outcome.died > 0 && strike.effect == "signal=KILL");
        tally.struck += usize::from(struck);
        if !struck {
            println!("not struck: {strike:?}");
        }
        for wrong in &mut outcome.wrong {
            *wrong = format!("{strike:?}: {wrong}");
            println!("{wrong}");
        }
        tally.outcome.add(outcome);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_relay_struck_at_any_step_of_a_transfer_keeps_every_promise() {
    if unable() {
        return;
    }
    let started = Instant::now();
    let all = std::env::var("PARAMANT_STRUCK").as_deref() == Ok("all");
    let strikes: Vec<_> = strikes(all).into_iter().enumerate().collect();
    let total = strikes.len();
    let queue = Arc::new(Mutex::new(strikes));
    let workers: Vec<_> = (0..4).map(|_| tokio::spawn(strike_all(Arc::clone(&queue)))).collect();
    let (mut sum, mut struck) = (Outcome::default(), 0);
    for worker in workers {
        let tally = worker.await.unwrap();
        struck += tally.struck;
        sum.add(tally.outcome);
    }
    println!(
        "transfers under strace: {total} runs, {struck} struck, {} ended by it, {} uploads, {} acknowledged, \
         {} later operations, {} reads cut, {:.1} s",
        sum.died,
        sum.uploads,
        sum.acknowledged,
        sum.ops,
        sum.cut,
        started.elapsed().as_secs_f64()
    );
    assert_eq!(sum.wrong, Vec::<String>::new());
    assert!(struck * 10 >= total * 7, "only {struck} of {total} runs were struck");
    assert!(sum.died * 4 >= total, "only {} of {total} runs were ended by what struck them", sum.died);
    assert!(sum.acknowledged >= total, "only {} uploads were acknowledged in {total} runs", sum.acknowledged);
}

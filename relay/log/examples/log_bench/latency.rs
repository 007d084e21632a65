//! `log-latency`: how long an append takes at 1,000 a second, and how long until a published checkpoint covers it.
//!
//! Entries are due at fixed times and measured from when they were due: a slow one does not hide those behind it. Bare
//! syncs of the same run, at the same pace, are the floor.

use crate::figure::{milliseconds, per_mille, print, print_at_most};
use crate::load::{Keys, entry};
use crate::{Arguments, floor};
use paramant_log::{Log, Options};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const ROUNDS: u32 = 3;
/// One entry a millisecond.
const EVERY: Duration = Duration::from_millis(1);

#[derive(Default)]
struct Measured {
    durable: Mutex<Vec<Duration>>,
    /// When each entry was due, by index.
    due: Mutex<Vec<Instant>>,
    done: AtomicBool,
}

pub(crate) fn run(dir: &Path, arguments: &Arguments) {
    let share = Duration::from_secs(arguments.seconds) / (ROUNDS * 2);
    let (mut syncs, mut durable, mut public) = (Vec::new(), Vec::new(), Vec::new());
    let (mut appended, mut batches) = (0, 0);
    for round in 0..ROUNDS {
        syncs.extend(floor::bare_syncs(dir, share, EVERY));
        let options = Options::new(dir.join(format!("log-{round}")));
        let log = Log::open(options, Keys::new()).expect("open");
        let measured = Arc::new(Measured::default());
        let watcher = watch(log.clone(), Arc::clone(&measured));
        appended += at_a_steady_rate(&log, &measured, share, arguments.bytes);
        public.extend(watcher.join().expect("watcher"));
        durable.append(&mut measured.durable.lock().expect("lock"));
        batches += log.counters().batches;
        log.close().expect("close");
    }
    let every = milliseconds(Options::new("").checkpoint_every);
    let floor = milliseconds(per_mille(&mut syncs, 990));
    let p99 = milliseconds(per_mille(&mut durable, 990));
    print_at_most("log-latency-durable-p99", p99, "ms", 3.0 * floor + 1.0);
    print("log-latency-durable-p50", milliseconds(per_mille(&mut durable, 500)), "ms");
    print_at_most("log-latency-public-p99", milliseconds(per_mille(&mut public, 990)), "ms", every + 50.0);
    print("log-latency-public-p50", milliseconds(per_mille(&mut public, 500)), "ms");
    print("log-latency-syncs-per-append", batches as f64 / (appended as f64).max(1.0), "syncs");
    print("bare-fdatasync-p50", milliseconds(per_mille(&mut syncs, 500)), "ms");
    print("bare-fdatasync-p99", floor, "ms");
}

/// Appends at the pace; returns how many.
fn at_a_steady_rate(log: &Log, measured: &Arc<Measured>, time: Duration, bytes: usize) -> u64 {
    let start = Instant::now();
    let count = u64::try_from(time.as_millis() / EVERY.as_millis()).unwrap_or(u64::MAX);
    for number in 0..count {
        let due = start + EVERY * u32::try_from(number).unwrap_or(u32::MAX);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        measured.due.lock().expect("lock").push(due);
        let measured = Arc::clone(measured);
        log.append(entry(number, bytes), move |outcome| {
            let index = outcome.expect("append").index;
            assert_eq!(index, number, "one caller's entries keep their order");
            measured.durable.lock().expect("lock").push(due.elapsed());
        });
    }
    while log.head().size < count {
        std::thread::sleep(EVERY);
    }
    measured.done.store(true, Ordering::Release);
    count
}

/// For each entry, how long after it was due a published checkpoint covered it.
fn watch(log: Log, measured: Arc<Measured>) -> std::thread::JoinHandle<Vec<Duration>> {
    std::thread::spawn(move || {
        let mut took = Vec::new();
        loop {
            let done = measured.done.load(Ordering::Acquire);
            let published = log.published().map_or(0, |published| published.head.size);
            let now = Instant::now();
            let due = measured.due.lock().expect("lock");
            let seen = due.get(took.len()..due.len().min(published as usize)).unwrap_or_default();
            took.extend(seen.iter().map(|due| now.saturating_duration_since(*due)));
            if done && took.len() == due.len() {
                return took;
            }
            drop(due);
            std::thread::sleep(Duration::from_micros(500));
        }
    })
}

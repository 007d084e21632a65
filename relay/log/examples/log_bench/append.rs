//! `log-append`: durable appends per second, beside batches of the same bytes that are only written and synced.
//!
//! `--waiters` (1,024) callers append `--bytes` (512) each; several rounds of the engine and of the baseline alternate.

use crate::figure::{median, milliseconds, per_mille, print, print_at_least};
use crate::load::{Keys, Load};
use crate::process::processor_time;
use crate::{Arguments, floor};
use paramant_log::{Log, Options};
use std::path::Path;
use std::time::{Duration, Instant};

const ROUNDS: u32 = 3;

struct Measured {
    rate: f64,
    syncs_per_append: f64,
    batch: f64,
    processor: f64,
}

pub(crate) fn run(dir: &Path, arguments: &Arguments) {
    let share = Duration::from_secs(arguments.seconds) / (ROUNDS * 3);
    let (mut engines, mut baselines, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        syncs.extend(floor::bare_syncs(dir, share, Duration::ZERO));
        engines.push(engine(&dir.join(format!("log-{round}")), share, arguments));
        baselines.push(floor::batches(dir, share, arguments.waiters as usize, arguments.bytes));
    }
    let of = |figure: fn(&Measured) -> f64| median(engines.iter().map(figure).collect());
    let (rate, base) = (of(|measured| measured.rate), median(baselines));
    print_at_least("log-append", rate, "1/s", 150_000.0);
    print_at_least("log-append-ratio", rate / base.max(1.0), "of bare batched write+fdatasync", 0.4);
    print("log-append-baseline", base, "1/s");
    print("log-append-batch", of(|measured| measured.batch), "entries");
    print("log-append-syncs-per-append", of(|measured| measured.syncs_per_append), "syncs");
    print("log-append-processor", of(|measured| measured.processor), "us of processor time per append");
    let per_second = syncs.len() as f64 / syncs.iter().sum::<Duration>().as_secs_f64().max(1e-9);
    print("bare-fdatasync", per_second, "1/s");
    print("bare-fdatasync-p50", milliseconds(per_mille(&mut syncs, 500)), "ms");
    print("bare-fdatasync-p99", milliseconds(per_mille(&mut syncs, 990)), "ms");
}

/// Durable appends per second with so many waiters.
///
/// Its files stay until the end: ext4 does not give the inodes of files that were just removed out again, and searches
/// for others; a log that follows would pay for the removal of the one before.
fn engine(home: &Path, time: Duration, arguments: &Arguments) -> Measured {
    let log = Log::open(Options::new(home), Keys::new()).expect("open");
    let load = Load::begin(&log, arguments.waiters, arguments.bytes);
    // The first half second fills caches and the first segment.
    std::thread::sleep(Duration::from_millis(500));
    let (start, before, counted, used) =
        (Instant::now(), load.acknowledged(), log.counters(), processor_time());
    std::thread::sleep(time);
    let appended = load.acknowledged() - before;
    let (took, now, used) = (start.elapsed(), log.counters(), processor_time() - used);
    let total = load.end();
    assert_eq!(log.head().size, total, "every acknowledged entry is in the log, and nothing else");
    log.close().expect("close");
    let appended = appended.max(1) as f64;
    let syncs = (now.batches - counted.batches) + 2 * (now.segments - counted.segments);
    Measured {
        rate: appended / took.as_secs_f64(),
        syncs_per_append: syncs as f64 / appended,
        batch: appended / (now.batches - counted.batches).max(1) as f64,
        processor: used.as_secs_f64() * 1e6 / appended,
    }
}

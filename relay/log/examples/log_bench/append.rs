//! How fast the engine appends, beside what the disk can do at that moment.
//!
//! `append_bench --dir DIR [--seconds 10] [--waiters 1024] [--bytes 512]`: in one run, several rounds of each of
//!
//! - bare `fdatasync`: one block overwritten in a zero-filled file and synced, again and again;
//! - the baseline: batches of the same bytes that the engine would write, written and synced, with nothing else;
//! - the engine: so many waiters, each appending its next entry when the last one is durable.
//!
//! Prints one JSON line per figure: `{"name","value","unit","goal","meets"}`. Rounds alternate because disks here vary
//! from minute to minute; the ratio is taken within the run. Memory file systems are refused: a sync there is free.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

use paramant_log::{CheckpointSigner, Entry, Head, Log, Options, SignError};
use paramant_tlog::Checkpoint;
use paramant_tlog::keys::{Ed25519Key, MlDsa44Key, Seed, Signer};
use paramant_tlog::note::Note;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

const ROUNDS: u32 = 3;
/// What a record adds to an entry, and a trailer to a batch, in the write-ahead log.
const RECORD_OVERHEAD: usize = 60;
const TRAILER: usize = 1300;

struct Arguments {
    dir: PathBuf,
    seconds: u64,
    waiters: u64,
    bytes: usize,
}

fn arguments() -> Arguments {
    let mut arguments = Arguments { dir: PathBuf::new(), seconds: 12, waiters: 1024, bytes: 512 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_else(|| panic!("{word} needs a value"));
        let number = || value.parse::<u64>().unwrap_or_else(|_| panic!("{word}: {value} is not a number"));
        match word.as_str() {
            "--dir" => arguments.dir = PathBuf::from(&value),
            "--seconds" => arguments.seconds = number(),
            "--waiters" => arguments.waiters = number().max(1),
            "--bytes" => arguments.bytes = number() as usize,
            _ => panic!("unknown argument {word}; known: --dir --seconds --waiters --bytes"),
        }
    }
    assert!(
        !arguments.dir.as_os_str().is_empty(),
        "--dir DIR: where to write, on the disk that is to be measured"
    );
    arguments
}

/// tmpfs and ramfs do not sync.
fn refuse_memory(dir: &Path) {
    let stat = rustix::fs::statfs(dir).expect("statfs");
    let kind = stat.f_type as u64 & 0xFFFF_FFFF;
    assert!(
        ![0x0102_1994, 0x8584_58F6].contains(&kind),
        "{} is in memory; give a directory on a disk",
        dir.display()
    );
}

struct Keys(Ed25519Key, MlDsa44Key);

impl CheckpointSigner for Keys {
    fn sign(&self, head: &Head) -> Result<String, SignError> {
        let text = Checkpoint::new("bench.example/log", head.size, head.sha256_root).to_text();
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let keys: [&dyn Signer; 2] = [&self.0, &self.1];
        Ok(Note::sign(&text, &keys, at)?.to_text())
    }
}

/// A file of zeros, durable.
fn zeros(path: &Path, length: u64) -> std::fs::File {
    let options = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).clone();
    let file = options.open(path).expect("create");
    let block = vec![0; 1 << 20];
    for offset in (0..length).step_by(block.len()) {
        file.write_all_at(&block, offset).expect("write zeros");
    }
    file.sync_all().expect("sync zeros");
    file
}

/// Durations of single syncs of one written block.
fn bare_syncs(dir: &Path, time: Duration) -> Vec<Duration> {
    let path = dir.join("bare");
    let file = zeros(&path, 8 << 20);
    let block = [7u8; 4096];
    let (start, mut took) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        let offset = (took.len() as u64 % 2048) * 4096;
        let one = Instant::now();
        file.write_all_at(&block, offset).expect("write");
        rustix::fs::fdatasync(&file).expect("fdatasync");
        took.push(one.elapsed());
    }
    std::fs::remove_file(path).expect("remove");
    took.sort_unstable();
    took
}

/// Entries per second when batches of the given size are only written and synced.
fn baseline(dir: &Path, time: Duration, batch: usize, bytes: usize) -> f64 {
    let path = dir.join("baseline");
    let length = 64 << 20;
    let file = zeros(&path, length);
    let buffer = vec![7u8; batch * (bytes + RECORD_OVERHEAD) + TRAILER];
    let (start, mut offset, mut entries) = (Instant::now(), 0, 0);
    while start.elapsed() < time {
        if offset + buffer.len() as u64 > length {
            offset = 0;
        }
        file.write_all_at(&buffer, offset).expect("write");
        rustix::fs::fdatasync(&file).expect("fdatasync");
        offset += buffer.len() as u64;
        entries += batch;
    }
    let rate = entries as f64 / start.elapsed().as_secs_f64();
    std::fs::remove_file(path).expect("remove");
    rate
}

/// What one waiter needs to append again from its own callback.
struct Load {
    log: Mutex<Option<Log>>,
    bytes: usize,
    next: AtomicU64,
    acknowledged: AtomicU64,
    under_way: Mutex<u64>,
    idle: Condvar,
    stop: AtomicBool,
}

impl Load {
    fn entry(&self) -> Entry {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut bytes = vec![b'x'; self.bytes];
        let digits = number.to_string();
        let length = digits.len().min(bytes.len());
        if let (Some(place), Some(digits)) = (bytes.get_mut(..length), digits.as_bytes().get(..length)) {
            place.copy_from_slice(digits);
        }
        let mut legacy_leaf = [1; 32];
        if let Some(place) = legacy_leaf.first_chunk_mut() {
            *place = number.to_be_bytes();
        }
        Entry { bytes, legacy_leaf }
    }

    fn append(self: &Arc<Self>, log: &Log) {
        let (load, again) = (Arc::clone(self), log.clone());
        log.append(self.entry(), move |outcome| {
            outcome.expect("append");
            load.acknowledged.fetch_add(1, Ordering::Relaxed);
            if load.stop.load(Ordering::Relaxed) {
                let mut under_way = load.under_way.lock().expect("lock");
                *under_way -= 1;
                load.idle.notify_all();
            } else {
                load.append(&again);
            }
        });
    }
}

struct Measured {
    rate: f64,
    syncs_per_append: f64,
    batch: f64,
}

/// Durable appends per second with so many waiters.
///
/// Its files stay until the end: ext4 does not give the inodes of files that were just removed out again, and searches
/// for others; a log that follows would pay for the removal of the one before.
fn engine(home: &Path, time: Duration, arguments: &Arguments) -> Measured {
    let keys = || -> Result<Keys, paramant_tlog::keys::NoKey> {
        let name = "bench.example/log";
        Ok(Keys(
            Ed25519Key::from_seed(name, &Seed::new([1; 32]))?,
            MlDsa44Key::from_seed(name, &Seed::new([2; 32]))?,
        ))
    };
    let log = Log::open(Options::new(home), Arc::new(keys().expect("keys"))).expect("open");
    let load = Arc::new(Load {
        log: Mutex::new(Some(log.clone())),
        bytes: arguments.bytes,
        next: AtomicU64::new(0),
        acknowledged: AtomicU64::new(0),
        under_way: Mutex::new(arguments.waiters),
        idle: Condvar::new(),
        stop: AtomicBool::new(false),
    });
    for _ in 0..arguments.waiters {
        load.append(&log);
    }
    // The first half second fills caches and the first segment.
    std::thread::sleep(Duration::from_millis(500));
    let (start, before, counted) =
        (Instant::now(), load.acknowledged.load(Ordering::Relaxed), log.counters());
    std::thread::sleep(time);
    let appended = load.acknowledged.load(Ordering::Relaxed) - before;
    let (took, now) = (start.elapsed(), log.counters());
    load.stop.store(true, Ordering::Relaxed);
    let under_way = load.under_way.lock().expect("lock");
    drop(load.idle.wait_while(under_way, |left| *left > 0).expect("wait"));

    let total = load.acknowledged.load(Ordering::Relaxed);
    assert_eq!(log.head().size, total, "every acknowledged entry is in the log, and nothing else");
    drop(load.log.lock().expect("lock").take());
    log.close().expect("close");
    let syncs = (now.batches - counted.batches) + 2 * (now.segments - counted.segments);
    Measured {
        rate: appended as f64 / took.as_secs_f64(),
        syncs_per_append: syncs as f64 / appended.max(1) as f64,
        batch: appended as f64 / (now.batches - counted.batches).max(1) as f64,
    }
}

fn line(name: &str, value: f64, unit: &str, goal: &str, meets: Option<bool>) {
    let meets = meets.map_or("null".to_owned(), |meets| meets.to_string());
    println!(r#"{{"name":"{name}","value":{value:.4},"unit":"{unit}","goal":"{goal}","meets":{meets}}}"#);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn main() {
    let arguments = arguments();
    std::fs::create_dir_all(&arguments.dir).expect("create the directory");
    refuse_memory(&arguments.dir);
    let dir = arguments.dir.join(format!("append-bench-{}", std::process::id()));
    std::fs::create_dir(&dir).expect("create the directory");
    let share = Duration::from_secs(arguments.seconds) / (ROUNDS * 3);

    let (mut engines, mut baselines, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        syncs.extend(bare_syncs(&dir, share));
        let measured = engine(&dir.join(format!("log-{round}")), share, &arguments);
        baselines.push(baseline(&dir, share, arguments.waiters as usize, arguments.bytes));
        engines.push(measured);
    }
    std::fs::remove_dir_all(&dir).expect("remove");

    let rate = median(engines.iter().map(|measured| measured.rate).collect());
    let base = median(baselines);
    let ratio = rate / base.max(1.0);
    syncs.sort_unstable();
    let at = |share: usize| syncs.get(syncs.len() * share / 100).map_or(0.0, |took| took.as_secs_f64() * 1e6);
    let per_second = syncs.len() as f64 / syncs.iter().sum::<Duration>().as_secs_f64().max(1e-9);
    line("log-append", rate, "1/s", ">= 150000", Some(rate >= 150_000.0));
    line("log-append-ratio", ratio, "of bare batched write+fdatasync", ">= 0.40", Some(ratio >= 0.4));
    line("log-append-baseline", base, "1/s", "", None);
    line("bare-fdatasync", per_second, "1/s", "", None);
    line("bare-fdatasync-p50", at(50), "us", "", None);
    line("bare-fdatasync-p99", at(99), "us", "", None);
    let syncs_per_append = median(engines.iter().map(|measured| measured.syncs_per_append).collect());
    line("log-append-syncs-per-append", syncs_per_append, "syncs", "", None);
    line(
        "log-append-batch",
        median(engines.iter().map(|measured| measured.batch).collect()),
        "entries",
        "",
        None,
    );
}

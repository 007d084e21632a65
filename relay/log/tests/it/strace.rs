//! The real process on the real file system, with every call of the log's made to fail, or to be its last, by `strace`.
//!
//! The test runs itself again as a child under `strace -e inject=…:when=N`, for every N up to the number of such calls
//! that the child makes. The child appends, publishes, rotates, writes tiles and closes, and prints what it was told;
//! the parent then opens what is left, without `strace`, and compares. Counts are per thread: N strikes in each thread
//! that gets so far, so that several calls may fail in one run, which the crash matrix in `src` does not do.
//!
//! Needs `strace` and the right to trace. With `CI=true` their lack is a failure, otherwise the test says so and passes.

use crate::support::{Keys, entry, head_of, options};
use paramant_log::{AppendError, CheckpointSigner, Entry, Head, Log, PublishError, SignError};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Instant;

const CHILD_DIR: &str = "PARAMANT_LOG_STRACE_CHILD_DIR";
const TEST: &str = "strace::a_system_call_that_fails_or_is_the_last_one_takes_nothing_back";
/// The child's exit code when the engine ended itself, as the relay's.
const FAILED: i32 = 70;
/// Entries of the longest kind: more than a segment holds.
const LONG: u64 = 18;
/// Enough for one group of tiles.
const SMALL: u64 = 250;

/// Calls that write, as `strace` names them; a question mark for those that not every processor has.
const CALLS: [&str; 9] =
    ["pwrite64", "fallocate", "fdatasync", "fsync", "?rename", "renameat", "?unlink", "unlinkat", "?mkdir"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strike {
    Error(&'static str),
    Kill,
}

/// The entry with this number: the first few of the longest kind, so that a segment fills.
fn numbered(number: u64) -> Entry {
    let mut made = entry(number);
    if (10..10 + LONG).contains(&number) {
        made.bytes.resize(paramant_log::MAX_ENTRY, b'.');
    }
    made
}

/// Tells of each signature before anyone can use it.
struct Telling(Arc<Keys>);

impl CheckpointSigner for Telling {
    fn sign(&self, head: &Head) -> Result<String, SignError> {
        tell(&format!("signed {} {}", head.size, hex(&head.sha256_root)));
        self.0.sign(head)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One whole line; `write` is not among the calls that are made to fail.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{line}.\n").as_bytes()).and_then(|()| out.flush()).unwrap();
}

/// What the child does. Whatever is refused is handed in again a few times; a failed engine ends the process.
fn live(dir: &Path) {
    let opened = Log::open(options(dir), Arc::new(Telling(Keys::new())));
    let Ok(log) = opened else { std::process::exit(FAILED) };
    for (from, to, together) in
        [(0, 5, 1), (5, 20, 1), (20, 10 + LONG, 1), (10 + LONG, 10 + LONG + SMALL, 50)]
    {
        for next in (from..to).step_by(together) {
            append(&log, next..(next + together as u64).min(to));
        }
        match log.publish_now() {
            Ok(published) => tell(&format!("published {}", published.head.size)),
            Err(PublishError::Failed) => std::process::exit(FAILED),
            Err(_) => {}
        }
    }
    let give_up = Instant::now() + std::time::Duration::from_millis(1500);
    while log.derived() < 256 && !log.has_failed() && Instant::now() < give_up {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    if log.has_failed() || log.close().is_err() {
        std::process::exit(FAILED);
    }
    tell("closed");
}

/// Appends entries at once and tells which were acknowledged; those that are refused are handed in again.
fn append(log: &Log, numbers: std::ops::Range<u64>) {
    let mut left: Vec<u64> = numbers.collect();
    for _ in 0..40 {
        let (sender, receiver) = std::sync::mpsc::channel();
        for number in left.iter().copied() {
            let sender = sender.clone();
            log.append(numbered(number), move |outcome| sender.send((number, outcome)).unwrap());
        }
        let count = std::mem::take(&mut left).len();
        for _ in 0..count {
            match receiver.recv().unwrap() {
                (number, Ok(appended)) => tell(&format!("acknowledged {} {number}", appended.index)),
                (_, Err(AppendError::Failed)) => std::process::exit(FAILED),
                (number, Err(_refused)) => left.push(number),
            }
        }
        if left.is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// What the child told before it ended.
#[derive(Default)]
struct Told {
    /// Index and number of each.
    acknowledged: BTreeMap<u64, u64>,
    published: u64,
    signed: Vec<(u64, String)>,
    closed: bool,
}

impl Told {
    fn from(output: &Output) -> Self {
        let mut told = Self::default();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // A line that the kill cut short has no full stop.
        for line in text.lines().filter_map(|line| line.strip_suffix('.')) {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["acknowledged", index, number] => {
                    told.acknowledged.insert(index.parse().unwrap(), number.parse().unwrap());
                }
                ["published", size] => told.published = size.parse().unwrap(),
                ["signed", size, root] => told.signed.push((size.parse().unwrap(), (*root).to_owned())),
                ["closed"] => told.closed = true,
                _ => {}
            }
        }
        told
    }
}

/// Runs the child, under `strace` with these expressions; its trace is written into the directory.
fn child(home: &Path, expressions: &[String]) -> Output {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(home.join("trace"));
    for expression in expressions {
        command.args(["-e", expression]);
    }
    command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, home.join("log"))
        .output()
        .unwrap()
}

/// Why the test cannot run here, if it cannot.
fn unable() -> Option<String> {
    match Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            Some(format!("strace cannot trace: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
        Err(error) => Some(format!("strace is not installed ({error}); on Debian: apt-get install strace")),
    }
}

/// How often each call is made, at most, by one thread.
fn counts(trace: &str) -> BTreeMap<&'static str, u64> {
    let mut by_thread: BTreeMap<(&str, &'static str), u64> = BTreeMap::new();
    for line in trace.lines() {
        let mut words = line.splitn(2, ' ');
        let (Some(thread), Some(rest)) = (words.next(), words.next()) else { continue };
        let name = rest.trim_start().split('(').next().unwrap_or_default();
        if let Some(call) = CALLS.iter().find(|call| call.trim_start_matches('?') == name) {
            *by_thread.entry((thread, call)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, call), count) in by_thread {
        let highest = most.entry(call).or_default();
        *highest = count.max(*highest);
    }
    most
}

/// Opens what a child left and compares it with what it told. Returns how it ended.
fn assert_nothing_is_taken_back(home: &Path, output: &Output, what: &str) -> Told {
    let told = Told::from(output);
    let log = Log::open(options(&home.join("log")), Keys::new()).unwrap_or_else(|e| panic!("{what}: {e}"));
    let size = log.head().size;
    let published = log.published().map_or(0, |published| published.head.size);
    assert!(published >= told.published, "{what}: {} was published, now {published}", told.published);
    let entries = log.entries(0, usize::MAX).unwrap();
    assert_eq!(entries.len() as u64, size, "{what}");
    let numbers: Vec<u64> = entries.iter().map(number_of).collect();
    for (found, number) in entries.iter().zip(&numbers) {
        assert!(*found == numbered(*number), "{what}: entry {number} was changed");
    }
    assert_eq!(
        numbers.iter().collect::<BTreeSet<_>>().len(),
        numbers.len(),
        "{what}: an entry is there twice"
    );
    for (index, number) in &told.acknowledged {
        let found = numbers.get(usize::try_from(*index).unwrap());
        assert_eq!(found, Some(number), "{what}: acknowledged entry {index} is gone, {size} are there");
    }
    assert_eq!(log.head(), head_of(&entries), "{what}");
    for (signed, root) in &told.signed {
        assert!(*signed <= size, "{what}: size {signed} was signed, {size} found");
        let expected = head_of(&entries[..usize::try_from(*signed).unwrap()]);
        assert_eq!(hex(&expected.sha256_root), *root, "{what}: another root was signed at size {signed}");
    }
    // It goes on, and its tiles are what an auditor expects.
    log.append_blocking(numbered(1_000_000 + size)).unwrap();
    let published = log.publish_now().unwrap();
    if size >= 256 {
        let bundle = log.entry_bundle(0, 256).unwrap().unwrap();
        assert_eq!(paramant_tlog::bundle::decode(&bundle).unwrap()[255], entries[255].bytes, "{what}");
    }
    assert_eq!(published.head.size, size + 1, "{what}");
    told
}

/// The number that an entry bears.
fn number_of(entry: &Entry) -> u64 {
    let text = std::str::from_utf8(&entry.bytes).unwrap();
    let digits = text.split("\"n\":").nth(1).unwrap();
    digits.split(',').next().unwrap().parse().unwrap()
}

#[test]
fn a_system_call_that_fails_or_is_the_last_one_takes_nothing_back() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        return live(Path::new(&dir));
    }
    if let Some(reason) = unable() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}");
        println!("skipped: {reason}");
        return;
    }
    let started = Instant::now();
    let calls = CALLS.join(",");
    let home = tempfile::tempdir().unwrap();
    let output = child(home.path(), &[format!("trace={calls}")]);
    let told = Told::from(&output);
    assert!(told.closed, "undisturbed, the child does not finish: {output:?}");
    assert_eq!(told.acknowledged.len() as u64, 10 + LONG + SMALL);
    let counts = counts(&std::fs::read_to_string(home.path().join("trace")).unwrap());
    println!("calls of the busiest thread: {counts:?}");
    for call in ["pwrite64", "fdatasync", "fsync"] {
        assert!(counts.get(call).is_some_and(|count| *count >= 4), "{call}: {counts:?}");
    }
    assert!(counts.contains_key("fallocate"), "no segment is reserved: {counts:?}");

    let mut cases = Vec::new();
    for (call, count) in &counts {
        for when in 1..=*count {
            for strike in [Strike::Error("EIO"), Strike::Error("ENOSPC"), Strike::Kill] {
                cases.push((*call, when, strike));
            }
            if *call == "fallocate" {
                cases.push((*call, when, Strike::Error("EOPNOTSUPP")));
            }
        }
    }
    let total = cases.len();
    let queue = std::sync::Mutex::new(cases);
    let (struck, died) = (std::sync::atomic::AtomicUsize::new(0), std::sync::atomic::AtomicUsize::new(0));
    let work = || {
        loop {
            let Some((call, when, strike)) = queue.lock().unwrap().pop() else { return };
            let effect = match strike {
                Strike::Error(code) => format!("error={code}"),
                Strike::Kill => "signal=KILL".to_owned(),
            };
            let home = tempfile::tempdir().unwrap();
            let inject = format!("inject={call}:{effect}:when={when}");
            let output = child(home.path(), &[format!("trace={call}"), inject.clone()]);
            let trace = std::fs::read_to_string(home.path().join("trace")).unwrap();
            let hit = trace.contains("(INJECTED)") || trace.contains("killed by SIGKILL");
            struck.fetch_add(usize::from(hit), std::sync::atomic::Ordering::Relaxed);
            let told = assert_nothing_is_taken_back(home.path(), &output, &inject);
            died.fetch_add(usize::from(!told.closed), std::sync::atomic::Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(work)).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let (struck, died) = (struck.into_inner(), died.into_inner());
    println!(
        "strace: {total} runs, {struck} struck, {died} ended by it, {:.1} s",
        started.elapsed().as_secs_f64()
    );
    // The number of batches varies a little from run to run.
    assert!(struck * 10 >= total * 9, "only {struck} of {total} runs were struck");
    assert!(died * 3 >= total, "only {died} of {total} runs were ended by what struck them");
}

#[test]
fn what_a_child_told_is_compared_and_not_only_read() {
    if std::env::var_os(CHILD_DIR).is_some() || unable().is_some() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut output = child(home.path(), &["trace=none".to_owned()]);
    for planted in ["acknowledged 9999 9999", "acknowledged 3 4", "published 9999", "signed 20 00"] {
        let told = output.stdout.len();
        output.stdout.extend_from_slice(format!("\n{planted}.\n").as_bytes());
        let compared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            assert_nothing_is_taken_back(home.path(), &output, "planted");
        }));
        assert!(compared.is_err(), "{planted:?} is not noticed");
        output.stdout.truncate(told);
    }
    assert!(assert_nothing_is_taken_back(home.path(), &output, "nothing planted").closed);
}

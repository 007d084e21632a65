//! `transfer-start`: from the start of the process to its first answer, with a log of a million entries.
//!
//! The entries are appended by the engine itself while no relay runs; the next start publishes and derives them, as a relay
//! that ran all the time would have. Only the starts after the last of them are measured.

use std::{
    ops::Range,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use paramant_log::{CheckpointSigner, Entry, Head, Log, Options, SignError};
use serde_json::Value;

use super::{Arguments, line};
use crate::standalone::Standalone;

const ENTRIES: u64 = 1_000_000;
const STARTS: usize = 5;
/// Entries between two starts while the log is made: fewer than a segment of the write-ahead log holds, for a start copies
/// whatever no checkpoint covers yet into one segment.
const AT_ONCE: usize = 200_000;
const PUBLISHED_WITHIN: Duration = Duration::from_secs(300);

struct Nobody;

impl CheckpointSigner for Nobody {
    fn sign(&self, _: &Head) -> Result<String, SignError> {
        Err(SignError("the relay signs, not the benchmark".to_owned()))
    }
}

pub(crate) fn run(arguments: &Arguments, directory: &Path) -> Result<()> {
    let entries = arguments.entries.unwrap_or(ENTRIES);
    let mut relay = Standalone::start(&arguments.relay, &directory.join("relay"), "minFreeDisk: 1Gi")?;
    fill(&mut relay, entries)?;
    let mut took = Vec::new();
    for _ in 0..STARTS {
        relay.kill()?;
        let began = Instant::now();
        relay.respawn()?;
        while !relay.is_healthy() {
            thread::sleep(Duration::from_millis(2));
            if began.elapsed() > Duration::from_secs(60) {
                bail!("the relay did not answer within a minute");
            }
        }
        took.push(began.elapsed().as_secs_f64());
    }
    took.sort_by(f64::total_cmp);
    let median = took.get(took.len() / 2).copied().context("no starts")?;
    line::print_at_most("start-to-first-answer", median, "s, median of five after kill -9", 1.0);
    line::print("start-to-first-answer-worst", took.last().copied().unwrap_or_default(), "s", None);
    line::print("start-entries", entries as f64, "entries", None);
    line::print_at_most("start-memory-idle", relay.memory()?, "MiB", 64.0);
    Ok(())
}

/// Lets the relay's log have so many entries more, published and derived.
pub(super) fn fill(relay: &mut Standalone, entries: u64) -> Result<()> {
    for from in (0..entries).step_by(AT_ONCE) {
        let to = entries.min(from + AT_ONCE as u64);
        relay.kill()?;
        append(&relay.data().join("log"), from..to)?;
        relay.restart()?;
        published(relay, to)?;
    }
    Ok(())
}

/// Transfers of nobody: leaves that open with nothing, which is all a log ever shows of them.
fn append(log: &Path, numbers: Range<u64>) -> Result<()> {
    let options = Options { checkpoint_every: Duration::from_secs(3600), ..Options::new(log) };
    let log = Log::open(options, Arc::new(Nobody))?;
    let hour = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:00:00.000Z").to_string();
    let (done, ended) = std::sync::mpsc::channel();
    let end = numbers.end;
    for number in numbers {
        use sha2::Digest;
        let leaf: [u8; 32] = sha2::Sha256::digest(number.to_be_bytes()).into();
        let text = format!("{{\"k\":\"transfer\",\"l\":\"{}\",\"t\":\"{hour}\"}}", hex::encode(leaf));
        let last = number + 1 == end;
        let done = done.clone();
        log.append(Entry { bytes: text.into_bytes(), legacy_leaf: leaf }, move |result| {
            if last || result.is_err() {
                drop(done.send(result.map(drop)));
            }
        });
    }
    ended.recv().context("the log ended")??;
    log.close().ok();
    Ok(())
}

fn published(relay: &Standalone, entries: u64) -> Result<()> {
    let began = Instant::now();
    loop {
        let answer = reqwest::blocking::get(format!("{}/log/checkpoint", relay.url()))?.text()?;
        let size: u64 = answer.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or_default();
        if size >= entries {
            // The tiles of what was published are written a moment later.
            thread::sleep(Duration::from_secs(5));
            return Ok(());
        }
        if began.elapsed() > PUBLISHED_WITHIN {
            let health: Value = reqwest::blocking::get(format!("{}/health", relay.url()))?.json()?;
            bail!("{size} of {entries} entries are published after five minutes; the relay says {health}");
        }
        thread::sleep(Duration::from_millis(500));
    }
}

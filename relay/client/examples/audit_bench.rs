//! `log-audit`: how long an audit of a local copy takes, with both trees; `cargo xtask bench log-audit` runs it.
//!
//! `audit_bench --dir DIR [--entries N]` makes a log with the real engine, then audits its copy three times. Parsing and
//! hashing run on one core, the signatures of tree heads on all; they are reported apart. The floor of the same run are the
//! same hashes over entries in memory: no files, no parsing, no comparing. Refuses tmpfs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use paramant_client::audit::{Baggage, Copy, audit};
use paramant_client::relay::Progress;
use paramant_log::{CheckpointSigner, Head, Log, Options, SignError};
use paramant_protocol::canonical;
use paramant_protocol::entry::Entry;
use paramant_protocol::sth::Sth;
use paramant_tlog::keys::{Ed25519Key, MlDsa44Key, MlDsa65Key, Seed, Signer};
use paramant_tlog::note::Note;
use paramant_tlog::{Block, Checkpoint, Tree, entry_leaf};

const ORIGIN: &str = "bench.example/log";
/// A tree head after so many entries: ten a second at 10,000 entries a second.
const HEAD_EVERY: u64 = 1000;
const ROUNDS: usize = 3;

type Failure = Box<dyn std::error::Error>;

struct Keys {
    ed25519: Ed25519Key,
    ml_dsa_44: MlDsa44Key,
    ml_dsa_65: MlDsa65Key,
}

impl Keys {
    fn new() -> Result<Self, Failure> {
        let seed = |byte| Seed::new([byte; 32]);
        Ok(Self {
            ed25519: Ed25519Key::from_seed(ORIGIN, &seed(1))?,
            ml_dsa_44: MlDsa44Key::from_seed(ORIGIN, &seed(2))?,
            ml_dsa_65: MlDsa65Key::from_seed(ORIGIN, &seed(3))?,
        })
    }

    fn signers(&self) -> [&dyn Signer; 3] {
        [&self.ed25519, &self.ml_dsa_44, &self.ml_dsa_65]
    }
}

impl CheckpointSigner for Keys {
    fn sign(&self, head: &Head) -> Result<String, SignError> {
        let text = Checkpoint::new(ORIGIN, head.size, head.sha256_root).to_text();
        Ok(Note::sign(&text, &self.signers(), 1_767_323_045)?.to_text())
    }
}

fn main() -> Result<(), Failure> {
    let (directory, entries) = arguments()?;
    if is_tmpfs(&directory)? {
        return Err("this directory is on tmpfs: a copy on a disk is what is to be measured".into());
    }
    let copy = directory.join("copy");
    eprintln!("making a log of {entries} entries");
    make(&directory.join("log"), &copy, entries)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut trees, mut signatures, mut whole, mut floors) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        floors.push(floor(&copy, entries)?.as_secs_f64());
        let opened = Copy::open(std::slice::from_ref(&copy))?;
        let (report, _) = runtime.block_on(audit(&opened, &Baggage::default(), &Progress::silent()))?;
        if !report.holds() {
            return Err(format!("the audit found something: {:?}", report.failure()).into());
        }
        let timing = report.timing;
        if timing.entries != entries {
            return Err(format!("{} entries were audited, not {entries}", timing.entries).into());
        }
        trees.push(timing.trees_us as f64 / 1e6);
        signatures.push(timing.signatures_us as f64 / 1e6);
        whole.push(timing.all_us as f64 / 1e6);
    }
    let (trees, floor) = (median(trees), median(floors));
    print("log-audit-trees", trees, "s, both trees, one core", Some(1.5 * entries as f64 / 1e6));
    print("log-audit-signatures", median(signatures), "s, tree heads, all cores", None);
    print("log-audit-whole", median(whole), "s", None);
    print("log-audit-entries", entries as f64, "entries", None);
    print("log-audit-floor", floor, "s, the hashes alone", None);
    print("log-audit-ratio", trees / floor, "times the floor", None);
    Ok(())
}

fn arguments() -> Result<(PathBuf, u64), Failure> {
    let (mut directory, mut entries) = (None, 1_000_000);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--dir" => directory = Some(PathBuf::from(value)),
            "--entries" => entries = value.parse()?,
            _ => return Err(format!("unknown argument {word}; known: --dir --entries").into()),
        }
    }
    Ok((directory.ok_or("--dir DIR: where to write, on the disk that is to be measured")?, entries))
}

/// One figure as a line of JSON. `goal` is the most that meets it.
fn print(name: &str, value: f64, unit: &str, goal: Option<f64>) {
    let value = (value * 1000.0).round() / 1000.0;
    let meets = goal.map(|most| value <= most);
    println!(
        "{}",
        serde_json::json!({ "name": name, "value": value, "unit": unit, "goal": goal, "meets": meets })
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn is_tmpfs(directory: &Path) -> Result<bool, Failure> {
    const TMPFS: i64 = 0x0102_1994;
    Ok(rustix::fs::statfs(directory)?.f_type == TMPFS)
}

/// Appends transfers through the engine, signs a tree head now and then, and writes everything as a relay serves it.
fn make(home: &Path, copy: &Path, entries: u64) -> Result<(), Failure> {
    let keys = Arc::new(Keys::new()?);
    let options = Options { checkpoint_every: Duration::from_secs(3600), ..Options::new(home) };
    let log = Log::open(options, keys.clone())?;
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut heads = Vec::new();
    for number in log.head().size..entries {
        let leaf = paramant_protocol::leaf::sha3(&number.to_be_bytes());
        let entry = Entry::transfer(leaf, "2026-01-02T03:04:05Z".parse()?);
        let entry = paramant_log::Entry { bytes: entry.into_bytes(), legacy_leaf: leaf };
        let sender = sender.clone();
        log.append(entry, move |outcome| {
            let _ = sender.send(outcome.is_ok());
        });
        if (number + 1) % HEAD_EVERY == 0 {
            for _ in 0..HEAD_EVERY {
                if !receiver.recv()? {
                    return Err("an entry was not appended".into());
                }
            }
            let head = log.head();
            let sth = Sth::new(ORIGIN, &head.sha3_root, head.size, 1_767_323_045_000 + number as i64);
            let signature = keys.ml_dsa_65.sign_document(&sth.sign_bytes()?)?;
            heads.extend(canonical::to_vec(&sth.signed(&signature))?);
            heads.push(b'\n');
            if heads.len() as u64 / HEAD_EVERY > 0 && (number + 1) % (100 * HEAD_EVERY) == 0 {
                log.publish_now()?;
            }
        }
    }
    log.publish_now()?;
    std::fs::create_dir_all(copy)?;
    std::fs::write(copy.join("sth.ndjson"), heads)?;
    let vkeys: String = keys.signers().map(|key| format!("{}\n", key.verifier())).concat();
    std::fs::write(copy.join("vkeys"), vkeys)?;
    log.export(copy)?;
    Ok(())
}

/// The hashes alone: leaves and nodes of both trees over the same entries.
fn floor(copy: &Path, entries: u64) -> Result<Duration, Failure> {
    let bundle = std::fs::read(copy.join("tile/entries/000"))?;
    let decoded = paramant_tlog::bundle::decode(&bundle)?;
    let leaves: Vec<[u8; 32]> = decoded.iter().map(|entry| entry_leaf(entry)).collect();
    let begun = Instant::now();
    for _ in 0..entries / 256 {
        let sha256 = decoded.iter().map(|entry| entry_leaf(entry)).collect();
        std::hint::black_box(Block::new(Tree::Sha256, sha256));
        std::hint::black_box(Block::new(Tree::Sha3, leaves.clone()));
    }
    Ok(begun.elapsed())
}

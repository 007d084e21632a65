//! How long an audit of a local copy takes: `cargo run --release -p paramant-client --example audit_bench -- DIR [ENTRIES]`.
//!
//! Makes a log with the real engine once (DIR/log, DIR/copy), then audits the copy three times. Prints one JSON line a run: entries,
//! microseconds for parsing and hashing on one core, for signatures of tree heads, and for everything; and in the same run
//! the floor: the same hashes over entries in memory, without files, parsing or comparing. Refuses tmpfs.

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
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("usage: audit_bench DIR [ENTRIES]")?);
    let entries: u64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    std::fs::create_dir_all(&directory)?;
    if is_tmpfs(&directory)? {
        return Err("this directory is on tmpfs: a copy on a disk is what is to be measured".into());
    }
    let copy = directory.join(format!("copy-{entries}"));
    if !copy.join("checkpoint").exists() {
        eprintln!("making a log of {entries} entries");
        make(&directory.join(format!("log-{entries}")), &copy, entries)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for _ in 0..3 {
        let floor = floor(&copy, entries)?;
        let opened = Copy::open(std::slice::from_ref(&copy))?;
        let (report, _) = runtime.block_on(audit(&opened, &Baggage::default(), &Progress::silent()))?;
        if !report.holds() {
            return Err(format!("the audit found something: {:?}", report.failure()).into());
        }
        let timing = report.timing;
        println!(
            "{{\"bench\":\"log-audit\",\"entries\":{},\"trees_us\":{},\"heads\":{},\"signatures_us\":{},\"all_us\":{},\"floor_us\":{}}}",
            timing.entries,
            timing.trees_us,
            timing.heads,
            timing.signatures_us,
            timing.all_us,
            floor.as_micros()
        );
    }
    Ok(())
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

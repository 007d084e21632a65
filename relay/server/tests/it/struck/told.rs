//! What clients were told by a relay before it ended, and whether the relay that comes after it keeps to it.

use std::collections::BTreeSet;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use paramant_protocol::entry::Entry;
use paramant_protocol::path::parse_hash;
use paramant_protocol::sth::SignedSth;
use paramant_protocol::transparency::{GossipAnswer, GossipVerdict};
use paramant_tlog::note::Note;
use paramant_tlog::vkey::VerifierKey;
use paramant_tlog::{Checkpoint, CompactRange, Hash, Tree, bundle, entry_leaf, verify};
use reqwest::{Client, StatusCode};

use crate::relay::{User, hash};
use crate::spawned::{Process, said};

/// Entries in a full bundle.
const BUNDLE: u64 = 256;

#[derive(Debug, Clone)]
pub struct Upload {
    pub payload: Vec<u8>,
    pub index: u64,
    pub leaf: String,
}

#[derive(Debug, Clone, Default)]
pub struct Told {
    pub key: String,
    /// Acknowledged.
    pub uploads: Vec<Upload>,
    /// Size and root of the SHA3 tree, as answers to uploads state them.
    pub heads: BTreeSet<(u64, String)>,
    /// Signed notes that anybody saw.
    pub checkpoints: BTreeSet<String>,
    /// Signed tree heads that anybody saw.
    pub sths: BTreeSet<String>,
}

/// Wrong things that clients might have been told, and what the comparison says of each.
pub fn planted(told: &Told) -> Vec<(Told, &'static str)> {
    let with = |change: &dyn Fn(&mut Told)| {
        let mut told = told.clone();
        change(&mut told);
        told
    };
    let (size, _) = told.heads.last().unwrap().clone();
    let note = told.checkpoints.last().unwrap().clone();
    let checkpoint = Checkpoint::parse(&Note::parse(note.as_bytes()).unwrap().text).unwrap();
    let other =
        note.replacen(&format!("\n{}\n", checkpoint.size), &format!("\n{}\n", checkpoint.size - 1), 1);
    let mut sth: SignedSth = serde_json::from_str(told.sths.last().unwrap()).unwrap();
    sth.sha3_root = "00".repeat(32);
    let sth = serde_json::to_string(&sth).unwrap();
    vec![
        (with(&|told| told.uploads[0].index += 1), "is another entry"),
        (with(&|told| told.uploads[0].index = 9999), "is gone"),
        (with(&|told| told.uploads[0].payload[0] ^= 1), "payload"),
        (with(&|told| told.heads.extend([(size, "00".repeat(32))])), "head of size"),
        (with(&|told| told.checkpoints.extend([other.clone()])), "checkpoint"),
        (with(&|told| told.sths.extend([sth.clone()])), "tree head"),
    ]
}

/// Starts the relay again, lets it publish, and compares; what is wrong, if anything. Payloads are read, which they may be
/// a few times.
pub async fn wrong_after(dir: &Path, told: &Told) -> Vec<String> {
    let started = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Process::start(dir)));
    let Ok(process) = started else { return vec![format!("the relay does not start again: {}", said(dir))] };
    let wrong = compare(&process.url, told).await.unwrap_or_else(|missing| vec![missing]);
    process.kill();
    wrong
}

async fn text(http: &Client, url: String) -> Result<String, String> {
    let answer = http.get(&url).send().await.and_then(reqwest::Response::error_for_status);
    answer.map_err(|error| error.to_string())?.text().await.map_err(|error| error.to_string())
}

/// A checkpoint that covers everything, once there is one: they come once a second.
async fn covering(http: &Client, url: &str, size: u64) -> Result<Checkpoint, String> {
    let since = Instant::now();
    loop {
        let seen = text(http, format!("{url}/log/checkpoint")).await;
        let checkpoint = seen.as_ref().ok().and_then(|seen| Note::parse(seen.as_bytes()).ok());
        let checkpoint = checkpoint.and_then(|note| Checkpoint::parse(&note.text).ok());
        match checkpoint {
            Some(checkpoint) if checkpoint.size >= size => return Ok(checkpoint),
            _ if since.elapsed() > Duration::from_secs(30) => {
                return Err(format!("an acknowledged entry is gone: no checkpoint of size {size}: {seen:?}"));
            }
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Roots of both trees at each size from 0, and the legacy leaves.
struct Replayed {
    sha256: Vec<Hash>,
    sha3: Vec<Hash>,
    leaves: Vec<Hash>,
}

async fn replay(http: &Client, url: &str, size: u64) -> Result<Replayed, String> {
    let (mut sha256, mut sha3) = (CompactRange::new(Tree::Sha256), CompactRange::new(Tree::Sha3));
    let mut all = Replayed { sha256: vec![sha256.root()], sha3: vec![sha3.root()], leaves: Vec::new() };
    assert!(size < 1000 * BUNDLE, "the paths of more bundles have another form");
    for number in 0..size.div_ceil(BUNDLE) {
        let partial = match (size - number * BUNDLE).min(BUNDLE) {
            BUNDLE => String::new(),
            width => format!(".p/{width}"),
        };
        let path = format!("{url}/log/tile/entries/{number:03}{partial}");
        let bytes = http.get(path).send().await.and_then(reqwest::Response::error_for_status);
        let bytes =
            bytes.map_err(|error| error.to_string())?.bytes().await.map_err(|error| error.to_string())?;
        for entry in bundle::decode(&bytes).map_err(|error| error.to_string())? {
            let leaf = Entry::parse(entry).map_err(|error| error.to_string())?.leaf();
            sha256.append(entry_leaf(entry), |_, _| {});
            sha3.append(leaf, |_, _| {});
            all.sha256.push(sha256.root());
            all.sha3.push(sha3.root());
            all.leaves.push(leaf);
        }
    }
    Ok(all)
}

/// What is wrong with a log of which these entries were acknowledged, by index and leaf.
pub async fn wrong_with_log(url: &str, acknowledged: &[(u64, String)]) -> Result<Vec<String>, String> {
    let http = Client::new();
    let least = acknowledged.iter().map(|(index, _)| index + 1).max().unwrap_or(0);
    let checkpoint = covering(&http, url, least + 1).await?;
    let log = replay(&http, url, checkpoint.size).await?;
    let mut wrong = wrong_entries(&log, acknowledged);
    wrong.extend(ask_outside(&http, url).await?);
    Ok(wrong)
}

fn wrong_entries(log: &Replayed, acknowledged: &[(u64, String)]) -> Vec<String> {
    let leaf =
        |index: u64| usize::try_from(index).ok().and_then(|index| log.leaves.get(index)).map(hex::encode);
    let wrong = acknowledged.iter().filter_map(|(index, acknowledged)| match leaf(*index) {
        Some(leaf) if leaf == *acknowledged => None,
        Some(_) => Some(format!("acknowledged entry {index} is another entry")),
        None => Some(format!("acknowledged entry {index} is gone")),
    });
    wrong.collect()
}

async fn compare(url: &str, told: &Told) -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    let http = Client::new();
    // What this start appends comes last, and is published last.
    let least = told.uploads.iter().map(|upload| upload.index + 1);
    let least = least.chain(told.heads.iter().map(|(size, _)| *size)).max().unwrap_or(0);
    let checkpoint = covering(&http, url, least.min(1000) + 1).await?;
    let log = replay(&http, url, checkpoint.size).await?;
    let at = |roots: &[Hash], size: u64| usize::try_from(size).ok().and_then(|size| roots.get(size).copied());
    if at(&log.sha256, checkpoint.size) != Some(checkpoint.root) {
        wrong.push(format!("the checkpoint of size {} does not cover its entries", checkpoint.size));
    }
    let uploads: Vec<_> = told.uploads.iter().map(|upload| (upload.index, upload.leaf.clone())).collect();
    wrong.extend(wrong_entries(&log, &uploads));
    for (size, root) in &told.heads {
        if at(&log.sha3, *size).map(hex::encode).as_ref() != Some(root) {
            wrong.push(format!("the head of size {size} that an upload was answered with is no prefix"));
        }
    }
    wrong.extend(compare_signed(&http, url, told, &log).await?);
    wrong.extend(payloads(&http, url, told).await);
    wrong.extend(ask_outside(&http, url).await?);
    Ok(wrong)
}

/// Whatever was signed and seen is a prefix of what is there now, so no two of them contradict each other. The relay's own
/// verdict on them comes with a proof, which must hold.
async fn compare_signed(
    http: &Client,
    url: &str,
    told: &Told,
    log: &Replayed,
) -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    let keys = text(http, format!("{url}/log/vkeys?all")).await?;
    let keys: Vec<VerifierKey> = keys.lines().filter_map(|line| line.parse().ok()).collect();
    let mut signed: Vec<(String, String, Tree, u64, Hash)> = Vec::new();
    for text in &told.checkpoints {
        let note = Note::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        let checkpoint = Checkpoint::parse(&note.text).map_err(|error| error.to_string())?;
        let name = format!("checkpoint of size {}", checkpoint.size);
        if note.open(&keys).map_or(0, |lines| lines.len()) < 3 {
            wrong.push(format!("the {name} is not signed by the keys shown"));
        }
        signed.push((name, text.clone(), Tree::Sha256, checkpoint.size, checkpoint.root));
    }
    for text in &told.sths {
        let sth: SignedSth = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let root = parse_hash(&sth.sha3_root).ok_or("a tree head without root")?;
        let name = format!("tree head of size {}", sth.tree_size);
        signed.push((name, text.clone(), Tree::Sha3, sth.tree_size, root));
    }
    for (name, document, tree, size, root) in signed {
        let roots = if tree == Tree::Sha256 { &log.sha256 } else { &log.sha3 };
        if usize::try_from(size).ok().and_then(|size| roots.get(size)) != Some(&root) {
            wrong.push(format!("the {name} that was seen is no prefix"));
        }
        let answer = http.post(format!("{url}/log/gossip")).body(document).send().await;
        let answer = answer.map_err(|error| error.to_string())?.json::<GossipAnswer>().await;
        let judged = answer.map_err(|error| error.to_string())?;
        let proof: Option<Vec<Hash>> = judged.proof.iter().map(|node| parse_hash(node)).collect();
        let ours = parse_hash(&judged.ours.root).unwrap_or_default();
        let holds = judged.verdict == GossipVerdict::Consistent
            && proof.is_some_and(|proof| {
                verify::consistency(tree, size, &root, judged.ours.size, &ours, &proof).is_ok()
            });
        if !holds {
            wrong.push(format!("the {name} that was seen is judged {:?}: {}", judged.verdict, judged.detail));
        }
    }
    Ok(wrong)
}

/// Each acknowledged payload can be had, whole.
async fn payloads(http: &Client, url: &str, told: &Told) -> Vec<String> {
    let user =
        User { url: url.to_owned(), http: http.clone(), key: told.key.clone(), account: String::new() };
    let mut wrong = Vec::new();
    for upload in &told.uploads {
        let answer = user.download(&hash(&upload.payload)).await;
        let status = answer.status();
        let whole = status == StatusCode::OK && answer.bytes().await.is_ok_and(|got| got == upload.payload);
        if !whole {
            wrong.push(format!("the payload of acknowledged entry {} answers {status}", upload.index));
        }
    }
    wrong
}

/// Tessera's fsck, where its program is there, reads the whole log over HTTP.
async fn ask_outside(http: &Client, url: &str) -> Result<Option<String>, String> {
    let Some(judges) = std::env::var_os("PARAMANT_JUDGES") else { return Ok(None) };
    // The newest pair stands behind the one it replaces.
    let keys = text(http, format!("{url}/log/vkeys")).await?;
    let mut ed25519 = keys.lines().filter(|line| {
        let key = line.parse::<VerifierKey>();
        key.is_ok_and(|key| key.algorithm() == paramant_tlog::vkey::Algorithm::Ed25519)
    });
    let key = ed25519.next_back().ok_or("no Ed25519 key is shown")?.to_owned();
    let log = format!("{url}/log/");
    let asked = move || {
        let judge = Path::new(&judges).join("judge-fsck");
        Command::new(judge).args(["-log", &log, "-vkey", &key]).output().unwrap()
    };
    let output = tokio::task::spawn_blocking(asked).await.unwrap();
    Ok((!output.status.success()).then(|| format!("fsck: {}", String::from_utf8_lossy(&output.stderr))))
}

/// Runs the relay until a checkpoint covers every entry. Only then may none of them be missing later.
pub async fn covered(dir: &Path) {
    let process = Process::start(dir);
    let http = Client::new();
    let page = text(&http, format!("{}/v2/ct/log?limit=1", process.url)).await.unwrap();
    let size = serde_json::from_str::<serde_json::Value>(&page).unwrap()["size"].as_u64().unwrap();
    covering(&http, &process.url, size).await.unwrap();
    process.kill();
}

/// Writes zeros over the last bytes that were written to the newest segment.
pub fn lose_the_newest_entries(wal: &Path, bytes: usize) {
    let segments = std::fs::read_dir(wal).unwrap().map(|entry| entry.unwrap().path());
    let newest = segments.filter(|path| path.extension().is_some_and(|it| it == "wal")).max().unwrap();
    let mut file = std::fs::OpenOptions::new().read(true).write(true).open(newest).unwrap();
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    let end = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let from = end.saturating_sub(bytes);
    file.seek(SeekFrom::Start(from as u64)).unwrap();
    file.write_all(&vec![0; end - from]).unwrap();
}

//! What a power cut may take: the writes that were not synced. The calls of a relay that takes one upload, gives it to one
//! reader and takes another back are recorded by `strace`, and at each step it is asked what is certain to be on disk.
//!
//! The promises, in calls: before the log may hold the entry of an upload, its payload (content and name), its key and its row are synced;
//! before a row speaks of an entry that entry is synced; when a client is answered nothing that its answer rests on is unsynced (an upload's
//! rests on its entry: from that and the first row a start makes the row live); before the log may hold the entry of a burn its row says so; when it is
//! answered that a payload was taken back, its key's slot was overwritten with zeros, and that is synced.
//! [`faults`] is pure, and sees recordings that were changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;

use super::{tracer, unable};
use crate::relay::{User, hash, noise};
use crate::spawned::Process;

const CALLS: &str = "write,pwrite64,writev,pwritev,sendto,sendmsg,fdatasync,fsync,ftruncate";

/// What a call did to what counts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// A file's content was written. Zeros only, or not.
    Write { file: String, zeros: bool },
    /// What was written to a file or a directory until now will be on disk when this sync ends.
    SyncBegins { file: String },
    /// It ended.
    Sync { file: String },
    /// A client was sent something.
    Answer,
}

/// A call on one of the files that count, by its path below the data directory.
fn counts(file: &str) -> bool {
    file == "keys.slots"
        || file == "meta.db-wal"
        || file.starts_with("log/wal/")
        || file.starts_with("blobs/")
}

/// Reads what `strace -f -y` wrote: lines of finished calls, and of those that another thread's came between.
fn steps(trace: &str, data: &Path) -> Vec<Step> {
    let mut begun: BTreeMap<&str, String> = BTreeMap::new();
    let mut steps = Vec::new();
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix("<unfinished ...>") {
            // A write counts from its beginning, a sync only from its end.
            steps.extend(step(start, data).map(begins));
            begun.insert(thread, start.to_owned());
        } else if rest.starts_with("<... ") {
            let start = begun.remove(thread).unwrap_or_default();
            if is_sync(&start) && rest.contains("= 0") {
                steps.extend(step(&start, data));
            }
        } else {
            let whole = step(rest, data);
            if is_sync(rest) {
                steps.extend(whole.clone().map(begins));
            }
            steps.extend(whole.filter(|_| !is_sync(rest) || rest.contains("= 0")));
        }
    }
    steps
}

fn begins(step: Step) -> Step {
    match step {
        Step::Sync { file } => Step::SyncBegins { file },
        other => other,
    }
}

fn is_sync(call: &str) -> bool {
    call.starts_with("fsync") || call.starts_with("fdatasync")
}

fn step(call: &str, data: &Path) -> Option<Step> {
    let (_, rest) = call.split_once('(')?;
    let below = |path: &str| {
        let path = path.trim_matches('"');
        Path::new(path).strip_prefix(data).ok().map(|path| path.display().to_string())
    };
    let opened = rest.split_once('<')?.1.split_once('>')?.0;
    if opened.starts_with("socket:") || opened.starts_with("TCP") {
        return Some(Step::Answer);
    }
    let file = below(opened).filter(|file| counts(file))?;
    if is_sync(call) {
        return Some(Step::Sync { file });
    }
    let content = rest.split('"').nth(1).unwrap_or_default();
    Some(Step::Write { file, zeros: content.replace("\\0", "").is_empty() })
}

/// What a power cut may take, after some steps.
#[derive(Debug, Default)]
struct Disk {
    /// Files with content, and directories with names, that are not synced.
    dirty: BTreeSet<String>,
    /// Those of them that nothing was written to since a sync began.
    covered: BTreeSet<String>,
    /// Payloads that were begun: each has a new name in its directory.
    named: BTreeSet<String>,
    /// The newest write to the slots was one of zeros.
    slot_zeroed: bool,
    entry_written: bool,
}

impl Disk {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Write { file, zeros } => {
                self.dirty.insert(file.clone());
                self.covered.remove(file);
                if file == "keys.slots" {
                    self.slot_zeroed = *zeros;
                }
                if file.starts_with("blobs/") && self.named.insert(file.clone()) {
                    let directory = Path::new(file).parent().map(|path| path.display().to_string());
                    self.covered.retain(|covered| Some(covered) != directory.as_ref());
                    self.dirty.extend(directory);
                }
            }
            Step::SyncBegins { file } => drop(self.covered.insert(file.clone())),
            Step::Sync { file } => {
                if self.covered.remove(file) {
                    self.dirty.remove(file);
                }
            }
            Step::Answer => {}
        }
    }

    fn may_lose(&self, what: &str) -> bool {
        self.dirty.iter().any(|file| file.starts_with(what))
    }
}

/// What the recorded part is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Upload,
    Read,
    TakingBack,
}

/// Which promises a power cut could break, and after which step.
fn faults(of: Of, steps: &[Step]) -> BTreeSet<&'static str> {
    let mut disk = Disk::default();
    let mut faults = BTreeSet::new();
    let mut answered = false;
    for step in steps {
        let writes = |what: &str| matches!(step, Step::Write { file, .. } if file.starts_with(what));
        if of == Of::Upload && writes("log/wal/") {
            if disk.may_lose("blobs/") {
                faults.insert("the log may speak of a payload that is lost");
            }
            if disk.may_lose("keys.slots") {
                faults.insert("the log may speak of a payload whose key is lost");
            }
            if disk.may_lose("meta.db-wal") {
                faults.insert("the log may speak of an upload whose row is lost");
            }
        }
        if of == Of::TakingBack && writes("log/wal/") && disk.may_lose("meta.db-wal") {
            faults.insert("the log may speak of a burn that no row knows of");
        }
        if of == Of::Upload && writes("meta.db-wal") && disk.entry_written && disk.may_lose("log/wal/") {
            faults.insert("a row may speak of an entry that is lost");
        }
        // What a reader is sent first decides; what is burned after it may wait.
        if *step == Step::Answer && !(answered && of == Of::Read) {
            answered = true;
            for (what, fault) in [
                ("blobs/", "an answer rests on a payload that may be lost"),
                ("log/wal/", "an answer rests on an entry that may be lost"),
                ("meta.db-wal", "an answer rests on a row that may be lost"),
                ("keys.slots", "an answer rests on a slot that may be as it was"),
            ] {
                let may_wait = match of {
                    // The start makes it again, from the entry and the first row.
                    Of::Upload => what == "meta.db-wal",
                    // Files of payloads go after the key, and come back as noise that the next start removes.
                    Of::Read => what == "blobs/",
                    // The row that is forgotten last says that it is burned.
                    Of::TakingBack => what == "blobs/" || what == "meta.db-wal",
                };
                if disk.may_lose(what) && !may_wait {
                    faults.insert(fault);
                }
            }
            if of == Of::TakingBack && !disk.slot_zeroed {
                faults.insert("it is called taken back while its key is there");
            }
        }
        disk.entry_written |= writes("log/wal/");
        disk.take(step);
    }
    if !answered {
        faults.insert("nobody was answered");
    }
    faults
}

/// What the relay did between two moments.
struct Recording {
    trace: std::path::PathBuf,
    data: std::path::PathBuf,
}

impl Recording {
    fn lines(&self) -> usize {
        std::fs::read_to_string(&self.trace).unwrap().lines().count()
    }

    /// The steps since so many lines were there, once no more come.
    async fn since(&self, lines: usize) -> Vec<Step> {
        let mut now = self.lines();
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let before = std::mem::replace(&mut now, self.lines());
            if now == before {
                break;
            }
        }
        let trace = std::fs::read_to_string(&self.trace).unwrap();
        let part: Vec<_> = trace.lines().skip(lines).collect();
        steps(&part.join("\n"), &self.data)
    }
}

/// Recordings of an upload, of a read that burns, and of a taking back.
async fn recorded(dir: &Path) -> Vec<(Of, Vec<Step>)> {
    let trace = dir.join("trace");
    let mut tracer: Command = tracer(&trace, &[format!("trace={CALLS}")]);
    tracer.args(["-y", "-s", "80"]);
    let process = Process::traced(dir, tracer).unwrap();
    let user = User::new(&process.url).await;
    let recording = Recording { trace, data: dir.join("data").canonicalize().unwrap() };
    // The first one makes the slots' file grow.
    let payload = noise(1, 150_000);
    assert_eq!(user.upload(&payload, json!({ "ttl_ms": 3_600_000 })).await.status(), StatusCode::OK);
    recording.since(0).await;

    let mut recordings = Vec::new();
    let from = recording.lines();
    let payload = noise(2, 150_000);
    assert_eq!(user.upload_raw(payload.clone(), "?ttl_ms=3600000").await.status(), StatusCode::OK);
    recordings.push((Of::Upload, recording.since(from).await));
    let from = recording.lines();
    assert_eq!(user.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
    recordings.push((Of::Read, recording.since(from).await));
    let payload = noise(3, 150_000);
    let from = recording.lines();
    assert_eq!(user.upload(&payload, json!({ "ttl_ms": 3_600_000 })).await.status(), StatusCode::OK);
    recordings.push((Of::Upload, recording.since(from).await));
    let from = recording.lines();
    let path = format!("/v2/inbound/{}", hash(&payload));
    assert_eq!(user.request(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::OK);
    recordings.push((Of::TakingBack, recording.since(from).await));
    process.kill();
    recordings
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_takes_nothing_that_an_answer_rests_on() {
    if unable() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let recordings = recorded(dir.path()).await;
    for (of, steps) in &recordings {
        assert_eq!(faults(*of, steps), BTreeSet::new(), "{of:?}: {steps:#?}");
        assert!(steps.len() >= 5, "{of:?}: {steps:?}");
    }

    // The same recordings, each with one thing left out or too late.
    let (_, upload) = &recordings[0];
    let (_, taking_back) = recordings.last().unwrap();
    let without = |steps: &[Step], what: &str| -> Vec<Step> {
        let synced = |step: &Step| matches!(step, Step::Sync { file } if file.starts_with(what));
        steps.iter().filter(|step| !synced(step)).cloned().collect()
    };
    for (what, fault) in [
        ("blobs/", "the log may speak of a payload that is lost"),
        ("keys.slots", "the log may speak of a payload whose key is lost"),
        ("log/wal/", "a row may speak of an entry that is lost"),
        ("log/wal/", "an answer rests on an entry that may be lost"),
        ("meta.db-wal", "the log may speak of an upload whose row is lost"),
    ] {
        assert!(faults(Of::Upload, &without(upload, what)).contains(fault), "{what}: {fault}");
    }
    let (_, read) = &recordings[1];
    let fault = "an answer rests on a row that may be lost";
    assert!(faults(Of::Read, &without(read, "meta.db-wal")).contains(fault));
    let early = |steps: &[Step]| [vec![Step::Answer], steps.to_vec()].concat();
    assert!(
        faults(Of::TakingBack, &early(taking_back))
            .contains("it is called taken back while its key is there")
    );
    let fault = "the log may speak of a burn that no row knows of";
    assert!(faults(Of::TakingBack, &without(taking_back, "meta.db-wal")).contains(fault));
    let fault = "an answer rests on a slot that may be as it was";
    assert!(faults(Of::TakingBack, &without(taking_back, "keys.slots")).contains(fault));
    // A payload whose name is not synced is lost with its directory.
    let directory =
        |step: &Step| matches!(step, Step::Sync { file } if file.starts_with("blobs/") && file.len() == 8);
    let nameless: Vec<_> = upload.iter().filter(|step| !directory(step)).cloned().collect();
    assert!(nameless.len() < upload.len());
    assert!(faults(Of::Upload, &nameless).contains("the log may speak of a payload that is lost"));
}

#[test]
fn a_sync_covers_what_was_written_before_it_began() {
    let wal = || "meta.db-wal".to_owned();
    let write = || Step::Write { file: wal(), zeros: false };
    let (begins, ends) = (Step::SyncBegins { file: wal() }, Step::Sync { file: wal() });
    for (steps, lost) in [
        (vec![write(), begins.clone(), ends.clone()], false),
        (vec![write(), begins, write(), ends.clone()], true),
        (vec![write(), ends], true),
    ] {
        let mut disk = Disk::default();
        steps.iter().for_each(|step| disk.take(step));
        assert_eq!(disk.may_lose("meta.db-wal"), lost, "{steps:?}");
    }
}

#[test]
fn a_sync_counts_from_its_end_and_a_write_from_its_beginning() {
    let data = Path::new("/d");
    let trace = r#"7 pwrite64(9</d/keys.slots>, "PKS1x", 64, 128 <unfinished ...>
8 fdatasync(4</d/meta.db-wal> <unfinished ...>
7 <... pwrite64 resumed>)   = 64
8 <... fdatasync resumed>)  = 0
8 fdatasync(4</d/meta.db-wal>) = -1 EIO (Input/output error)
9 pwrite64(9</d/keys.slots>, "\0\0\0", 64, 128) = 64
9 write(3<socket:[77]>, "HTTP/1.1", 8) = 8
9 write(3</d/other>, "x", 1) = 1
"#;
    let file = |file: &str| file.to_owned();
    assert_eq!(
        steps(trace, data),
        [
            Step::Write { file: file("keys.slots"), zeros: false },
            Step::SyncBegins { file: file("meta.db-wal") },
            Step::Sync { file: file("meta.db-wal") },
            Step::SyncBegins { file: file("meta.db-wal") },
            Step::Write { file: file("keys.slots"), zeros: true },
            Step::Answer,
        ]
    );
}

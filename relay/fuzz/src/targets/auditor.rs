//! What an auditor's program reads: copies of a log, offline proofs, lists of keys, and its own state.

use std::collections::BTreeSet;
use std::io::{Cursor, Read as _};
use std::sync::{LazyLock, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use paramant_client::audit::{Baggage, Copy, Remembered, Source as _, audit};
use paramant_client::logged::{self, Locator, Trust};
use paramant_client::relay::Progress;
use paramant_tlog::note::Note;
use paramant_tlog::vkey::VerifierKey;
use paramant_tlog::{Checkpoint, bundle, tile};
use tokio::runtime::{Builder, Runtime};
use zip::ZipArchive;

use crate::run::kept;
use crate::seeds::texts;
use crate::{Memory, Target};

/// What holds in the vectors, by name of the field: texts of the story, and roots its checkpoints commit to.
struct Story {
    entries: Vec<Vec<u8>>,
    checkpoints: Vec<Checkpoint>,
    /// Every key that signs the story at some time; sets in force, oldest first.
    key_sets: Vec<Vec<VerifierKey>>,
}

static STORY: LazyLock<Story> = LazyLock::new(|| {
    kept(|| {
        let notes = texts("story.json", &["note"]);
        let checkpoint = |note: &Vec<u8>| Checkpoint::parse(&Note::parse(note).expect("a note").text);
        let keys: BTreeSet<Vec<String>> = key_sets().into_iter().collect();
        let parse =
            |set: &Vec<String>| set.iter().map(|key| VerifierKey::parse(key).expect("a key")).collect();
        Story {
            entries: texts("story.json", &["entries"]),
            checkpoints: notes.iter().map(|note| checkpoint(note).expect("a checkpoint")).collect(),
            key_sets: keys.iter().map(parse).collect(),
        }
    })
});

fn key_sets() -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/vectors/story.json");
    let story: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path).expect("the story")).expect("JSON in a vector");
    let checkpoints = story["checkpoints"].as_array().expect("checkpoints");
    checkpoints.iter().map(|it| serde_json::from_value(it["keys"].clone()).expect("keys")).collect()
}

pub(super) const ARCHIVE: Target = Target {
    name: "archive",
    check: archive,
    seeds: || {
        let zips = texts("archives.json", &["zip"]);
        zips.iter().map(|zip| BASE64_STANDARD.decode(zip).expect("base64 in a vector")).collect()
    },
    words: &[
        "PK\u{1}\u{2}",
        "PK\u{3}\u{4}",
        "PK\u{5}\u{6}",
        "PK\u{6}\u{6}",
        "checkpoint",
        "sth.ndjson",
        "tile/0/000.p/1",
        "../",
    ],
    // A member is read whole, and a zip may say of many that each is all of it: one at a time is held.
    memory: Memory { base: 1024 * 1024, per_byte: 64 },
};

/// A place for one file, and what runs the auditor.
type Desk = (tempfile::TempDir, Runtime);
static DESK: LazyLock<Mutex<Desk>> = LazyLock::new(|| {
    kept(|| {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        Mutex::new((tempfile::tempdir().expect("a folder"), runtime))
    })
});

fn open((folder, _): &Desk, zip: &[u8]) -> Option<Copy> {
    let path = folder.path().join("log.zip");
    std::fs::write(&path, zip).expect("a file");
    Copy::open(&[path]).ok()
}

fn archive(input: &[u8]) {
    let story = &*STORY;
    let desk = DESK.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(copy) = open(&desk, input) else { return };
    desk.1.block_on(async {
        // Every member as the zip crate finds it by itself.
        let mut zip = ZipArchive::new(Cursor::new(input)).expect("what was opened is a zip");
        assert!(!zip.has_duplicate_names(), "two readers may take two members");
        for number in 0..zip.len().min(64) {
            let mut member = zip.by_index_raw(number).expect("a member that was found");
            let name = member.name().expect("a name").into_owned();
            if member.is_dir() {
                continue;
            }
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).expect("it lies within the file");
            let read = copy.get(&format!("/log/{name}")).await.expect("a member that was found");
            assert!(read.is_some_and(|read| read == bytes), "{name} was read otherwise");
        }
        for keys in &story.key_sets {
            let baggage = Baggage {
                pinned: keys.clone(),
                require_pq: true,
                at: Some(1_767_330_000),
                ..Baggage::default()
            };
            let Ok((report, remembered)) = audit(&copy, &baggage, &Progress::silent()).await else {
                continue;
            };
            if !report.holds() {
                continue;
            }
            let head = report.head.expect("it holds");
            let known = story
                .checkpoints
                .iter()
                .any(|it| it.size == head.size && hex::encode(it.root) == head.sha256_root);
            assert!(known, "a log that nobody signed: {head:?}");
            let size = u16::try_from(head.size).expect("a small log");
            let bytes = copy.get(&format!("/log/{}", tile::bundle_path(0, size))).await.expect("it was read");
            let bytes = bytes.expect("a bundle");
            let entries = bundle::decode(&bytes).expect("a bundle");
            assert_eq!(entries, story.entries[..usize::from(size)], "other entries than were signed");
            let remembered = remembered.expect("the whole log was there");
            assert_eq!(Remembered::parse(&remembered.to_bytes()).as_ref(), Ok(&remembered));
        }
    });
}

pub(super) const LOGGED: Target = Target {
    name: "logged",
    check: logged,
    seeds: || {
        let mut seeds = super::proofs::offline_proofs();
        seeds.push(b"7".to_vec());
        seeds.push("ab".repeat(32).into_bytes());
        seeds
    },
    words: &[
        "c2sp.org/tlog-proof@v1\n",
        "extra ",
        "index ",
        "\n",
        "\n\n",
        "=",
        "— ",
        "relay.example.org/log",
        "0",
    ],
    memory: Memory { base: 256 * 1024, per_byte: 24 },
};

fn logged(input: &[u8]) {
    let story = &*STORY;
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(locator) = text.parse::<Locator>()
    {
        let again = match &locator {
            Locator::Index(index) => index.to_string(),
            Locator::Receipt(id) => id.clone(),
        };
        assert_eq!(again, text, "one entry, two spellings");
    }
    for keys in &story.key_sets {
        let Ok(found) = logged::check_by(input, None, &Trust::Keys(keys.clone())) else { continue };
        let index = usize::try_from(found.index).expect("a small index");
        assert_eq!(
            story.entries.get(index).map(Vec::as_slice),
            Some(found.entry.bytes()),
            "it is not in the log"
        );
        assert!(story.checkpoints.contains(&found.checkpoint), "a checkpoint that nobody signed");
        assert!(logged::check(input, found.index + 1, keys).is_err(), "a proof for another entry was taken");
    }
}

pub(super) const STATE: Target = Target {
    name: "state",
    check: state,
    seeds: || {
        let desk = DESK.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = |zip: Vec<u8>| {
            let copy = open(&desk, &zip)?;
            let (_, remembered) =
                desk.1.block_on(audit(&copy, &Baggage::default(), &Progress::silent())).ok()?;
            Some(remembered?.to_bytes())
        };
        (ARCHIVE.seeds)().into_iter().filter_map(remembered).collect()
    },
    words: &[
        "{",
        "}",
        "[",
        "]",
        ",",
        "null",
        "\"version\":2",
        "\"size\":",
        "\"sha3_root\":\"\"",
        "\"resume\":null",
        "00",
        "9007199254740992",
    ],
    memory: Memory::VALUES,
};

fn state(input: &[u8]) {
    let Ok(remembered) = Remembered::parse(input) else { return };
    assert_eq!(
        Remembered::parse(&remembered.to_bytes()).as_ref(),
        Ok(&remembered),
        "written and read it is another state"
    );
    let fresh = remembered.clone().from_the_start();
    assert_eq!((fresh.heads(), fresh.size), (0, remembered.size));
}

pub(super) const VKEYS: Target = Target {
    name: "vkeys",
    check: vkeys,
    seeds: || {
        let keys = texts("keys.json", &["vkey"]);
        let all: Vec<u8> = keys.iter().flat_map(|key| [key.as_slice(), b"\n"].concat()).collect();
        let commented = [b"# signs tree sizes from 0 on\n".as_slice(), all.as_slice(), b"\n"].concat();
        let mut seeds = vec![all, commented];
        seeds.extend(keys);
        seeds
    },
    words: &["\n", "# ", "\r\n", "+", " ", "relay.example.org/log", "AA==", "\u{2028}"],
    memory: Memory::COPIES,
};

fn vkeys(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(keys) = logged::parse_keys(text) else { return };
    assert!(!keys.is_empty() && keys.len() <= text.lines().count());
    let written: String = keys.iter().map(|key| format!("{key}\n")).collect();
    assert_eq!(logged::parse_keys(&written).ok(), Some(keys.clone()), "written and read they are other keys");
    // Nothing was passed over but blanks and comments.
    let said: usize =
        text.lines().filter(|line| !line.trim().is_empty() && !line.trim().starts_with('#')).count();
    assert_eq!(said, keys.len());
}

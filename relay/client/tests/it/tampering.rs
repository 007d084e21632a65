//! Who rejects what: each tampering of a real log is shown to every judge, and the table in docs/audit.md is held against what
//! they said.
//!
//! `paramant audit` is always asked. The judges from elsewhere (`e2e/judges`) are asked when `PARAMANT_JUDGES` names the directory
//! with their binaries; without it only the first column is compared. Every judge first accepts the untouched log.

mod judges;

use std::path::Path;

use paramant_client::audit::{Baggage, Remembered};
use paramant_tlog::note::Note;
use paramant_tlog::tile::{self, Coordinates};
use paramant_tlog::{Checkpoint, CompactRange, Hash, Tree, bundle};

use crate::copies::{audited, busy, holds};
use crate::made_log::{AT, MadeLog, cosign, write_heads};
use judges::{Judges, Verdict};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/audit.md");
const COLUMNS: [&str; 5] =
    ["`paramant audit`", "Tessera `fsck`", "x/mod `note`", "x/mod `tlog`", "formats (ML-DSA-44)"];

/// A tampering: its name in the table, and what it does to a copy of the log.
struct Tampering {
    name: &'static str,
    /// The entry that the proof judge is asked about: one whose proof the damage touches, where there is one.
    proven: u64,
    /// What the auditor brings along.
    knows: Knows,
    /// By which of these checks `paramant audit` must find it.
    found: &'static [&'static str],
    make: fn(&MadeLog, &Path),
}

/// What the auditor brings along besides the keys.
#[derive(Clone, Copy, PartialEq)]
enum Knows {
    Nothing,
    /// The policy, and that the quorum must be younger than an hour.
    Policy,
    /// The state of an earlier audit.
    State,
}

fn flip(directory: &Path, name: &str, at: usize) {
    let path = directory.join(name);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Flips a bit of the root that a checkpoint states. Its base64 stays base64: a text that no longer is would be
/// refused for that alone.
fn flip_root(directory: &Path) {
    let path = directory.join("checkpoint");
    let mut note = Note::parse(&std::fs::read(&path).unwrap()).unwrap();
    let mut checkpoint = Checkpoint::parse(&note.text).unwrap();
    checkpoint.root[5] ^= 1;
    note.text = checkpoint.to_text();
    std::fs::write(path, note.to_text()).unwrap();
}

/// Flips a byte in the signature line of a key, well behind its id and its time.
fn flip_line(directory: &Path, line: usize) {
    let path = directory.join("checkpoint");
    let mut note = Note::parse(&std::fs::read(&path).unwrap()).unwrap();
    note.signatures[line].bytes[40] ^= 1;
    std::fs::write(path, note.to_text()).unwrap();
}

/// Rewrites the third bundle (full) with what this makes of its entries, leaving tiles and checkpoint as they were.
fn rewrite(made: &MadeLog, directory: &Path, change: fn(&mut Vec<Vec<u8>>)) {
    // One more than fits, so that an entry may go.
    let mut entries: Vec<Vec<u8>> =
        made.log.entries(512, 257).unwrap().into_iter().map(|entry| entry.bytes).collect();
    change(&mut entries);
    let mut bytes = Vec::new();
    for entry in entries.iter().take(256) {
        assert!(bundle::push(&mut bytes, entry));
    }
    std::fs::write(directory.join(tile::bundle_path(2, 256)), bytes).unwrap();
}

/// A log with the same keys that says something else from some entry on.
fn other() -> MadeLog {
    let mut made = MadeLog::new();
    made.transfers(300, "").head().transfers(900, "another").head();
    made
}

/// Replaces what is in a directory by another log.
fn replace(directory: &Path, by: &MadeLog) {
    std::fs::remove_dir_all(directory.join("tile")).unwrap();
    by.copy_to(directory);
    cosign(directory, &[0, 1], AT);
}

const TAMPERINGS: &[Tampering] = &[
    Tampering { name: "nothing", proven: 600, knows: Knows::Nothing, found: &[], make: |_, _| {} },
    Tampering {
        name: "a flipped byte in a tile",
        proven: 600,
        knows: Knows::Nothing,
        found: &["tiles"],
        make: |_, at| flip(at, "tile/0/002", (600 - 512 + 1) * 32 + 5),
    },
    Tampering {
        name: "a flipped byte in an entry bundle",
        proven: 600,
        knows: Knows::Nothing,
        found: &["entries", "tiles"],
        make: |_, at| {
            let bytes = std::fs::read(at.join("tile/entries/002")).unwrap();
            let first = bundle::decode(&bytes)
                .unwrap()
                .iter()
                .take(600 - 512)
                .map(|entry| entry.len() + 2)
                .sum::<usize>();
            // Within the hex digits of `l`.
            flip(at, "tile/entries/002", first + 2 + 40);
        },
    },
    Tampering {
        name: "a flipped byte in the checkpoint's text",
        proven: 600,
        knows: Knows::Nothing,
        found: &["checkpoint"],
        make: |_, at| flip_root(at),
    },
    Tampering {
        name: "a flipped byte in the Ed25519 line",
        proven: 600,
        knows: Knows::Nothing,
        found: &["checkpoint"],
        make: |_, at| flip_line(at, 0),
    },
    Tampering {
        name: "a flipped byte in the ML-DSA-44 line",
        proven: 600,
        knows: Knows::Nothing,
        found: &["checkpoint"],
        make: |_, at| flip_line(at, 1),
    },
    Tampering {
        name: "a flipped byte in the ML-DSA-65 line",
        proven: 600,
        knows: Knows::Nothing,
        found: &["checkpoint"],
        make: |_, at| flip_line(at, 2),
    },
    Tampering {
        name: "a flipped byte in a witness's line",
        proven: 600,
        knows: Knows::Policy,
        found: &["witnesses"],
        make: |_, at| {
            flip_line(at, 3);
            std::fs::copy(at.join("checkpoint"), at.join("checkpoint.witnessed")).unwrap();
        },
    },
    Tampering {
        name: "a flipped byte in a signed tree head",
        proven: 600,
        knows: Knows::Nothing,
        found: &["tree heads", "anchors"],
        make: |made, at| {
            let mut heads = made.heads.clone();
            heads[1].timestamp ^= 1;
            write_heads(at, &heads);
        },
    },
    Tampering {
        name: "a tree head with another SHA3-256 root, properly signed",
        proven: 600,
        knows: Knows::Nothing,
        found: &["tree heads"],
        make: |_, at| {
            let mut lying = busy();
            lying.sign_head(lying.log.head().size, &[7; 32]);
            write_heads(at, &lying.heads);
        },
    },
    Tampering {
        name: "a tree head left out",
        proven: 600,
        knows: Knows::Nothing,
        found: &["anchors"],
        make: |made, at| {
            let mut heads = made.heads.clone();
            heads.remove(1);
            write_heads(at, &heads);
        },
    },
    Tampering {
        name: "an anchor that does not cover the tree heads",
        proven: 600,
        knows: Knows::Nothing,
        found: &["anchors"],
        make: |_, at| {
            let mut lying = MadeLog::new();
            lying.transfers(900, "").head().anchor_with([7; 32]);
            replace(at, &lying);
        },
    },
    Tampering {
        name: "an inner node in the SHA3-256 tree where the entry has its `l`",
        proven: 600,
        knows: Knows::Nothing,
        found: &["tree heads"],
        make: |_, at| {
            let mut lying = busy();
            let entries = lying.log.entries(0, usize::MAX).unwrap();
            let mut leaves: Vec<Hash> = entries.into_iter().map(|entry| entry.legacy_leaf).collect();
            leaves[7] = Tree::Sha3.node(&[1; 32], &[2; 32]);
            let mut range = CompactRange::new(Tree::Sha3);
            leaves.iter().for_each(|leaf| range.append(*leaf, |_, _| {}));
            lying.sign_head(range.size(), &range.root());
            write_heads(at, &lying.heads);
        },
    },
    Tampering {
        name: "a dropped entry",
        proven: 600,
        knows: Knows::Nothing,
        found: &["tiles"],
        make: |made, at| {
            rewrite(made, at, |entries| {
                entries.remove(88);
            });
        },
    },
    Tampering {
        name: "a reordered pair of entries",
        proven: 600,
        knows: Knows::Nothing,
        found: &["tiles"],
        make: |made, at| rewrite(made, at, |entries| entries.swap(88, 89)),
    },
    Tampering {
        name: "an entry after the one that closed the log, properly signed",
        proven: 600,
        knows: Knows::Nothing,
        found: &["rules"],
        make: |_, at| {
            use paramant_protocol::entry::Body;
            use paramant_protocol::entry::body::{CloseCause, LogClosed};
            let mut lying = busy();
            lying.body(Body::LogClosed(LogClosed { cause: CloseCause::Deleted }));
            lying.transfers(1, "");
            replace(at, &lying);
        },
    },
    Tampering {
        name: "another key, without an entry that adds it, properly signed",
        proven: 600,
        knows: Knows::State,
        found: &["continuity"],
        make: |_, at| {
            let mut lying = busy();
            lying.swap_first_key(77);
            lying.transfers(1, "");
            replace(at, &lying);
        },
    },
    Tampering {
        name: "a rolled-back checkpoint, properly signed",
        proven: 600,
        knows: Knows::State,
        found: &["continuity"],
        make: |_, at| {
            let mut earlier = MadeLog::new();
            earlier.transfers(300, "").head().transfers(40, "").head().anchor().head().transfers(400, "");
            replace(at, &earlier);
        },
    },
    Tampering {
        name: "a forked tree, properly signed",
        proven: 600,
        knows: Knows::State,
        found: &["continuity"],
        make: |_, at| replace(at, &other()),
    },
    Tampering {
        name: "witness lines of two hours ago",
        proven: 600,
        knows: Knows::Policy,
        found: &["witnesses"],
        make: |made, at| {
            made.copy_to(at);
            cosign(at, &[0, 1], AT - 7200);
        },
    },
];

fn untouched(made: &MadeLog) -> tempfile::TempDir {
    let copy = made.copy();
    cosign(copy.path(), &[0, 1], AT);
    copy
}

/// The check that finds something, if one does.
async fn audit_finds(made: &MadeLog, at: &Path, knows: Knows, state: &Remembered) -> Option<&'static str> {
    let mut baggage = Baggage { at: Some(AT + 60), ..Baggage::default() };
    match knows {
        Knows::Nothing => baggage.pinned = made.keys.verifiers(),
        Knows::Policy => {
            baggage.policy = Some(made.policy());
            baggage.max_witness_age = Some(std::time::Duration::from_secs(3600));
        }
        Knows::State => baggage.remembered = Some(state.clone()),
    }
    let (report, _) = audited(at, &baggage).await;
    assert_eq!(report.holds(), report.failure().is_none(), "{report:#?}");
    report.failure().map(|check| check.name)
}

/// A proof of an entry, put together from the bundles, tiles and checkpoint of a directory as they are.
fn proof_from(directory: &Path, index: u64) -> paramant_tlog::tlog_proof::TlogProof {
    use paramant_tlog::proof::{ReadNode, inclusion};
    struct Tiles<'a>(&'a Path, u64);
    impl ReadNode for Tiles<'_> {
        type Error = std::io::Error;

        fn node(&mut self, node: paramant_tlog::Node) -> Result<Hash, std::io::Error> {
            let (place, run) = Coordinates::holding(node);
            let bytes = std::fs::read(self.0.join(place.path(place.width_at(self.1))))?;
            Ok(tile::node_from_run(Tree::Sha256, &tile::decode(&bytes).unwrap()[run]))
        }
    }
    let checkpoint = std::fs::read_to_string(directory.join("checkpoint")).unwrap();
    let size = Checkpoint::parse(&Note::parse(checkpoint.as_bytes()).unwrap().text).unwrap().size;
    let path = inclusion(Tree::Sha256, &mut Tiles(directory, size), index, size).unwrap();
    let width = Coordinates { level: 0, index: index / 256 }.width_at(size);
    let bundle = std::fs::read(directory.join(tile::bundle_path(index / 256, width))).unwrap();
    let extra = Some(bundle::decode(&bundle).unwrap()[(index % 256) as usize].to_vec());
    paramant_tlog::tlog_proof::TlogProof { extra, index, path, checkpoint }
}

#[tokio::test]
async fn every_tampering_is_rejected_by_whom_the_document_says() {
    let judges = Judges::from_environment();
    if judges.is_none() {
        eprintln!("PARAMANT_JUDGES is not set: only `paramant audit` was asked");
    }
    let made = busy();
    let copy = untouched(&made);
    let (report, state) = audited(copy.path(), &Baggage::default()).await;
    holds(&report);
    let state = state.unwrap();

    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for tampering in TAMPERINGS {
        let copy = untouched(&made);
        (tampering.make)(&made, copy.path());
        let found = audit_finds(&made, copy.path(), tampering.knows, &state).await;
        let right = found.map_or(tampering.found.is_empty(), |check| tampering.found.contains(&check));
        if !right {
            wrong.push(format!("{}: {found:?}, expected {:?}", tampering.name, tampering.found));
        }
        let mut verdicts = vec![if found.is_some() { Verdict::Rejects } else { Verdict::Accepts }];
        if let Some(judges) = &judges {
            let keys = made.keys.verifiers();
            let proof = proof_from(copy.path(), tampering.proven);
            verdicts.extend(judges.ask(copy.path(), &keys, &proof));
        }
        if tampering.name == "nothing" {
            assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Accepts), "{verdicts:?}");
            // What the auditor may bring along changes nothing about a log that is as it should be.
            for knows in [Knows::Policy, Knows::State] {
                assert_eq!(audit_finds(&made, copy.path(), knows, &state).await, None);
            }
            continue;
        }
        let needs = match tampering.knows {
            Knows::Nothing => "",
            Knows::Policy => " (with `--policy`)",
            Knows::State => " (with `--state`)",
        };
        rows.push((tampering.name, needs, verdicts));
    }

    assert!(wrong.is_empty(), "found by another check:\n{}", wrong.join("\n"));
    let table = table(&rows);
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let documented: Vec<&str> =
        document.lines().filter(|line| line.starts_with("| a") || line.starts_with("| w")).collect();
    for row in table.lines().skip(2) {
        let columns = row.split('|').take(2 + rows[0].2.len()).collect::<Vec<_>>().join("|");
        let found = documented.iter().any(|line| line.starts_with(&columns));
        assert!(found, "docs/audit.md does not have this row; the table is\n\n{table}");
    }
    if judges.is_some() {
        assert!(document.contains(&table), "docs/audit.md has another table than\n\n{table}");
    }
}

fn table(rows: &[(&str, &str, Vec<Verdict>)]) -> String {
    let count = rows.first().map_or(0, |row| row.2.len());
    let mut text =
        format!("| tampering | {} |\n|---|{}\n", COLUMNS[..count].join(" | "), "---|".repeat(count));
    for (name, needs, verdicts) in rows {
        let words: Vec<String> = verdicts
            .iter()
            .enumerate()
            .map(|(column, verdict)| format!("{}{}", verdict.word(), if column == 0 { needs } else { "" }))
            .collect();
        text.push_str(&format!("| {name} | {} |\n", words.join(" | ")));
    }
    text
}

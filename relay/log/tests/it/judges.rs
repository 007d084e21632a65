//! Programs written elsewhere judge a log that this engine wrote.
//!
//! Runs when `PARAMANT_JUDGES` names the directory with the judges' programs, `judge-fsck` and so on, as `cargo xtask test`
//! builds them from `e2e/judges`; fails loudly when it is set and they are missing. Every judge is also shown a damaged log and must refuse it.

use crate::support::{Keys, append, copy, entry, flip, open, wait_derived};
use paramant_log::Log;
use paramant_tlog::Tree;
use paramant_tlog::keys::Signer as _;
use paramant_tlog::tlog_proof::TlogProof;
use std::path::PathBuf;
use std::process::Command;

struct Judges {
    dir: PathBuf,
}

impl Judges {
    fn from_environment() -> Option<Self> {
        let dir = PathBuf::from(std::env::var_os("PARAMANT_JUDGES")?);
        for judge in ["fsck", "note", "mldsa", "proof"] {
            assert!(
                dir.join(format!("judge-{judge}")).is_file(),
                "PARAMANT_JUDGES is set, but judge-{judge} is not in {}",
                dir.display()
            );
        }
        Some(Self { dir })
    }

    /// What a judge says: true for exit 0, false for exit 1, and nothing else counts.
    fn accepts(&self, judge: &str, arguments: &[&str]) -> bool {
        let output = Command::new(self.dir.join(format!("judge-{judge}"))).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => true,
            Some(1) => false,
            other => panic!("{judge} {arguments:?}: {other:?}\n{said}"),
        }
    }
}

fn exported(log: &Log) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    log.publish_now().unwrap();
    log.export(dir.path()).unwrap();
    dir
}

#[test]
fn outside_judges_accept_the_log_and_refuse_each_kind_of_damage() {
    let Some(judges) = Judges::from_environment() else {
        eprintln!("PARAMANT_JUDGES is not set: the judges were not asked");
        return;
    };
    let keys = Keys::new();
    let ed25519 = keys.ed25519.verifier().to_string();
    let ml_dsa_44 = keys.ml_dsa_44.verifier().to_string();
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path());
    let mut size = 0;
    for step in [1, 254, 1, 1, 443, 5000, 60300] {
        append(&log, size..size + step);
        size += step;
        let dir = exported(&log);
        let path = dir.path().to_str().unwrap();
        assert!(judges.accepts("fsck", &["-log", path, "-vkey", &ed25519]), "fsck refuses {size} entries");
    }
    wait_derived(&log);
    let dir = exported(&log);
    let path = dir.path().to_str().unwrap();
    assert!(judges.accepts("fsck", &["-log", path, "-vkey", &ed25519]), "fsck refuses the derived files");

    let checkpoint = dir.path().join("checkpoint");
    let note = checkpoint.to_str().unwrap();
    assert!(judges.accepts("note", &["-vkey", &ed25519, note]));
    assert!(judges.accepts("mldsa", &["-vkey", &ml_dsa_44, note]));

    for (damaged, at) in [
        ("tile/0/000", 5000),
        ("tile/0/257.p/208", 17),
        ("tile/1/000", 8191),
        ("tile/1/001.p/1", 3),
        ("tile/2/000.p/1", 31),
        ("tile/entries/000", 40),
        ("tile/entries/257.p/208", 40),
        // The origin, the size, the root and the first signature of the checkpoint.
        ("checkpoint", 3),
        ("checkpoint", 23),
        ("checkpoint", 40),
        ("checkpoint", 130),
    ] {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        flip(&copied.path().join(damaged), at);
        let path = copied.path().to_str().unwrap();
        let accepted = judges.accepts("fsck", &["-log", path, "-vkey", &ed25519, "-stall", "2s"]);
        assert!(!accepted, "fsck accepts {damaged} with byte {at} flipped");
        if damaged == "checkpoint" {
            let note = copied.path().join("checkpoint");
            assert!(!judges.accepts("note", &["-vkey", &ed25519, note.to_str().unwrap()]), "byte {at}");
        }
    }
    let text = std::fs::read_to_string(&checkpoint).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let position = text.find(lines[5]).unwrap() + 60;
    // Another letter of base64: the note stays well-formed, its signature does not hold.
    let other = if text.as_bytes()[position] == b'A' { "B" } else { "A" };
    let forged = format!("{}{other}{}", &text[..position], &text[position + 1..]);
    std::fs::write(&checkpoint, forged).unwrap();
    assert!(!judges.accepts("mldsa", &["-vkey", &ml_dsa_44, note]), "a flipped ML-DSA-44 line");
    assert!(
        judges.accepts("note", &["-vkey", &ed25519, note]),
        "other lines do not matter to the Ed25519 key"
    );
}

#[test]
fn the_go_checksum_database_accepts_our_proofs_and_refuses_others() {
    let Some(judges) = Judges::from_environment() else {
        eprintln!("PARAMANT_JUDGES is not set: the judges were not asked");
        return;
    };
    let vkey = Keys::new().ed25519.verifier().to_string();
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path());
    append(&log, 0..1500);
    let published = log.publish_now().unwrap();
    let file = home.path().join("receipt.tlog-proof");
    let judge = |proof: &TlogProof| {
        std::fs::write(&file, proof.to_text()).unwrap();
        judges.accepts("proof", &["-vkey", &vkey, file.to_str().unwrap()])
    };
    for index in [0, 1, 255, 256, 1024, 1499] {
        let path = log.inclusion(Tree::Sha256, index, published.head.size).unwrap();
        let extra = Some(entry(index).bytes);
        let mut proof = TlogProof { extra, index, path, checkpoint: published.note.clone() };
        assert!(judge(&proof), "index {index}");
        proof.index ^= 1;
        assert!(!judge(&proof), "another index than {index}");
        proof.index ^= 1;
        proof.path[0][0] ^= 1;
        assert!(!judge(&proof), "another path for {index}");
        proof.path[0][0] ^= 1;
        proof.extra = Some(b"something else".to_vec());
        assert!(!judge(&proof), "another entry at {index}");
    }
}

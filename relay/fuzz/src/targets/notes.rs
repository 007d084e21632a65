//! Signed notes, checkpoints, verifier keys.

use std::sync::LazyLock;

use paramant_tlog::Checkpoint;
use paramant_tlog::note::{MAX_NOTE, MAX_SIGNATURES, Note};
use paramant_tlog::vkey::VerifierKey;

use crate::run::kept;
use crate::seeds::texts;
use crate::{Memory, Target};

pub(super) const NOTE: Target = Target {
    name: "note",
    check: note,
    seeds: || {
        let mut seeds = texts("checkpoints.json", &["note"]);
        seeds.extend(texts("checkpoints-refused.json", &["note"]));
        seeds
    },
    words: &["— ", "\n\n", "\n", "relay.example.org/log ", "AAAAAAA=", "\u{2028}", "\u{a0}", "\r", "+"],
    memory: Memory::COPIES,
};

/// The keys of the story.
static KEYS: LazyLock<Vec<VerifierKey>> = LazyLock::new(|| {
    kept(|| {
        let texts = texts("keys.json", &["vkey"]);
        texts.iter().map(|text| VerifierKey::parse(&String::from_utf8_lossy(text)).expect("a key")).collect()
    })
});

fn note(input: &[u8]) {
    let Ok(note) = Note::parse(input) else { return };
    assert!(
        input.len() <= MAX_NOTE && note.signatures.len() <= MAX_SIGNATURES && !note.signatures.is_empty()
    );
    assert_eq!(note.to_text().as_bytes(), input, "written again it is another note");
    assert_eq!(Note::parse(note.to_text().as_bytes()).as_ref(), Ok(&note));
    assert!(note.text.ends_with('\n'));
    // Lines of other keys change nothing: with them and without them a key says the same.
    let Some(key) = KEYS.first() else { return };
    let theirs =
        |line: &&paramant_tlog::note::Signature| line.name == key.name() && line.key_id == key.key_id();
    let only = Note {
        text: note.text.clone(),
        signatures: note.signatures.iter().filter(theirs).cloned().collect(),
    };
    let key = std::slice::from_ref(key);
    assert_eq!(note.open(key), only.open(key));
}

pub(super) const CHECKPOINT: Target = Target {
    name: "checkpoint",
    check: checkpoint,
    seeds: || texts("checkpoints.json", &["text"]),
    words: &["\n", "relay.example.org/log\n", "=\n", "\n0\n", "+"],
    memory: Memory::COPIES,
};

fn checkpoint(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(checkpoint) = Checkpoint::parse(text) else { return };
    assert_eq!(checkpoint.to_text(), text, "written again it is another checkpoint");
    assert!(!checkpoint.origin.is_empty() && !checkpoint.origin.contains('\n'));
    assert!(checkpoint.extensions.iter().all(|line| !line.is_empty() && !line.contains('\n')));
    if checkpoint.extensions.is_empty() {
        let again = Checkpoint::new(checkpoint.origin.clone(), checkpoint.size, checkpoint.root);
        assert_eq!(again, checkpoint);
    }
}

pub(super) const VKEY: Target = Target {
    name: "vkey",
    check: vkey,
    seeds: || texts("keys.json", &["vkey", "text"]),
    words: &["+", "relay.example.org/log", "AA==", "=", "/w", "AQ", "BA", "Bg"],
    memory: Memory::COPIES,
};

fn vkey(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(key) = VerifierKey::parse(text) else { return };
    assert_eq!(key.to_string(), text, "one key, two spellings");
    let again = VerifierKey::new(key.name(), key.algorithm(), key.public_key());
    assert_eq!(again.as_ref(), Ok(&key));
    // Whatever it is a key of, nothing is signed by it here.
    assert!(key.verify("relay.example.org/log\n1\n", &[0; 72]).is_err());
}

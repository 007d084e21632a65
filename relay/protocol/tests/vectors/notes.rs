//! Sections 8.1, 9, 12.2: checkpoints and what is proven under them. The steps of 17.1 and 17.4 are taken with our parts.

use paramant_protocol::entry::Entry;
use paramant_tlog::note::Note;
use paramant_tlog::tlog_proof::TlogProof;
use paramant_tlog::vkey::{Algorithm, VerifierKey, cosigned_message, prefixed_message};
use paramant_tlog::{Checkpoint, Tree, entry_leaf, verify};
use serde::Deserialize;

use crate::files::{bytes, hash, keys, vectors};

#[derive(Deserialize)]
struct Vector {
    name: String,
    note: String,
    text: String,
    size: u64,
    root: String,
    keys: Vec<String>,
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    key_id: String,
    #[serde(default)]
    time: u64,
    message: String,
    signature: String,
}

#[derive(Deserialize)]
struct RefusedNote {
    name: String,
    note: String,
    keys: Vec<String>,
}

/// Section 17.1, steps 1 to 4.
pub(crate) fn open(note: &str, keys: &[VerifierKey]) -> Result<Checkpoint, String> {
    let parsed = Note::parse(note.as_bytes()).map_err(|error| error.to_string())?;
    let verified = parsed.open(keys).map_err(|error| error.to_string())?;
    if let Some((_, key)) =
        keys.iter().enumerate().find(|(number, _)| verified.iter().all(|line| line.key != *number))
    {
        return Err(format!("the line of {key} is missing"));
    }
    let checkpoint = Checkpoint::parse(&parsed.text).map_err(|error| error.to_string())?;
    if !checkpoint.extensions.is_empty() {
        return Err("it has extension lines".to_owned());
    }
    if keys.iter().any(|key| key.name() != checkpoint.origin) {
        return Err("it is of another log".to_owned());
    }
    if checkpoint.to_text() != parsed.text || parsed.to_text() != note {
        return Err("it is not in its one form".to_owned());
    }
    Ok(checkpoint)
}

#[test]
fn checkpoints_are_opened_with_every_key() {
    for vector in vectors::<Vector>("checkpoints.json") {
        let checkpoint =
            open(&vector.note, &keys(&vector.keys)).unwrap_or_else(|e| panic!("{}: {e}", vector.name));
        assert_eq!(checkpoint.size, vector.size, "{}", vector.name);
        assert_eq!(checkpoint.root, hash(&vector.root), "{}", vector.name);
        assert_eq!(checkpoint.to_text(), vector.text, "{}", vector.name);
    }
}

#[test]
fn each_line_signs_the_message_of_the_specification() {
    let mut lines = 0;
    for vector in vectors::<Vector>("checkpoints.json") {
        let checkpoint = Checkpoint::parse(&vector.text).unwrap();
        for (line, key) in vector.lines.iter().zip(keys(&vector.keys)) {
            assert_eq!(format!("{:08x}", key.key_id()), line.key_id);
            let message = match key.algorithm() {
                Algorithm::Ed25519 => vector.text.clone().into_bytes(),
                Algorithm::MlDsa44 => cosigned_message(key.name(), line.time, &checkpoint).unwrap(),
                Algorithm::MlDsa65 => prefixed_message(key.name(), &vector.text),
                other => panic!("a log does not sign with {other}"),
            };
            assert_eq!(message, bytes(&line.message), "{} {}", vector.name, key.algorithm());
            let time = key.verify(&vector.text, &bytes(&line.signature)).unwrap();
            assert_eq!(time.unwrap_or_default(), line.time);
            lines += 1;
        }
    }
    assert!(lines > 20, "only {lines} lines");
}

#[test]
fn checkpoints_that_must_be_refused_are() {
    for vector in vectors::<RefusedNote>("checkpoints-refused.json") {
        assert!(open(&vector.note, &keys(&vector.keys)).is_err(), "{} was opened", vector.name);
    }
}

#[derive(Deserialize)]
struct ProofVector {
    name: String,
    proof: String,
    keys: Vec<String>,
    index: u64,
    size: u64,
    entry: String,
}

/// Section 17.4, steps 1 to 4.
fn check(proof: &str, keys: &[VerifierKey]) -> Result<(Entry, u64, u64), String> {
    let proof = TlogProof::parse(proof).map_err(|error| error.to_string())?;
    let checkpoint = open(&proof.checkpoint, keys)?;
    let bytes = proof.extra.ok_or("it holds no entry")?;
    let leaf = entry_leaf(&bytes);
    verify::inclusion(Tree::Sha256, &leaf, proof.index, checkpoint.size, &proof.path, &checkpoint.root)
        .map_err(|error| error.to_string())?;
    let entry = Entry::parse(&bytes).map_err(|error| error.to_string())?;
    Ok((entry, proof.index, checkpoint.size))
}

#[test]
fn offline_proofs_show_their_entry() {
    for vector in vectors::<ProofVector>("tlog-proofs.json") {
        let (entry, index, size) = check(&vector.proof, &keys(&vector.keys)).unwrap();
        assert_eq!((index, size), (vector.index, vector.size), "{}", vector.name);
        assert_eq!(entry.bytes(), vector.entry.as_bytes(), "{}", vector.name);
        assert_eq!(TlogProof::parse(&vector.proof).unwrap().to_text(), vector.proof);
    }
}

#[test]
fn offline_proofs_that_must_be_refused_are() {
    for vector in vectors::<RefusedNote>("tlog-proofs-refused.json") {
        assert!(check(&vector.note, &keys(&vector.keys)).is_err(), "{} was accepted", vector.name);
    }
}

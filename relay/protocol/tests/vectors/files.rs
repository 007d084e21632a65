//! Reading vector files; none may lie there that no test reads.

use std::path::PathBuf;

use paramant_tlog::Hash;
use paramant_tlog::vkey::VerifierKey;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// All of them; what is not read here is read by the auditor's tests, as is told behind it.
const READ: [&str; 31] = [
    "actions.json",  // relay/licensing/tests/vectors.rs
    "archives.json", // relay/client/tests/it/vectors.rs
    "bundles.json",
    "canonical.json",
    "check-ins.json", // relay/licensing/tests/vectors.rs
    "chunk-lists.json",
    "checkpoints-refused.json",
    "checkpoints.json",
    "commitments.json",
    "cosignatures.json",
    "drops.json",
    "entries-refused.json",
    "entries.json",
    "envelopes.json", // relay/client/src/envelope/tests.rs
    "keys.json",
    "large-files.json", // relay/client/src/large/tests.rs
    "leaves.json",
    "licences.json", // relay/licensing/tests/vectors.rs
    "policies.json",
    "proofs-refused.json",
    "proofs.json",
    "receipts-refused.json",
    "receipts.json",
    "sth-refused.json",
    "sth.json",
    "story.json",
    "tiles.json",
    "tlog-proofs-refused.json",
    "tlog-proofs.json",
    "trees.json",
    "README.md",
];

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/vectors"))
}

/// A file of any shape.
pub(crate) fn read<T: DeserializeOwned>(name: &str) -> T {
    assert!(READ.contains(&name), "{name} is not in the list");
    let text = std::fs::read(folder().join(name)).unwrap();
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A file that is a list of vectors.
pub(crate) fn vectors<T: DeserializeOwned>(name: &str) -> Vec<T> {
    #[derive(Deserialize)]
    struct File<T> {
        vectors: Vec<T>,
    }
    let vectors = read::<File<T>>(name).vectors;
    assert!(vectors.len() > 1, "{name} is empty");
    vectors
}

/// What must be refused, with the reason of the program that made it.
#[derive(Debug, Deserialize)]
pub(crate) struct Refused {
    pub(crate) name: String,
    pub(crate) text: String,
}

pub(crate) fn hash(text: &str) -> Hash {
    paramant_protocol::path::parse_hash(text).unwrap_or_else(|| panic!("{text} is not a hash"))
}

pub(crate) fn hashes(texts: &[String]) -> Vec<Hash> {
    texts.iter().map(|text| hash(text)).collect()
}

pub(crate) fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

pub(crate) fn keys(texts: &[String]) -> Vec<VerifierKey> {
    texts.iter().map(|text| VerifierKey::parse(text).unwrap()).collect()
}

/// An ML-DSA-65 key, as the identity checks documents.
pub(crate) fn signed_by(public: &str) -> impl Fn(&[u8], &[u8]) -> bool {
    use aws_lc_rs::signature::{ML_DSA_65, UnparsedPublicKey};
    let key = UnparsedPublicKey::new(&ML_DSA_65, bytes(public));
    move |message, signature| key.verify(message, signature).is_ok()
}

#[test]
fn every_file_of_vectors_is_read_by_a_test() {
    let mut found: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    let mut expected = READ.map(str::to_owned);
    expected.sort();
    assert_eq!(found, expected);
}

//! The verifier that people run, against the vectors of `docs/spec/vectors`: checkpoints and offline proofs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use paramant_client::logged::{check, open, parse_keys};
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
struct File<T> {
    vectors: Vec<T>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    #[serde(alias = "proof")]
    note: String,
    keys: Vec<String>,
    #[serde(default)]
    index: u64,
}

fn vectors(name: &str) -> Vec<Vector> {
    fn read<T: DeserializeOwned>(name: &str) -> Vec<T> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/vectors");
        let text = std::fs::read(format!("{folder}/{name}")).unwrap();
        serde_json::from_slice::<File<T>>(&text).unwrap().vectors
    }
    let vectors = read(name);
    assert!(vectors.len() > 5, "{name} is empty");
    vectors
}

#[test]
fn checkpoints_of_the_specification_are_opened_and_refused() {
    for vector in vectors("checkpoints.json") {
        let keys = parse_keys(&vector.keys.join("\n")).unwrap();
        let checkpoint = open(vector.note.as_bytes(), &keys);
        assert!(checkpoint.is_ok(), "{}: {checkpoint:?}", vector.name);
    }
    for vector in vectors("checkpoints-refused.json") {
        // The caller compares origins: it knows for which log it asked.
        if vector.name == "another origin" {
            continue;
        }
        let keys = parse_keys(&vector.keys.join("\n")).unwrap();
        assert!(open(vector.note.as_bytes(), &keys).is_err(), "{} was opened", vector.name);
    }
}

#[test]
fn offline_proofs_of_the_specification_are_accepted_and_refused() {
    for vector in vectors("tlog-proofs.json") {
        let keys = parse_keys(&vector.keys.join("\n")).unwrap();
        let entry = check(vector.note.as_bytes(), vector.index, &keys);
        assert!(entry.is_ok(), "{}: {entry:?}", vector.name);
    }
    for vector in vectors("tlog-proofs-refused.json") {
        let keys = parse_keys(&vector.keys.join("\n")).unwrap();
        for index in 0..10 {
            assert!(check(vector.note.as_bytes(), index, &keys).is_err(), "{} was accepted", vector.name);
        }
    }
}

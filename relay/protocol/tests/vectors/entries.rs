//! Sections 3 and 4: entries of every kind, with every word of every list, and what is no entry.

use std::collections::BTreeSet;

use paramant_protocol::entry::{Body, Entry, Kind};
use paramant_tlog::entry_leaf;
use serde::Deserialize;
use serde_json::Value;

use crate::files::{Refused, hash, vectors};

#[derive(Deserialize)]
struct Vector {
    name: String,
    kind: String,
    body: Option<Value>,
    t: String,
    leaf: String,
    entry: String,
    sha256_leaf: String,
}

#[test]
fn every_entry_is_read_and_is_what_the_vector_says() {
    let mut kinds = BTreeSet::new();
    for vector in vectors::<Vector>("entries.json") {
        let entry =
            Entry::parse(vector.entry.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        assert_eq!(entry.kind().name(), vector.kind, "{}", vector.name);
        assert_eq!(entry.leaf(), hash(&vector.leaf), "{}", vector.name);
        assert_eq!(entry.hour(), vector.t, "{}", vector.name);
        assert_eq!(entry_leaf(entry.bytes()), hash(&vector.sha256_leaf), "{}", vector.name);
        let written: Value = serde_json::from_slice(entry.bytes()).unwrap();
        assert_eq!(written.get("b"), vector.body.as_ref(), "{}", vector.name);
        kinds.insert(vector.kind);
    }
    let ours: BTreeSet<String> = Kind::ALL.iter().map(|kind| kind.name().to_owned()).collect();
    assert_eq!(kinds, ours, "a kind is missing in the specification or here");
}

#[test]
fn what_we_make_of_a_body_is_byte_for_byte_the_vector() {
    for vector in vectors::<Vector>("entries.json") {
        let parsed = Entry::parse(vector.entry.as_bytes()).unwrap();
        let at = vector.t.parse().unwrap();
        let made = match parsed.body() {
            None => Entry::transfer(hash(&vector.leaf), at),
            Some(body) => Entry::with_body(Body::clone(body), at).unwrap(),
        };
        assert_eq!(String::from_utf8(made.into_bytes()).unwrap(), vector.entry, "{}", vector.name);
    }
}

#[test]
fn what_is_no_entry_is_refused() {
    for vector in vectors::<Refused>("entries-refused.json") {
        assert!(Entry::parse(vector.text.as_bytes()).is_err(), "{} was accepted", vector.name);
    }
}

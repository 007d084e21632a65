//! Section 7: entry bundles.

use paramant_protocol::leaf;
use paramant_tlog::bundle;
use paramant_tlog::tile::{self, Resource};
use serde::Deserialize;

use crate::files::{bytes, hash, vectors};
use crate::trees::long_entry;

#[derive(Deserialize)]
struct Vector {
    name: String,
    hex: Option<String>,
    sha256: Option<String>,
    path: Option<String>,
    #[serde(default)]
    entries: Vec<String>,
    refused: Option<String>,
}

#[test]
fn bundles_are_made_and_taken_apart_alike() {
    for vector in vectors::<Vector>("bundles.json") {
        if let Some(path) = vector.path {
            let Some(Resource::Bundle(index, width)) = tile::parse_path(&path) else {
                panic!("{path} is not read")
            };
            let mut made = Vec::new();
            for index in index * tile::WIDTH..index * tile::WIDTH + u64::from(width) {
                assert!(bundle::push(&mut made, long_entry(index).bytes()));
            }
            assert_eq!(leaf::sha256(&made), hash(&vector.sha256.unwrap()), "{path}");
            continue;
        }
        let bytes = bytes(&vector.hex.unwrap());
        let found = bundle::decode(&bytes);
        if vector.refused.is_some() {
            assert!(found.is_err(), "{} was read", vector.name);
            continue;
        }
        let expected: Vec<&[u8]> = vector.entries.iter().map(String::as_bytes).collect();
        assert_eq!(found.unwrap(), expected, "{}", vector.name);
        let mut made = Vec::new();
        assert!(expected.iter().all(|entry| bundle::push(&mut made, entry)));
        assert_eq!(made, bytes, "{}", vector.name);
    }
}

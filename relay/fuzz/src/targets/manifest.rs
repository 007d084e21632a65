//! The manifest of a large file, as a recipient reads it once it is opened.

use paramant_client::large::Manifest;
use paramant_protocol::canonical;

use crate::{Memory, Target};

pub(super) const MANIFEST: Target = Target {
    name: "manifest",
    check: manifest,
    seeds: || {
        let list = "ab".repeat(32);
        let kinds = ["paramant-large", "", "other"];
        kinds
            .iter()
            .map(|kind| {
                format!(r#"{{"kind":"{kind}","v":1,"size":5000000,"chunk_size":4193000,"last":1,"list":"{list}"}}"#)
                    .into_bytes()
            })
            .collect()
    },
    words: &[
        "\"size\":",
        "\"last\":",
        "\"v\":",
        "18446744073709551615",
        "-0",
        "1e3",
        "null",
        ",",
        "\"kind\":",
    ],
    memory: Memory::VALUES,
};

fn manifest(input: &[u8]) {
    let Ok(read) = serde_json::from_slice::<Manifest>(input) else { return };
    // A number that not every reader of JSON takes exactly is in no manifest of ours, and fits no file.
    let Ok(text) = canonical::to_vec(&read) else { return };
    assert_eq!(serde_json::from_slice::<Manifest>(&text).expect("what was written"), read);
    assert_eq!(canonical::to_vec(&read).expect("again"), text, "one manifest, one text");
}

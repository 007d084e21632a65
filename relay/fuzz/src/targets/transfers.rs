//! Bodies of uploads in chunks and the terms of all uploads: what is read is written as it was, and sizes never overflow.

use paramant_protocol::chunks::{CompleteUpload, Division, OpenUpload, UploadProgress};
use paramant_protocol::upload::UploadTerms;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Memory, Target};

pub(super) const TRANSFERS: Target = Target {
    name: "transfers",
    check: transfers,
    seeds: || {
        let hash = "ab".repeat(32);
        let bodies = [
            r#"{"size":70000,"chunk_size":65536,"ttl_ms":600000,"max_views":3,"device_id":"phone","disclosure":"strict"}"#.to_owned(),
            r#"{"size":18446744073709551615,"chunk_size":67108864}"#.to_owned(),
            format!(r#"{{"size":1,"hash":"{hash}"}}"#),
            format!(r#"{{"hash":"{hash}"}}"#),
            "{}".to_owned(),
            r#"{"ok":true,"upload":"00","state":"open","size":9,"chunk_size":65536,"chunks":1,"present":[[0,3],[5,5],[7,18446744073709551615]],"expires_ms":-1}"#
                .to_owned(),
            r#"{"ttl_ms":0,"max_views":1,"meta":{"device_id":"d","file_id":"f","drop":true},"enc_meta":"QQ==","password":"p","dsa_signature":"00"}"#
                .to_owned(),
        ];
        bodies.map(String::into_bytes).to_vec()
    },
    words: &[
        "\"size\":",
        "\"chunk_size\":",
        "\"present\":",
        "\"disclosure\":\"recoverable\"",
        "\"meta\":{",
        "65536",
        "67108864",
        "18446744073709551615",
        "-1",
        "null",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\"state\":\"done\"",
        "\\u0000",
    ],
    memory: Memory::VALUES,
};

fn transfers(input: &[u8]) {
    if let Some(open) = read::<OpenUpload>(input) {
        divides(open.size, open.chunk_size.unwrap_or(paramant_protocol::chunks::DEFAULT_CHUNK));
    }
    let _ = read::<CompleteUpload>(input);
    let _ = read::<UploadTerms>(input);
    if let Some(progress) = read::<UploadProgress>(input) {
        divides(progress.size, progress.chunk_size);
        let few: Vec<u64> = (0..64).filter(|number| progress.has(*number)).collect();
        let joined = UploadProgress { present: UploadProgress::ranges(few.iter().copied()), ..progress };
        let again: Vec<u64> = (0..64).filter(|number| joined.has(*number)).collect();
        assert_eq!(few, again, "ranges lose or gain a number");
    }
}

/// Reads, and what was read is what its text says again.
fn read<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(input: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(input).ok()?;
    let text = serde_json::to_vec(&read).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<T>(&text).expect("what was written can be read"), read);
    Some(read)
}

fn divides(size: u64, chunk_size: u64) {
    let Ok(division) = Division::new(size, chunk_size) else { return };
    let count = division.count();
    let length = |number| division.length(number).map(u128::from);
    let last = length(count - 1).expect("there is a last chunk");
    assert_eq!(
        u128::from(count - 1) * u128::from(chunk_size) + last,
        u128::from(size),
        "the chunks are the whole"
    );
    assert!(last > 0 && last <= u128::from(chunk_size));
    assert!(count == 1 || length(0) == Some(u128::from(chunk_size)));
    assert_eq!((length(count), length(u64::MAX)), (None, None));
}

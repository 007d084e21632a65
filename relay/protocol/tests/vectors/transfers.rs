//! `docs/spec/transfer.md`, section 4.

use paramant_protocol::chunks::{ChunkList, Division};
use paramant_protocol::leaf;
use serde::Deserialize;

use crate::files::{hash, vectors};

#[derive(Deserialize)]
struct List {
    name: String,
    size: u64,
    chunk_size: u64,
    chunks: Vec<String>,
    hash: String,
}

#[test]
fn blobs_in_chunks_are_named_by_their_list() {
    for vector in vectors::<List>("chunk-lists.json") {
        let division = Division::new(vector.size, vector.chunk_size).unwrap();
        assert_eq!(division.count(), vector.chunks.len() as u64, "{}", vector.name);
        let content: Vec<u8> = (0..vector.size).map(|n| (n % 251) as u8).collect();
        let mut list = ChunkList::new(vector.size, vector.chunk_size);
        for (chunk, expected) in content.chunks(vector.chunk_size as usize).zip(&vector.chunks) {
            assert_eq!(leaf::sha256(chunk), hash(expected), "{}", vector.name);
            list.push(&leaf::sha256(chunk));
        }
        assert_eq!(list.finish().to_string(), vector.hash, "{}", vector.name);
    }
}

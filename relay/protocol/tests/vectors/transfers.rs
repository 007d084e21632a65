//! `docs/spec/transfer.md`, sections 4 and 6.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use paramant_protocol::chunks::{ChunkList, Division};
use paramant_protocol::leaf;
use serde::Deserialize;

use crate::files::{bytes, hash, vectors};

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

#[derive(Deserialize)]
struct Drop {
    name: String,
    entropy: String,
    key: String,
    lookup_id: String,
    hash: String,
    content: String,
    blob: String,
}

struct Bytes32;

impl KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

/// A relay does nothing with a drop but look its hash up: here the rule itself is followed, with another library.
#[test]
fn drops_are_found_and_opened_by_their_entropy() {
    for vector in vectors::<Drop>("drops.json") {
        let prk = Salt::new(HKDF_SHA256, b"paramant-drop-v1").extract(&bytes(&vector.entropy));
        let expand = |info: &[u8]| {
            let mut out = [0; 32];
            prk.expand(&[info], Bytes32).unwrap().fill(&mut out).unwrap();
            out
        };
        let (key, id) = (expand(b"aes-key"), expand(b"lookup-id"));
        assert_eq!((hex::encode(key), hex::encode(id)), (vector.key, vector.lookup_id), "{}", vector.name);
        assert_eq!(leaf::sha256(&id), hash(&vector.hash), "{}", vector.name);
        let blob = bytes(&vector.blob);
        let (nonce, rest) = blob.split_first_chunk::<12>().unwrap();
        let (length, sealed) = rest.split_first_chunk::<4>().unwrap();
        assert_eq!(u32::from_be_bytes(*length) as usize, sealed.len(), "{}", vector.name);
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
        let mut sealed = sealed.to_vec();
        let opened =
            key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut sealed).unwrap();
        assert_eq!(hex::encode(opened), vector.content, "{}", vector.name);
    }
}

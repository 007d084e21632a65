#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;

fn device(name: &str) -> Device {
    Device::generate(name.parse().unwrap()).unwrap()
}

/// A file's chunks and manifest, as they travel.
struct Wire {
    chunks: Vec<Vec<u8>>,
    manifest: Vec<u8>,
}

fn sealed(content: &[u8], to: &Device, from: Option<&Device>) -> Wire {
    let kem = to.public().kem_pub;
    let key = FileKey::encapsulate(&kem, None).unwrap();
    let mut list = List::default();
    let mut chunks = Vec::new();
    for number in 0..super::chunks(content.len() as u64) {
        let piece = content.chunks(CONTENT).nth(number as usize).unwrap_or_default();
        chunks.push(key.seal_chunk(number as u32, piece).unwrap());
        list.push(&hash(chunks.last().unwrap()));
    }
    let manifest = list.manifest(content.len() as u64).seal(&kem, from, None).unwrap();
    Wire { chunks, manifest }
}

fn opened(wire: &Wire, device: &Device) -> Result<(Vec<u8>, Sender), OpenError> {
    let key = FileKey::decapsulate(&ct_kem(&wire.chunks[0])?, device, None)?;
    let (mut list, mut content) = (List::default(), Vec::new());
    for (number, chunk) in wire.chunks.iter().enumerate() {
        list.push(&hash(chunk));
        content.extend_from_slice(key.open_chunk(number as u32, &mut chunk.clone())?);
    }
    let (size, sender) = Manifest::open(&wire.manifest, device, None, list)?;
    content.truncate(size as usize);
    Ok((content, sender))
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

#[test]
fn files_of_any_size_come_back_signed() {
    let (alice, bob) = (device("alice"), device("bob"));
    for len in [0, 1, CONTENT - 1, CONTENT, CONTENT + 1, 2 * CONTENT] {
        let wire = sealed(&text(len), &bob, Some(&alice));
        let total: usize = wire.chunks.iter().map(Vec::len).sum::<usize>() + wire.manifest.len();
        assert!(wire.chunks.iter().all(|chunk| chunk.len() == CHUNK));
        assert_eq!(total as u64, wire_size(len as u64));
        assert_eq!(chunks_of_wire(total as u64), Some(wire.chunks.len() as u64));
        pqhb::check(&wire.chunks[0]).unwrap();
        let (content, sender) = opened(&wire, &bob).unwrap();
        assert!(content == text(len));
        assert!(matches!(sender, Sender::Signed { key, .. } if key == alice.signing_key()));
    }
    for wire in [0, MANIFEST as u64, CHUNK as u64, (CHUNK + MANIFEST + 1) as u64] {
        assert_eq!(chunks_of_wire(wire), None);
    }
}

#[test]
fn cut_reordered_mixed_and_swapped_files_do_not_open() {
    let (alice, bob, eve) = (device("alice"), device("bob"), device("eve"));
    let one = || sealed(&text(2 * CONTENT + 5), &bob, Some(&alice));
    assert!(opened(&one(), &bob).is_ok(), "what is altered below would open unaltered");
    assert!(matches!(opened(&one(), &eve), Err(OpenError::Decrypt)));

    let mut cut = one();
    cut.chunks.pop();
    assert!(matches!(opened(&cut, &bob), Err(OpenError::Manifest)));
    let mut reordered = one();
    reordered.chunks.swap(0, 1);
    assert!(matches!(opened(&reordered, &bob), Err(OpenError::Decrypt)));
    let mut repeated = one();
    repeated.chunks[1] = repeated.chunks[0].clone();
    assert!(matches!(opened(&repeated, &bob), Err(OpenError::Decrypt)));
    let mut mixed = one();
    mixed.chunks[1] = one().chunks.remove(1);
    assert!(matches!(opened(&mixed, &bob), Err(OpenError::Decrypt)));
    let mut swapped = one();
    swapped.manifest = sealed(&text(2 * CONTENT + 5), &bob, Some(&alice)).manifest;
    assert!(matches!(opened(&swapped, &bob), Err(OpenError::Manifest)));
    for place in [0, 3, 12, 1110, 1130, CHUNK - 1] {
        let mut flipped = one();
        flipped.chunks[1][place] ^= 1;
        assert!(opened(&flipped, &bob).is_err(), "byte {place}");
    }
}

#[test]
fn a_recipient_cannot_put_other_content_under_a_sender_s_manifest() {
    let (alice, bob) = (device("alice"), device("bob"));
    let mut wire = sealed(&text(10), &bob, Some(&alice));
    let key = FileKey::decapsulate(&ct_kem(&wire.chunks[0]).unwrap(), &bob, None).unwrap();
    wire.chunks[0] = key.seal_chunk(0, b"forged").unwrap();
    assert!(matches!(opened(&wire, &bob), Err(OpenError::Manifest)));
}

#[test]
fn a_manifest_s_own_lies_are_found() {
    let bob = device("bob");
    let kem = bob.public().kem_pub;
    let wire = sealed(&text(10), &bob, None);
    let list = || {
        let mut list = List::default();
        list.push(&hash(&wire.chunks[0]));
        list
    };
    let good = list().manifest(10);
    let open =
        |manifest: &Manifest| Manifest::open(&manifest.seal(&kem, None, None).unwrap(), &bob, None, list());
    assert_eq!(open(&good).unwrap(), (10, Sender::Unsigned));
    for lie in [
        Manifest { size: CONTENT as u64 + 1, ..good.clone() },
        Manifest { last: 1, ..good.clone() },
        Manifest { last: 1 << 52, size: 1 << 52, ..good.clone() },
        Manifest { v: 2, ..good.clone() },
        Manifest { kind: "other".into(), ..good.clone() },
        Manifest { chunk_size: 1, ..good.clone() },
        Manifest { list: "00".repeat(32), ..good.clone() },
    ] {
        assert!(matches!(open(&lie), Err(OpenError::Manifest)), "{lie:?}");
    }
}

#[test]
fn the_same_content_gives_the_same_chunk_and_other_content_another_nonce() {
    let key = FileKey::encapsulate(&device("bob").public().kem_pub, None).unwrap();
    let (ct, secret) = key.to_keep();
    let kept = FileKey::kept(ct.to_vec(), secret.clone()).unwrap();
    let nonce = |chunk: &[u8]| Blob::parse(chunk).unwrap().nonce;
    let chunk = key.seal_chunk(7, b"content").unwrap();
    assert!(chunk == kept.seal_chunk(7, b"content").unwrap());
    assert_ne!(nonce(&chunk), nonce(&key.seal_chunk(7, b"Content").unwrap()));
    assert_ne!(nonce(&chunk), nonce(&key.seal_chunk(8, b"content").unwrap()));
}

#[test]
fn a_pre_shared_secret_is_mixed_in() {
    let bob = device("bob");
    let secret = PreShared::new("correct horse");
    let key = FileKey::encapsulate(&bob.public().kem_pub, Some(&secret)).unwrap();
    let chunk = key.seal_chunk(0, b"x").unwrap();
    let with = |pre_shared| {
        let key = FileKey::decapsulate(&ct_kem(&chunk).unwrap(), &bob, pre_shared).unwrap();
        key.open_chunk(0, &mut chunk.clone()).map(|content| content[0])
    };
    assert_eq!(with(Some(&secret)).unwrap(), b'x');
    assert!(matches!(with(None), Err(OpenError::Decrypt)));
}

#[derive(serde::Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    ct_kem: String,
    shared_secret: String,
    pre_shared: Option<String>,
    size: usize,
    secret: String,
    chunks: Vec<ChunkVector>,
    manifest: String,
    wire_bytes: u64,
}

#[derive(serde::Deserialize)]
struct ChunkVector {
    number: u32,
    nonce: String,
    sha256: String,
}

#[test]
fn large_files_of_the_specification_are_sealed_byte_for_byte() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/vectors/large-files.json");
    let file: Vectors = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(file.vectors.len(), 5);
    for vector in file.vectors {
        let (ct, shared) =
            (hex::decode(&vector.ct_kem).unwrap(), hex::decode(&vector.shared_secret).unwrap());
        let pre_shared = vector.pre_shared.map(PreShared::new);
        let key = FileKey::derive(&ct, &shared, pre_shared.as_ref()).unwrap();
        assert_eq!(hex::encode(key.secret.as_slice()), vector.secret, "{}", vector.name);
        let content = text(vector.size);
        let mut list = List::default();
        assert_eq!(chunks(vector.size as u64), vector.chunks.len() as u64, "{}", vector.name);
        for expected in &vector.chunks {
            let piece = content.chunks(CONTENT).nth(expected.number as usize).unwrap_or_default();
            let mut chunk = key.seal_chunk(expected.number, piece).unwrap();
            assert_eq!(hex::encode(Blob::parse(&chunk).unwrap().nonce), expected.nonce, "{}", vector.name);
            assert_eq!(hex::encode(hash(&chunk)), expected.sha256, "{} {}", vector.name, expected.number);
            list.push(&hash(&chunk));
            let opened = key.open_chunk(expected.number, &mut chunk).unwrap();
            assert!(opened.starts_with(piece) && opened[piece.len()..].iter().all(|byte| *byte == 0));
        }
        let manifest = canonical::to_string(&list.manifest(vector.size as u64)).unwrap();
        assert_eq!(manifest, vector.manifest, "{}", vector.name);
        assert_eq!(wire_size(vector.size as u64), vector.wire_bytes, "{}", vector.name);
    }
}

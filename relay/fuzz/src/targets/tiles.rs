//! Tile paths, tiles, bundles, and the envelope of uploads.

use paramant_protocol::pqhb::{self, Blob, HeaderCheck, HeaderError};
use paramant_tlog::tile::{self, Resource};
use paramant_tlog::{Tree, bundle};

use crate::seeds::{bytes, texts};
use crate::{Memory, Target};

pub(super) const PATH: Target = Target {
    name: "tile-path",
    check: path,
    seeds: || texts("tiles.json", &["path"]),
    words: &["tile/", "entries/", "x000/", "x001/", ".p/", "/", "256", "x"],
    memory: Memory::COPIES,
};

fn path(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Some(resource) = tile::parse_path(text) else { return };
    let written = match resource {
        Resource::Tile(place, width) => {
            assert!(place.level <= tile::MAX_LEVEL && (1..=256).contains(&width));
            // Whatever the place, a tree's width there is one a tile can have.
            assert!(place.width_at(u64::MAX) <= 256);
            place.path(width)
        }
        Resource::Bundle(index, width) => {
            assert!((1..=256).contains(&width));
            tile::bundle_path(index, width)
        }
    };
    assert_eq!(written, text, "one resource, two spellings");
}

pub(super) const BUNDLE: Target = Target {
    name: "bundle",
    check: bundle_or_tile,
    seeds: || bytes("bundles.json", &["hex"]),
    words: &["\0\0", "\0\u{1}", "\u{7f}\u{7f}"],
    memory: Memory::COPIES,
};

fn bundle_or_tile(input: &[u8]) {
    if let Some(nodes) = tile::decode(input) {
        assert!((1..=256).contains(&nodes.len()));
        assert_eq!(tile::encode(&nodes), input);
        let _ = tile::node_from_run(Tree::Sha256, &nodes);
    }
    let Ok(entries) = bundle::decode(input) else { return };
    assert!(entries.len() <= 256);
    let mut written = Vec::new();
    assert!(entries.iter().all(|entry| bundle::push(&mut written, entry)));
    assert_eq!(written, input, "written again it is another bundle");
    for width in [1, entries.len() / 2, entries.len()] {
        let prefix = u16::try_from(width).map(|width| bundle::prefix(input, width));
        if let Ok(Ok(prefix)) = prefix {
            assert_eq!(bundle::decode(prefix).as_deref(), Ok(&entries[..width]));
        } else {
            assert!(width > entries.len());
        }
    }
    let more = u16::try_from(entries.len() + 1).unwrap_or(u16::MAX);
    assert!(bundle::prefix(input, more).is_err(), "a prefix longer than the bundle");
}

pub(super) const PQHB: Target = Target {
    name: "pqhb",
    check: envelope,
    seeds: envelopes,
    words: &["PQHB", "\u{1}", "\0\u{2}", "\0\0\0\0"],
    memory: Memory::COPIES,
};

fn envelopes() -> Vec<Vec<u8>> {
    let parts = [[1u8; 40].as_slice(), &[2; 30], &[3; 50], &[4; 33]];
    let make = |sig_id, padding: usize| {
        let signature = (sig_id != pqhb::SIG_NONE).then_some(parts[2]);
        let mut blob = Vec::new();
        let parsed = Blob {
            kem_id: pqhb::KEM_ML_KEM_768,
            sig_id,
            ct_kem: parts[0],
            sender_pub: parts[1],
            signature,
            nonce: [7; 12],
            ciphertext: parts[3],
        };
        parsed.write(&mut blob);
        blob.resize(blob.len() + padding, 0);
        blob
    };
    vec![
        make(pqhb::SIG_ML_DSA_65, 0),
        make(pqhb::SIG_NONE, 0),
        make(pqhb::SIG_ML_DSA_65, 100),
        b"not ours".to_vec(),
        b"PQH".to_vec(),
    ]
}

fn envelope(input: &[u8]) {
    let whole = pqhb::check(input);
    // The same in pieces: what arrives in which packet must not matter.
    for size in [1, 2, 3, 7, 64] {
        let mut check = HeaderCheck::default();
        let pieces = input.chunks(size).try_for_each(|piece| check.push(piece)).and_then(|()| check.finish());
        assert_eq!(pieces, whole, "in pieces of {size}");
    }
    let parsed = Blob::parse(input);
    let ours = input.starts_with(&pqhb::MAGIC);
    match (&whole, &parsed) {
        // What a relay lets pass as PQHB a client can take apart.
        (Ok(()), parsed) => assert_eq!(parsed.is_ok(), ours, "{parsed:?}"),
        (Err(HeaderError::Kem(_) | HeaderError::Sig(_)), _) => {}
        (Err(_), parsed) => assert!(parsed.is_err()),
    }
    let Ok(blob) = parsed else { return };
    let mut written = Vec::new();
    blob.write(&mut written);
    assert_eq!(written.len(), blob.length());
    assert!(input.starts_with(&written), "written again it is another blob");
    assert_eq!(Blob::parse(&written).as_ref(), Ok(&blob));
}

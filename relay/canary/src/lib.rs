//! Canaries: words that must not turn up somewhere, and the search for them in every spelling they could have got there in.
//!
//! For tests only. Called by the relay's own, in one process, and by the scenarios, over a whole cluster.

pub mod keys;

use std::io::Read as _;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use memchr::memmem;
use sha2::{Digest as _, Sha256, Sha512};

/// What is read of one compressed stream.
const MOST: u64 = 16 << 20;

/// How bytes may be spelt.
pub fn spellings(of: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![of.to_vec(), hex::encode(of).into_bytes(), hex::encode_upper(of).into_bytes()];
    // In base64 the first and last letters depend on the neighbours: the middle is the same for each of three offsets.
    for offset in 0..3 {
        let shifted = [vec![0; offset], of.to_vec()].concat();
        for text in [BASE64_STANDARD_NO_PAD.encode(&shifted), BASE64_URL_SAFE_NO_PAD.encode(&shifted)] {
            let middle = text.as_bytes().get((offset * 8).div_ceil(6)..text.len().saturating_sub(1));
            all.extend(middle.map(<[u8]>::to_vec));
        }
    }
    all.push(of.iter().flat_map(|byte| format!("%{byte:02X}").into_bytes()).collect());
    all.push(of.iter().flat_map(|byte| format!("%{byte:02x}").into_bytes()).collect());
    all.push(of.iter().flat_map(|byte| [*byte, 0]).collect());
    all.push(of.iter().flat_map(|byte| [0, *byte]).collect());
    // Cut to eight bytes a digest is found whole too.
    for digest in [Sha256::digest(of).to_vec(), Sha512::digest(of).to_vec()] {
        let cut: Vec<u8> = digest.into_iter().take(8).collect();
        all.extend([hex::encode(&cut).into_bytes(), hex::encode_upper(&cut).into_bytes()]);
        for text in [BASE64_STANDARD_NO_PAD.encode(&cut), BASE64_URL_SAFE_NO_PAD.encode(&cut)] {
            all.push(text.into_bytes().into_iter().take(10).collect());
        }
        all.push(cut);
    }
    all
}

/// The canaries in a place, in whatever spelling, compressed or not.
pub fn found_in<'c>(canaries: &[&'c str], place: &[u8]) -> Vec<&'c str> {
    let mut layers = unpacked(place);
    layers.push(place.to_vec());
    let holds = |canary: &&&str| {
        let spellings = spellings(canary.as_bytes());
        spellings.iter().any(|spelling| {
            let finder = memmem::Finder::new(spelling);
            layers.iter().any(|layer| finder.find(layer).is_some())
        })
    };
    canaries.iter().filter(holds).copied().collect()
}

/// What the compressed streams in a place hold: gzip and zlib by their first bytes, and a place that is one bare deflate stream.
fn unpacked(place: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for start in memmem::find_iter(place, &[0x1f, 0x8b, 8]) {
        all.extend(place.get(start..).map(|rest| inflated(GzDecoder::new(rest))));
    }
    for level in [0x01, 0x5e, 0x9c, 0xda] {
        for start in memmem::find_iter(place, &[0x78, level]) {
            all.extend(place.get(start..).map(|rest| inflated(ZlibDecoder::new(rest))));
        }
    }
    all.push(inflated(DeflateDecoder::new(place)));
    all.retain(|layer| !layer.is_empty());
    all
}

/// What comes out before the stream ends or breaks.
fn inflated(stream: impl std::io::Read) -> Vec<u8> {
    let mut out = Vec::new();
    let _ = stream.take(MOST).read_to_end(&mut out);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const CANARIES: &[&str] = &["canary-label-5f0c1d", "canary.email.83b2aa@acme.example"];

    /// Bytes without meaning, the same each time.
    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    #[test]
    fn each_spelling_is_found_where_it_is_planted() {
        for canary in CANARIES {
            for spelling in spellings(canary.as_bytes()) {
                let place = [noise(1, 1000), spelling, noise(2, 1000)].concat();
                assert_eq!(found_in(CANARIES, &place), [*canary]);
            }
            // What must be among them, whatever the list says.
            let utf16 =
                |bytes: fn(u16) -> [u8; 2]| canary.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
            let (sha256, sha512) = (Sha256::digest(canary).to_vec(), Sha512::digest(canary).to_vec());
            let percent: String = canary.bytes().map(|byte| format!("%{byte:02X}")).collect();
            for (spelt, place) in [
                ("in hex", hex::encode(canary).into_bytes()),
                ("in upper-case hex", hex::encode_upper(canary).into_bytes()),
                ("in percents", percent.clone().into_bytes()),
                ("in lower-case percents", percent.to_lowercase().into_bytes()),
                ("in UTF-16", utf16(u16::to_le_bytes)),
                ("in UTF-16, the other way round", utf16(u16::to_be_bytes)),
                ("in URL-safe base64", BASE64_URL_SAFE_NO_PAD.encode(canary).into_bytes()),
                ("as SHA-256", sha256.clone()),
                ("as SHA-256 in hex", hex::encode(&sha256).into_bytes()),
                ("as SHA-256 in base64", BASE64_STANDARD_NO_PAD.encode(&sha256).into_bytes()),
                ("as a cut SHA-256", sha256.get(..8).unwrap().to_vec()),
                ("as SHA-512", sha512.clone()),
                ("as SHA-512 in upper-case hex", hex::encode_upper(&sha512).into_bytes()),
            ] {
                let place = [noise(1, 1000), place, noise(2, 1000)].concat();
                assert_eq!(found_in(CANARIES, &place), [*canary], "{spelt}");
            }
            for before in ["", "x", "xy"] {
                let text = BASE64_STANDARD_NO_PAD.encode(format!("{before}{canary} and more"));
                assert_eq!(found_in(CANARIES, text.as_bytes()), [*canary], "after {before:?}");
            }
        }
        assert!(found_in(CANARIES, &noise(3, 100_000)).is_empty());
    }

    #[test]
    fn compressed_ones_are_found_too() {
        for canary in CANARIES {
            let text = format!("{} {canary} {}", "before ".repeat(20), "after ".repeat(20));
            let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
            gzip.write_all(text.as_bytes()).unwrap();
            let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
            zlib.write_all(text.as_bytes()).unwrap();
            let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
            deflate.write_all(text.as_bytes()).unwrap();
            let streams = [gzip.finish().unwrap(), zlib.finish().unwrap()];
            for stream in streams {
                assert!(memmem::find(&stream, canary.as_bytes()).is_none(), "it is not compressed");
                assert_eq!(found_in(CANARIES, &[noise(4, 500), stream, noise(5, 500)].concat()), [*canary]);
            }
            assert_eq!(found_in(CANARIES, &deflate.finish().unwrap()), [*canary]);
        }
    }
}

#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn vector(sig_id: u16) -> Vec<u8> {
    let ct_kem = hex::decode("00112233445566778899aabbccddeeff".repeat(68)).unwrap();
    let sender_pub = hex::decode("cafe".repeat(296)).unwrap();
    let signature = hex::decode("babe".repeat(1654)).unwrap();
    let ciphertext = hex::decode("deadbeef".repeat(16)).unwrap();
    let blob = Blob {
        kem_id: KEM_ML_KEM_768,
        sig_id,
        ct_kem: &ct_kem,
        sender_pub: &sender_pub,
        signature: (sig_id != SIG_NONE).then_some(&signature),
        nonce: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
        ciphertext: &ciphertext,
    };
    let mut bytes = Vec::new();
    blob.write(&mut bytes);
    assert_eq!(bytes.len(), blob.length());
    assert_eq!(Blob::parse(&bytes).unwrap(), blob);
    bytes
}

#[test]
fn blobs_match_the_published_vectors() {
    for (sig_id, length, sha256) in [
        (SIG_ML_DSA_65, 5090, "002b4f6aad4fa992804a3e94c46d514b4f842e9f5c283f7a31d7c76722d0476a"),
        (SIG_NONE, 1778, "46bce75b12e90ed312420fafcbead4108d55aa25273aee3ce4f2b4f61b3d19ef"),
    ] {
        let bytes = vector(sig_id);
        assert_eq!(bytes.len(), length);
        assert_eq!(hex::encode(crate::leaf::sha256(&bytes)), sha256);
        check(&bytes).unwrap();
    }
    assert_eq!(hex::encode(aad(2, 2)), "5051484201000200020000000000");
    assert_eq!(hex::encode(aad(2, 0)), "5051484201000200000000000000");
}

#[test]
fn overheads_are_the_published_ones() {
    // ciphertext includes the 16-byte tag
    assert_eq!(unpadded(1088, 1952, Some(3309), 16), 6403);
    assert_eq!(unpadded(1088, 0, None, 16), 1138);
    assert_eq!(unpadded(1088, 1184, None, 16), 2322);
    assert_eq!(PadBlock::M5.bytes() - 6403, 5_236_477);
}

#[test]
fn a_relay_refuses_in_the_published_order_with_the_published_answers() {
    let good = vector(SIG_ML_DSA_65);
    let with = |changes: &[(usize, u8)]| {
        let mut bytes = good.clone();
        for (at, value) in changes {
            bytes[*at] = *value;
        }
        bytes
    };
    let cases: Vec<(Vec<u8>, u16, &str)> = vec![
        (b"PQHB".to_vec(), 400, "malformed_wire_v1"),
        (good[..9].to_vec(), 400, "malformed_wire_v1"),
        (with(&[(4, 2), (9, 1), (6, 9)]), 415, "unsupported_wire_version"),
        (with(&[(9, 1), (6, 9)]), 400, "malformed_wire_v1"),
        (with(&[(6, 0), (8, 9)]), 415, r#""kind":"KEM""#),
        (with(&[(6, 3)]), 415, r#""kind":"KEM""#),
        (with(&[(8, 9), (10, 0xff)]), 415, r#""kind":"SIG""#),
        (with(&[(10, 0xff)]), 400, "malformed_wire_v1"),
        (good[..10].to_vec(), 400, "malformed_wire_v1"),
        (good[..good.len() - 1].to_vec(), 400, "malformed_wire_v1"),
    ];
    for (bytes, status, body) in cases {
        let error = check(&bytes).unwrap_err();
        assert_eq!(error.status(), status, "{error}");
        assert!(error.body().to_string().contains(body), "{} lacks {body}", error.body());
    }
    let supported = check(&with(&[(6, 3)])).unwrap_err().body();
    assert_eq!(supported["supported"]["wire_version"], 1);
    assert_eq!(supported["id"], 3);
}

#[test]
fn other_formats_and_padding_pass_unread() {
    for bytes in [&b""[..], b"P", b"PQH", b"\x02abc", b"PQHC\xff\xff\xff\xff\xff\xff\xff"] {
        check(bytes).unwrap();
    }
    let mut padded = vector(SIG_NONE);
    padded.resize(4096, 0x5a);
    check(&padded).unwrap();
    assert_eq!(Blob::parse(&padded).unwrap().length(), 1778);
}

#[test]
fn pad_blocks_have_names() {
    for block in PadBlock::ALL {
        assert_eq!(PadBlock::parse(block.name()), Some(block));
    }
    assert_eq!(PadBlock::parse("5m"), Some(PadBlock::M5));
    assert_eq!(PadBlock::parse("6M"), None);
}

proptest! {
    #[test]
    fn however_a_blob_is_cut_up_the_verdict_is_the_same(
        flips in prop::collection::vec((0..5090usize, any::<u8>()), 0..3), end in 0..5090usize, cuts in prop::collection::vec(1..700usize, 1..40),
    ) {
        let mut bytes = vector(SIG_ML_DSA_65);
        for (at, value) in flips { bytes[at] = value; }
        bytes.truncate(end);
        let whole = check(&bytes);
        let mut pieces = HeaderCheck::default();
        let mut result = Ok(());
        let (mut rest, mut cut) = (&bytes[..], cuts.iter().cycle());
        while !rest.is_empty() && result.is_ok() {
            let (now, later) = rest.split_at((*cut.next().unwrap()).min(rest.len()));
            result = pieces.push(now);
            rest = later;
        }
        prop_assert_eq!(result.and_then(|()| pieces.finish()), whole);
    }

    #[test]
    fn checker_and_parser_agree_on_arbitrary_bytes(tail in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [&header(2, 2)[..], &tail].concat();
        prop_assert_eq!(check(&bytes).is_ok(), Blob::parse(&bytes).is_ok());
        let _ = (check(&tail), Blob::parse(&tail));
    }
}

#![allow(clippy::unwrap_used)]
use super::*;
use crate::leaf;
use proptest::prelude::*;

const CANONICAL: &str = r#"{"blob_hash":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","burn_confirmed":true,"inclusion_proof":{"audit_path":[{"hash":"762ba6a3d9312bf3e6dc71e74f34208e889fc44e6ff400724deecfeda7d5b3ce","position":"left"}],"leaf_hash":"b28cd694f82b67808285d1d596b561816b7e2f5fe05e96ef6f6801fe50881eb7","leaf_index":1,"root":"83ec13aafec9a8a2c11fa15c7efae286e5a80308833d7ffa0a0a524a6ee76792","sth":{"relay_id":"https://relay.example.org","sha3_root":"83ec13aafec9a8a2c11fa15c7efae286e5a80308833d7ffa0a0a524a6ee76792","timestamp":1767323045678,"tree_size":2,"version":1},"tree_size":2},"relay_id":"https://relay.example.org","retrieved_at":1767323050000,"sector":"relay","tree_size_at_retrieval":2,"ts":"2026-01-02T03:04:05.678Z"}"#;

fn example() -> Receipt {
    let leaf = leaf::transfer_leaf(&[0xaa; 32], "relay", "2026-01-02T03:04:05.678Z");
    let sibling = leaf::sha3(&[0, 0]);
    let root = leaf::node(&sibling, &leaf);
    let sth = Sth::new("https://relay.example.org", &root, 2, 1_767_323_045_678).signed(b"sth");
    Receipt {
        blob_hash: "aa".repeat(32),
        ts: "2026-01-02T03:04:05.678Z".into(),
        retrieved_at: 1_767_323_050_000,
        sector: "relay".into(),
        relay_id: "https://relay.example.org".into(),
        tree_size_at_retrieval: 2,
        inclusion_proof: InclusionProof::new(&leaf, 1, 2, &[sibling], &root, Some(sth)).unwrap().for_header(),
        burn_confirmed: true,
        claim: None,
        signature: None,
    }
}

/// A stand-in for ML-DSA-65: the signature of a message is its SHA-256.
fn signed_by_relay(message: &[u8], signature: &[u8]) -> bool {
    leaf::sha256(message) == signature
}

fn sign(receipt: Receipt) -> Receipt {
    let signature = leaf::sha256(&receipt.sign_bytes().unwrap());
    receipt.signed(&signature)
}

fn verdict(receipt: Receipt) -> Result<Opened, Invalid> {
    verify(&Document::parse(&serde_json::to_string(&receipt).unwrap()).unwrap(), &signed_by_relay)
}

#[test]
fn the_signed_bytes_are_the_published_ones() {
    let bytes = example().sign_bytes().unwrap();
    assert_eq!(std::str::from_utf8(&bytes).unwrap(), CANONICAL);
    assert_eq!(bytes.len(), 735);
    assert_eq!(
        hex::encode(leaf::sha256(&bytes)),
        "ee70ef6f4cb8bd323794dcfd79b290b30482060a728baff276a830a53154fb2e"
    );
}

#[test]
fn every_published_form_is_read() {
    let receipt = sign(example());
    let json = serde_json::to_string(&receipt).unwrap();
    let value = serde_json::to_value(&receipt).unwrap();
    let header = receipt.header_value().unwrap();
    let forms = [
        Value::from(header.clone()),
        Value::from(BASE64_STANDARD.encode(&json)),
        Value::from(BASE64_STANDARD.encode(&json).trim_end_matches('=')),
        Value::from(json),
        value,
    ];
    for form in forms {
        let document = Document::from_value(form).unwrap();
        assert_eq!(document.receipt(), &receipt);
        assert_eq!(verify(&document, &signed_by_relay).unwrap().index, 1);
    }
    for bad in [
        Value::Null,
        Value::from("!!"),
        Value::from("{}"),
        Value::from(header + "*"),
        serde_json::json!({"blob_hash": "aa"}),
    ] {
        assert!(Document::from_value(bad).is_err());
    }
}

#[test]
fn each_fault_has_its_published_reason() {
    let change = |edit: &dyn Fn(&mut Receipt)| {
        let mut receipt = example();
        edit(&mut receipt);
        sign(receipt)
    };
    let mut late = sign(example());
    late.burn_confirmed = false;
    let cases: Vec<(Receipt, &str)> = vec![
        (example(), "no_signature"),
        (late, "signature_invalid"),
        (example().signed(b"x"), "signature_invalid"),
        (change(&|r| r.inclusion_proof.leaf_hash = String::new()), "inclusion_proof_missing_leaf_hash"),
        (change(&|r| r.ts = "2026-01-02T03:04:05.679Z".into()), "leaf_hash_mismatch"),
        (change(&|r| r.sector = "health".into()), "leaf_hash_mismatch"),
        (change(&|r| r.blob_hash = "AA".repeat(32)), "leaf_hash_mismatch"),
        (
            change(&|r| r.inclusion_proof.audit_path[0].position = path::Side::Right),
            "inclusion_proof_invalid",
        ),
        (change(&|r| r.inclusion_proof.leaf_index = 0), "inclusion_proof_invalid"),
        (change(&|r| r.inclusion_proof.tree_size = 3), "inclusion_proof_invalid"),
        (change(&|r| r.inclusion_proof.audit_path.clear()), "inclusion_proof_invalid"),
        (change(&|r| r.inclusion_proof.root = "00".repeat(32)), "inclusion_proof_invalid"),
        (change(&|r| r.inclusion_proof.root = "zz".into()), "inclusion_proof_invalid"),
        (
            change(&|r| r.inclusion_proof.sth = Some(Head::Bare(Sth::new("r", &[1; 32], 2, 0)))),
            "sth_root_mismatch",
        ),
        (
            change(&|r| {
                let head = r.inclusion_proof.sth.as_ref().unwrap().bare();
                r.inclusion_proof.sth = Some(Head::Signed(head.signed(b"forged")));
            }),
            "sth_signature_invalid",
        ),
    ];
    for (receipt, reason) in cases {
        let error = verdict(receipt).unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
    }
}

#[test]
fn a_receipt_with_an_unknown_field_is_verified_with_it() {
    let mut fields = serde_json::to_value(example()).unwrap();
    fields["from_the_future"] = "x".into();
    fields.as_object_mut().unwrap().remove("signature");
    let signature = leaf::sha256(&canonical::value_to_vec(&fields).unwrap());
    fields["signature"] = BASE64_STANDARD.encode(signature).into();
    verify(&Document::from_value(fields.clone()).unwrap(), &signed_by_relay).unwrap();
    fields["from_the_future"] = "y".into();
    assert!(verify(&Document::from_value(fields).unwrap(), &signed_by_relay).is_err());
}

#[test]
fn a_signed_head_in_the_proof_is_checked() {
    let mut receipt = example();
    let head = receipt.inclusion_proof.sth.as_ref().unwrap().bare();
    let signature = leaf::sha256(&head.sign_bytes().unwrap());
    receipt.inclusion_proof.sth = Some(Head::Signed(head.signed(&signature)));
    assert!(verdict(sign(receipt)).unwrap().sth_signed);
    assert!(!verdict(sign(example())).unwrap().sth_signed);
}

#[test]
fn the_header_stays_small_at_depth_forty_and_is_refused_beyond_its_limit() {
    let mut receipt = example();
    receipt.inclusion_proof.audit_path = vec![Step { hash: "ab".repeat(32), position: path::Side::Left }; 40];
    receipt.claim = Some(Opening { index: 1 << 40, salt: "ab".repeat(32) });
    receipt.ts = crate::moment::exact("2026-01-02T03:04:05.678Z".parse().unwrap(), [0xff; 16]);
    let length = receipt.clone().signed(&[0; 3309]).header_value().unwrap().len();
    assert!(length < 12_300, "{length} bytes");
    receipt.sector = "x".repeat(20_000);
    assert!(matches!(receipt.header_value(), Err(ReceiptError::TooLong(_))));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = Document::parse(&text);
    }

    #[test]
    fn a_flipped_byte_is_never_accepted(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let good = serde_json::to_vec(&sign(example())).unwrap();
        let mut bytes = good.clone();
        let position = at.index(bytes.len());
        bytes[position] ^= flip;
        if let Ok(text) = String::from_utf8(bytes)
            && let Ok(document) = Document::parse(&text) {
            prop_assert!(verify(&document, &signed_by_relay).is_err(), "{text} was accepted");
        }
    }
}

//! Cosignatures of both types: form, what they sign, what an answer of a witness may look like.

use paramant_tlog::Checkpoint;
use paramant_tlog::cosignature::{self, Cosignature, CosignatureError, MAX_ANSWER};
use paramant_tlog::keys::{CosignatureKey, Ed25519Key, MlDsa44Key, Seed, Signer};
use paramant_tlog::note::{Note, Signature};
use paramant_tlog::vkey::{Algorithm, VerifierKey};
use proptest::prelude::*;

const AT: u64 = 1_700_000_000;

fn text() -> String {
    Checkpoint::new("relay.example/log", 7, [3; 32]).to_text()
}

fn ed25519() -> CosignatureKey {
    CosignatureKey::from_seed("witness.example/one", &Seed::new([4; 32])).unwrap()
}

fn ml_dsa() -> MlDsa44Key {
    MlDsa44Key::from_seed("witness.example/two", &Seed::new([5; 32])).unwrap()
}

fn lines(keys: &[&dyn Signer], at: u64) -> Vec<Signature> {
    Note::sign(&text(), keys, at).unwrap().signatures
}

fn body(lines: &[Signature]) -> String {
    lines.iter().map(Signature::to_line).collect()
}

#[test]
fn the_answer_of_a_witness_is_read_and_verified_for_both_types() {
    let (one, two) = (ed25519(), ml_dsa());
    let lines = lines(&[&one, &two], AT);
    let read = cosignature::parse_answer(body(&lines).as_bytes()).unwrap();
    assert_eq!(read, lines);
    for (number, key) in [one.verifier(), two.verifier()].into_iter().enumerate() {
        let found = cosignature::verified(&text(), &read, key).unwrap();
        assert_eq!(found, Cosignature { line: lines[number].clone(), time: AT });
    }
}

#[test]
fn the_newest_of_several_lines_of_one_witness_is_taken() {
    let key = ed25519();
    let all = [lines(&[&key], AT + 5), lines(&[&key], AT)].concat();
    assert_eq!(cosignature::verified(&text(), &all, key.verifier()).unwrap().time, AT + 5);
}

#[test]
fn a_changed_time_text_or_signature_does_not_verify() {
    for key in [&ed25519() as &dyn Signer, &ml_dsa()] {
        let good = lines(&[key], AT);
        let invalid = Err(CosignatureError::Invalid { name: key.verifier().name().to_owned() });
        let last = good[0].bytes.len() - 1;
        for at in [0, 7, 8, last] {
            let mut bad = good.clone();
            bad[0].bytes[at] ^= 1;
            assert_eq!(cosignature::verified(&text(), &bad, key.verifier()), invalid, "byte {at}");
        }
        let mut bad = good.clone();
        bad[0].bytes.truncate(8);
        assert_eq!(cosignature::verified(&text(), &bad, key.verifier()), invalid);
        let other = Checkpoint::new("relay.example/log", 8, [3; 32]).to_text();
        assert_eq!(cosignature::verified(&other, &good, key.verifier()), invalid);
        assert!(cosignature::verified(&text(), &good, key.verifier()).is_ok());
    }
}

#[test]
fn lines_of_others_are_not_taken_for_the_witness_s() {
    let stranger = CosignatureKey::from_seed("witness.example/one", &Seed::new([9; 32])).unwrap();
    let renamed = CosignatureKey::from_seed("witness.example/other", &Seed::new([4; 32])).unwrap();
    let all = lines(&[&stranger, &renamed], AT);
    let missing = CosignatureError::Missing { name: "witness.example/one".into() };
    assert_eq!(cosignature::verified(&text(), &all, ed25519().verifier()), Err(missing));
}

#[test]
fn a_log_s_own_line_is_no_cosignature() {
    let log = Ed25519Key::from_seed("witness.example/one", &Seed::new([4; 32])).unwrap();
    let all = lines(&[&log], AT);
    assert_eq!(
        cosignature::verified(&text(), &all, log.verifier()),
        Err(CosignatureError::NotAWitness(Algorithm::Ed25519))
    );
    // The same public key under the other type has another id, so the line is not even looked at.
    assert!(matches!(
        cosignature::verified(&text(), &all, ed25519().verifier()),
        Err(CosignatureError::Missing { .. })
    ));
}

#[test]
fn only_checkpoints_and_times_that_fit_are_cosigned() {
    assert!(ed25519().sign("hello\n", AT).is_err());
    assert!(ed25519().sign(&text(), u64::MAX).is_err());
    assert!(cosignature::message(1 << 63, "x\n").is_none());
    assert!(matches!(
        cosignature::verified("hello\n", &lines(&[&ed25519()], AT), ed25519().verifier()),
        Err(CosignatureError::NotACheckpoint(_))
    ));
}

#[test]
fn the_message_and_the_key_id_are_those_of_the_specification() {
    // The example of C2SP tlog-cosignature.
    let checkpoint = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let expected = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
                    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    assert_eq!(cosignature::message(1_679_315_147, checkpoint).unwrap(), expected);
    let line = "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let read = cosignature::parse_answer(line.as_bytes()).unwrap();
    assert_eq!(read[0].name, "witness.example.com/w1");
    assert_eq!(read[0].key_id, 0x8d66_cf3f);
    assert_eq!(read[0].bytes[..8], 1_679_315_147u64.to_be_bytes());

    let key = ed25519();
    let material = [b"witness.example/one\n\x04".as_slice(), key.verifier().public_key()].concat();
    let id = u32::from_be_bytes(paramant_tlog::hash::sha256(&material)[..4].try_into().unwrap());
    assert_eq!(key.verifier().key_id(), id);
    assert_eq!(&key.verifier().to_string().parse::<VerifierKey>().unwrap(), key.verifier());
}

#[test]
fn malformed_answers_are_refused() {
    let good = body(&lines(&[&ed25519()], AT));
    for (bad, error) in [
        (String::new(), CosignatureError::Form),
        (good.trim_end().to_owned(), CosignatureError::Form),
        ("\n".to_owned(), CosignatureError::Line { line: 1 }),
        (format!("{good}\n"), CosignatureError::Line { line: 2 }),
        (good.replace('\n', "\r\n"), CosignatureError::Line { line: 1 }),
        (good.replacen('—', "-", 1), CosignatureError::Line { line: 1 }),
        (format!("{good}accepted\n"), CosignatureError::Line { line: 2 }),
        (good.repeat(17), CosignatureError::TooLong),
        ("x".repeat(MAX_ANSWER + 1), CosignatureError::TooLong),
    ] {
        assert_eq!(cosignature::parse_answer(bad.as_bytes()), Err(error), "{:.60}", bad);
    }
    assert_eq!(cosignature::parse_answer(b"\xff\n"), Err(CosignatureError::Form));
    assert!(cosignature::parse_answer(good.repeat(16).as_bytes()).is_ok());
}

proptest! {
    #[test]
    fn answers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,80}") {
        let _ = cosignature::parse_answer(&bytes);
        let _ = cosignature::parse_answer(text.as_bytes());
        let line = Signature { name: "witness.example/one".into(), key_id: ed25519().verifier().key_id(), bytes };
        let checkpoint = self::text();
        prop_assert!(cosignature::verified(&checkpoint, &[line], ed25519().verifier()).is_err());
    }
}

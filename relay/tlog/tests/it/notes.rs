//! Checkpoints, notes, keys: form, signatures, and what must be refused. The second implementation of ML-DSA judges.

use ml_dsa::signature::Verifier as _;
use ml_dsa::{EncodedVerifyingKey, MlDsa44, MlDsa65};
use paramant_tlog::Checkpoint;
use paramant_tlog::keys::{Ed25519Key, MlDsa44Key, MlDsa65Key, Seed, Signer, generate_seed};
use paramant_tlog::note::{Note, NoteError, OpenError};
use paramant_tlog::tlog_proof::TlogProof;
use paramant_tlog::vkey::{Algorithm, KeyError, VerifierKey, cosigned_message, prefixed_message};
use proptest::prelude::*;

const NAME: &str = "relay.example.org/log";
const AT: u64 = 1_700_000_000;

struct Keys {
    ed25519: Ed25519Key,
    ml_dsa_44: MlDsa44Key,
    ml_dsa_65: MlDsa65Key,
}

impl Keys {
    fn new() -> Self {
        let seed = |byte| Seed::new([byte; 32]);
        Self {
            ed25519: Ed25519Key::from_seed(NAME, &seed(1)).unwrap(),
            ml_dsa_44: MlDsa44Key::from_seed(NAME, &seed(2)).unwrap(),
            ml_dsa_65: MlDsa65Key::from_seed(NAME, &seed(3)).unwrap(),
        }
    }

    fn signers(&self) -> [&dyn Signer; 3] {
        [&self.ed25519, &self.ml_dsa_44, &self.ml_dsa_65]
    }

    fn verifiers(&self) -> Vec<VerifierKey> {
        self.signers().map(|key| key.verifier().clone()).to_vec()
    }

    fn note(&self) -> Note {
        Note::sign(&checkpoint().to_text(), &self.signers(), AT).unwrap()
    }
}

fn checkpoint() -> Checkpoint {
    Checkpoint::new(NAME, 20_852_163, [9; 32])
}

#[test]
fn a_note_of_three_lines_opens_with_all_keys_and_with_each_alone() {
    let keys = Keys::new();
    let note = Note::parse(keys.note().to_text().as_bytes()).unwrap();
    assert_eq!(note, keys.note_with_same_signatures(&note));
    let opened = note.open(&keys.verifiers()).unwrap();
    assert_eq!(opened.iter().map(|v| v.timestamp).collect::<Vec<_>>(), [None, Some(AT), None]);
    for (number, key) in keys.verifiers().into_iter().enumerate() {
        assert_eq!(note.open(&[key]).unwrap().len(), 1, "key {number}");
    }
}

impl Keys {
    /// Hedged ML-DSA signatures differ each time, so a note is compared through its text form.
    fn note_with_same_signatures(&self, note: &Note) -> Note {
        Note::parse(note.to_text().as_bytes()).unwrap()
    }
}

#[test]
fn order_and_unknown_lines_do_not_matter() {
    let keys = Keys::new();
    let stranger = Ed25519Key::from_seed("stranger.example", &Seed::new([8; 32])).unwrap();
    let namesake = Ed25519Key::from_seed(NAME, &Seed::new([8; 32])).unwrap();
    let mut note = keys.note();
    for key in [&stranger, &namesake] {
        note.signatures.extend(Note::sign(&note.text, &[key], AT).unwrap().signatures);
    }
    note.signatures.reverse();
    let note = Note::parse(note.to_text().as_bytes()).unwrap();
    assert_eq!(note.open(&keys.verifiers()).unwrap().len(), 3);
}

#[test]
fn a_bad_line_of_a_known_key_spoils_the_note_whatever_else_is_there() {
    let keys = Keys::new();
    for spoiled in 0..3 {
        let mut note = keys.note();
        let last = note.signatures[spoiled].bytes.len() - 1;
        note.signatures[spoiled].bytes[last] ^= 1;
        let algorithm = keys.verifiers()[spoiled].algorithm();
        let expected = Err(OpenError::Invalid { name: NAME.to_owned(), algorithm });
        assert_eq!(note.open(&keys.verifiers()), expected);
    }
    let mut note = keys.note();
    note.text = note.text.replace("20852163", "20852164");
    assert!(note.open(&keys.verifiers()).is_err());
    for key in keys.verifiers() {
        assert!(note.open(&[key]).is_err(), "each line signs the size");
    }
}

#[test]
fn a_note_without_a_known_line_is_unsigned() {
    let keys = Keys::new();
    let stranger = Ed25519Key::from_seed("stranger.example", &Seed::new([8; 32])).unwrap();
    assert_eq!(keys.note().open(&[stranger.verifier().clone()]), Err(OpenError::Unsigned));
    assert_eq!(keys.note().open(&[]), Err(OpenError::Unsigned));
}

#[test]
fn the_time_in_a_cosignature_is_signed() {
    let keys = Keys::new();
    let mut note = keys.note();
    note.signatures[1].bytes[7] ^= 1;
    assert!(note.open(&keys.verifiers()).is_err());
}

#[test]
fn an_ml_dsa_44_line_does_not_stand_for_lines_it_does_not_sign() {
    let keys = Keys::new();
    let mut note = keys.note();
    note.text.push_str("extension\n");
    assert!(note.open(&keys.verifiers()[1..2]).is_err(), "an extension line was slipped in");
    assert!(Note::sign(&note.text, &[&keys.ml_dsa_44], AT).is_err());
    assert!(cosigned_message(NAME, AT, &Checkpoint::parse(&note.text).unwrap()).is_none());
}

#[test]
fn a_key_id_has_one_spelling() {
    let vkey = Keys::new().verifiers()[0].to_string();
    let upper = vkey.replacen(
        &vkey[NAME.len() + 1..NAME.len() + 9],
        &vkey[NAME.len() + 1..NAME.len() + 9].to_uppercase(),
        1,
    );
    assert_ne!(upper, vkey);
    assert_eq!(VerifierKey::parse(&upper), Err(KeyError::Form));
}

#[test]
fn malformed_notes_are_refused() {
    let good = Keys::new().note().to_text();
    let text = checkpoint().to_text();
    let long_id = format!("{text}\n— name AAAA\n");
    for (bad, error) in [
        (String::new(), NoteError::Form),
        (text.clone(), NoteError::Form),
        (format!("{text}\n"), NoteError::Form),
        (good.trim_end().to_owned(), NoteError::Form),
        (good.replacen('—', "-", 1), NoteError::SignatureLine { line: 1 }),
        (good.replacen("— ", "—  ", 1), NoteError::SignatureLine { line: 1 }),
        (good.replace('\n', "\r\n"), NoteError::Characters),
        (good.replacen("relay", "re\u{0}lay", 1), NoteError::Characters),
        (format!("{text}\n— na+me AAAAAAA=\n"), NoteError::SignatureLine { line: 1 }),
        (format!("{text}\n— name AAAAAAB=\n"), NoteError::SignatureLine { line: 1 }),
        (long_id, NoteError::SignatureLine { line: 1 }),
        (format!("{good}\n"), NoteError::Form),
        (format!("{text}\n{}", "— name AAAAAAA=\n".repeat(65)), NoteError::TooManySignatures),
        (format!("{text}\n— name {}\n", "A".repeat(300_000)), NoteError::TooLong),
    ] {
        let shown: String = bad.chars().take(80).collect();
        assert_eq!(Note::parse(bad.as_bytes()), Err(error), "{shown}");
    }
    assert_eq!(Note::parse(b"\xff\n\n"), Err(NoteError::Characters));
    assert!(Note::parse(good.as_bytes()).is_ok());
}

#[test]
fn verifier_keys_come_back_as_they_were_written() {
    for key in Keys::new().verifiers() {
        let text = key.to_string();
        assert_eq!(text.parse::<VerifierKey>().unwrap(), key);
        let other = text.replacen("relay", "other", 1);
        assert_eq!(other.parse::<VerifierKey>(), Err(KeyError::KeyId));
    }
    // The key of the Go checksum database: a vector from outside.
    let sum = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    let key: VerifierKey = sum.parse().unwrap();
    assert_eq!(
        (key.name(), key.key_id(), key.algorithm()),
        ("sum.golang.org", 0x033d_e0ae, Algorithm::Ed25519)
    );
    assert_eq!(key.to_string(), sum);
}

#[test]
fn malformed_verifier_keys_are_refused() {
    for (bad, error) in [
        ("", KeyError::Form),
        ("name", KeyError::Form),
        ("name+00000000", KeyError::Form),
        ("name+0+AQ==", KeyError::Form),
        ("name+0000000g+AQ==", KeyError::Form),
        ("name+00000000+!!", KeyError::Form),
        ("name+00000000+AQ==", KeyError::PublicKey),
        ("name+00000000+", KeyError::Algorithm),
        ("name+00000000+Ag==", KeyError::Algorithm),
        ("na me+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8", KeyError::Name),
        ("+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8", KeyError::Name),
        ("sum.golang.org+133de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8", KeyError::KeyId),
    ] {
        assert_eq!(bad.parse::<VerifierKey>(), Err(error), "{bad}");
    }
}

#[test]
fn a_second_implementation_accepts_our_ml_dsa_lines() {
    let keys = Keys::new();
    let note = keys.note();

    let public = EncodedVerifyingKey::<MlDsa44>::try_from(keys.ml_dsa_44.verifier().public_key()).unwrap();
    let message = cosigned_message(NAME, AT, &checkpoint()).unwrap();
    let (time, signature) = note.signatures[1].bytes.split_first_chunk::<8>().unwrap();
    assert_eq!(u64::from_be_bytes(*time), AT);
    let signature = ml_dsa::Signature::<MlDsa44>::try_from(signature).unwrap();
    let key = ml_dsa::VerifyingKey::<MlDsa44>::decode(&public);
    key.verify(&message, &signature).unwrap();
    key.verify(&message[1..], &signature).unwrap_err();

    let public = EncodedVerifyingKey::<MlDsa65>::try_from(keys.ml_dsa_65.verifier().public_key()).unwrap();
    let signature = ml_dsa::Signature::<MlDsa65>::try_from(note.signatures[2].bytes.as_slice()).unwrap();
    let key = ml_dsa::VerifyingKey::<MlDsa65>::decode(&public);
    key.verify(&prefixed_message(NAME, &note.text), &signature).unwrap();
    key.verify(note.text.as_bytes(), &signature).unwrap_err();

    let document = keys.ml_dsa_65.sign_document(b"{\"version\":1}").unwrap();
    key.verify(b"{\"version\":1}", &ml_dsa::Signature::try_from(document.as_slice()).unwrap()).unwrap();
}

#[test]
fn the_same_seed_makes_the_same_key_in_both_implementations() {
    use ml_dsa::Keypair as _;
    let seed = [2; 32];
    let theirs = ml_dsa::SigningKey::<MlDsa44>::from_seed(&seed.into()).verifying_key().encode();
    assert_eq!(Keys::new().ml_dsa_44.verifier().public_key(), theirs.as_slice());
}

#[test]
fn the_cosigned_message_has_the_layout_of_the_specification() {
    let message = cosigned_message("w", 1, &Checkpoint::new("log", 2, [3; 32])).unwrap();
    let mut expected = b"subtree/v1\n\0\x01w".to_vec();
    expected.extend(1u64.to_be_bytes());
    expected.extend(b"\x03log");
    expected.extend(0u64.to_be_bytes());
    expected.extend(2u64.to_be_bytes());
    expected.extend([3; 32]);
    assert_eq!(message, expected);
    assert!(cosigned_message(&"n".repeat(256), 1, &checkpoint()).is_none());
    assert!(cosigned_message("", 1, &checkpoint()).is_none());
    assert!(cosigned_message("w", u64::MAX, &checkpoint()).is_none());
}

#[test]
fn an_ml_dsa_44_key_signs_checkpoints_only() {
    assert!(Keys::new().ml_dsa_44.sign("hello\n", AT).is_err());
}

#[test]
fn seeds_are_not_repeated() {
    assert_ne!(*generate_seed().unwrap(), *generate_seed().unwrap());
}

#[test]
fn checkpoints_come_back_and_malformed_ones_are_refused() {
    let mut with_extensions = checkpoint();
    with_extensions.extensions = vec!["one".to_owned(), "two".to_owned()];
    for good in [checkpoint(), with_extensions] {
        assert_eq!(Checkpoint::parse(&good.to_text()).unwrap(), good);
    }
    let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    for bad in [
        String::new(),
        "log\n".to_owned(),
        "log\n1\n".to_owned(),
        format!("log\n1\n{root}"),
        format!("\n1\n{root}\n"),
        format!("log\n01\n{root}\n"),
        format!("log\n+1\n{root}\n"),
        format!("log\n-1\n{root}\n"),
        format!("log\n18446744073709551616\n{root}\n"),
        format!("log\n1\n{}\n", &root[4..]),
        format!("log\n1\n{root} \n"),
        format!("log\n1\n{root}\n\n"),
    ] {
        assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn offline_proofs_come_back_and_malformed_ones_are_refused() {
    for extra in [None, Some(b"entry".to_vec())] {
        let proof = TlogProof {
            extra,
            index: 5,
            path: vec![[1; 32], [2; 32]],
            checkpoint: Keys::new().note().to_text(),
        };
        assert_eq!(TlogProof::parse(&proof.to_text()).unwrap(), proof);
    }
    let good =
        TlogProof { extra: None, index: 5, path: vec![[1; 32]], checkpoint: "c\n".to_owned() }.to_text();
    for bad in [
        good.replacen("v1", "v2", 1),
        good.replacen("index 5", "index 05", 1),
        good.replacen("index", "Index", 1),
        good.replacen("AQEB", "AQE", 1),
        good.split_once("\n\n").unwrap().0.to_owned(),
        String::new(),
    ] {
        assert!(TlogProof::parse(&bad).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn parsers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,80}") {
        let _ = Note::parse(&bytes);
        let _ = Note::parse(text.as_bytes());
        let _ = Checkpoint::parse(&text);
        let _ = TlogProof::parse(&text);
        let _ = text.parse::<VerifierKey>();
        let _ = paramant_tlog::tile::parse_path(&text);
        let _ = paramant_tlog::bundle::decode(&bytes);
    }
}

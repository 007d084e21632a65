//! The requests that go to witnesses, and what they may answer.

use paramant_tlog::Checkpoint;
use paramant_tlog::cosignature::MAX_ANSWER;
use paramant_tlog::keys::{CosignatureKey, Ed25519Key, MlDsa44Key, MlDsa65Key, Seed, Signer};
use paramant_tlog::note::Note;
use paramant_tlog::vkey::VerifierKey;
use paramant_tlog::witness::{AddCheckpoint, Answer, AnswerError, MAX_REQUEST, RequestError, SIZE_TYPE};
use proptest::prelude::*;

const ORIGIN: &str = "relay.example/log";

/// A checkpoint as a relay publishes it, and the keys that signed it.
fn published(origin: &str, size: u64) -> (Note, Vec<VerifierKey>) {
    let seed = |n: u8| Seed::new([n; 32]);
    let ed = Ed25519Key::from_seed(origin, &seed(1)).unwrap();
    let (pq, identity) =
        (MlDsa44Key::from_seed(origin, &seed(2)).unwrap(), MlDsa65Key::from_seed(origin, &seed(3)).unwrap());
    let keys: [&dyn Signer; 3] = [&pq, &identity, &ed];
    let note = Note::sign(&Checkpoint::new(origin, size, [9; 32]).to_text(), &keys, 1_700_000_000).unwrap();
    (note, keys.iter().map(|key| key.verifier().clone()).collect())
}

#[test]
fn a_request_is_old_size_proof_blank_line_and_trimmed_note() {
    let (note, keys) = published(ORIGIN, 7);
    let request = AddCheckpoint::new(3, vec![[1; 32], [2; 32]], &note, &keys).unwrap();
    let text = String::from_utf8(request.to_bytes()).unwrap();
    let (head, sent) = text.split_once("\n\n").unwrap();
    assert_eq!(
        head,
        "old 3\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\nAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
    );
    let sent = Note::parse(sent.as_bytes()).unwrap();
    assert_eq!(sent.text, note.text);
    let ids: Vec<u32> = sent.signatures.iter().map(|line| line.key_id).collect();
    assert_eq!(ids, [keys[2].key_id(), keys[0].key_id()], "Ed25519, ML-DSA-44, and nothing of the identity");
    assert!(text.len() <= MAX_REQUEST);
}

#[test]
fn the_first_request_has_no_proof() {
    let (note, keys) = published(ORIGIN, 1);
    let text =
        String::from_utf8(AddCheckpoint::new(0, Vec::new(), &note, &keys).unwrap().to_bytes()).unwrap();
    assert!(text.starts_with("old 0\n\nrelay.example/log\n1\n"), "{text}");
}

#[test]
fn lines_of_witnesses_and_strangers_are_not_sent_back() {
    let (mut note, keys) = published(ORIGIN, 7);
    let witness = CosignatureKey::from_seed("witness.example/w", &Seed::new([4; 32])).unwrap();
    let all: [&dyn Signer; 1] = [&witness];
    note.signatures.extend(Note::sign(&note.text, &all, 5).unwrap().signatures);
    let request = AddCheckpoint::new(0, Vec::new(), &note, &keys).unwrap();
    assert_eq!(request.note.signatures.len(), 2);
}

#[test]
fn a_rotation_with_long_names_keeps_what_fits_and_the_ed25519_lines_first() {
    let origin = "o".repeat(255);
    let (mut note, mut keys) = published(&origin, u64::MAX);
    // Four post-quantum lines, of which one fits beside such a proof.
    for n in 10..13 {
        let key = MlDsa44Key::from_seed(&origin, &Seed::new([n; 32])).unwrap();
        let more: [&dyn Signer; 1] = [&key];
        note.signatures.extend(Note::sign(&note.text, &more, 5).unwrap().signatures);
        keys.push(key.verifier().clone());
    }
    let request = AddCheckpoint::new(9, vec![[7; 32]; 60], &note, &keys).unwrap();
    assert!(request.to_bytes().len() <= MAX_REQUEST);
    assert_eq!(request.note.signatures.first().unwrap().key_id, keys[2].key_id());
    assert_eq!(request.note.signatures.len(), 2, "Ed25519 and one of the others");
}

#[test]
fn what_no_witness_could_use_is_not_sent() {
    let (note, keys) = published(ORIGIN, 7);
    let refused = |old, proof, keys: &[VerifierKey]| AddCheckpoint::new(old, proof, &note, keys).unwrap_err();
    assert_eq!(refused(8, Vec::new(), &keys), RequestError::SizesReversed { old: 8, size: 7 });
    assert_eq!(refused(1, vec![[0; 32]; 64], &keys), RequestError::LongProof(64));
    assert_eq!(refused(1, Vec::new(), &keys[1..2]), RequestError::Unsigned);
    let text = Note { text: "no checkpoint\n".into(), signatures: note.signatures.clone() };
    assert!(matches!(AddCheckpoint::new(0, vec![], &text, &keys), Err(RequestError::NotACheckpoint(_))));
}

#[test]
fn every_answer_of_the_protocol_has_a_name() {
    let read = |status, kind: Option<&str>, body: &str| Answer::read(status, kind, body.as_bytes()).unwrap();
    assert_eq!(read(409, Some(SIZE_TYPE), "20852014\n"), Answer::Conflict(Some(20_852_014)));
    assert_eq!(read(409, Some("Text/X.tlog.size; charset=utf-8"), "0"), Answer::Conflict(Some(0)));
    assert_eq!(
        read(409, Some("text/plain"), "12\n"),
        Answer::Conflict(None),
        "only its own type says a size"
    );
    assert_eq!(read(409, None, ""), Answer::Conflict(None));
    assert_eq!(read(404, None, "unknown log"), Answer::UnknownLog);
    assert_eq!(read(403, None, ""), Answer::Untrusted);
    assert_eq!(read(422, None, ""), Answer::Inconsistent);
    for status in [400, 429, 500, 503, 599] {
        assert_eq!(read(status, None, "later"), Answer::Later(status));
    }
    let witness = CosignatureKey::from_seed("witness.example/w", &Seed::new([4; 32])).unwrap();
    let keys: [&dyn Signer; 1] = [&witness];
    let lines = Note::sign(&published(ORIGIN, 7).0.text, &keys, 5).unwrap().signatures;
    let body: String = lines.iter().map(paramant_tlog::note::Signature::to_line).collect();
    assert_eq!(read(200, None, &body), Answer::Cosigned(lines));
}

#[test]
fn hostile_answers_are_errors_with_a_name() {
    let refused = |status, kind: Option<&str>, body: &[u8]| Answer::read(status, kind, body).unwrap_err();
    assert_eq!(refused(200, None, &vec![b'a'; MAX_ANSWER + 1]), AnswerError::TooLong);
    for body in ["", "\n", "<html>", "ok\n", "— name notbase64!\n"] {
        assert!(matches!(refused(200, None, body.as_bytes()), AnswerError::Cosignatures(_)), "{body:?}");
    }
    for body in ["", "\n", "-1\n", "07\n", "1\n\n", "1 \n", "99999999999999999999\n", "x", "1e3"] {
        assert_eq!(refused(409, Some(SIZE_TYPE), body.as_bytes()), AnswerError::Size, "{body:?}");
    }
    for status in [100, 201, 204, 301, 302, 307, 401, 418, 600] {
        assert_eq!(refused(status, None, b""), AnswerError::Status(status));
    }
}

proptest! {
    #[test]
    fn no_answer_makes_it_panic(
        status in prop_oneof![Just(200u16), Just(409), any::<u16>()],
        typed in any::<bool>(),
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = Answer::read(status, typed.then_some(SIZE_TYPE), &body);
    }
}

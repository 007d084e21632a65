//! Section 14.

use paramant_protocol::leaf;
use paramant_tlog::Checkpoint;
use paramant_tlog::cosignature;
use paramant_tlog::note::Note;
use paramant_tlog::policy::Policy;
use paramant_tlog::vkey::{Algorithm, VerifierKey, cosigned_message};
use serde::Deserialize;

use crate::files::{bytes, hash, vectors};

#[derive(Deserialize)]
struct Cosignature {
    name: String,
    text: String,
    vkey: String,
    time: u64,
    message: String,
    line: String,
    refused: Option<String>,
}

#[test]
fn cosignatures_verify_over_the_message_of_the_specification() {
    for vector in vectors::<Cosignature>("cosignatures.json") {
        let key = VerifierKey::parse(&vector.vkey).unwrap();
        let lines = cosignature::parse_answer(vector.line.as_bytes()).unwrap();
        let found = cosignature::verified(&vector.text, &lines, &key);
        if vector.refused.is_some() {
            assert!(found.is_err(), "{} was accepted", vector.name);
            continue;
        }
        assert_eq!(found.unwrap().time, vector.time, "{}", vector.name);
        let message = match key.algorithm() {
            Algorithm::Ed25519Cosignature => {
                cosignature::message(vector.time, &vector.text).unwrap().into_bytes()
            }
            Algorithm::MlDsa44 => {
                cosigned_message(key.name(), vector.time, &Checkpoint::parse(&vector.text).unwrap()).unwrap()
            }
            other => panic!("a witness does not sign with {other}"),
        };
        assert_eq!(message, bytes(&vector.message), "{}", vector.name);
    }
}

#[derive(Deserialize)]
struct PolicyVector {
    name: String,
    policy: String,
    #[serde(default)]
    fingerprint: String,
    #[serde(default)]
    notes: Vec<Judged>,
    refused: Option<String>,
}

#[derive(Deserialize)]
struct Judged {
    name: String,
    note: String,
    satisfied: bool,
}

#[test]
fn policies_judge_alike() {
    for vector in vectors::<PolicyVector>("policies.json") {
        let policy = Policy::parse(vector.policy.as_bytes());
        if vector.refused.is_some() {
            assert!(policy.is_err(), "{} was read", vector.name);
            continue;
        }
        let policy = policy.unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        assert_eq!(leaf::sha256(vector.policy.as_bytes()), hash(&vector.fingerprint));
        assert!(vector.notes.len() > 5);
        for judged in vector.notes {
            let verdict = policy.judge(&Note::parse(judged.note.as_bytes()).unwrap());
            let satisfied = verdict.is_ok_and(|verdict| verdict.quorum);
            assert_eq!(satisfied, judged.satisfied, "{}: {}", vector.name, judged.name);
        }
    }
}

//! What relays answer in JSON, as clients and auditors read it, and what clients post in it.

use paramant_protocol::control::DirectivesAnswer;
use paramant_protocol::device::{KeysAnswer, RegisterAnswer, RegisterKeys, VerifyFingerprintAnswer};
use paramant_protocol::discovery::{Capabilities, Health, Identity};
use paramant_protocol::download::StatusAnswer;
use paramant_protocol::id::DeviceId;
use paramant_protocol::refusal::Refusal;
use paramant_protocol::transparency::{
    ArchiveIndex, ConsistencyAnswer, GossipAnswer, GossipEvidence, LogPage, ProofAnswer, ReceiptVerdict,
    SthAnswer, SthHistory, TreeHeadPage,
};
use paramant_protocol::upload::{UploadAnswer, UploadRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Memory, Target};

pub(super) const ANSWERS: Target = Target {
    name: "answers",
    check: answers,
    seeds: Vec::new,
    words: &[
        "{",
        "}",
        "[",
        "]",
        ",",
        "null",
        "true",
        "\"ok\":true",
        "\"size\":",
        "\"index\":",
        "\"sths\":[",
        "\"proof\":[",
        "18446744073709551615",
        "\"kem_pub\":\"",
        "\"\\ud83d\\ude00\"",
    ],
    memory: Memory::VALUES,
};

macro_rules! each {
    ($input:ident: $($answer:ty),* $(,)?) => { $(let _: Option<$answer> = same($input);)* };
}

fn answers(input: &[u8]) {
    each!(input:
        LogPage, ProofAnswer, SthAnswer, SthHistory, ConsistencyAnswer, TreeHeadPage, ArchiveIndex, GossipAnswer,
        GossipEvidence, ReceiptVerdict, UploadAnswer, UploadRequest, StatusAnswer, RegisterAnswer, Capabilities, Health,
        VerifyFingerprintAnswer, DirectivesAnswer, Refusal,
    );
    if let Some(key) = same::<Identity>(input).and_then(|identity| identity.key()) {
        assert_eq!(Identity::of(&key).key(), Some(key));
    }
    let device: DeviceId = "phone".parse().expect("a name");
    let registered = same::<RegisterKeys>(input).and_then(|keys| keys.keys().ok());
    let answered = same::<KeysAnswer>(input).and_then(|answer| answer.device_keys(&device).ok());
    for keys in registered.into_iter().chain(answered) {
        let again = RegisterKeys::of(&keys).keys();
        assert_eq!(again.as_ref(), Ok(&keys), "written and read they are other keys");
        assert!(keys.matches(&keys.fingerprint()));
    }
}

/// Reads, writes and reads again.
fn same<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(input: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(input).ok()?;
    let written = serde_json::to_vec(&read).expect("JSON");
    let again: T = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(again, read, "written and read it is another answer");
    Some(read)
}

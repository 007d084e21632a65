#![allow(clippy::unwrap_used, clippy::panic)]
use super::body::*;
use super::*;
use crate::control::DrainSource;
use proptest::prelude::*;

fn at() -> Timestamp {
    "2026-01-02T03:04:05.678Z".parse().unwrap()
}

fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn document(type_: &str) -> Document {
    Document::parse(format!(r#"{{"signature":"AA==","type":"{type_}"}}"#).as_bytes()).unwrap()
}

/// One body of each kind that has one.
fn every_body() -> Vec<Body> {
    let key = digest(0x11);
    vec![
        Body::TransferClaimed(TransferClaimed { id: key, generation: 1 }),
        Body::TransferBurned(TransferBurned { id: key, cause: BurnCause::Read }),
        Body::KeyRegistered(KeyRegistered { key }),
        Body::RelayStarted(RelayStarted { identity: key, version: "0.1.0".into() }),
        Body::LicenseCheckin(LicenseCheckin {
            request: key,
            reply: None,
            result: CheckinResult::Unreachable,
        }),
        Body::LicenseChanged(LicenseChanged { source: LicenseOrigin::Offline, document: Some(key) }),
        Body::TelemetryChanged(TelemetryChanged { enabled: true, schema: 1, preview: Some(key) }),
        Body::OutboundCall(OutboundCall {
            purpose: OutboundPurpose::Witness,
            destination: key,
            count: 60,
            chain: digest(2),
        }),
        Body::SupportKeyIssued(SupportKeyIssued {
            key,
            role: Role::Support,
            until: "2026-01-03T03:00:00.000Z".into(),
        }),
        Body::SupportKeyRevoked(SupportKeyEnded { key }),
        Body::SupportKeyExpired(SupportKeyEnded { key }),
        Body::SupportKeyUsed(SupportKeyUsed { key, count: 3, chain: digest(2) }),
        Body::UpdateOffered(UpdateOffered { version: "0.2.0".into(), role: Role::Owner }),
        Body::UpdateApproved(UpdateStep { version: "0.2.0".into(), image: key }),
        Body::UpdateStarted(UpdateStep { version: "0.2.0".into(), image: key }),
        Body::UpdateFinished(UpdateStep { version: "0.2.0".into(), image: key }),
        Body::UpdateRolledBack(UpdateStep { version: "0.2.0".into(), image: key }),
        Body::DrainChanged(DrainChanged { draining: true, by: vec![DrainSource::Spec, DrainSource::Update] }),
        Body::RemoteActionRefused(RemoteActionRefused {
            action: key,
            role: Role::Owner,
            reason: RefusalReason::UnknownAction,
        }),
        Body::VendorRequest(VendorRequest { request: document("paramant/action/v1") }),
        Body::VendorSilence(VendorSilence { statement: document("paramant/silence/v1") }),
        Body::VendorRequestDecided(VendorRequestDecided { request: key, decision: Decision::Approved }),
        Body::CapabilityChanged(CapabilityChanged { request: key, before: digest(2), after: digest(3) }),
        Body::AdminChanged(AdminChanged { what: AdminChange::SetUp }),
        Body::ClockCorrected(ClockCorrected { by: ClockAuthority::Admin }),
        Body::LogKeyRotated(LogKeyRotated { added: Some("o+00000000+AQ==".into()), retired: None }),
        Body::SthAnchor(SthAnchor { count: 7, chain: digest(3) }),
        Body::LogClosed(LogClosed { cause: CloseCause::Deleted }),
        Body::LogAdopted(LogAdopted { origin: "old.example/log".into(), size: 9, root: digest(4) }),
        Body::DidRevoked(DidRevoked { key }),
    ]
}

#[test]
fn a_transfer_entry_shows_its_leaf_and_its_hour() {
    let leaf = crate::leaf::transfer_leaf(&[0xaa; 32], "relay", "2026-01-02T03:04:05.678Z");
    let entry = Entry::transfer(leaf, at());
    let text = std::str::from_utf8(entry.bytes()).unwrap();
    assert_eq!(
        text,
        r#"{"k":"transfer","l":"b28cd694f82b67808285d1d596b561816b7e2f5fe05e96ef6f6801fe50881eb7","t":"2026-01-02T03:00:00.000Z"}"#
    );
    let value: Value = serde_json::from_str(text).unwrap();
    assert_eq!(canonical::to_vec(&value).unwrap(), entry.bytes());
    assert_eq!(Entry::parse(entry.bytes()).unwrap(), entry);
}

#[test]
fn every_kind_with_a_body_is_read_back_and_has_its_vector() {
    let bodies = every_body();
    let kinds: Vec<Kind> = bodies.iter().map(Body::kind).collect();
    assert_eq!(kinds, &Kind::ALL[1..], "a kind has no vector");
    let mut vectors = String::new();
    for body in bodies {
        let entry = Entry::with_body(body, at()).unwrap();
        assert_eq!(Entry::parse(entry.bytes()).unwrap(), entry);
        vectors += std::str::from_utf8(entry.bytes()).unwrap();
        vectors += "\n";
    }
    assert_eq!(vectors, include_str!("vectors.txt"), "entries in a log can never change their form");
}

#[test]
fn a_document_is_held_in_its_canonical_form_alone_and_is_signed() {
    for text in
        [r#"{"type":"a","signature":"b"}"#, r#"{"signature":"b", "type":"a"}"#, r#"{"type":"a"}"#, "[]", ""]
    {
        assert!(Document::parse(text.as_bytes()).is_none(), "{text}");
    }
    let text = br#"{"seq":1,"signature":"b","type":"a"}"#;
    assert_eq!(Document::parse(text).unwrap().to_bytes().unwrap(), text);
}

#[test]
fn a_body_leaf_is_recomputed_as_the_protocol_says() {
    let entry =
        Entry::with_body(Body::SupportKeyRevoked(SupportKeyEnded { key: digest(0x11) }), at()).unwrap();
    let body = format!(r#"{{"key":"{}"}}"#, "11".repeat(32));
    let preimage = [
        &[3u8][..],
        &crate::leaf::sha3(b"support_key_revoked"),
        &crate::leaf::sha3(body.as_bytes()),
        b"2026-01-02T03:00:00.000Z",
    ]
    .concat();
    assert_eq!(entry.leaf(), crate::leaf::sha3(&preimage));
}

#[test]
fn a_rotation_of_both_keys_or_of_none_is_neither_written_nor_read() {
    let of = |added: bool, retired: bool| {
        let key = |there: bool| there.then(|| "o+00000000+AQ==".to_owned());
        LogKeyRotated { added: key(added), retired: key(retired) }
    };
    for (added, retired) in [(false, false), (true, true)] {
        let body = of(added, retired);
        let value = serde_json::to_value(&body).unwrap();
        let hour = "2026-01-02T03:00:00.000Z";
        let leaf = hex::encode(crate::leaf::body_leaf("log_key_rotated", &value, hour).unwrap());
        let entry = serde_json::json!({"b": value, "k": "log_key_rotated", "l": leaf, "t": hour});
        let read = Entry::parse(&canonical::value_to_vec(&entry).unwrap()).unwrap_err();
        assert!(read.to_string().contains("either added or retired"), "{read}");
        assert!(Entry::with_body(Body::LogKeyRotated(body), at()).is_err());
    }
    for (added, retired) in [(false, true), (true, false)] {
        let entry = Entry::with_body(Body::LogKeyRotated(of(added, retired)), at()).unwrap();
        assert_eq!(Entry::parse(entry.bytes()).unwrap(), entry);
    }
}

#[test]
fn what_two_readers_could_see_differently_is_refused() {
    let good = Entry::with_body(Body::LogClosed(LogClosed { cause: CloseCause::Deleted }), at()).unwrap();
    let text = String::from_utf8(good.into_bytes()).unwrap();
    let l = "11".repeat(32);
    let cases = [
        (text.replace(r#","k""#, r#", "k""#), "not in canonical form"),
        (text.replace("deleted", "adopted"), "kind, body and hour give"),
        (text.replace("deleted", "eaten"), "body of a log_closed entry is wrong"),
        (text.replace("log_closed", "log_opened"), "unknown entry kind"),
        (text.replace("T03:00", "T03:01"), "is not a whole hour"),
        (text.replace(r#"{"b":{"cause":"deleted"},"#, "{"), "it is missing"),
        (
            text.replace(r#""cause":"deleted""#, r#""cause":"deleted","more":1"#),
            "body of a log_closed entry is wrong",
        ),
        (format!(r#"{{"b":{{}},"k":"transfer","l":"{l}","t":"2026-01-02T03:00:00.000Z"}}"#), "it has none"),
        (format!(r#"{{"k":"transfer","l":"{l}","t":"2026-01-02T03:00:00.000Z","z":1}}"#), "expected fields"),
        (format!(r#"{{"k":"transfer","l":"{l}0","t":"2026-01-02T03:00:00.000Z"}}"#), "64 lower-case hex"),
        (
            format!(r#"{{"k":"transfer","k":"transfer","l":"{l}","t":"2026-01-02T03:00:00.000Z"}}"#),
            "appears twice",
        ),
        (format!(r#"{{"b":null,"k":"transfer","l":"{l}","t":"2026-01-02T03:00:00.000Z"}}"#), "it has none"),
        (format!("\"{}\"", "x".repeat(MAX_ENTRY)), "bytes; at most"),
        (String::new(), "not strict JSON"),
    ];
    for (text, expected) in cases {
        let error = Entry::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text} gave {error:?}, expected {expected:?}");
    }
}

#[test]
fn a_field_that_may_be_null_may_not_be_absent() {
    for body in [r#"{"request":"KEY","result":"unreachable"}"#, r#"{"source":"community"}"#] {
        let body: Value = serde_json::from_str(&body.replace("KEY", &"11".repeat(32))).unwrap();
        let (kind, hour) = match body.get("source") {
            Some(_) => ("license_changed", "2026-01-02T03:00:00.000Z"),
            None => ("license_checkin", "2026-01-02T03:00:00.000Z"),
        };
        let leaf = hex::encode(crate::leaf::body_leaf(kind, &body, hour).unwrap());
        let entry = serde_json::json!({"b": body, "k": kind, "l": leaf, "t": hour});
        let error = Entry::parse(&canonical::to_vec(&entry).unwrap()).unwrap_err().to_string();
        assert!(error.contains("may be null is missing"), "{error}");
    }
}

#[test]
fn a_support_key_ends_at_an_hour() {
    let issued = |until: &str| {
        let body = SupportKeyIssued { key: digest(1), role: Role::Owner, until: until.into() };
        Entry::with_body(Body::SupportKeyIssued(body), at())
    };
    assert!(issued("2026-01-03T03:00:00.000Z").is_ok());
    assert!(issued("tomorrow").unwrap_err().to_string().contains("expected an hour"));
}

#[test]
fn an_entry_that_would_be_too_long_is_not_made() {
    let body = Body::RelayStarted(RelayStarted { identity: digest(1), version: "x".repeat(MAX_ENTRY) });
    assert!(matches!(Entry::with_body(body, at()), Err(EntryError::TooLong(_))));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Entry::parse(&bytes);
    }

    #[test]
    fn a_flipped_byte_never_reads_as_the_same_entry_with_another_leaf_preimage(at_byte in any::<prop::sample::Index>(), flip in 1..=255u8) {
        for body in every_body() {
            let entry = Entry::with_body(body, at()).unwrap();
            let mut bytes = entry.bytes().to_vec();
            let position = at_byte.index(bytes.len());
            bytes[position] ^= flip;
            prop_assert!(Entry::parse(&bytes).is_err(), "{} was accepted", String::from_utf8_lossy(&bytes));
        }
    }
}

#![allow(clippy::unwrap_used, clippy::panic)]

use aws_lc_rs::signature::{KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair};
use jiff::{SignedDuration, Timestamp};
use paramant_protocol::canonical::CanonicalError;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::OnlineKey;
use super::capability::{Capabilities, Tier};
use super::keys::{LicensingKey, LicensingKeys};
use super::reply::{CapabilitySet, Refusal, RefusalCause, Rejected, Reply, accept, unknown_capabilities};
use super::request::{CheckIn, digest};
use super::telemetry::{Measured, Telemetry};
use crate::verified::Verified;

const RELAY: [u8; 32] = [0xaa; 32];

pub(crate) struct Signer(PqdsaKeyPair);

#[derive(Debug)]
pub(crate) struct Never;

impl From<CanonicalError> for Never {
    fn from(_: CanonicalError) -> Self {
        Self
    }
}

impl Signer {
    pub(crate) fn of(seed: u8) -> Self {
        Self(PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &[seed; 32]).unwrap())
    }

    pub(crate) fn key(&self, not_after: &str) -> LicensingKey {
        let public = self.0.public_key().as_ref().to_vec();
        LicensingKey { public, not_after: not_after.parse().unwrap() }
    }

    pub(crate) fn keys(&self) -> LicensingKeys {
        LicensingKeys::of([self.key("2030-01-01T00:00:00Z")])
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; 3309];
        self.0.sign(message, &mut signature).unwrap();
        signature
    }

    pub(crate) fn reply(&self, reply: &Reply) -> Vec<u8> {
        reply.to_signed(|message| Ok::<_, Never>(self.sign(message))).unwrap()
    }

    /// Any object, signed as replies are.
    pub(crate) fn object(&self, mut value: Value) -> Vec<u8> {
        use base64::Engine as _;
        let signature = self.sign(&paramant_protocol::canonical::value_to_vec(&value).unwrap());
        value["signature"] = base64::prelude::BASE64_STANDARD.encode(signature).into();
        paramant_protocol::canonical::value_to_vec(&value).unwrap()
    }
}

pub(crate) fn key() -> OnlineKey {
    OnlineKey::parse(&format!("plk_{}", "ab".repeat(32))).unwrap()
}

pub(crate) fn request(nonce: u8) -> Vec<u8> {
    CheckIn::new(&key(), &hex::encode(RELAY), "0.1.0", [nonce; 16], Telemetry::off()).to_bytes().unwrap()
}

pub(crate) fn capabilities(users: u64) -> Capabilities {
    serde_json::from_value(json!({
        "max_users": users, "max_blob_size_mb": 25, "retention_max_seconds": 86400, "addons_allowed": [],
        "ml_dsa_required": false, "support_level": "email", "custom_branding": false,
    }))
    .unwrap()
}

/// A set that answers `request`, issued at noon and valid for six hours.
pub(crate) fn set(request: &[u8], sequence: u64, issued_at: Timestamp, users: u64) -> CapabilitySet {
    let asked = CheckIn::parse(request).unwrap();
    CapabilitySet {
        issued_at,
        expires_at: issued_at + SignedDuration::from_hours(6),
        license_key: asked.license_key,
        relay_id: asked.relay_id,
        nonce: asked.nonce,
        request_sha256: digest(request),
        sequence,
        tier: Tier::Pro,
        capabilities: capabilities(users),
        next_check_in_seconds: 21_600,
        next_pubkey_hash: None,
        actions: Vec::new(),
        silence: None,
    }
}

pub(crate) fn refusal(request: &[u8], sequence: u64, issued_at: Timestamp, error: RefusalCause) -> Refusal {
    let set = set(request, sequence, issued_at, 1);
    Refusal {
        status: error.status(),
        error,
        issued_at,
        license_key: set.license_key,
        relay_id: set.relay_id,
        nonce: set.nonce,
        request_sha256: set.request_sha256,
        sequence,
        actions: Vec::new(),
        silence: None,
    }
}

pub(crate) fn noon() -> Timestamp {
    "2026-05-28T12:00:00Z".parse().unwrap()
}

#[test]
fn a_request_holds_five_fields_and_no_more() {
    let value: Value = serde_json::from_slice(&request(1)).unwrap();
    let names: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(names, ["license_key", "nonce", "relay_id", "telemetry", "version"]);
    assert_eq!(
        value["telemetry"],
        json!({"opted_in": false, "user_count": null, "transfer_count_24h": null}),
        "off is said in the three published fields"
    );
    assert_eq!(CheckIn::parse(&request(1)).unwrap().to_bytes().unwrap(), request(1));
    assert!(
        !format!("{:?} {:?}", key(), CheckIn::parse(&request(1))).contains("abab"),
        "the key is never printed"
    );
}

#[test]
fn only_requests_are_read_as_requests() {
    let good: Value = serde_json::from_slice(&request(1)).unwrap();
    let with = |name: &str, value: Value| {
        let mut changed = good.clone();
        changed[name] = value;
        CheckIn::parse(changed.to_string().as_bytes())
    };
    assert!(with("version", json!("0.1.0")).is_ok());
    for (name, value) in [
        ("license_key", json!("plk_short")),
        ("license_key", json!(format!(" plk_{}", "ab".repeat(32)))),
        ("nonce", json!("AA".repeat(16))),
        ("relay_id", json!("aa")),
        ("version", json!("a release with words")),
        ("version", json!("")),
        ("hostname", json!("relay.example")),
        ("telemetry", json!({"opted_in": true, "user_count": 4, "transfer_count_24h": 4, "country": "nl"})),
        ("telemetry", json!({"opted_in": 1, "user_count": null, "transfer_count_24h": null})),
    ] {
        assert!(with(name, value.clone()).is_err(), "{name}: {value}");
    }
    assert!(CheckIn::parse(&[b' '; 5000]).is_err() && CheckIn::parse(b"{}").is_err());
}

#[test]
fn small_counts_are_not_told_apart_and_rates_of_few_are_none() {
    let sent = |users| Telemetry::on(&Measured { users, ..Measured::default() }).user_count;
    assert_eq!([0, 3, 4, 5, 900].map(sent), [4, 4, 4, 5, 900].map(Some));
    let rate = |requests| Telemetry::on(&Measured { requests, ..Measured::default() }).error_rate_5xx;
    assert_eq!(rate((99, 50)), Some(0));
    assert_eq!(rate((200, 3)), Some(150));
    assert_eq!(rate((100, 500)), Some(10_000));
}

#[test]
fn a_reply_to_our_request_is_accepted_once() {
    let (signer, asked) = (Signer::of(1), request(1));
    let reply = Reply::Set(set(&asked, 7, noon(), 50));
    let bytes = signer.reply(&reply);
    let accepted = accept(&bytes, Some(200), &asked, &signer.keys(), 6).unwrap();
    assert_eq!((accepted.get(), accepted.bytes()), (&reply, bytes.as_slice()));
    assert_eq!(accept(&bytes, Some(200), &asked, &signer.keys(), 7), Err(Rejected::Sequence), "a replay");
    assert_eq!(accept(&bytes, Some(200), &asked, &signer.keys(), 8), Err(Rejected::Sequence), "out of order");
    assert!(accept(&bytes, None, &asked, &signer.keys(), 6).is_ok(), "carried in by hand");
}

#[test]
fn what_is_wrong_with_a_reply_is_told_and_it_does_not_count() {
    let (signer, asked) = (Signer::of(1), request(1));
    let good = set(&asked, 7, noon(), 50);
    let open = |bytes: &[u8], status| accept(bytes, Some(status), &asked, &signer.keys(), 0).map(drop);
    let with = |change: &dyn Fn(&mut CapabilitySet)| {
        let mut changed = good.clone();
        change(&mut changed);
        open(&signer.reply(&Reply::Set(changed)), 200)
    };
    assert_eq!(with(&|_| ()), Ok(()));
    assert_eq!(with(&|set| set.nonce = hex::encode([9; 16])), Err(Rejected::Echo("nonce")));
    assert_eq!(with(&|set| set.relay_id = hex::encode([9; 32])), Err(Rejected::Echo("relay_id")));
    assert_eq!(
        with(&|set| set.license_key = format!("plk_{}", "00".repeat(32))),
        Err(Rejected::Echo("license_key"))
    );
    assert_eq!(with(&|set| set.request_sha256 = digest(b"another")), Err(Rejected::Echo("request_sha256")));
    assert_eq!(with(&|set| set.expires_at = set.issued_at), Err(Rejected::Times));
    assert_eq!(with(&|set| set.sequence = 0), Err(Rejected::Sequence));
    let bytes = signer.reply(&Reply::Set(good.clone()));
    assert_eq!(open(&bytes, 201), Err(Rejected::Status));
    assert_eq!(open(&Signer::of(2).reply(&Reply::Set(good.clone())), 200), Err(Rejected::Signature));
    assert_eq!(
        accept(&bytes, Some(200), &asked, &LicensingKeys::published(), 0).map(drop),
        Err(Rejected::Signature)
    );
    let ended = LicensingKeys::of([signer.key("2026-05-28T11:59:59Z")]);
    assert_eq!(accept(&bytes, Some(200), &asked, &ended, 0).map(drop), Err(Rejected::KeyEnded));
    assert_eq!(open(&vec![b' '; 70_000], 200), Err(Rejected::TooLong));
    for garbage in [&b""[..], b"{}", b"null", b"<html>", br#"{"signature":"AA=="}"#] {
        assert!(open(garbage, 200).is_err());
    }
    // Any bit of what is signed.
    for at in (0..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(open(&changed, 200).is_err(), "the bit at {at}");
    }
}

#[test]
fn a_reply_has_no_room_for_a_notice() {
    let (signer, asked) = (Signer::of(1), request(1));
    let good = serde_json::to_value(set(&asked, 7, noon(), 50)).unwrap();
    let open = |value: Value| accept(&signer.object(value), Some(200), &asked, &signer.keys(), 0).map(drop);
    assert_eq!(open(good.clone()), Ok(()));
    for (place, value) in [
        ("/notice", json!("buy more")),
        ("/url", json!("https://example.org")),
        ("/status", json!(200)),
        ("/capabilities/support_level", json!("Call us at any time!")),
        ("/capabilities/addons_allowed", json!(["Read https://example.org"])),
        ("/tier", json!("platinum")),
        ("/sequence", json!("7")),
        ("/issued_at", json!("yesterday")),
    ] {
        let mut changed = good.clone();
        let (parent, name) = place.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[name] = value;
        assert!(open(changed).is_err(), "{place}");
    }
    // A capability of a newer protocol is no reason to lose the others.
    let mut newer = good;
    newer["capabilities"]["quantum_teleport"] = json!(true);
    let bytes = signer.object(newer);
    assert!(accept(&bytes, Some(200), &asked, &signer.keys(), 0).is_ok());
    assert_eq!(unknown_capabilities(&bytes), 1);
    assert_eq!(unknown_capabilities(&signer.reply(&Reply::Set(set(&asked, 7, noon(), 50)))), 0);
}

#[test]
fn one_document_has_one_reading() {
    let (signer, asked) = (Signer::of(1), request(1));
    let bytes = signer.reply(&Reply::Set(set(&asked, 7, noon(), 50)));
    let text = String::from_utf8(bytes).unwrap();
    let open = |text: &str| accept(text.as_bytes(), Some(200), &asked, &signer.keys(), 0).map(drop);
    assert_eq!(open(&text), Ok(()));
    assert_eq!(open(&text.replace("\":", "\" : ")), Ok(()), "white space makes no other document");
    assert_eq!(
        open(&text.replacen("{\"capabilities\"", "{\"tier\":\"enterprise\",\"capabilities\"", 1)),
        Err(Rejected::Form)
    );
    assert_eq!(open(&text.replace("\"max_users\":50", "\"max_users\":50.0")), Err(Rejected::Form));
    assert_eq!(open(&text.replace("\"max_users\":50", "\"max_users\":5e1")), Err(Rejected::Form));
    assert_eq!(open(&text.replace("\"max_users\":50", "\"max_users\":51")), Err(Rejected::Signature));
    assert_eq!(open(&format!("{text}{text}")), Err(Rejected::Form));
}

#[test]
fn refusals_count_only_when_signed_and_with_their_own_status() {
    let (signer, asked) = (Signer::of(1), request(1));
    for cause in [RefusalCause::PaymentFailed, RefusalCause::UnknownKey, RefusalCause::Revoked] {
        let refusal = refusal(&asked, 7, noon(), cause);
        let bytes = signer.reply(&Reply::Refusal(refusal.clone()));
        let accepted = accept(&bytes, Some(cause.status()), &asked, &signer.keys(), 0).unwrap();
        assert_eq!(accepted.get(), &Reply::Refusal(refusal.clone()));
        assert_eq!(accept(&bytes, Some(503), &asked, &signer.keys(), 0).map(drop), Err(Rejected::Status));
        assert!(accept(br#"{"error":"revoked"}"#, Some(cause.status()), &asked, &signer.keys(), 0).is_err());
        let other = Reply::Refusal(Refusal { status: 503, ..refusal });
        assert_eq!(
            accept(&signer.reply(&other), Some(503), &asked, &signer.keys(), 0).map(drop),
            Err(Rejected::Status)
        );
    }
}

#[test]
fn what_was_kept_is_verified_again() {
    let (signer, asked) = (Signer::of(1), request(1));
    let bytes = signer.reply(&Reply::Set(set(&asked, 7, noon(), 50)));
    assert!(Verified::open(&bytes, &signer.keys()).is_ok());
    let mut edited = bytes.clone();
    let at = bytes.windows(2).position(|pair| pair == b"50").unwrap();
    edited[at] = b'9';
    assert_eq!(Verified::open(&edited, &signer.keys()).map(drop), Err(Rejected::Signature));
    assert!(Verified::open(&bytes[..bytes.len() / 2], &signer.keys()).is_err());
}

/// Whether a value is what a rule of the published schema allows; of JSON Schema only the words that it uses.
fn allowed(rule: &Value, value: &Value) -> bool {
    let typed = match rule["type"].as_str() {
        Some("null") => value.is_null(),
        Some("integer") => value.is_u64(),
        Some(other) => panic!("the schema has a type that this test does not know: {other}"),
        None => *value == rule["const"],
    };
    let within = |word: &str, fits: fn(u64, u64) -> bool| {
        rule[word].as_u64().is_none_or(|bound| value.as_u64().is_some_and(|it| fits(it, bound)))
    };
    typed && within("minimum", |it, bound| it >= bound) && within("maximum", |it, bound| it <= bound)
}

/// Whether a value is exactly one of the schema's two forms.
fn is_published(value: &Value) -> bool {
    let schema: Value =
        serde_json::from_str(include_str!("../../../../docs/spec/telemetry.schema.json")).unwrap();
    let forms = schema["oneOf"].as_array().unwrap();
    assert_eq!(forms.len(), 2);
    let fits = forms.iter().filter(|form| {
        assert_eq!(form["additionalProperties"], false);
        let rules = form["properties"].as_object().unwrap();
        let required: Vec<&str> =
            form["required"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        let members = value.as_object().unwrap();
        assert_eq!(required.len(), rules.len(), "every member is required");
        required.iter().all(|name| members.contains_key(*name))
            && members.iter().all(|(name, it)| rules.get(name).is_some_and(|rule| allowed(rule, it)))
    });
    fits.count() == 1
}

#[test]
fn the_published_schema_refuses_what_is_never_sent() {
    let on = serde_json::to_value(Telemetry::on(&Measured::default())).unwrap();
    assert!(is_published(&on));
    assert!(is_published(&serde_json::to_value(Telemetry::off()).unwrap()));
    for (member, value) in [
        ("user_count", json!(3)),
        ("user_count", json!(null)),
        ("error_rate_5xx", json!(10_001)),
        ("uptime_seconds", json!(-1)),
        ("opted_in", json!(false)),
        ("hostname", json!("relay.acme.example")),
    ] {
        let mut other = on.clone();
        other[member] = value;
        assert!(!is_published(&other), "{member}");
    }
    let mut named = on;
    named["hostname"] = json!("relay.acme.example");
    assert!(serde_json::from_value::<Telemetry>(named).is_err(), "the type refuses it too");
}

proptest! {
    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = (CheckIn::parse(&bytes), accept(&bytes, Some(200), &request(1), &Signer::of(1).keys(), 0));
        let _ = unknown_capabilities(&bytes);
    }

    #[test]
    fn telemetry_says_nothing_but_numbers(users in any::<u64>(), transfers in any::<u64>(), counts in any::<(u64, u64, u64, u64, u64)>()) {
        let (a, b, c, d, uptime_seconds) = counts;
        let measured = Measured { users, transfers, requests: (a, b), authentications: (c, d), uptime_seconds };
        let value = serde_json::to_value(Telemetry::on(&measured)).unwrap();
        prop_assert!(is_published(&value));
        for (name, value) in value.as_object().unwrap() {
            prop_assert!(value.is_u64() || name == "opted_in", "{name}: {value}");
        }
    }
}

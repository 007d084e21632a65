//! Offline licences: the text that an admin pastes, and what is signed in it.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use jiff::SignedDuration;
use paramant_licensing::offline::{Terms, issue};
use paramant_licensing::{AcceptedKeys, OfflineLicense, UserCap};
use paramant_protocol::strict;

use crate::{Memory, Target};

pub(super) const LICENCE: Target = Target {
    name: "licence",
    check: licence,
    seeds: || {
        let payloads = [
            r#"{"expires_at":"2027-01-31","issued_to":"Example","max_keys":25}"#,
            r#"{"expires_at":"2027-01-31T00:00:00+02:00","issued_at":"2026","issued_to":"é","max_keys":"unlimited"}"#,
            r#"{"max_keys":"7","expires_at":"2027-01-31T00:00:00.5Z","issued_to":"x","more":[1]}"#,
            r#"{"max_keys":0,"expires_at":"soon","issued_to":""}"#,
        ];
        let mut seeds: Vec<Vec<u8>> = payloads.iter().map(|payload| payload.as_bytes().to_vec()).collect();
        for text in payloads.map(|payload| signed(payload.as_bytes())) {
            // Other spellings: padding, and a bit that stands for nothing.
            let (start, last) = text.split_at(text.len() - 1);
            let next = char::from(last.as_bytes()[0] + 1);
            seeds.extend(
                [format!("{start}{next}"), format!("{text}="), format!("{text}==")].map(String::into_bytes),
            );
            seeds.push(text.into_bytes());
        }
        seeds.push(format!("plk_{}", "ab".repeat(32)).into_bytes());
        seeds
    },
    words: &[
        "plk_",
        "\"max_keys\":",
        "\"unlimited\"",
        "\"expires_at\":\"",
        "\"issued_to\":",
        "T00:00:00Z",
        "+23:59",
        "9999-12-31",
        "=",
        "_",
        "\n",
        "9007199254740991",
    ],
    memory: Memory::VALUES,
};

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&[7; 32]));

fn signed(payload: &[u8]) -> String {
    let bytes = [payload, &KEY.sign(payload).to_bytes()].concat();
    format!("plk_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

fn licence(input: &[u8]) {
    let keys = AcceptedKeys::of([KEY.verifying_key().to_bytes()]);
    // As a text: only one spelling of what was signed.
    if let Ok(text) = std::str::from_utf8(input)
        && OfflineLicense::verify(text, &keys).is_ok()
    {
        let encoded = text.trim().strip_prefix("plk_").expect("how every licence begins");
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded).expect("base64");
        assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(&bytes), encoded, "one licence, two spellings");
        let (payload, _) = bytes.split_last_chunk::<64>().expect("a signature");
        assert_eq!(signed(payload), text.trim(), "nobody signed this");
    }
    // As a payload that is signed, whatever it says.
    let text = signed(input);
    assert!(OfflineLicense::verify(&text, &AcceptedKeys::published()).is_err(), "by another key");
    let Ok(license) = OfflineLicense::verify(&text, &keys) else { return };
    let value = strict::value(input).expect("a licence is strict JSON");
    let Terms { max_keys, expires_at, issued_to, .. } = license.terms();
    assert_eq!(value["expires_at"], expires_at.as_str());
    assert_eq!(value["issued_to"], issued_to.as_str());
    assert!(!matches!(max_keys, UserCap::Users(0)), "a cap of nobody");
    assert!(license.valid_at(license.until()));
    if let Ok(later) = license.until().checked_add(SignedDuration::from_nanos(1)) {
        assert!(!license.valid_at(later), "it never ends");
    }
    // Made by us with the same terms it says the same.
    if let Ok(ours) = issue(license.terms(), &KEY) {
        assert_eq!(OfflineLicense::verify(&ours, &keys).as_ref(), Ok(&license));
    }
}

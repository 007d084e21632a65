#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

const TOKEN: &str = "plk_eyJtYXhfa2V5cyI6InVubGltaXRlZCIsImV4cGlyZXNfYXQiOiIyMDk5LTAxLTAxIiwiaXNzdWVkX3RvIjoiRXhhbXBsZSBPcmciLCJpc3N1ZWRfYXQiOiIyMDI2LTAxLTAxVDAwOjAwOjAwLjAwMFoifecQ1PDTa0oM6xwa9SmoEKrWy-G2Tj7FPMJa9jAlPe4jI90GIYrvu0yizXN3wAkIJyBSDyFGVVhWHt2i4pzcjwA";

fn key() -> SigningKey {
    let mut seed = [0; 32];
    seed[31] = 1;
    SigningKey::from_bytes(&seed)
}

fn keys() -> AcceptedKeys {
    AcceptedKeys::of([key().verifying_key().to_bytes()])
}

/// A licence over any payload, signed right.
fn signed(payload: &str) -> String {
    let signature = key().sign(payload.as_bytes()).to_bytes();
    format!("plk_{}", BASE64_URL_SAFE_NO_PAD.encode([payload.as_bytes(), &signature].concat()))
}

#[test]
fn the_published_vector_is_accepted() {
    assert_eq!(
        hex::encode(key().verifying_key().to_bytes()),
        "4cb5abf6ad79fbf5abbccafcc269d85cd2651ed4b885b5869f241aedf0a5ba29"
    );
    let license = OfflineLicense::verify(TOKEN, &keys()).unwrap();
    assert_eq!(license.cap(), UserCap::Unlimited);
    assert_eq!(license.until(), "2099-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(
        (license.terms().issued_to.as_str(), license.terms().expires_at.as_str()),
        ("Example Org", "2099-01-01")
    );
    assert_eq!(license.terms().issued_at.as_deref(), Some("2026-01-01T00:00:00.000Z"));
    assert_eq!(OfflineLicense::verify(&format!("\n {TOKEN}\r\n"), &keys()).unwrap(), license);
}

#[test]
fn the_published_key_is_the_published_one_and_does_not_accept_the_test_key() {
    assert_eq!(
        hex::encode(PUBLISHED_KEY),
        "ed8a6201c86f013b16718b3e6d9ded62362ca82ef7ae334308c12d71d18ae4e6"
    );
    assert_eq!(AcceptedKeys::published().0.len(), 1);
    assert_eq!(OfflineLicense::verify(TOKEN, &AcceptedKeys::published()), Err(OfflineError::Signature));
}

#[test]
fn only_one_spelling_of_a_licence_is_accepted() {
    let (head, tail) = TOKEN.split_at(40);
    for (text, error) in [
        (String::new(), OfflineError::Empty),
        ("  \n".into(), OfflineError::Empty),
        (TOKEN.trim_start_matches("plk_").into(), OfflineError::Prefix),
        (format!("PLK_{}", &TOKEN[4..]), OfflineError::Prefix),
        (format!("plk_{}", "0a".repeat(32)), OfflineError::OnlineKey),
        (format!("{TOKEN}A"), OfflineError::Signature),
        (format!("{TOKEN}="), OfflineError::Encoding),
        (format!("{head} {tail}"), OfflineError::Encoding),
        (TOKEN.replace('-', "+"), OfflineError::Encoding),
        ("plk_AAAA".into(), OfflineError::TooShort),
        (format!("plk_{}", BASE64_URL_SAFE_NO_PAD.encode([7; 64])), OfflineError::TooShort),
        (format!("plk_{}", "A".repeat(MAX_LICENSE + 4)), OfflineError::TooLong),
        (format!("plk_{}", BASE64_URL_SAFE_NO_PAD.encode([7; 200])), OfflineError::Signature),
    ] {
        assert_eq!(OfflineLicense::verify(&text, &keys()), Err(error), "{text}");
    }
}

#[test]
fn a_signed_payload_must_say_what_a_licence_says() {
    for (payload, expected) in [
        ("[]", "expected an object"),
        ("{}", "max_keys is missing"),
        (r#"{"max_keys":0,"expires_at":"2099-01-01","issued_to":"x"}"#, "user cap"),
        (r#"{"max_keys":-1,"expires_at":"2099-01-01","issued_to":"x"}"#, "user cap"),
        (r#"{"max_keys":1.5,"expires_at":"2099-01-01","issued_to":"x"}"#, "integer"),
        (r#"{"max_keys":"many","expires_at":"2099-01-01","issued_to":"x"}"#, "user cap"),
        (r#"{"max_keys":5,"issued_to":"x"}"#, "expires_at is missing"),
        (r#"{"max_keys":5,"expires_at":"2099-01-01","issued_to":""}"#, "issued_to is missing"),
        (r#"{"max_keys":5,"expires_at":"next year","issued_to":"x"}"#, "neither a date"),
        (r#"{"max_keys":5,"max_keys":9,"expires_at":"2099-01-01","issued_to":"x"}"#, "appears twice"),
    ] {
        let error = OfflineLicense::verify(&signed(payload), &keys()).unwrap_err().to_string();
        assert!(error.contains(expected), "{payload} gave {error:?}, expected {expected:?}");
    }
    let text_cap = signed(r#"{"max_keys":"25","expires_at":"2099-01-01","issued_to":"x","later":true}"#);
    assert_eq!(OfflineLicense::verify(&text_cap, &keys()).unwrap().cap(), UserCap::Users(25));
}

#[test]
fn a_licence_counts_until_its_instant_and_not_a_nanosecond_longer() {
    let license = OfflineLicense::verify(TOKEN, &keys()).unwrap();
    let until = license.until();
    assert!(license.valid_at(until));
    assert!(!license.valid_at(until + jiff::Span::new().nanoseconds(1)));
}

#[test]
fn what_is_issued_is_accepted() {
    let terms = Terms {
        max_keys: UserCap::Users(50),
        expires_at: "2027-06-30T12:00:00Z".into(),
        issued_to: "Ärzte GmbH".into(),
        issued_at: None,
    };
    let license = OfflineLicense::verify(&issue(&terms, &key()).unwrap(), &keys()).unwrap();
    assert_eq!(license.terms(), &terms);
    assert!(issue(&Terms { expires_at: "soon".into(), ..terms.clone() }, &key()).is_err());
    assert!(issue(&Terms { issued_to: " ".into(), ..terms }, &key()).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_verifier_panic(text in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = OfflineLicense::verify(&text, &keys());
        let _ = OfflineLicense::verify(&format!("plk_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)), &keys());
    }

    #[test]
    fn a_changed_character_is_never_accepted(at in 4..TOKEN.len(), with in "[A-Za-z0-9_-]") {
        let mut changed = TOKEN.to_owned();
        changed.replace_range(at..=at, &with);
        prop_assume!(changed != TOKEN);
        prop_assert!(OfflineLicense::verify(&changed, &keys()).is_err());
    }
}

//! Bound tokens: what a pod shows to the control port of a relay, or to the operator.

use std::sync::LazyLock;

use jiff::Timestamp;
use paramant_protocol::bound_token::{Expected, KeySet, Rejected, verify};

use crate::run::kept;
use crate::{Memory, Target, seeds};

pub(super) const TOKEN: Target = Target {
    name: "token",
    check: token,
    seeds: || {
        let mut seeds =
            vec![KEYS.as_bytes().to_vec(), br#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#.to_vec()];
        seeds.push(b"e30.e30.AA".to_vec());
        seeds
    },
    words: &[
        ".",
        "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ",
        "eyJhbGciOiJub25lIn0",
        "e30",
        "\"kty\":\"EC\"",
        "\"kid\":",
        " ",
    ],
    memory: Memory::VALUES,
};

/// The public key that signed the seeds, among one of a kind that does not sign.
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"lTDrAJrmlkMQzovtpWNemqi6XCRMyUz5U93Jcx_BIZ4","y":"--uFYBaMNGirXSHhMKijIuoXarohEDnauuJlN32H6_c"},{"kty":"oct","kid":"b"}]}"#;

/// The keys, and the token that holds.
static GOOD: LazyLock<(KeySet, String)> = LazyLock::new(|| {
    kept(|| {
        let token = std::fs::read_to_string(seeds::folder(&TOKEN).join("good")).expect("a token");
        (KeySet::parse(KEYS).expect("keys"), token)
    })
});

fn token(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (keys, good) = &*GOOD;
    let expected =
        Expected { audience: "relay", namespace: "ns", service_account: "courier", pod_uid: Some("u-1") };
    let at = |second| Timestamp::from_second(second).expect("a time");
    let verdict = verify(text, keys, &expected, at(1_800_000_000));
    assert!(verdict.is_ok() || text != good, "{verdict:?}");
    if verdict.is_ok() {
        assert_eq!(text.trim(), good, "nobody signed this");
        assert!(keys.knows_key_of(text));
        assert_eq!(verify(text, keys, &expected, at(1_800_000_331)), Err(Rejected::Expired));
        assert_eq!(verify(text, keys, &expected, at(1_799_999_669)), Err(Rejected::NotYet));
        let other = Expected { pod_uid: Some("u-2"), ..expected };
        assert_eq!(verify(text, keys, &other, at(1_800_000_000)), Err(Rejected::Pod));
        assert!(verify(text, &KeySet::default(), &expected, at(1_800_000_000)).is_err());
    }
    // Keys of a cluster that answers anything at all.
    if let Ok(theirs) = KeySet::parse(text) {
        let _ = (theirs.knows_key_of(good), verify(good, &theirs, &expected, at(1_800_000_000)));
    }
}

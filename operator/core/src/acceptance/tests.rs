#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use serde_json::{Value, json};

use super::*;

const NOW: &str = "2026-11-26T18:00:00Z";

fn judged(spec: &Value) -> Result<Rules, Objection> {
    let policy = serde_json::from_value(json!({
        "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantPolicy",
        "metadata": {"name": "p", "namespace": "n", "generation": 1}, "spec": spec,
    }));
    judge(&policy.unwrap(), NOW.parse().unwrap())
}

/// The reason, once the message is seen to say where and what.
fn refused(spec: Value, speaks_of: &[&str]) -> &'static str {
    let objection = judged(&spec).expect_err(&spec.to_string());
    for part in speaks_of {
        assert!(objection.message.contains(part), "{part:?} is not in: {}", objection.message);
    }
    objection.reason
}

#[test]
fn what_can_be_in_force_is_accepted() {
    let window = json!({"start": "02:00", "duration": "4h", "timeZone": "Europe/Amsterdam"});
    for spec in [
        json!({}),
        json!({"updates": {"mode": "Window", "windows": [window]}}),
        json!({"updates": {"windows": [{"start": "02:00", "duration": "31m"}]}}),
        json!({"updates": {"windows": [{"start": "02:00", "duration": "4h", "timeZone": "europe/amsterdam"}]}}),
        json!({"updates": {"exclusions": [{"from": "2026-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z"}]}}),
    ] {
        judged(&spec).unwrap_or_else(|objection| panic!("{spec}: {objection:?}"));
    }
}

#[test]
fn a_zone_that_does_not_exist_is_named_with_its_place() {
    for zone in ["Europe/Amsterdm", "Etc/Unknown", "CEST", "Europe"] {
        let windows = json!([{"start": "02:00", "duration": "4h"}, {"start": "02:00", "duration": "4h", "timeZone": zone}]);
        let reason =
            refused(json!({"updates": {"windows": windows}}), &["spec.updates.windows[1].timeZone", zone]);
        assert_eq!(reason, "UnknownTimeZone");
    }
}

#[test]
fn a_day_that_the_calendar_does_not_have_is_named_with_its_place() {
    for (from, to, bad) in [
        ("2026-02-30T00:00:00Z", "2026-03-02T00:00:00Z", "exclusions[0].from"),
        ("2026-02-20T00:00:00Z", "2026-13-01T00:00:00Z", "exclusions[0].to"),
        ("2026-02-20T00:00:00Z", "9999-12-31T23:59:59Z", "exclusions[0].to"),
    ] {
        let reason =
            refused(json!({"updates": {"exclusions": [{"from": from, "to": to}]}}), &[bad, "9999-12-30"]);
        assert_eq!(reason, "NoSuchMoment");
    }
}

#[test]
fn windows_that_no_step_fits_are_refused_with_what_to_lengthen() {
    let spec =
        json!({"drain": {"deadline": "4h"}, "updates": {"windows": [{"start": "02:00", "duration": "4h"}]}});
    let reason = refused(spec, &["4h 1m", "longest window is 4h", "spec.drain.deadline", "healthTimeout"]);
    assert_eq!(reason, "NeverOpen");
    // Two that adjoin are one, and then it fits.
    let two = json!([{"start": "02:00", "duration": "4h"}, {"start": "06:00", "duration": "1m"}]);
    let two = json!({"drain": {"deadline": "4h"}, "updates": {"windows": two}});
    assert_eq!(refused(two, &["duration"]), "Contradiction", "a window of a minute is against the schema");
    let two = json!([{"start": "02:00", "duration": "4h"}, {"start": "06:00", "duration": "5m"}]);
    judged(&json!({"drain": {"deadline": "4h"}, "updates": {"windows": two}})).unwrap();
}

#[test]
fn windows_that_are_excluded_for_good_are_refused_and_those_that_once_open_are_not() {
    // The calendar ends on the 30th of December 9999 at 22:00.
    let window = json!([{"days": ["Wed"], "start": "02:00", "duration": "4h"}]);
    let until = |to: &str| json!({"updates": {"windows": window, "exclusions": [{"from": "2026-01-01T00:00:00Z", "to": to}]}});
    assert_eq!(refused(until("9999-12-30T03:00:00Z"), &["spec.updates.exclusions"]), "NeverOpen");
    judged(&until("2190-01-01T00:00:00Z")).unwrap();
    // Without windows, too.
    let frozen =
        json!({"updates": {"exclusions": [{"from": "2026-01-01T00:00:00Z", "to": "9999-12-30T22:00:00Z"}]}});
    assert_eq!(refused(frozen, &["spec.updates.exclusions"]), "NeverOpen");
}

#[test]
fn windows_that_no_kind_of_change_waits_for_may_be_too_short() {
    let spec = |image: &str| {
        json!({"updates": {
            "windows": [{"start": "02:00", "duration": "5m"}],
            "applies": {"image": image, "pod": "Now"},
        }})
    };
    assert_eq!(refused(spec("Window"), &["5m"]), "NeverOpen");
    judged(&spec("Now")).unwrap();
}

#[test]
fn a_contradiction_of_the_schema_keeps_its_own_words() {
    let reason = refused(json!({"updates": {"mode": "Window"}}), &["mode Window needs at least one entry"]);
    assert_eq!(reason, "Contradiction");
}

#[test]
fn a_key_that_can_verify_nothing_is_named_with_its_place() {
    let good = include_str!("../../tests/signatures/release.pub");
    let keys = |pem: &str| json!({"verification": {"keys": [{"name": "ours", "pem": good}, {"name": "theirs", "pem": pem}]}});
    judged(&keys(include_str!("../../tests/signatures/other.pub"))).unwrap();
    for (pem, says) in [
        ("-----BEGIN PUBLIC KEY-----\nb2xk\n-----END PUBLIC KEY-----", "holds no SubjectPublicKeyInfo"),
        (&format!("{good}{good}"), "one section"),
        (include_str!("../../tests/signatures/rsa.pub"), "P-256"),
    ] {
        let reason = refused(keys(pem), &["spec.verification.keys[1].pem (theirs)", says]);
        assert_eq!(reason, "Contradiction");
    }
}

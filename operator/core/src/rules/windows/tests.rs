#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use serde_json::{Value, json};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn rules(updates: Value) -> Rules {
    Rules::from_spec(&serde_json::from_value(json!({ "updates": updates })).unwrap())
}

fn saturdays(applies: Value) -> Rules {
    rules(json!({
        "windows": [{"days": ["Sat"], "start": "02:00", "duration": "4h", "timeZone": "Europe/Amsterdam"}],
        "exclusions": [{"from": "2026-12-20T00:00:00Z", "to": "2027-01-04T00:00:00Z", "reason": "year end"}],
        "applies": applies,
    }))
}

/// Reason, message and the instant to look again.
fn blocked(rules: &Rules, change: Change, now: &str) -> (&'static str, String, Option<Timestamp>) {
    match rules.window_gate(change, at(now), rules.step()) {
        Gate::Open => panic!("open at {now}"),
        Gate::Closed { reason, message, until } => (reason, message, until),
        Gate::Never { reason, message } => (reason, message, None),
    }
}

#[test]
fn a_gate_says_when_the_next_start_is_possible_in_utc_and_in_the_zone_of_the_window() {
    let rules = saturdays(json!({}));
    let until = Some(at("2026-11-28T01:00:00Z"));
    let next = "the next start is possible at 2026-11-28T01:00:00Z (Sat 28 Nov 02:00 in Europe/Amsterdam)";
    let told = blocked(&rules, Change::Image, "2026-11-26T18:00:00Z");
    assert_eq!(told, ("OutsideWindow", format!("waiting for a window of the policy; {next}"), until));
    // It says the same until then.
    assert_eq!(blocked(&rules, Change::Image, "2026-11-28T00:59:59Z"), told);
    let (reason, message, until) = blocked(&rules, Change::Pod, "2026-11-28T04:30:00Z");
    assert_eq!((reason, until), ("TooLittleTimeLeft", Some(at("2026-12-05T01:00:00Z"))));
    assert!(message.contains("closes at 2026-11-28T05:00:00Z, too soon for a step of 31m"), "{message}");
    let (reason, message, until) = blocked(&rules, Change::Image, "2026-12-26T02:00:00Z");
    assert_eq!((reason, until), ("Excluded", Some(at("2027-01-09T01:00:00Z"))));
    assert!(message.contains("(year end)"), "{message}");
}

#[test]
fn images_and_pods_wait_for_a_window_and_licences_do_not_unless_the_policy_says_otherwise() {
    let thursday = at("2026-11-26T18:00:00Z");
    let open = |rules: &Rules| {
        [Change::Image, Change::Pod, Change::Licence]
            .map(|change| rules.window_gate(change, thursday, rules.step()).is_open())
    };
    assert_eq!(open(&saturdays(json!({}))), [false, false, true]);
    assert_eq!(open(&saturdays(json!({"image": "Now", "licence": "Window"}))), [true, false, false]);
    assert_eq!(open(&saturdays(json!({"pod": "Now"}))), [false, true, true]);
    assert_eq!(
        open(&rules(json!({"mode": "Approval"}))),
        [true, true, true],
        "without windows any time will do"
    );
}

#[test]
fn an_exclusion_holds_back_what_applies_now_as_well() {
    let rules = saturdays(json!({"image": "Now"}));
    for change in [Change::Image, Change::Licence] {
        let (reason, message, until) = blocked(&rules, change, "2026-12-26T12:00:00Z");
        assert_eq!((reason, until), ("Excluded", Some(at("2027-01-04T00:00:00Z"))));
        assert!(message.ends_with("at 2027-01-04T00:00:00Z"), "{message}");
    }
}

#[test]
fn what_can_never_start_waits_for_an_edit() {
    let rules = rules(json!({"windows": [{"start": "02:00", "duration": "30m"}]}));
    let (reason, message, _) = blocked(&rules, Change::Image, "2026-11-26T18:00:00Z");
    assert_eq!(reason, "NoReachableWindow");
    assert!(message.contains("31m") && message.contains("longest window is 30m"), "{message}");
    assert_eq!(rules.next_window(at("2026-11-26T18:00:00Z")), None);
}

#[test]
fn the_rules_say_when_the_next_window_opens_and_when_one_closes() {
    let rules = saturdays(json!({}));
    assert_eq!(rules.next_window(at("2026-11-26T18:00:00Z")), Some(at("2026-11-28T01:00:00Z")));
    let began = at("2026-11-28T04:00:00Z");
    assert_eq!(rules.window_closes(Change::Image, began), Some(at("2026-11-28T05:00:00Z")));
    // What applies now runs into no window's end, but into the freeze.
    assert_eq!(rules.window_closes(Change::Licence, began), Some(at("2026-12-20T00:00:00Z")));
}

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::collections::BTreeSet;

use jiff::SignedDuration;
use paramant_crds::condition::Condition;
use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn said<'c>(conditions: &'c [Condition], type_: &str) -> (&'c str, &'c str) {
    let it = crate::conditions::find(conditions, type_).unwrap();
    (&it.status, &it.reason)
}

fn message<'c>(conditions: &'c [Condition], type_: &str) -> &'c str {
    &crate::conditions::find(conditions, type_).unwrap().message
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn status_at(policy: &ParamantPolicy, now: Timestamp) -> ParamantPolicyStatus {
    policy_status(policy, 0, now).0
}

fn policy(spec: Value, status: Value) -> ParamantPolicy {
    serde_json::from_value(json!({
        "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantPolicy",
        "metadata": {"name": "p", "namespace": "n", "generation": 2}, "spec": spec, "status": status,
    }))
    .unwrap()
}

#[test]
fn a_policy_without_a_contradiction_is_in_force_and_its_status_rests() {
    let mut policy = policy(json!({"drain": {"deadline": "10m"}}), json!({"observedGeneration": -1}));
    let status = policy_status(&policy, 3, NOW).0;
    assert_eq!((status.observed_generation, status.relays), (Some(2), Some(3)));
    assert_eq!(status.accepted.as_ref().unwrap().generation, 2);
    assert_eq!(status.accepted.as_ref().unwrap().parse().unwrap(), policy.spec);
    policy.status = Some(status.clone());
    assert_eq!(policy_status(&policy, 3, NOW + SignedDuration::from_hours(1)).0, status);
}

#[test]
fn a_contradiction_keeps_the_last_accepted_spec_in_force() {
    let bad = json!({"drain": {"deadline": "soon"}});
    let accepted = json!({"accepted": {"generation": 1, "spec": {"drain": {"active": true}}}});
    let policy = policy(bad, accepted);
    let status = status_at(&policy, NOW);
    assert_eq!(status.accepted.unwrap().generation, 1);
    assert_eq!(
        (status.conditions[0].status.as_str(), status.conditions[0].reason.as_str()),
        ("False", "Contradiction")
    );
    let rules = Rules::of(&crate::Referenced::Found(policy.into()), NOW);
    assert!(rules.drain && rules.suspended.is_none());
}

#[test]
fn a_contradiction_reads_as_failed_and_its_end_as_current() {
    let bad = policy(json!({"drain": {"deadline": "soon"}}), json!({}));
    let status = status_at(&bad, NOW);
    assert_eq!(said(&status.conditions, "Stalled"), ("True", "Contradiction"));
    let mended = policy(json!({}), serde_json::to_value(&status).unwrap());
    assert_eq!(said(&status_at(&mended, NOW).conditions, "Stalled"), ("False", "NotStalled"));
}

#[test]
fn a_policy_that_was_never_accepted_lets_nothing_be_replaced() {
    let policy = policy(json!({"drain": {"active": true, "deadline": "soon"}}), json!({}));
    let rules = Rules::of(&crate::Referenced::Found(policy.into()), NOW);
    assert!(rules.drain, "a drain works all the same");
    assert!(!rules.suspension().is_open());
}

/// Saturday night in Amsterdam, and a freeze at the turn of the year.
fn weekly() -> Value {
    json!({"updates": {
        "mode": "Window",
        "windows": [{"days": ["Sat"], "start": "02:00", "duration": "4h", "timeZone": "Europe/Amsterdam"}],
        "exclusions": [{"from": "2026-12-20T00:00:00Z", "to": "2027-01-04T00:00:00Z", "reason": "year end"}],
    }})
}

#[test]
fn a_policy_says_when_its_next_window_opens_and_how_much_it_can_reach() {
    // Four Saturdays from the 28th of November on, of which the freeze takes two (the 26th of December, the 2nd of January).
    let policy = policy(weekly(), json!({}));
    let (status, edge) = policy_status(&policy, 0, at("2026-11-26T18:00:00Z"));
    assert_eq!(status.next_window, Some(Time(at("2026-11-28T01:00:00Z"))));
    assert_eq!(edge, Some(at("2026-11-28T01:00:00Z")));
    assert_eq!(status.reachable_minutes_32d, Some(4 * 240));
    assert_eq!(said(&status.conditions, "Reachable"), ("True", "Reachable"));
    // Inside the window the next one is a week off, and the edge is where this one closes.
    let (status, edge) = policy_status(&policy, 0, at("2026-11-28T03:00:00Z"));
    assert_eq!(status.next_window, Some(Time(at("2026-12-05T01:00:00Z"))));
    assert_eq!(edge, Some(at("2026-11-28T05:00:00Z")));
    // Before the freeze the next one is beyond it.
    let (status, _) = policy_status(&policy, 0, at("2026-12-19T12:00:00Z"));
    assert_eq!(status.next_window, Some(Time(at("2027-01-09T01:00:00Z"))));
}

#[test]
fn a_status_changes_at_edges_and_midnights_only_and_a_pass_at_each_edge_misses_nothing() {
    let mut policy = policy(weekly(), json!({}));
    let (mut now, end) = (at("2026-11-26T18:00:00Z"), at("2027-01-20T00:00:00Z"));
    let (mut allowed, mut changes) = (BTreeSet::new(), Vec::new());
    policy.status = Some(status_at(&policy, now));
    while now < end {
        let (next, edge) = policy_status(&policy, 0, now);
        allowed.extend(edge);
        if policy.status.as_ref() != Some(&next) {
            changes.push(now);
            policy.status = Some(next);
        }
        now += SignedDuration::from_mins(15);
    }
    assert!(changes.len() > 10, "it does change: {changes:?}");
    for change in &changes {
        assert!(allowed.contains(change) || change.as_second() % 86_400 == 0, "{change} is no edge");
    }
    let midnights = changes.iter().filter(|change| change.as_second() % 86_400 == 0).count();
    assert!(midnights < 12, "most midnights are silent: {changes:?}");
}

#[test]
fn an_accepted_policy_whose_next_month_is_frozen_says_that_nothing_is_reachable() {
    let mut spec = weekly();
    spec["updates"]["exclusions"][0]["to"] = json!("2027-03-01T00:00:00Z");
    let policy = policy(spec, json!({}));
    // The last window before the freeze has closed.
    let status = status_at(&policy, at("2026-12-19T05:00:00Z"));
    assert_eq!(said(&status.conditions, "Accepted"), ("True", "Accepted"));
    assert_eq!(said(&status.conditions, "Reachable"), ("False", "NoReachableMinutes"));
    assert_eq!(said(&status.conditions, "Stalled"), ("False", "NotStalled"));
    assert_eq!(status.reachable_minutes_32d, Some(0));
    let sentence = message(&status.conditions, "Reachable");
    assert!(sentence.ends_with("opens at 2027-03-06T01:00:00Z"), "{sentence}");
    // While that window is open, something can still start.
    let status = status_at(&policy, at("2026-12-19T04:59:00Z"));
    assert_eq!(said(&status.conditions, "Reachable"), ("True", "Reachable"));
}

#[test]
fn minutes_that_are_too_few_for_an_update_are_counted_and_are_no_opportunity() {
    let mut spec = weekly();
    // What is left of each Saturday until March: twenty minutes at the front, and a step takes 31.
    spec["updates"]["exclusions"] = (0..12)
        .map(|week| {
            let from = at("2026-11-28T01:20:00Z") + SignedDuration::from_hours(7 * 24 * week);
            json!({"from": from, "to": from + SignedDuration::from_hours(4)})
        })
        .collect();
    let status = status_at(&policy(spec, json!({})), at("2026-11-26T18:00:00Z"));
    assert_eq!(status.reachable_minutes_32d, Some(5 * 20));
    assert_eq!(said(&status.conditions, "Reachable"), ("False", "TooLittleRoom"));
    assert_eq!(status.next_window, Some(Time(at("2027-02-20T01:00:00Z"))));
}

#[test]
fn without_windows_only_exclusions_count() {
    let freeze =
        json!({"updates": {"exclusions": [{"from": "2026-12-20T00:00:00Z", "to": "2027-01-04T00:00:00Z"}]}});
    let policy = policy(freeze, json!({}));
    let (status, edge) = policy_status(&policy, 0, at("2026-12-01T12:00:00Z"));
    assert_eq!(status.next_window, Some(Time(at("2027-01-04T00:00:00Z"))));
    assert_eq!(edge, Some(at("2026-12-20T00:00:00Z")));
    assert_eq!(status.reachable_minutes_32d, Some((32 - 13) * 24 * 60));
    let (status, edge) = policy_status(&policy, 0, at("2027-01-04T00:00:00Z"));
    assert_eq!((status.next_window, edge), (None, None));
    assert_eq!(status.reachable_minutes_32d, Some(32 * 24 * 60));
}

#[test]
fn a_policy_that_is_not_accepted_shows_the_time_ahead_of_the_one_in_force() {
    let bad = json!({"updates": {"windows": [{"start": "02:00", "duration": "4h", "timeZone": "Europe/Atlantis"}]}});
    let former = json!({"accepted": {"generation": 1, "spec": weekly()}});
    let status = status_at(&policy(bad.clone(), former), at("2026-11-26T18:00:00Z"));
    assert_eq!(said(&status.conditions, "Accepted"), ("False", "UnknownTimeZone"));
    assert_eq!(said(&status.conditions, "Stalled"), ("True", "UnknownTimeZone"));
    assert!(message(&status.conditions, "Accepted").ends_with("; generation 1 stays in force"));
    assert_eq!(status.next_window, Some(Time(at("2026-11-28T01:00:00Z"))));
    assert_eq!(said(&status.conditions, "Reachable").0, "True");
    let status = status_at(&policy(bad, json!({})), at("2026-11-26T18:00:00Z"));
    assert_eq!(said(&status.conditions, "Reachable"), ("Unknown", "NotAccepted"));
    assert_eq!((status.next_window, status.reachable_minutes_32d), (None, None));
}

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::collections::BTreeMap;

use prometheus::{Encoder as _, TextEncoder};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::leader::election::Standing;

fn relay(name: &str, status: Value) -> ParamantRelay {
    serde_json::from_value(json!({
        "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantRelay",
        "metadata": { "name": name, "namespace": "transfers" },
        "spec": { "image": "r.example/relay:1" }, "status": status,
    }))
    .unwrap()
}

fn condition(type_: &str, status: &str, reason: &str) -> Value {
    json!({ "type": type_, "status": status, "reason": reason, "message": "a sentence",
            "lastTransitionTime": "2026-01-02T03:04:05Z" })
}

/// Every series of these relays with its value, the phases apart.
fn series(relays: &[ParamantRelay], now: &str) -> BTreeMap<String, String> {
    let series = Series::new().unwrap();
    relays.iter().for_each(|relay| series.relay(relay, now.parse().unwrap()));
    let families: Vec<_> = series.all().into_iter().flat_map(Collector::collect).collect();
    let families: Vec<_> = families.into_iter().filter(|it| !it.get_metric().is_empty()).collect();
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(it, value)| (it.to_owned(), value.to_owned()))
        .collect()
}

const NOW: &str = "2026-06-01T00:00:00Z";

#[test]
fn a_thousand_relays_that_are_well_are_one_series() {
    let fine = ORDINARY.iter().map(|(type_, status)| condition(type_, status, "Fine")).collect::<Vec<_>>();
    let relays: Vec<_> =
        (0..1000).map(|n| relay(&format!("r{n}"), json!({ "phase": "Ready", "conditions": fine }))).collect();
    let series = series(&relays, NOW);
    assert_eq!(
        series.into_iter().collect::<Vec<_>>(),
        [("paramant_operator_relays{phase=\"Ready\"}".to_owned(), "1000".to_owned())]
    );
}

#[test]
fn a_condition_out_of_the_ordinary_names_its_relay_and_since_when() {
    let conditions = [condition(READY, "False", "CrashLoopBackOff"), condition(PAUSED, "False", "NotPaused")];
    let found = series(&[relay("health", json!({ "phase": "Blocked", "conditions": conditions }))], NOW);
    let wanted = "paramant_operator_condition_timestamp_seconds{condition=\"Ready\",kind=\"ParamantRelay\",\
                  name=\"health\",object_namespace=\"transfers\",reason=\"CrashLoopBackOff\",status=\"False\"}";
    assert_eq!(found.get(wanted).map(String::as_str), Some("1767323045"), "{found:#?}");
    assert_eq!(found.len(), 2, "{found:#?}");
}

#[test]
fn what_is_not_known_yet_or_chosen_is_no_series() {
    let conditions = [
        condition(LICENSE_VALID, "Unknown", "NotReported"),
        condition(LOG_WITNESSED, "False", NO_WITNESSES),
        condition("TelemetryConsented", "False", "Off"),
    ];
    assert_eq!(series(&[relay("health", json!({ "conditions": conditions }))], NOW).len(), 1);
    let paused = json!({ "conditions": [condition(READY, "Unknown", "Paused")] });
    assert_eq!(series(&[relay("health", paused)], NOW).len(), 2, "whether it serves must be known");
}

#[test]
fn a_drain_that_runs_and_a_licence_near_its_end_are_shown() {
    let status = json!({
        "drain": { "state": "Draining", "requestedBy": ["Spec"], "since": "2026-05-31T23:00:00Z" },
        "license": { "tier": "Pro", "source": "Offline", "validUntil": "2026-07-01T00:00:00Z" },
    });
    let health = relay("health", status.clone());
    let found = series(std::slice::from_ref(&health), NOW);
    let of = |name: &str| {
        found.get(&format!("{name}{{name=\"health\",object_namespace=\"transfers\"}}")).map(String::as_str)
    };
    assert_eq!(of("paramant_operator_relay_draining_timestamp_seconds"), Some("1780268400"));
    assert_eq!(of("paramant_operator_relay_license_end_timestamp_seconds"), Some("1782864000"));
    assert_eq!(series(&[health], "2026-01-01T00:00:00Z").len(), 2, "the licence's end is far away");
    let mut drained = status;
    drained["drain"]["state"] = json!("Drained");
    assert_eq!(series(&[relay("health", drained)], NOW).len(), 2, "the drain has ended");
}

#[test]
fn requests_that_wait_and_support_keys_in_force_are_counted_until_they_end() {
    let request = |n: u8, ends: &str| json!({ "id": format!("{n:032x}"), "kind": "drain", "role": "Support", "reason": "incident", "asks": "a drain", "endsAt": ends });
    let key = |n: u8, state: &str, ends: &str| json!({ "keyId": format!("{n:032x}"), "role": "Support", "state": state, "expiresAt": ends });
    let health = relay(
        "health",
        json!({
            "remoteActions": { "pending": [
                request(1, "2026-06-01T01:00:00Z"), request(2, "2026-06-02T00:00:00Z"), request(3, "2026-05-31T00:00:00Z"),
            ] },
            "support": [
                key(4, "Active", "2026-06-01T01:00:00Z"), key(5, "Active", "2026-05-31T00:00:00Z"),
                key(6, "Revoked", "2026-06-01T01:00:00Z"), key(7, "Pending", "2026-06-01T01:00:00Z"),
            ],
        }),
    );
    let of = |now: &str, name: &str| {
        let found = series(std::slice::from_ref(&health), now);
        found.get(&format!("{name}{{name=\"health\",object_namespace=\"transfers\"}}")).cloned()
    };
    for (now, requests, keys) in [(NOW, Some("2"), Some("1")), ("2026-07-01T00:00:00Z", None, None)] {
        assert_eq!(of(now, "paramant_operator_relay_requests_pending").as_deref(), requests, "{now}");
        assert_eq!(of(now, "paramant_operator_relay_support_keys_active").as_deref(), keys, "{now}");
    }
}

#[test]
fn every_condition_there_is_has_an_ordinary_value() {
    let source = include_str!("../../../../crds/src/condition.rs");
    let types: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split('"').nth(1))
        .filter(|type_| *type_ != "TelemetryConsented")
        .collect();
    assert!(types.contains(&"Ready"), "the search finds conditions");
    for type_ in types {
        assert!(ORDINARY.iter().any(|(known, _)| *known == type_), "{type_} is missing from ORDINARY");
    }
}

#[test]
fn only_the_leader_counts() {
    let count = |standing| {
        let census = Census::new(World::default(), Leadership::fixed(standing)).unwrap();
        census.collect().iter().map(|family| family.get_metric().len()).sum::<usize>()
    };
    assert_eq!(count(Standing::Follower), 0);
    assert_eq!(count(Standing::Leader { epoch: 1, renewed: Instant::now() }), PHASES.len());
}

//! `payload: Memory`: what nobody has fetched yet is lost with the pod, so an update waits for it.

use jiff::SignedDuration;
use paramant_crds::relay::Step;
use paramant_operator_core::Report;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Fault, digest, image, production};

/// A relay with files in its memory that nobody has fetched, and another image that it shall run.
fn draining(payload: &str, policy: Value) -> Cluster {
    let mut cluster = Cluster::with(json!({
        "image": image(1), "storage": {"payload": payload}, "policyRef": {"name": "production"}, "limits": {"maxTtl": "12h"},
    }));
    cluster.policy = Some(production(policy));
    cluster.settle();
    cluster.unclaimed = 2;
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::Draining);
    cluster.run(5);
    cluster
}

fn wait_hours(cluster: &mut Cluster, hours: i64) {
    cluster.now += SignedDuration::from_hours(hours);
    cluster.run(4);
}

#[test]
fn an_update_waits_until_every_file_was_fetched_or_expired() {
    for on_deadline in ["Wait", "Proceed"] {
        let mut cluster =
            draining("Memory", json!({"drain": {"deadline": "30m", "onDeadline": on_deadline}}));
        assert!(cluster.message().contains("files in memory"), "{}", cluster.message());
        wait_hours(&mut cluster, 11);
        assert_eq!(cluster.step(), Step::Draining, "{on_deadline}: the deadline alone gives up nothing");
        cluster.unclaimed = 0;
        cluster.until(Step::Settling);
        assert_eq!(cluster.pod_image(), image(2));
    }
}

#[test]
fn a_policy_that_accepts_the_loss_goes_on_at_the_deadline() {
    let policy = json!({
        "drain": {"deadline": "30m", "onDeadline": "Proceed"}, "updates": {"acceptLoss": true},
    });
    let mut cluster = draining("Memory", policy);
    assert_eq!(cluster.step(), Step::Draining, "but not before");
    wait_hours(&mut cluster, 1);
    cluster.until(Step::Settling);
}

#[test]
fn files_on_disk_hold_nothing_back() {
    let mut cluster = draining("Disk", json!({}));
    cluster.until(Step::Settling);
}

#[test]
fn a_relay_that_cannot_be_asked_has_nothing_left_after_the_longest_time_a_file_may_wait() {
    let mut cluster = draining("Memory", json!({"drain": {"deadline": "30m"}}));
    cluster.report = Some(Report::Unreachable { since: cluster.now, reason: "connection refused".into() });
    wait_hours(&mut cluster, 11);
    assert_eq!(cluster.step(), Step::Draining);
    wait_hours(&mut cluster, 1);
    assert_ne!(cluster.step(), Step::Draining);
}

#[test]
fn a_window_must_have_room_for_what_waits_in_memory() {
    // 2026-09-21T14:13:20Z
    let window =
        |hours: u8| json!([{"start": "13:00", "duration": format!("{hours}h"), "timeZone": "Etc/UTC"}]);
    let with = |windows: Value, unclaimed| {
        let mut cluster = Cluster::with(json!({
            "image": image(1), "storage": {"payload": "Memory"}, "policyRef": {"name": "production"}, "limits": {"maxTtl": "12h"},
        }));
        cluster.policy = Some(production(json!({"updates": {"mode": "Window", "windows": windows}})));
        cluster.settle();
        cluster.unclaimed = unclaimed;
        cluster.wait(60);
        cluster.settle();
        cluster.edit(|spec| spec["image"] = json!(image(2)));
        cluster.run(12);
        cluster
    };
    let mut waits = with(window(5), 1);
    assert_eq!(waits.step(), Step::WaitingForWindow);
    assert_eq!(
        waits.condition("UpdateBlocked"),
        ("True".into(), "FilesInMemory".into()),
        "{} {}",
        waits.now,
        waits.message()
    );
    assert!(waits.message().contains("spec.limits.maxTtl"), "{}", waits.message());
    waits.unclaimed = 0;
    waits.wait(60);
    waits.until(Step::Settling);
    assert_eq!(waits.pod_image(), image(2), "once all were fetched nothing is waited for");

    assert_eq!(with(window(23), 1).step(), Step::Draining, "one that is long enough has room");
    // What is down holds nothing that anybody could fetch.
    let mut down = with(window(5), 1);
    down.faults.insert(digest(1), Fault::Crashes);
    down.report = Some(Report::Unreachable { since: down.now, reason: "connection refused".into() });
    down.until(Step::Replacing);
    down.report = None;
    down.until(Step::Settling);
    let late = with(window(13), 1);
    assert_eq!(late.condition("UpdateBlocked"), ("True".into(), "TooLittleTimeLeft".into()));
}

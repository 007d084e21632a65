//! Releases that change the data: `commit-upgrade` after settling, the way back before it, and none after.

use paramant_crds::relay::Step;
use paramant_operator_core::release::Release;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Fault, digest, image, production};

fn release(version: &str, schema: u32, min_reader: u32) -> Release {
    Release { version: Some(version.into()), schema: Some(schema), min_reader: Some(min_reader) }
}

/// Image 1 is release 1.0 with schema 1, image 2 is 1.1 with schema 2, image 3 is 2.0 with schema 3 that only 1.1 can read.
fn serving() -> Cluster {
    let mut cluster = Cluster::with(json!({ "image": image(1) }));
    cluster.registry.releases.insert(digest(1), release("1.0.0", 1, 1));
    cluster.registry.releases.insert(digest(2), release("1.1.0", 2, 1));
    cluster.registry.releases.insert(digest(3), release("2.0.0", 3, 2));
    cluster.settle();
    assert_eq!(cluster.phase(), "Ready", "{}", cluster.message());
    cluster
}

fn roll(cluster: &mut Cluster, n: u8) {
    cluster.edit(|spec| spec["image"] = json!(image(n)));
    cluster.until(Step::Settling);
    cluster.wait(310);
    cluster.settle();
    assert_eq!((cluster.pod_image(), cluster.phase()), (image(n), "Ready"));
}

fn policy(cluster: &mut Cluster, updates: Value) {
    cluster.relay["spec"]["policyRef"] = json!({"name": "production"});
    cluster.policy = Some(production(json!({"updates": updates})));
}

#[test]
fn a_first_installation_is_committed_and_then_there_is_silence() {
    let mut cluster = serving();
    assert_eq!((cluster.sent.as_ref().unwrap().commit_schema, cluster.committed), (Some(1), 1));
    let deeds = cluster.deeds.len();
    cluster.run(20);
    assert_eq!(cluster.deeds.len(), deeds);
}

#[test]
fn a_schema_is_committed_only_after_settling() {
    let mut cluster = serving();
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::Settling);
    cluster.run(250);
    assert_eq!((cluster.step(), cluster.committed), (Step::Settling, 1));
    assert_eq!(cluster.sent.as_ref().unwrap().commit_schema, Some(1), "what was told before is told on");
    cluster.wait(60);
    cluster.settle();
    assert_eq!((cluster.sent.as_ref().unwrap().commit_schema, cluster.committed), (Some(2), 2));
    let seq = cluster.sent.as_ref().unwrap().seq;
    cluster.run(20);
    assert_eq!(cluster.sent.as_ref().unwrap().seq, seq);
}

#[test]
fn a_release_that_fails_before_it_is_committed_goes_back_over_its_own_writes() {
    for fault in [Fault::NeverReady, Fault::DiesAfterAWhile, Fault::LosesTheLog] {
        let mut cluster = serving();
        cluster.faults.insert(digest(2), fault);
        cluster.edit(|spec| spec["image"] = json!(image(2)));
        cluster.until(Step::RollingBack);
        cluster.settle();
        assert_eq!((cluster.pod_image(), cluster.committed), (image(1), 1), "{fault:?}");
        assert_eq!(cluster.condition("Ready").0, "True", "{fault:?}");
    }
}

#[test]
fn after_the_commit_what_cannot_read_the_data_is_refused_whatever_the_policy_allows() {
    let mut cluster = serving();
    policy(
        &mut cluster,
        json!({"mode": "Manual", "allowDowngrade": true, "allowNoRollback": true, "applies": {"image": "Now"}}),
    );
    roll(&mut cluster, 2);
    let pod = cluster.pod()["metadata"]["uid"].clone();
    for edit in [json!({"image": image(1)}), json!({"image": image(2), "update": {"pin": digest(1)}})] {
        cluster.edit(|spec| {
            spec["image"] = edit["image"].clone();
            spec["update"] = edit["update"].clone();
        });
        cluster.settle();
        assert_eq!(cluster.condition("UpdateBlocked"), ("True".into(), "CannotReadData".into()));
        assert!(cluster.message().contains("schema 2"), "{}", cluster.message());
    }
    assert_eq!(cluster.pod()["metadata"]["uid"], pod);
}

#[test]
fn a_settled_release_is_the_way_back_from_then_on() {
    let mut cluster = serving();
    roll(&mut cluster, 2);
    cluster.faults.insert(digest(3), Fault::NeverReady);
    cluster.edit(|spec| spec["image"] = json!(image(3)));
    cluster.until(Step::RollingBack);
    cluster.settle();
    assert_eq!((cluster.pod_image(), cluster.committed), (image(2), 2));
}

#[test]
fn a_release_that_leaves_no_way_back_needs_permission() {
    let mut cluster = serving();
    cluster.edit(|spec| spec["image"] = json!(image(3)));
    cluster.settle();
    assert_eq!(cluster.condition("UpdateBlocked"), ("True".into(), "NoWayBack".into()));
    assert_eq!(cluster.condition("Stalled").0, "True");
    assert!(cluster.message().contains("allowNoRollback"), "{}", cluster.message());
    policy(&mut cluster, json!({"mode": "Manual", "allowNoRollback": true, "applies": {"image": "Now"}}));
    cluster.until(Step::Settling);
}

#[test]
fn by_the_release_in_between_there_is_a_way_back_at_each_step() {
    let mut cluster = serving();
    roll(&mut cluster, 2);
    roll(&mut cluster, 3);
    assert_eq!(cluster.committed, 3);
}

#[test]
fn an_older_release_needs_permission_and_a_pin_of_one_that_ran_well_is_that() {
    let mut cluster = Cluster::with(json!({ "image": image(1) }));
    for n in 1..4 {
        cluster.registry.releases.insert(digest(n), release(&format!("1.{n}.0"), 1, 1));
    }
    cluster.settle();
    roll(&mut cluster, 2);
    roll(&mut cluster, 3);
    cluster.edit(|spec| spec["image"] = json!(image(1)));
    cluster.settle();
    assert_eq!(cluster.condition("UpdateBlocked"), ("True".into(), "DowngradeRefused".into()));
    // Which was verified when it ran: no registry is needed.
    cluster.registry.away = true;
    cluster.registry.forget();
    cluster.edit(|spec| spec["update"] = json!({"pin": digest(1)}));
    cluster.until(Step::Settling);
    assert_eq!(cluster.pod_image(), image(1));
    cluster.wait(310);
    cluster.settle();
    assert_eq!(cluster.phase(), "Ready");
}

#[test]
fn a_pin_of_an_older_release_that_never_ran_here_is_a_downgrade_like_any_other() {
    let mut cluster = serving();
    cluster.registry.releases.insert(digest(4), release("0.9.0", 1, 1));
    cluster.edit(|spec| spec["update"] = json!({"pin": digest(4)}));
    cluster.settle();
    assert_eq!(cluster.condition("UpdateBlocked").1, "DowngradeRefused");
    policy(&mut cluster, json!({"mode": "Manual", "allowDowngrade": true, "applies": {"image": "Now"}}));
    cluster.until(Step::Settling);
}

#[test]
fn a_relay_that_says_nothing_of_its_data_is_told_to_commit_nothing() {
    let mut cluster = Cluster::serving();
    assert_eq!(cluster.sent.as_ref().unwrap().commit_schema, None);
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::Settling);
}

#[test]
fn a_paused_relay_and_one_that_is_not_healthy_are_committed_to_nothing_new() {
    let mut cluster = serving();
    cluster.registry.releases.insert(digest(1), release("1.0.0", 2, 1));
    cluster.annotate("paramant.app/paused", "true");
    cluster.run(5);
    assert_eq!(cluster.committed, 1);
    cluster.annotate("paramant.app/paused", "false");
    cluster.settle();
    assert_eq!(cluster.committed, 2);
}

//! A new leader's first passes: no relay has been asked yet, and what nobody has said is evidence of nothing.

use jiff::SignedDuration;
use paramant_crds::relay::Step;
use paramant_operator_core::{Report, Rival, Shared};
use paramant_protocol::control::{AdminReport, DrainState};
use serde_json::json;

use crate::cluster::{Cluster, Deed, Fault, digest, hash, image};

/// The operator was away for so long, and has asked nobody yet.
fn away(cluster: &mut Cluster, seconds: i64) {
    cluster.now += SignedDuration::from_secs(seconds);
    cluster.context.epoch += 1;
    cluster.report = Some(Report::Unknown);
}

#[test]
fn a_pod_that_became_ready_while_nobody_looked_is_not_rolled_back() {
    let mut cluster = Cluster::serving();
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::Probing);
    cluster.tick();
    away(&mut cluster, 600);
    cluster.run(3);
    assert_eq!(cluster.step(), Step::Probing, "{}", cluster.message());
    cluster.report = None;
    cluster.until(Step::Settling);
    assert_eq!(cluster.pod_image(), image(2));
    assert!(cluster.status().update.unwrap().rejected.is_empty());
}

#[test]
fn a_pod_that_is_not_ready_in_time_is_rolled_back_whoever_looks() {
    let mut cluster = Cluster::serving();
    cluster.faults.insert(digest(2), Fault::NeverReady);
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::Probing);
    cluster.tick();
    away(&mut cluster, 600);
    cluster.pass();
    assert_eq!(cluster.step(), Step::RollingBack);
}

#[test]
fn a_drain_past_its_deadline_waits_until_the_relay_has_been_asked() {
    let mut cluster = Cluster::serving();
    cluster.uploads = 2;
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::Draining);
    cluster.run(3);
    away(&mut cluster, 7200);
    cluster.run(3);
    assert_eq!(cluster.step(), Step::Draining, "uploads may still run");
    cluster.report = Some(Report::Unreachable { since: cluster.now, reason: "refused".into() });
    cluster.pass();
    assert_eq!(
        cluster.step(),
        Step::Replacing,
        "one that cannot be asked must get the release that mends it"
    );
}

/// Whatever is said of the relay, a new leader that has not heard it yet writes nothing and tells nothing.
fn says_nothing_new(cluster: &mut Cluster, phase: &str) {
    cluster.settle();
    assert_eq!(cluster.phase(), phase);
    let heard = cluster.report.replace(Report::Unknown);
    let told = (cluster.events.len(), cluster.relay["status"].clone());
    cluster.deeds.clear();
    for _ in 0..3 {
        cluster.pass();
    }
    assert_eq!(cluster.relay["status"], told.1, "{phase}");
    assert!(!cluster.deeds.contains(&Deed::Status), "{phase}");
    assert_eq!(cluster.events.len(), told.0);
    cluster.report = heard;
    cluster.pass();
    assert_eq!(cluster.relay["status"], told.1, "{phase}");
}

#[test]
fn a_new_leader_repeats_what_is_wrong_until_it_has_asked() {
    let mut cluster = Cluster::serving();
    cluster.faults.insert(digest(1), Fault::LosesTheLog);
    says_nothing_new(&mut cluster, "Blocked");

    let mut cluster = Cluster::serving();
    let pod_uid = cluster.pod()["metadata"]["uid"].as_str().unwrap().to_owned();
    cluster.report = Some(Report::KeyChanged { found: hash(9), pod_uid });
    says_nothing_new(&mut cluster, "Blocked");

    let mut cluster = Cluster::serving();
    cluster.report = Some(Report::Unreachable { since: cluster.now, reason: "refused".into() });
    says_nothing_new(&mut cluster, "Degraded");

    let mut cluster =
        Cluster::with(json!({"image": image(1), "admin": {"tokenSecretRef": {"name": "health-admin"}}}));
    says_nothing_new(&mut cluster, "Degraded");
    cluster.process.as_mut().unwrap().state.admin = AdminReport::TokenFile;
    says_nothing_new(&mut cluster, "Ready");
}

#[test]
fn a_new_leader_keeps_a_drain_in_sight_until_it_has_asked() {
    let mut cluster = Cluster::serving();
    cluster.edit(|spec| spec["drain"] = json!(true));
    cluster.uploads = 1;
    says_nothing_new(&mut cluster, "Draining");
    cluster.uploads = 0;
    says_nothing_new(&mut cluster, "Drained");
    cluster.process.as_mut().unwrap().state.drain.state = DrainState::Serving;
    cluster.edit(|spec| spec["drain"] = json!(null));
    says_nothing_new(&mut cluster, "Ready");
}

#[test]
fn a_relay_that_never_answered_still_has_not() {
    let mut cluster = Cluster::with(json!({ "image": image(1) }));
    cluster.report = Some(Report::Unreachable { since: cluster.now, reason: "refused".into() });
    says_nothing_new(&mut cluster, "Installing");
}

#[test]
fn a_refused_rival_stays_refused_until_it_has_been_asked_who_it_is() {
    let mut cluster = Cluster::serving();
    cluster.rivals = vec![Rival {
        namespace: "other".into(),
        name: "twin".into(),
        uid: "twin".into(),
        created: jiff::Timestamp::from_second(1_000).unwrap(),
        shares: Shared::Identity,
    }];
    cluster.settle();
    assert_eq!(cluster.condition("Stalled").1, "IdentityConflict");
    let rivals = std::mem::take(&mut cluster.rivals);
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.report = Some(Report::Unknown);
    let decision = cluster.pass();
    assert_eq!(cluster.condition("Stalled").1, "IdentityConflict");
    assert!(decision.apply.is_empty(), "and nothing is done to it");
    (cluster.report, cluster.rivals) = (None, rivals);
    cluster.settle();
    assert_eq!(cluster.condition("Stalled").1, "IdentityConflict");
    cluster.rivals.clear();
    cluster.until(Step::Settling);
}

//! A new leader's first passes: no relay has been asked yet, and what nobody has said is evidence of nothing.

use jiff::SignedDuration;
use paramant_crds::relay::Step;
use paramant_operator_core::Report;
use serde_json::json;

use crate::cluster::{Cluster, Fault, digest, image};

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

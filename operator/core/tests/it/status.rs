//! Events and conditions over a whole life: each transition once, nothing in between.

use paramant_crds::relay::Step;
use paramant_operator_core::EventType;
use serde_json::json;

use crate::cluster::{Cluster, Fault, digest, image};

fn reasons(cluster: &Cluster) -> Vec<&str> {
    cluster.events.iter().map(|event| event.reason.as_str()).collect()
}

#[test]
fn an_install_and_a_roll_tell_their_story_in_events() {
    let mut cluster = Cluster::serving();
    assert_eq!(reasons(&cluster).last(), Some(&"Serving"));
    cluster.events.clear();
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::Settling);
    cluster.wait(310);
    cluster.settle();
    let story: Vec<&str> =
        reasons(&cluster).into_iter().filter(|reason| !["Drained", "Serving"].contains(reason)).collect();
    assert_eq!(story, ["Verifying", "Draining", "Replacing", "Probing", "Settling"]);
    assert!(cluster.events.iter().all(|event| event.type_ == EventType::Normal));
}

#[test]
fn a_drain_is_told_as_a_drain() {
    let mut cluster = Cluster::serving();
    cluster.events.clear();
    cluster.uploads = 1;
    cluster.edit(|spec| spec["drain"] = json!(true));
    cluster.settle();
    cluster.uploads = 0;
    cluster.settle();
    cluster.edit(|spec| spec["drain"] = json!(false));
    cluster.settle();
    assert_eq!(reasons(&cluster), ["Draining", "Drained", "Serving"]);
}

#[test]
fn trouble_is_a_warning() {
    let mut cluster = Cluster::serving();
    cluster.events.clear();
    cluster.faults.insert(digest(2), Fault::Crashes);
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::RollingBack);
    cluster.settle();
    let warnings: Vec<&str> = cluster
        .events
        .iter()
        .filter(|it| it.type_ == EventType::Warning)
        .map(|it| it.reason.as_str())
        .collect();
    assert!(warnings.contains(&"RollingBack") && warnings.contains(&"RejectedDigest"), "{warnings:?}");
}

#[test]
fn a_transition_moves_only_its_own_clock() {
    let mut cluster = Cluster::serving();
    let times = |cluster: &Cluster, type_: &str| {
        let status = cluster.status();
        status.conditions.into_iter().find(|it| it.type_ == type_).unwrap().last_transition_time
    };
    let (ready, drained) = (times(&cluster, "Ready"), times(&cluster, "Drained"));
    cluster.run(5);
    cluster.edit(|spec| spec["drain"] = json!(true));
    cluster.settle();
    assert_eq!(times(&cluster, "Ready"), ready);
    assert!(times(&cluster, "Drained") > drained);
}

#[test]
fn what_a_relay_says_can_never_make_a_status_unwritable() {
    let mut cluster = Cluster::serving();
    let state = &mut cluster.process.as_mut().unwrap().state;
    state.version = "v".repeat(10_000);
    state.license.tier = "t".repeat(10_000);
    state.license.capabilities = (0..500).map(|n| format!("{n}{}", "c".repeat(500))).collect();
    state.identity.fingerprint = "not a hash".into();
    state.log.origin = "o".repeat(10_000);
    cluster.settle();
    let status = cluster.status();
    assert_eq!(status.image.unwrap().version.unwrap().len(), 128);
    let license = status.license.unwrap();
    assert_eq!((license.tier.unwrap().len(), license.capabilities.len()), (63, 64));
    assert_eq!(status.log.unwrap().origin.unwrap().len(), 200);
    assert!(status.identity.unwrap().fingerprint.unwrap().as_str().len() == 64, "the last good one stays");
}

#[test]
fn endpoints_say_where_the_relay_and_its_log_are() {
    let cluster = Cluster::serving();
    let endpoints = cluster.status().endpoints.unwrap();
    assert_eq!(endpoints.service.as_deref(), Some("http://health.transfers.svc"));
    assert_eq!(endpoints.log.as_deref(), Some("http://health.transfers.svc/log/"));
    let mut exposed = Cluster::with(json!({
        "image": image(1), "expose": {"host": "relay.acme.example", "ingressClassName": "nginx"},
    }));
    exposed.settle();
    assert_eq!(exposed.status().endpoints.unwrap().log.as_deref(), Some("https://relay.acme.example/log/"));
}

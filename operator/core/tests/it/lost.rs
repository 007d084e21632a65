//! What is made again or lost: a relay, its volume, the durable copy. A fence falls only with what it fenced.

use k8s_openapi::api::core::v1::ConfigMap;
use paramant_crds::relay::Step;
use paramant_operator_core::Durable;
use serde_json::json;

use crate::cluster::{Cluster, Fault, digest, hash, image};

fn durable(cluster: &Cluster) -> Durable {
    let state: ConfigMap =
        serde_json::from_value(cluster.get("ConfigMap", "health-state").unwrap().clone()).unwrap();
    Durable::read(Some(&state))
}

/// Another relay of this name; of the earlier one's objects only these are left.
fn make_again(cluster: &mut Cluster, left: &[&str]) {
    let uid = cluster.next_uid();
    cluster.relay["metadata"]["uid"] = json!(uid);
    cluster.relay["status"] = json!({"observedGeneration": -1});
    cluster.objects.retain(|(_, name), _| left.contains(&name.as_str()));
    cluster.process = None;
}

/// The relay comes up with nothing of what it had.
fn come_up_empty(cluster: &mut Cluster) {
    cluster.pass();
    cluster.tick();
    let state = &mut cluster.process.as_mut().unwrap().state;
    state.identity.control_spki_sha256 = hash(9);
    state.log.root = hash(9);
}

fn swap_volume(cluster: &mut Cluster) {
    let uid = cluster.next_uid();
    cluster.get_mut("PersistentVolumeClaim", "data-health-0").unwrap()["metadata"]["uid"] = json!(uid);
    let pod_uid = cluster.next_uid();
    cluster.get_mut("Pod", "health-0").unwrap()["metadata"]["uid"] = json!(pod_uid);
    cluster.process = None;
    come_up_empty(cluster);
}

#[test]
fn a_relay_made_again_with_a_volume_of_its_own_begins_anew() {
    let mut cluster = Cluster::serving();
    make_again(&mut cluster, &["health-state"]);
    come_up_empty(&mut cluster);
    cluster.settle();
    assert_eq!(durable(&cluster).control_key.as_deref(), Some(hash(9).as_str()));
    assert_eq!(durable(&cluster).log.unwrap().mark.root, hash(9));
    assert_eq!((cluster.phase(), cluster.condition("LogConsistent").0.as_str()), ("Ready", "True"));
}

#[test]
fn a_relay_made_again_over_its_volume_must_continue_what_is_on_it() {
    let mut cluster = Cluster::serving();
    make_again(&mut cluster, &["health-state", "data-health-0"]);
    cluster.pass();
    cluster.tick();
    cluster.process.as_mut().unwrap().state.log.root = hash(9);
    cluster.settle();
    assert_eq!((cluster.phase(), cluster.condition("Stalled").1.as_str()), ("Blocked", "LogBroken"));
}

#[test]
fn a_volume_that_is_swapped_under_a_relay_breaks_its_log_until_the_relay_is_made_again() {
    let mut cluster = Cluster::serving();
    swap_volume(&mut cluster);
    cluster.process.as_mut().unwrap().state.identity.control_spki_sha256 = hash(2);
    cluster.settle();
    assert_eq!(cluster.condition("Stalled").1, "LogBroken");
    let remedy = "delete the relay and its claim data-health-0 and create the relay again";
    assert!(cluster.message().contains("log adopt"), "{}", cluster.message());
    assert!(cluster.message().contains(remedy), "{}", cluster.message());
    make_again(&mut cluster, &["health-state", "data-health-0"]);
    come_up_empty(&mut cluster);
    cluster.settle();
    assert_eq!((cluster.phase(), durable(&cluster).log.unwrap().mark.root), ("Ready", hash(9)));
}

#[test]
fn a_relay_that_lost_its_pod_and_claim_objects_but_not_itself_keeps_its_fence() {
    let mut cluster = Cluster::serving();
    swap_volume(&mut cluster);
    cluster.settle();
    let kept = durable(&cluster);
    assert_eq!((kept.control_key, kept.log.unwrap().mark.root), (Some(hash(2)), hash(3)));
}

/// The durable copy is lost while the relay runs.
fn lose_state(cluster: &mut Cluster) {
    cluster.objects.remove(&("ConfigMap".into(), "health-state".into()));
}

#[test]
fn a_lost_durable_copy_drops_neither_the_log_fence_nor_the_pinned_key() {
    let mut cluster = Cluster::serving();
    let before = durable(&cluster);
    lose_state(&mut cluster);
    cluster.process.as_mut().unwrap().state.log.root = hash(9);
    cluster.settle();
    assert_eq!(cluster.condition("Stalled").1, "LogBroken");
    assert_eq!(durable(&cluster).log.unwrap().mark, before.log.unwrap().mark);
    cluster.process.as_mut().unwrap().state.log.root = hash(3);
    lose_state(&mut cluster);
    cluster.process.as_mut().unwrap().state.identity.control_spki_sha256 = hash(9);
    cluster.settle();
    assert_eq!(durable(&cluster).control_key, before.control_key);
}

#[test]
fn a_lost_durable_copy_tries_no_release_again_that_failed() {
    for retried in [false, true] {
        let mut cluster = Cluster::serving();
        cluster.faults.insert(digest(2), Fault::Crashes);
        cluster.edit(|spec| {
            spec["image"] = json!(image(2));
            spec["update"] = if retried { json!({"retry": digest(2)}) } else { json!({}) };
        });
        cluster.until(Step::RollingBack);
        cluster.settle();
        let rejected = cluster.status().update.unwrap().rejected;
        lose_state(&mut cluster);
        cluster.steps.clear();
        cluster.settle();
        assert!(cluster.steps.iter().all(|step| *step == Step::Idle), "{:?}", cluster.steps);
        assert_eq!(cluster.condition("UpdateBlocked").1, "RejectedDigest");
        assert_eq!((cluster.pod_image(), cluster.status().update.unwrap().rejected), (image(1), rejected));
    }
}

#[test]
fn a_lost_durable_copy_does_not_resolve_a_tag_again() {
    let tag = "registry.example/paramant/relay:3.1.0";
    let mut cluster = Cluster::with(json!({ "image": tag }));
    cluster.tags.insert(tag.into(), digest(1));
    cluster.settle();
    cluster.tags.insert(tag.into(), digest(2));
    cluster.resolution = Default::default();
    lose_state(&mut cluster);
    assert!(cluster.pass().resolve.is_none());
    cluster.settle();
    assert_eq!(cluster.pod_image(), image(1), "a tag that moved is not followed");
    cluster.edit(|spec| spec["image"] = json!("registry.example/paramant/relay:3.2.0"));
    assert!(cluster.pass().resolve.is_some(), "another text is another question");
}

#[test]
fn a_stateful_set_of_an_earlier_operator_learns_the_tag_and_restarts_nothing() {
    let tag = "registry.example/paramant/relay:3.1.0";
    let mut cluster = Cluster::with(json!({ "image": tag }));
    cluster.tags.insert(tag.into(), digest(1));
    cluster.settle();
    let set = cluster.get("StatefulSet", "health").unwrap().clone();
    let pod = cluster.pod()["metadata"]["uid"].clone();
    let annotations = &mut cluster.get_mut("StatefulSet", "health").unwrap()["metadata"]["annotations"];
    annotations["paramant.app/intent"] = json!("another");
    annotations.as_object_mut().unwrap().remove("paramant.app/resolved-image");
    cluster.steps.clear();
    cluster.settle();
    assert_eq!(cluster.get("StatefulSet", "health").unwrap(), &set);
    assert_eq!(cluster.pod()["metadata"]["uid"], pod);
    assert!(cluster.steps.is_empty(), "{:?}", cluster.steps);
}

//! What was begun and interrupted: by a pause, by the loss of status, by an API server that refused for a while.

use jiff::SignedDuration;
use paramant_crds::relay::Step;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Fault, NAME, digest, image, production};

fn window(cluster: &mut Cluster, start: &str) {
    let windows = json!([{"days": ["Mon"], "start": start, "duration": "4h", "timeZone": "Etc/UTC"}]);
    cluster.relay["spec"]["policyRef"] = json!({"name": "production"});
    cluster.policy = Some(production(
        json!({"updates": {"mode": "Window", "windows": windows}, "drain": {"onDeadline": "Proceed"}}),
    ));
}

fn template_image(cluster: &Cluster) -> Value {
    cluster.get("StatefulSet", NAME).unwrap()["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

/// It is Monday 14:13, and the window closes at 17:00.
#[test]
fn a_drain_that_was_paused_waits_for_a_window_again() {
    let mut cluster = Cluster::serving();
    window(&mut cluster, "13:00");
    cluster.settle();
    cluster.uploads = 1;
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::Draining);
    let pod = cluster.pod()["metadata"]["uid"].clone();
    cluster.annotate("paramant.app/paused", "true");
    cluster.run(4);
    assert_eq!(cluster.step(), Step::WaitingForWindow);
    // Days later, and long after the deadline of the drain that was given up.
    cluster.now += SignedDuration::from_hours(30);
    cluster.annotate("paramant.app/paused", "false");
    cluster.settle();
    assert_eq!(cluster.condition("UpdateBlocked"), ("True".into(), "OutsideWindow".into()));
    assert_eq!(cluster.pod()["metadata"]["uid"], pod, "nothing was replaced outside the window");
    cluster.now += SignedDuration::from_hours(6 * 24 - 30);
    cluster.now += SignedDuration::from_hours(23);
    cluster.settle();
    cluster.until(Step::Draining);
    cluster.uploads = 0;
    cluster.until(Step::Settling);
    assert_eq!(cluster.pod_image(), image(2));
}

/// A relay whose failed pod is still there while the last good template is in place again.
fn turned_round() -> Cluster {
    let mut cluster = Cluster::serving();
    cluster.faults.insert(digest(2), Fault::Crashes);
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::RollingBack);
    for _ in 0..10 {
        if template_image(&cluster) == json!(image(1)) {
            break;
        }
        cluster.pass();
    }
    assert_eq!((template_image(&cluster), cluster.pod_image()), (json!(image(1)), image(2)));
    cluster
}

#[test]
fn a_way_back_that_lost_its_status_half_way_is_gone_to_its_end() {
    let mut cluster = turned_round();
    cluster.relay["status"] = json!({});
    cluster.until(Step::RollingBack);
    assert!(cluster.message().contains("ended in the new pod"), "{}", cluster.message());
    cluster.settle();
    assert_eq!((cluster.pod_image(), cluster.condition("Ready").0.as_str()), (image(1), "True"));
    assert_eq!(cluster.condition("UpdateBlocked").1, "RejectedDigest", "and what failed is not tried again");
}

#[test]
fn a_pod_that_serves_nobody_waits_for_no_window_on_its_way_back() {
    let mut cluster = turned_round();
    window(&mut cluster, "02:00");
    cluster.relay["status"] = json!({});
    cluster.edit(|spec| spec["image"] = json!(image(1)));
    cluster.settle();
    assert_eq!((cluster.pod_image(), cluster.condition("Ready").0.as_str()), (image(1), "True"));
}

#[test]
fn a_pin_to_what_ran_well_is_a_way_back_at_any_hour() {
    let mut cluster = Cluster::serving();
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::Settling);
    cluster.wait(310);
    cluster.settle();
    assert_eq!(cluster.step(), Step::Idle);
    window(&mut cluster, "02:00");
    cluster.settle();
    cluster.edit(|spec| spec["image"] = json!(image(1)));
    cluster.settle();
    assert_eq!(cluster.condition("UpdateBlocked").1, "OutsideWindow", "an image alone waits");
    cluster.edit(|spec| spec["update"] = json!({"pin": digest(1)}));
    cluster.until(Step::Settling);
    assert_eq!(cluster.pod_image(), image(1));
}

#[test]
fn a_pin_to_what_runs_opens_no_window_for_other_changes() {
    let mut cluster = Cluster::serving();
    window(&mut cluster, "02:00");
    cluster.edit(|spec| spec["update"] = json!({"pin": digest(1)}));
    cluster.settle();
    let pod = cluster.pod()["metadata"]["uid"].clone();
    cluster.edit(|spec| spec["pod"] = json!({"labels": {"a": "b"}}));
    cluster.settle();
    assert_eq!(cluster.condition("UpdateBlocked").1, "OutsideWindow");
    assert_eq!(cluster.pod()["metadata"]["uid"], pod);
}

#[test]
fn a_pod_that_only_waits_for_its_restart_is_no_failed_one() {
    let mut cluster = Cluster::serving();
    window(&mut cluster, "02:00");
    cluster.settle();
    let set = cluster.get_mut("StatefulSet", NAME).unwrap();
    set["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = json!("now");
    set["status"]["updateRevision"] = json!("another");
    let pod = cluster.get_mut("Pod", "health-0").unwrap();
    let uid = pod["metadata"]["uid"].clone();
    pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
    for _ in 0..5 {
        cluster.pass();
        assert_ne!(cluster.step(), Step::RollingBack);
        assert_eq!(cluster.pod()["metadata"]["uid"], uid);
    }
}

#[test]
fn a_relay_that_is_down_says_that_its_remedy_waits() {
    let mut cluster = Cluster::serving();
    window(&mut cluster, "02:00");
    cluster.settle();
    cluster.faults.insert(digest(1), Fault::Crashes);
    cluster.run(20);
    assert_eq!(cluster.phase(), "Degraded");
    cluster.edit(|spec| spec["pod"] = json!({"labels": {"a": "b"}}));
    cluster.run(20);
    let waits = "what the spec wants instead: waiting for a window of the policy";
    assert!(cluster.message().contains(waits), "{}", cluster.message());
}

#[test]
fn a_tag_that_comes_back_after_a_digest_is_asked_about_again() {
    let tagged = "registry.example/paramant/relay:3.1";
    let mut cluster = Cluster::with(json!({ "image": tagged }));
    cluster.tags.insert(tagged.into(), digest(1));
    cluster.settle();
    assert_eq!(cluster.pod_image(), image(1));
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::Settling);
    cluster.wait(310);
    cluster.settle();
    cluster.tags.insert(tagged.into(), digest(3));
    cluster.edit(|spec| spec["image"] = json!(tagged));
    cluster.until(Step::Settling);
    assert_eq!(cluster.pod_image(), image(3));
}

//! Windows as the machine meets them: it waits for one, and what still runs when it closes finishes or goes back.

use jiff::Timestamp;
use paramant_crds::relay::Step;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Deed, Fault, digest, image, production};

/// A relay that serves image 1 and may be changed from two to four in the night; image 2 is wanted.
fn wanting(overrun: &str) -> Cluster {
    let mut cluster = Cluster::serving();
    cluster.relay["spec"]["policyRef"] = json!({"name": "production"});
    cluster.policy = Some(production(json!({"updates": {
        "mode": "Window", "overrun": overrun, "windows": [{"start": "02:00", "duration": "2h"}],
    }})));
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.settle();
    cluster
}

fn at(cluster: &mut Cluster, time: &str) {
    cluster.now = time.parse().unwrap();
}

fn template(cluster: &Cluster) -> Value {
    cluster.get("StatefulSet", "health").unwrap()["spec"]["template"].clone()
}

fn rejected(cluster: &Cluster) -> usize {
    cluster.status().update.unwrap().rejected.len()
}

#[test]
fn an_image_waits_for_its_window_in_silence_and_rolls_when_it_opens() {
    let mut cluster = wanting("Finish");
    assert_eq!(cluster.step(), Step::WaitingForWindow);
    assert_eq!(cluster.condition("UpdateBlocked"), ("True".into(), "OutsideWindow".into()));
    assert_eq!(
        (cluster.condition("Ready").0, cluster.condition("Reconciling").0),
        ("True".into(), "False".into())
    );
    let opens: Timestamp = "2026-09-22T02:00:00Z".parse().unwrap();
    assert_eq!(cluster.status().update.unwrap().next_window.unwrap().0, opens);
    cluster.deeds.clear();
    for hour in ["16:00", "20:00", "23:59"] {
        at(&mut cluster, &format!("2026-09-21T{hour}:00Z"));
        cluster.run(3);
    }
    assert_eq!(cluster.deeds, [] as [Deed; 0]);
    at(&mut cluster, "2026-09-22T01:55:00Z");
    let wait = cluster.pass().requeue.as_secs();
    assert!((295..=305).contains(&wait), "looked at again when it opens: {wait}");
    at(&mut cluster, "2026-09-22T02:00:00Z");
    cluster.until(Step::Settling);
    assert!(cluster.status().update.unwrap().next_window.is_none());
}

#[test]
fn update_now_does_not_wait_for_a_window() {
    let mut cluster = wanting("RollBack");
    cluster.annotate("paramant.app/update-now", &digest(2));
    cluster.until(Step::Settling);
    cluster.wait(310);
    cluster.settle();
    assert_eq!((cluster.pod_image(), cluster.phase()), (image(2), "Ready"), "and needs none to be over in");
}

#[test]
fn a_drain_that_outlasts_its_window_finishes_or_waits_for_the_next_by_policy() {
    for overrun in ["Finish", "RollBack"] {
        let mut cluster = wanting(overrun);
        let before = template(&cluster);
        cluster.uploads = 1;
        at(&mut cluster, "2026-09-22T02:00:00Z");
        cluster.until(Step::Draining);
        at(&mut cluster, "2026-09-22T03:59:50Z");
        let wait = cluster.pass().requeue.as_secs();
        assert!(overrun == "Finish" || wait <= 15, "{wait}");
        at(&mut cluster, "2026-09-22T04:00:01Z");
        cluster.run(5);
        assert_eq!(template(&cluster), before);
        let (step, drains) = match overrun {
            "Finish" => (Step::Draining, true),
            _ => (Step::WaitingForWindow, false),
        };
        assert_eq!(cluster.step(), step);
        assert_eq!(cluster.sent.as_ref().unwrap().drain.update_until.is_some(), drains);
        cluster.uploads = 0;
        at(&mut cluster, "2026-09-23T02:00:00Z");
        cluster.until(Step::Settling);
        assert_eq!(cluster.pod_image(), image(2), "{overrun}");
    }
}

#[test]
fn a_new_pod_that_is_not_healthy_when_the_window_closes_goes_back_and_is_tried_in_the_next() {
    let mut cluster = wanting("RollBack");
    cluster.faults.insert(digest(2), Fault::NeverReady);
    cluster.uploads = 1;
    at(&mut cluster, "2026-09-22T02:00:00Z");
    cluster.until(Step::Draining);
    at(&mut cluster, "2026-09-22T03:59:40Z");
    cluster.uploads = 0;
    cluster.until(Step::Probing);
    assert!(cluster.now < "2026-09-22T04:00:00Z".parse().unwrap(), "{}", cluster.now);
    cluster.until(Step::RollingBack);
    assert!(cluster.message().contains("window closed"), "{}", cluster.message());
    cluster.settle();
    assert_eq!(
        (cluster.pod_image(), cluster.step(), rejected(&cluster)),
        (image(1), Step::WaitingForWindow, 0)
    );
    cluster.faults.clear();
    at(&mut cluster, "2026-09-23T02:00:00Z");
    cluster.until(Step::Settling);
    at(&mut cluster, "2026-09-23T04:10:00Z");
    cluster.run(5);
    cluster.settle();
    assert_eq!((cluster.pod_image(), cluster.phase()), (image(2), "Ready"), "what settles is not taken back");
}

#[test]
fn what_finishes_takes_as_long_as_it_takes() {
    let mut cluster = wanting("Finish");
    cluster.uploads = 1;
    at(&mut cluster, "2026-09-22T02:00:00Z");
    cluster.until(Step::Draining);
    at(&mut cluster, "2026-09-22T03:59:58Z");
    cluster.uploads = 0;
    cluster.until(Step::Settling);
    assert!(cluster.now > "2026-09-22T04:00:00Z".parse().unwrap(), "{}", cluster.now);
    assert_eq!(cluster.pod_image(), image(2));
}

#[test]
fn going_back_to_the_last_good_release_waits_for_no_window() {
    let mut cluster = wanting("Finish");
    at(&mut cluster, "2026-09-22T02:00:00Z");
    cluster.until(Step::Settling);
    at(&mut cluster, "2026-09-22T04:00:00Z");
    cluster.edit(|spec| spec["image"] = json!(image(1)));
    cluster.until(Step::RollingBack);
    assert!(cluster.message().contains("the spec asks for it"), "{}", cluster.message());
    cluster.settle();
    assert_eq!((cluster.pod_image(), cluster.phase(), rejected(&cluster)), (image(1), "Ready", 0));
}

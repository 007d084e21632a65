//! Children that the API server does not take: what runs goes on, the reason is named, and an edit is a way out.

use paramant_crds::relay::Step;
use serde_json::{Value, json};

use crate::cluster::{Answer, Cluster, Fault, digest, image};

fn is_bad(intent: &Value) -> bool {
    intent["spec"]["template"]["spec"]["affinity"]["bad"] == true
}

fn refuses_bad_affinity(intent: &Value) -> Answer {
    if is_bad(intent) { Answer::Refused } else { Answer::Taken }
}

fn fails_at_bad_affinity(intent: &Value) -> Answer {
    if is_bad(intent) { Answer::Fails } else { Answer::Taken }
}

fn refuses_services(intent: &Value) -> Answer {
    if intent["kind"] == "Service" { Answer::Refused } else { Answer::Taken }
}

#[test]
fn a_template_that_the_api_server_refuses_leaves_the_old_pod_alone() {
    let mut cluster = Cluster::serving();
    cluster.answers = refuses_bad_affinity;
    let pod = cluster.pod()["metadata"]["uid"].clone();
    cluster.edit(|spec| spec["pod"] = json!({"affinity": {"bad": true}}));
    cluster.run(12);
    cluster.settle();
    assert!(cluster.steps.contains(&Step::RollingBack));
    assert_eq!((cluster.pod()["metadata"]["uid"].clone(), cluster.phase()), (pod, "Ready"));
    assert_eq!(cluster.condition("UpdateBlocked").1, "RejectedDigest");
    assert!(cluster.message().contains("affinity"), "{}", cluster.message());
    assert_eq!(cluster.sent.as_ref().unwrap().drain.update_until, None, "and the drain is lifted");
    cluster.edit(|spec| spec["pod"] = json!({"affinity": {"podAntiAffinity": {}}}));
    cluster.until(Step::Settling);
}

#[test]
fn a_first_template_that_the_api_server_does_not_take_waits_for_an_edit() {
    for answers in [refuses_bad_affinity, fails_at_bad_affinity] {
        let mut cluster = Cluster::with(json!({ "image": image(1), "pod": {"affinity": {"bad": true}} }));
        cluster.answers = answers;
        cluster.run(10);
        if answers(&json!({"spec": {"template": {"spec": {"affinity": {"bad": true}}}}})) == Answer::Refused {
            let stalled = cluster.condition("Stalled").1;
            assert_eq!((cluster.phase(), stalled.as_str()), ("Blocked", "ChildRefused"));
        }
        cluster.edit(|spec| spec["pod"] = Value::Null);
        cluster.settle();
        assert_eq!(cluster.phase(), "Ready");
    }
}

#[test]
fn another_child_that_is_refused_is_named_and_what_runs_goes_on() {
    let mut cluster = Cluster::serving();
    cluster.answers = refuses_services;
    cluster.edit(|spec| spec["service"] = json!({"type": "LoadBalancer"}));
    cluster.run(5);
    assert_eq!((cluster.phase(), cluster.condition("Degraded").1.as_str()), ("Degraded", "ChildRefused"));
    assert_eq!(cluster.condition("Ready").0, "True");
    cluster.answers = |_| Answer::Taken;
    cluster.settle();
    assert_eq!(cluster.phase(), "Ready");
}

#[test]
fn another_child_that_is_refused_holds_no_roll_and_is_named_during_it() {
    let mut cluster = Cluster::serving();
    cluster.answers = refuses_services;
    cluster.edit(|spec| {
        spec["image"] = json!(image(2));
        spec["service"] = json!({"type": "LoadBalancer"});
    });
    cluster.until(Step::Replacing);
    cluster.run(2);
    assert_eq!(cluster.condition("Degraded"), ("True".into(), "ChildRefused".into()));
    assert!(cluster.message().contains("Service"), "{}", cluster.message());
    cluster.run(20);
    assert_eq!((cluster.step(), cluster.pod_image()), (Step::Settling, image(2)));
    assert_eq!(cluster.condition("Degraded"), ("True".into(), "ChildRefused".into()));
    cluster.wait(310);
    assert_eq!(cluster.phase(), "Degraded", "{}", cluster.message());
}

#[test]
fn another_child_that_is_refused_holds_no_way_back() {
    let mut cluster = Cluster::serving();
    cluster.answers = refuses_services;
    cluster.faults.insert(digest(2), Fault::Crashes);
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::Probing);
    cluster.edit(|spec| spec["service"] = json!({"type": "LoadBalancer"}));
    cluster.until(Step::RollingBack);
    cluster.run(5);
    assert_eq!((cluster.step(), cluster.pod_image()), (Step::Idle, image(1)));
}

#[test]
fn a_way_in_stays_until_the_other_one_is_there() {
    let host = "relay.acme.example";
    let mut cluster =
        Cluster::with(json!({"image": image(1), "expose": {"host": host, "ingressClassName": "nginx"}}));
    cluster.settle();
    cluster.answers = |intent| if intent["kind"] == "HTTPRoute" { Answer::Refused } else { Answer::Taken };
    cluster.edit(|spec| spec["expose"] = json!({"host": host, "gateway": {"name": "public"}}));
    cluster.run(5);
    assert!(cluster.get("Ingress", "health").is_some());
    cluster.answers = |_| Answer::Taken;
    cluster.settle();
    assert!(cluster.get("Ingress", "health").is_none() && cluster.get("HTTPRoute", "health").is_some());
}

#[test]
fn a_template_that_never_reaches_the_stateful_set_is_given_up_in_time() {
    let mut cluster = Cluster::serving();
    cluster.answers = fails_at_bad_affinity;
    let pod = cluster.pod()["metadata"]["uid"].clone();
    cluster.edit(|spec| {
        spec["image"] = json!(image(2));
        spec["pod"] = json!({"affinity": {"bad": true}});
    });
    cluster.until(Step::Replacing);
    cluster.run(600);
    assert_eq!(cluster.step(), Step::Replacing, "a webhook may come back");
    cluster.run(80);
    assert!(cluster.steps.contains(&Step::RollingBack));
    assert_eq!(
        (cluster.step(), cluster.condition("UpdateBlocked").1.as_str()),
        (Step::Idle, "RejectedDigest")
    );
    assert!(cluster.message().contains("StatefulSet"), "{}", cluster.message());
    assert_eq!(cluster.sent.as_ref().unwrap().drain.update_until, None, "the drain is lifted");
    assert_eq!(cluster.pod()["metadata"]["uid"], pod);
    cluster.edit(|spec| spec["pod"] = Value::Null);
    cluster.until(Step::Settling);
    assert_eq!(cluster.pod_image(), image(2), "an image that never ran has not failed");
}

#[test]
fn a_corrected_spec_leaves_a_template_that_never_reached_the_stateful_set_at_once() {
    for correction in [json!({"affinity": {"podAntiAffinity": {}}}), Value::Null] {
        let mut cluster = Cluster::serving();
        cluster.answers = fails_at_bad_affinity;
        cluster.edit(|spec| spec["pod"] = json!({"affinity": {"bad": true}}));
        cluster.until(Step::Replacing);
        cluster.run(10);
        cluster.edit(|spec| spec["pod"] = correction.clone());
        cluster.run(30);
        let step = if correction.is_null() { Step::Idle } else { Step::Settling };
        assert_eq!(cluster.step(), step, "{}", cluster.message());
        assert_eq!(cluster.condition("UpdateBlocked").0, "False", "nothing was rejected");
        assert!(cluster.status().update.unwrap().rejected.is_empty());
    }
}

#[test]
fn a_last_good_template_that_is_refused_too_lets_an_edit_through() {
    let mut cluster = Cluster::serving();
    cluster.answers = |intent| {
        let old = intent["spec"]["template"]["spec"]["priorityClassName"].is_null();
        if intent["kind"] == "StatefulSet" && old { Answer::Refused } else { Answer::Taken }
    };
    cluster.objects.remove(&("StatefulSet".into(), "health".into()));
    cluster.run(5);
    cluster.edit(|spec| spec["pod"] = json!({"priorityClassName": "high"}));
    cluster.run(60);
    assert_eq!(cluster.step(), Step::Settling, "{}", cluster.message());
}

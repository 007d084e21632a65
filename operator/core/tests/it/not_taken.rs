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
fn a_first_template_that_the_api_server_refuses_blocks_until_it_is_edited() {
    let mut cluster = Cluster::with(json!({ "image": image(1), "pod": {"affinity": {"bad": true}} }));
    cluster.answers = refuses_bad_affinity;
    cluster.run(10);
    assert_eq!((cluster.phase(), cluster.condition("Stalled").1.as_str()), ("Blocked", "ChildRefused"));
    cluster.edit(|spec| spec["pod"] = Value::Null);
    cluster.settle();
    assert_eq!(cluster.phase(), "Ready");
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

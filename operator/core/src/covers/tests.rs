#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use serde_json::{Value, json};

use super::covers;

#[test]
fn what_a_live_object_says_beyond_the_intent_never_matters() {
    let intent = json!({"metadata": {"name": "a", "labels": {"x": "1"}}, "spec": {"replicas": 1}});
    let live = json!({
        "metadata": {"name": "a", "labels": {"x": "1", "y": "2"}, "uid": "u", "managedFields": []},
        "spec": {"replicas": 1, "revisionHistoryLimit": 10},
        "status": {"replicas": 1},
    });
    assert!(covers(&intent, &live));
}

#[test]
fn a_missing_or_other_value_is_a_difference() {
    let intent = json!({"spec": {"a": 1, "b": {"c": "x"}}});
    for live in [
        json!({"spec": {"b": {"c": "x"}}}),
        json!({"spec": {"a": 2, "b": {"c": "x"}}}),
        json!({"spec": {"a": 1, "b": {"c": "y"}}}),
        json!({"spec": {"a": 1, "b": {}}}),
        json!({"spec": {"a": "1", "b": {"c": "x"}}}),
        json!({}),
        Value::Null,
    ] {
        assert!(!covers(&intent, &live), "{live}");
    }
}

#[test]
fn empty_parts_of_an_intent_are_covered_by_their_absence() {
    let intent = json!({"spec": {"a": [], "b": {}, "c": null, "d": {"e": {}}, "f": 1}});
    assert!(covers(&intent, &json!({"spec": {"f": 1}})));
}

#[test]
fn quantities_are_compared_by_value_and_only_where_they_are_quantities() {
    let resources =
        |cpu: &str, memory: &str| json!({"resources": {"requests": {"cpu": cpu, "memory": memory}}});
    assert!(covers(&resources("0.5", "1Gi"), &resources("500m", "1073741824")));
    assert!(!covers(&resources("0.5", "1Gi"), &resources("501m", "1073741824")));
    assert!(covers(
        &json!({"emptyDir": {"sizeLimit": "1024Mi"}}),
        &json!({"emptyDir": {"sizeLimit": "1Gi"}})
    ));
    let label = |value: &str| json!({"metadata": {"labels": {"cpu": value}}});
    assert!(!covers(&label("1000m"), &label("1")));
}

#[test]
fn lists_that_kubernetes_merges_are_compared_by_key() {
    let intent = json!({"spec": {"containers": [
        {"name": "relay", "image": "i", "ports": [{"name": "public", "containerPort": 3000}],
         "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
    ]}});
    let live = json!({"spec": {"containers": [
        {"name": "sidecar", "image": "s"},
        {"name": "relay", "image": "i", "terminationMessagePath": "/dev/termination-log",
         "ports": [
            {"name": "other", "containerPort": 9, "protocol": "TCP"},
            {"name": "public", "containerPort": 3000, "protocol": "TCP"},
         ],
         "volumeMounts": [{"name": "x", "mountPath": "/x"}, {"name": "data", "mountPath": "/data"}]},
    ]}});
    assert!(covers(&intent, &live));
    let mut other = live.clone();
    *other.pointer_mut("/spec/containers/1/ports/1/protocol").unwrap() = json!("UDP");
    assert!(!covers(&intent, &other), "a port of another protocol is another port");
    let mut moved = live;
    *moved.pointer_mut("/spec/containers/1/volumeMounts/1/name").unwrap() = json!("else");
    assert!(!covers(&intent, &moved));
}

#[test]
fn all_other_lists_are_compared_whole() {
    let intent = json!({"spec": {"ingress": [{"ports": [{"port": 3000, "protocol": "TCP"}]}], "policyTypes": ["Ingress", "Egress"]}});
    assert!(covers(&intent, &intent));
    for live in [
        json!({"spec": {"ingress": [{"ports": [{"port": 3000, "protocol": "TCP"}]}, {}], "policyTypes": ["Ingress", "Egress"]}}),
        json!({"spec": {"ingress": [{"ports": [{"port": 3000, "protocol": "TCP"}, {"port": 22}]}], "policyTypes": ["Ingress", "Egress"]}}),
        json!({"spec": {"ingress": [{"ports": [{"port": 3000, "protocol": "TCP"}]}], "policyTypes": ["Ingress"]}}),
        json!({"spec": {"ingress": [{"ports": [{"port": 3000, "protocol": "TCP"}]}], "policyTypes": ["Egress", "Ingress"]}}),
    ] {
        assert!(!covers(&intent, &live), "{live}");
    }
}

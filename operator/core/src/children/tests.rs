#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::json;

use super::*;

mod couriers;

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn relay(spec: Value) -> ParamantRelay {
    serde_json::from_value(json!({
        "apiVersion": "paramant.app/v1alpha1",
        "kind": "ParamantRelay",
        "metadata": {"name": "health", "namespace": "transfers", "uid": "u-1"},
        "spec": spec,
    }))
    .unwrap()
}

fn plain() -> ParamantRelay {
    relay(json!({"image": "registry.example:5000/paramant/relay:3.1.0"}))
}

fn template_of(relay: &ParamantRelay, licence_secret: Option<&str>) -> Value {
    let digest = DIGEST.parse().unwrap();
    let subject = Subject::of(relay).unwrap();
    pod_template(&subject, PodWishes { image: &digest, licence_secret, air_gap: None, restarted_at: None })
}

fn everything(relay: &ParamantRelay) -> Vec<Value> {
    let subject = Subject::of(relay).unwrap();
    let template = template_of(relay, Some("acme"));
    let mut all = vec![
        service_account(&subject),
        service(&subject),
        headless(&subject),
        config(&subject, relay_yaml(&subject, &StaticSettings::wanted(&subject)), "PEM"),
        state(&subject, &crate::Durable { relay_uid: Some("u-1".into()), ..Default::default() }),
        network_policy(&subject, "paramant-system", &[]),
        stateful_set(&subject, &template, None, None, None),
    ];
    all.extend(ingress(&subject));
    all.extend(http_route(&subject));
    all
}

fn full() -> ParamantRelay {
    relay(json!({
        "image": "registry.example/paramant/relay:3.1.0",
        "sector": "health",
        "admin": {"tokenSecretRef": {"name": "health-admin", "key": "word"}},
        "storage": {"size": "20Gi", "className": "fast", "accessMode": "ReadWriteOnce", "payload": "Memory"},
        "transfers": {"anonymousUploads": true, "allowedOrigins": ["https://app.acme.example"], "disclosure": "Strict"},
        "limits": {"maxBlob": "100Mi", "maxTtl": "24h", "requestsPerMinute": 600, "trustedProxies": ["10.0.0.0/8"]},
        "log": {"origin": "relay.acme.example/log"},
        "expose": {"host": "relay.acme.example", "gateway": {"name": "public", "namespace": "edge"}, "annotations": {"a": "b"}},
        "service": {"type": "LoadBalancer", "annotations": {"lb": "internal"}},
        "pod": {
            "resources": {"requests": {"cpu": 1, "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "relay", "operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}},
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
            "priorityClassName": "high",
            "labels": {"team": "health", "paramant.app/relay": "stolen"},
            "annotations": {"note": "x"},
            "imagePullSecrets": [{"name": "pull"}],
            "terminationGracePeriod": "1h30m",
        },
    }))
}

#[test]
fn every_child_but_the_state_is_owned_by_its_relay_and_all_are_labelled_and_sealed() {
    for child in everything(&full()) {
        let name = child["metadata"]["name"].as_str().unwrap();
        assert_eq!(child["metadata"]["labels"]["paramant.app/relay"], "health", "{name}");
        assert_eq!(child["metadata"]["namespace"], "transfers");
        assert_eq!(child["metadata"]["annotations"][INTENT_ANNOTATION].as_str().unwrap().len(), 64);
        let owner = &child["metadata"]["ownerReferences"];
        if name == "health-state" {
            assert!(owner.is_null());
        } else {
            assert_eq!(
                (owner[0]["uid"].as_str(), owner[0]["controller"].as_bool()),
                (Some("u-1"), Some(true)),
                "{name}"
            );
        }
        assert!(child["apiVersion"].is_string() && child["kind"].is_string());
    }
}

#[test]
fn an_intent_says_nothing_that_an_api_server_would_drop() {
    fn hollow(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Object(map) => map.is_empty() || map.values().any(hollow),
            Value::Array(items) => items.is_empty() || items.iter().any(hollow),
            _ => false,
        }
    }
    assert!(hollow(&json!({"a": [{"b": {}}]})), "the check finds what it looks for");
    for child in everything(&plain()) {
        assert!(!hollow(&child), "{child:#}");
    }
}

#[test]
fn dropping_a_field_changes_the_seal() {
    let mut with = full();
    let before = everything(&with);
    with.spec.pod.as_mut().unwrap().node_selector.clear();
    let after = everything(&with);
    let set = |all: &[Value]| all.iter().find(|it| it["kind"] == "StatefulSet").unwrap().clone();
    assert!(!crate::covers(&set(&after), &set(&before)), "though every field of it is there");
    assert_eq!(before.iter().zip(&after).filter(|(a, b)| a != b).count(), 1, "and nothing else changes");
}

#[test]
fn the_pod_is_restricted_and_its_image_is_a_digest() {
    let template = template_of(&plain(), None);
    let spec = &template["spec"];
    let container = &spec["containers"][0];
    assert_eq!(container["image"], format!("registry.example:5000/paramant/relay@{DIGEST}"));
    assert_eq!(image_digest(&template).unwrap().as_str(), DIGEST);
    assert_eq!(spec["automountServiceAccountToken"], false);
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(spec["terminationGracePeriodSeconds"], 600);
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        assert_eq!(container[probe]["httpGet"]["port"], "probes");
    }
}

#[test]
fn a_missing_secret_never_holds_the_pod_back() {
    let template = template_of(&full(), Some("acme"));
    let secrets: Vec<&Value> = template["spec"]["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|volume| volume.get("secret"))
        .collect();
    assert_eq!(secrets.len(), 2);
    assert!(secrets.iter().all(|secret| secret["optional"] == true));
    assert_eq!(secrets[0]["items"], json!([{"key": "word", "path": "token"}]));
    let keys: Vec<&Value> = secrets[1]["items"].as_array().unwrap().iter().map(|item| &item["key"]).collect();
    assert_eq!(keys, ["licence", "licence-next"], "whatever else the Secret holds");
    assert_eq!(licence_secret(&template), Some("acme"));
    assert_eq!(licence_secret(&template_of(&plain(), None)), None);
}

#[test]
fn wishes_for_the_pod_arrive_as_written_and_take_nothing_that_is_ours() {
    let template = template_of(&full(), None);
    let spec = &template["spec"];
    assert_eq!(template["metadata"]["labels"]["team"], "health");
    assert_eq!(template["metadata"]["labels"]["paramant.app/relay"], "health");
    assert_eq!(spec["terminationGracePeriodSeconds"], 5400);
    assert_eq!(spec["nodeSelector"], json!({"disk": "ssd"}));
    assert_eq!(spec["tolerations"], json!([{"key": "relay", "operator": "Exists"}]));
    assert_eq!(spec["affinity"], json!({"podAntiAffinity": {}}));
    assert_eq!(
        spec["topologySpreadConstraints"][0]["labelSelector"],
        json!({"matchLabels": {"app.kubernetes.io/name": "paramant-relay"}}),
        "without one it would match nothing"
    );
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "pull"}]));
    assert_eq!(
        spec["containers"][0]["resources"],
        json!({"requests": {"cpu": "1", "memory": "256Mi"}, "limits": {"memory": "1Gi"}})
    );
}

#[test]
fn a_template_with_wishes_that_kubernetes_reads_is_one_kubernetes_can_read() {
    let subject_of = full();
    let subject = Subject::of(&subject_of).unwrap();
    let intent = stateful_set(&subject, &template_of(&subject_of, Some("acme")), None, None, None);
    let typed: StatefulSet = serde_json::from_value(intent.clone()).unwrap();
    assert!(crate::covers(&intent, &serde_json::to_value(&typed).unwrap()), "and nothing is lost on the way");
}

#[test]
fn the_claim_is_never_deleted_with_its_stateful_set_and_its_template_is_never_changed_in_place() {
    let mut relay = full();
    let template = template_of(&relay, None);
    let intent = stateful_set(&Subject::of(&relay).unwrap(), &template, None, None, None);
    assert_eq!(
        intent["spec"]["persistentVolumeClaimRetentionPolicy"],
        json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
    );
    assert_eq!(intent["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
    let live: StatefulSet = serde_json::from_value(intent.clone()).unwrap();
    relay.spec.storage.as_mut().unwrap().size = Some("40Gi".into());
    let grown = stateful_set(&Subject::of(&relay).unwrap(), &template, Some(&live), None, None);
    assert_eq!(grown["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"], "20Gi");
    assert_eq!(grown, intent, "so a larger size is no change of the StatefulSet");
}

#[test]
fn a_claim_is_left_alone_until_it_must_grow_or_go_along() {
    let claim_of = |spec: Value, live: Value| {
        let relay = relay(spec);
        let live = serde_json::from_value(live).unwrap();
        claim(&Subject::of(&relay).unwrap(), &live)
    };
    let live = |size: &str| json!({"metadata": {"name": "data-health-0", "uid": "c-1"}, "spec": {"resources": {"requests": {"storage": size}}}});
    let image = "registry.example/a/b:1";
    assert_eq!(claim_of(json!({"image": image}), live("10Gi")), None);
    let grown = claim_of(json!({"image": image, "storage": {"size": "20Gi"}}), live("10Gi")).unwrap();
    assert_eq!(grown["spec"]["resources"]["requests"]["storage"], "20Gi");
    assert_eq!(grown["metadata"]["uid"], "c-1");
    assert!(grown["metadata"]["ownerReferences"].is_null());
    let larger = claim_of(json!({"image": image, "storage": {"size": "5Gi"}}), live("10Gi"));
    assert_eq!(larger, None, "a claim never shrinks");
    let along = claim_of(json!({"image": image, "storage": {"retention": "Delete"}}), live("10Gi")).unwrap();
    assert_eq!(along["metadata"]["ownerReferences"][0]["uid"], "u-1");
    let mut touched = live("10Gi");
    touched["metadata"]["annotations"] = json!({INTENT_ANNOTATION: "before"});
    let back = claim_of(json!({"image": image}), touched).unwrap();
    assert!(back["metadata"]["ownerReferences"].is_null(), "retention can be taken back");
}

#[test]
fn the_relay_may_dial_nobody_and_only_the_operator_reaches_its_control_port() {
    let relay = plain();
    let policy = network_policy(&Subject::of(&relay).unwrap(), "paramant-system", &[]);
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert!(policy["spec"]["egress"].is_null());
    let rules = policy["spec"]["ingress"].as_array().unwrap();
    assert_eq!(rules[0], json!({"ports": [{"port": 3000, "protocol": "TCP"}]}));
    assert_eq!(
        rules[1]["from"],
        json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "paramant-system"}}}])
    );
}

#[test]
fn settings_come_back_from_yaml_as_they_were_meant() {
    let relay = full();
    let subject = Subject::of(&relay).unwrap();
    let yaml = relay_yaml(&subject, &StaticSettings::wanted(&subject));
    let read: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(
        read,
        json!({
            "sector": "health",
            "publicUrl": "https://relay.acme.example",
            "listen": {"public": "0.0.0.0:3000", "control": "0.0.0.0:7443", "probes": "0.0.0.0:9090"},
            "log": {"origin": "relay.acme.example/log"},
            "control": {
                "operatorCa": "/etc/paramant/config/operator-ca.pem",
                "tokenFile": "/var/run/secrets/paramant/operator-token",
            },
            "admin": {"tokenFile": "/etc/paramant/admin/token"},
            "license": {"directory": "/etc/paramant/license"},
            "limits": {"maxBlob": "100Mi", "maxTtl": "24h", "requestsPerMinute": 600, "trustedProxies": ["10.0.0.0/8"]},
            "anonymousUploads": true,
            "allowedOrigins": ["https://app.acme.example"],
            "disclosure": "Strict",
            "payload": "Memory",
            "terminationGrace": "1h30m",
        }),
        "{yaml}"
    );
}

#[test]
fn a_size_of_digits_only_stays_text() {
    let relay = relay(json!({"image": "registry.example/a/b:1", "limits": {"maxBlob": "5236477"}}));
    let subject = Subject::of(&relay).unwrap();
    let yaml = relay_yaml(&subject, &StaticSettings::wanted(&subject));
    let read: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(read["limits"]["maxBlob"], "5236477", "{yaml}");
}

#[test]
fn settings_that_need_a_restart_are_written_as_the_rolled_template_has_them() {
    let mut relay = full();
    let rolled = template_of(&relay, None);
    relay.spec.storage.as_mut().unwrap().payload = None;
    let subject = Subject::of(&relay).unwrap();
    assert!(relay_yaml(&subject, &static_settings(&rolled).unwrap()).contains("Memory"));
    assert!(relay_yaml(&subject, &StaticSettings::wanted(&subject)).contains("Disk"));
    assert_ne!(template_of(&relay, None), rolled, "and the change waits for its roll");
}

#[test]
fn an_ingress_or_a_route_is_made_only_when_it_is_asked_for() {
    let exposed = full();
    let subject = Subject::of(&exposed).unwrap();
    assert_eq!(ingress(&subject), None);
    let route = http_route(&subject).unwrap();
    assert_eq!(route["spec"]["parentRefs"], json!([{"name": "public", "namespace": "edge"}]));
    assert_eq!(route["spec"]["rules"], json!([{"backendRefs": [{"name": "health", "port": 80}]}]));
    assert_eq!(route["metadata"]["annotations"]["a"], "b");
    let classed = relay(json!({
        "image": "registry.example/a/b:1",
        "expose": {"host": "relay.acme.example", "ingressClassName": "nginx"},
    }));
    let subject = Subject::of(&classed).unwrap();
    assert_eq!(http_route(&subject), None);
    assert_eq!(ingress(&subject).unwrap()["spec"]["rules"][0]["host"], "relay.acme.example");
}

#[test]
fn metrics_may_be_read_from_where_the_operator_was_told_and_nothing_else_may_be_reached_from_there() {
    let (relay, monitoring) =
        (plain(), json!({ "namespaceSelector": { "matchLabels": { "team": "watch" } } }));
    let subject = Subject::of(&relay).unwrap();
    let peer = serde_json::from_value(monitoring.clone()).unwrap();
    let rules = |intent: &Value| intent["spec"]["ingress"].as_array().unwrap().clone();
    let closed = rules(&network_policy(&subject, "paramant-system", &[]));
    let open = rules(&network_policy(&subject, "paramant-system", &[peer]));
    assert_eq!(open[..2], closed[..], "nothing else changes");
    let ports = json!([{ "port": PROBES_PORT, "protocol": "TCP" }]);
    assert_eq!(open[2..], [json!({ "ports": ports, "from": [monitoring] })]);
}

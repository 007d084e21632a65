//! The pod: what it may, what it asks for, and who selects it.

use serde_json::{Value, json};

use crate::{Shape, labels};

/// What keeps a pod from the restricted standard, or from a file system it cannot write.
fn unrestricted(pod: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut want = |ok: bool, what: &str| {
        if !ok {
            wrong.push(what.to_owned())
        }
    };
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        want(pod.get(key).is_none_or(|it| it == false), key);
    }
    let volumes = pod["volumes"].as_array().cloned().unwrap_or_default();
    want(volumes.iter().all(|it| it.get("hostPath").is_none()), "hostPath");
    want(pod["securityContext"]["runAsNonRoot"] == true, "pod: runAsNonRoot");
    want(pod["securityContext"]["runAsUser"].as_u64().is_some_and(|user| user > 0), "runAsUser");
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        want(context["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation");
        want(context["capabilities"] == json!({ "drop": ["ALL"] }), "capabilities");
        want(context["seccompProfile"]["type"] == "RuntimeDefault", "seccompProfile");
        want(context["readOnlyRootFilesystem"] == true, "readOnlyRootFilesystem");
        want(context.get("privileged").is_none_or(|it| it == false), "privileged");
        for resource in ["cpu", "memory"] {
            want(container["resources"]["requests"].get(resource).is_some(), "requests");
        }
        want(container["resources"]["limits"].get("memory").is_some(), "memory limit");
        want(container["resources"]["limits"].get("cpu").is_none(), "a CPU limit makes it miss its Lease");
    }
    wrong
}

fn pod(shape: &Shape) -> &Value {
    &shape.only("Deployment")["spec"]["template"]
}

#[test]
fn the_pod_keeps_to_the_restricted_standard_in_every_shape() {
    for shape in Shape::all() {
        assert_eq!(unrestricted(&pod(&shape)["spec"]), [""; 0], "{}", shape.name);
    }
    let mut planted = pod(&Shape::named("default"))["spec"].clone();
    planted["hostNetwork"] = json!(true);
    planted["containers"][0]["securityContext"]["capabilities"] = json!({ "add": ["NET_RAW"] });
    assert_eq!(unrestricted(&planted), ["hostNetwork", "capabilities"]);
}

#[test]
fn the_image_can_be_named_by_digest_and_every_part_of_it_be_moved() {
    let image = |name: &str| pod(&Shape::named(name))["spec"]["containers"][0]["image"].clone();
    let digest = "0123456789abcdef".repeat(4);
    assert_eq!(
        image("everything"),
        format!("registry.example:5000/mirror/paramant/operator@sha256:{digest}")
    );
    let text = image("default").as_str().unwrap().to_owned();
    assert!(text.starts_with("registry.paramant.app/paramant/operator:"), "{text}");
    let everything = Shape::named("everything");
    let images = everything.objects.iter().filter(|it| it["spec"]["template"]["spec"].is_object()).count();
    assert_eq!(images, 1, "there is one image to move");
}

#[test]
fn whatever_selects_the_pod_finds_it() {
    for shape in Shape::all() {
        let pod_labels = &pod(&shape)["metadata"]["labels"];
        let mut selectors = vec![("Deployment", "/spec/selector/matchLabels")];
        selectors.extend([
            ("PodDisruptionBudget", "/spec/selector/matchLabels"),
            ("NetworkPolicy", "/spec/podSelector/matchLabels"),
            ("Service", "/spec/selector"),
        ]);
        for (kind, pointer) in selectors {
            for object in shape.of(kind) {
                let selector = object.pointer(pointer).and_then(Value::as_object).unwrap();
                assert!(!selector.is_empty(), "{}: {kind} selects everything", shape.name);
                for (key, value) in selector {
                    assert_eq!(&pod_labels[key], value, "{}: {kind}", shape.name);
                    // It would change with every release, and a Deployment's selector may not.
                    assert!(!key.contains("version") && !key.contains("chart"), "{key}");
                }
            }
        }
    }
}

#[test]
fn every_object_says_what_it_belongs_to() {
    for shape in Shape::all() {
        for object in &shape.objects {
            let labels = labels(object);
            for label in [
                "app.kubernetes.io/name",
                "app.kubernetes.io/instance",
                "app.kubernetes.io/managed-by",
                "helm.sh/chart",
            ] {
                assert!(labels.contains_key(label), "{}: {} has no {label}", shape.name, object["kind"]);
            }
        }
    }
}

#[test]
fn a_second_replica_waits_and_a_rollout_never_leaves_none() {
    let shape = Shape::named("two-replicas");
    let deployment = &shape.only("Deployment")["spec"];
    assert_eq!(deployment["replicas"], 2);
    assert_eq!(deployment["strategy"]["rollingUpdate"], json!({ "maxSurge": 1, "maxUnavailable": 0 }));
    assert_eq!(shape.only("PodDisruptionBudget")["spec"]["maxUnavailable"], 1);
    assert_eq!(Shape::named("default").of("PodDisruptionBudget").count(), 0);
}

#[test]
fn what_the_operator_is_told_reaches_its_command_line() {
    let told = |name: &str| pod(&Shape::named(name))["spec"]["containers"][0]["args"].clone();
    let everything = crate::words(&told("everything")).join(" ");
    for argument in [
        "--namespaces=transfers",
        "--log-format=text",
        "--otlp-endpoint=http://collector.observability:4318",
        "--plain-http-registries=registry.example:5000",
        "--metrics-from=[{\"namespaceSelector\":{}}]",
    ] {
        assert!(everything.contains(argument), "{argument} in {everything}");
    }
    assert_eq!(crate::words(&told("default")), ["--http-addr=[::]:8080", "--log-format=json"]);
    assert!(crate::words(&told("namespaced")).contains(&"--namespaces=transfers,clinic"));
}

#[test]
fn the_authority_is_made_empty_so_that_an_upgrade_leaves_its_content_and_kept_on_removal() {
    for shape in Shape::all() {
        let secret = shape.only("Secret");
        assert!(secret.get("data").is_none() && secret.get("stringData").is_none(), "{}", shape.name);
        assert_eq!(secret["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    }
}

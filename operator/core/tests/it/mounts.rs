//! The chart's fence around what the operator may mount, evaluated on the children it really makes, and on what somebody who
//! took over its account would try.

use std::fmt::Write as _;

use kube_cel::{AdmissionRequest, GroupVersionResource, VapEvaluator, VapExpression};
use serde_json::{Value, json};

use crate::cluster::{Cluster, image};

/// The fence, as the chart renders it.
struct Fence(Vec<VapExpression>);

impl Fence {
    fn new() -> Self {
        let snapshot =
            include_str!("../../../../charts/paramant-operator/tests/snapshots/admission-policy.yaml");
        let policy =
            snapshot.split("\n---\n").find(|it| it.contains("kind: ValidatingAdmissionPolicy\n")).unwrap();
        let policy: Value = serde_saphyr::from_str(policy).unwrap();
        // The evaluator knows no variables: each is put where it is used.
        let mut variables: Vec<(String, String)> = Vec::new();
        let plain = |expression: &str, variables: &[(String, String)]| {
            let filled = variables.iter().fold(without_optionals(expression), |text, (name, meaning)| {
                text.replace(&format!("variables.{name}"), &format!("({meaning})"))
            });
            assert!(!filled.contains("variables."), "{filled}");
            filled
        };
        for variable in policy["spec"]["variables"].as_array().unwrap() {
            let meaning = plain(variable["expression"].as_str().unwrap(), &variables);
            variables.push((variable["name"].as_str().unwrap().to_owned(), meaning));
        }
        let validations = policy["spec"]["validations"].as_array().unwrap().iter();
        let expressions = validations.map(|it| VapExpression {
            expression: plain(it["expression"].as_str().unwrap(), &variables),
            message: it["message"].as_str().map(str::to_owned),
            message_expression: None,
        });
        Self(expressions.collect())
    }

    /// What is said against a write, if anything is.
    fn against(&self, object: &Value, stored: Option<&Value>, relay: &Value) -> Vec<String> {
        let resource = if object["kind"] == "Deployment" { "deployments" } else { "statefulsets" };
        let request = AdmissionRequest {
            operation: if stored.is_some() { "UPDATE" } else { "CREATE" }.to_owned(),
            resource: GroupVersionResource {
                group: "apps".to_owned(),
                version: "v1".to_owned(),
                resource: resource.to_owned(),
            },
            ..AdmissionRequest::default()
        };
        let evaluator = VapEvaluator::builder().object(object.clone()).request(request).params(relay.clone());
        let evaluator = match stored {
            Some(stored) => evaluator.old_object(stored.clone()),
            None => evaluator,
        };
        let results = evaluator.build().evaluate(&self.0);
        results.into_iter().filter(|it| !it.passed).map(|it| it.message.unwrap_or_default()).collect()
    }
}

/// `a.?b.orValue(c)` in the words of a CEL without optional values: `(has(a.b) ? a.b : c)`.
fn without_optionals(expression: &str) -> String {
    let mut plain = String::new();
    let mut rest = expression;
    while let Some((before, after)) = rest.split_once(".?") {
        let start =
            before.rfind(|letter: char| !(letter.is_alphanumeric() || letter == '.')).map_or(0, |at| at + 1);
        let (field, after) = after.split_once(".orValue(").unwrap();
        let (otherwise, after) = after.split_once(')').unwrap();
        let of = &before[start..];
        let _ = write!(plain, "{}(has({of}.{field}) ? {of}.{field} : {otherwise})", &before[..start]);
        rest = after;
    }
    plain + rest
}

/// A relay that was given everything it can mount, in a cluster that is at rest, and the workloads made for it.
struct Made {
    relay: Value,
    workloads: Vec<Value>,
}

impl Made {
    fn of(spec: Value) -> Self {
        Self::licensed(spec, json!({ "secretRef": { "name": "acme-license" } }))
    }

    fn licensed(spec: Value, license: Value) -> Self {
        let mut cluster = Cluster::with(spec);
        if cluster.relay["spec"].get("licenseRef").is_some() {
            cluster.license = Some(json!({
                "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantLicense",
                "metadata": { "name": "acme", "namespace": "transfers" },
                "spec": license,
            }));
        }
        let workloads = cluster.pass().apply.into_iter().chain(cluster.pass().apply);
        let mut workloads: Vec<Value> =
            workloads.filter(|it| it["kind"] == "StatefulSet" || it["kind"] == "Deployment").collect();
        workloads.dedup();
        Self { relay: cluster.relay, workloads }
    }

    fn with_everything() -> Self {
        let spec = json!({
            "image": image(1),
            "licenseRef": { "name": "acme" },
            "admin": { "tokenSecretRef": { "name": "health-admin", "key": "token" } },
            "webhooks": { "hosts": ["hooks.acme.example"], "egress": { "cidrs": ["203.0.113.0/24"] } },
        });
        let carried = json!({ "capabilitySetRef": { "name": "acme-reply" } });
        Self::licensed(spec, json!({ "secretRef": { "name": "acme-license" }, "airGap": carried }))
    }

    fn only(&self, kind: &str) -> Value {
        self.workloads.iter().find(|it| it["kind"] == kind).unwrap().clone()
    }
}

#[test]
fn what_the_operator_makes_passes_the_fence() {
    let fence = Fence::new();
    assert!(fence.0.len() >= 9, "the rules are read");
    let mut judged = 0;
    for made in [Made::of(json!({ "image": image(1) })), Made::with_everything()] {
        for object in &made.workloads {
            assert_eq!(fence.against(object, None, &made.relay), [""; 0], "{object:#}");
            assert_eq!(fence.against(object, Some(object), &made.relay), [""; 0]);
            judged += 1;
        }
    }
    assert!(judged >= 3, "a courier too: {judged}");
}

#[test]
fn what_somebody_who_took_over_its_account_would_try_does_not() {
    let (fence, all) = (Fence::new(), Made::with_everything());
    let (relay, made) = (&all.relay, all.only("StatefulSet"));
    let refused = |what: &str, change: &dyn Fn(&mut Value), said: &str| {
        let mut object = made.clone();
        change(&mut object["spec"]["template"]["spec"]);
        assert_ne!(object, made, "{what}");
        let against = fence.against(&object, None, relay);
        assert!(against.iter().any(|it| it.contains(said)), "{what}: {against:?}");
    };
    fn volumes(pod: &mut Value) -> &mut Vec<Value> {
        pod["volumes"].as_array_mut().unwrap()
    }
    let another = json!({ "name": "loot", "secret": { "secretName": "database", "optional": true } });
    refused(
        "another volume of a Secret",
        &|pod| volumes(pod).push(another.clone()),
        "mounts only the admin token",
    );
    refused(
        "another Secret as the admin's",
        &|pod| {
            let admin = volumes(pod).iter_mut().find(|it| it["name"] == "admin").unwrap();
            admin["secret"]["secretName"] = json!("database");
        },
        "only the admin Secret that the relay of this name refers to",
    );
    refused(
        "more keys of the licence's Secret",
        &|pod| {
            let license = volumes(pod).iter_mut().find(|it| it["name"] == "license").unwrap();
            license["secret"].as_object_mut().unwrap().remove("items");
        },
        "only the keys licence and licence-next",
    );
    refused(
        "another key of the Secret with a reply",
        &|pod| {
            let carried = volumes(pod).iter_mut().find(|it| it["name"] == "air-gap").unwrap();
            carried["secret"]["items"][0]["key"] = json!("password");
        },
        "only the key capabilities",
    );
    refused(
        "the node's files",
        &|pod| volumes(pod).push(json!({ "name": "root", "hostPath": { "path": "/" } })),
        "nothing of a node",
    );
    refused(
        "a projected Secret",
        &|pod| {
            let sources = json!([{ "secret": { "name": "database" } }]);
            volumes(pod).push(json!({ "name": "all", "projected": { "sources": sources } }));
        },
        "projects no Secret",
    );
    refused(
        "a variable from a Secret",
        &|pod| {
            let from =
                json!([{ "name": "P", "valueFrom": { "secretKeyRef": { "name": "database", "key": "p" } } }]);
            pod["containers"][0]["env"] = from;
        },
        "no environment variable from a Secret",
    );
    refused(
        "all variables of a Secret, by an init container",
        &|pod| {
            let from = json!([{ "secretRef": { "name": "database" } }]);
            pod["initContainers"] = json!([{ "name": "i", "image": "i", "envFrom": from }]);
        },
        "no environment variable from a Secret",
    );
    refused(
        "a token of the API server",
        &|pod| pod["automountServiceAccountToken"] = json!(true),
        "no token of the API server",
    );
}

#[test]
fn a_secret_that_is_mounted_already_may_stay_while_a_change_waits_and_a_courier_mounts_none() {
    let (fence, all) = (Fence::new(), Made::with_everything());
    let (relay, made) = (&all.relay, all.only("StatefulSet"));
    let mut renamed = relay.clone();
    renamed["spec"]["admin"]["tokenSecretRef"]["name"] = json!("next-admin");
    assert_eq!(fence.against(&made, Some(&made), &renamed), [""; 0]);
    assert!(!fence.against(&made, None, &renamed).is_empty(), "made anew it is judged by the spec of now");
    let mut courier = all.only("Deployment");
    let secret = json!({ "name": "admin", "secret": { "secretName": "health-admin", "optional": true } });
    let volumes = courier["spec"]["template"]["spec"]["volumes"].as_array_mut().unwrap();
    volumes.push(secret);
    assert!(fence.against(&courier, None, relay).iter().any(|it| it.contains("into a courier")));
}

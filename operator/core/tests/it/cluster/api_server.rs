//! An API server for one manager: server-side apply with list keys, and the defaults a real one fills in.

use serde_json::{Map, Value, json};

use super::Cluster;

impl Cluster {
    /// Server-side apply by one manager.
    pub(crate) fn apply(&mut self, intent: Value) {
        let key = (
            intent["kind"].as_str().unwrap().to_owned(),
            intent["metadata"]["name"].as_str().unwrap().to_owned(),
        );
        let mut live = match self.objects.get(&key) {
            Some(live) => live.clone(),
            None => {
                json!({"metadata": {"uid": self.next_uid(), "generation": 0, "creationTimestamp": self.now.to_string()}})
            }
        };
        let before = live.clone();
        if let Some(last) = self.applied.get(&key) {
            prune(&mut live, last, &intent);
        }
        merge(&mut live, &intent);
        defaults(&key.0, &mut live);
        if live["spec"] != before["spec"] {
            live["metadata"]["generation"] =
                json!(before["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        self.applied.insert(key.clone(), intent);
        self.objects.insert(key, live);
    }
}

fn merge_key(field: &str) -> Option<&'static str> {
    match field {
        "containers" | "volumes" | "imagePullSecrets" | "env" => Some("name"),
        "volumeMounts" => Some("mountPath"),
        "ports" => Some("name"),
        "ownerReferences" => Some("uid"),
        _ => None,
    }
}

pub(super) fn merge(live: &mut Value, intent: &Value) {
    let Value::Object(intent) = intent else {
        *live = intent.clone();
        return;
    };
    if !live.is_object() {
        *live = Value::Object(Map::new());
    }
    let live = live.as_object_mut().unwrap();
    for (field, wanted) in intent {
        let found = live.entry(field.clone()).or_insert(Value::Null);
        match (wanted, merge_key(field)) {
            (Value::Array(items), Some(key))
                if found.is_array() && items.iter().all(|item| item.get(key).is_some()) =>
            {
                let all = found.as_array_mut().unwrap();
                for item in items {
                    match all.iter_mut().find(|it| it[key] == item[key]) {
                        Some(same) => merge(same, item),
                        None => all.push(item.clone()),
                    }
                }
            }
            _ => merge(found, wanted),
        }
    }
}

/// Takes away what the last intent had and the next has not.
fn prune(live: &mut Value, last: &Value, next: &Value) {
    let (Some(fields), Some(last)) = (live.as_object_mut(), last.as_object()) else { return };
    for (field, had) in last {
        let Some(wanted) = next.get(field) else {
            fields.remove(field);
            continue;
        };
        let Some(found) = fields.get_mut(field) else { continue };
        match (had, merge_key(field), found.as_array_mut()) {
            (Value::Array(items), Some(key), Some(all)) => {
                let keeps =
                    |item: &Value| wanted.as_array().is_some_and(|w| w.iter().any(|it| it[key] == item[key]));
                all.retain(|it| keeps(it) || !items.iter().any(|item| item[key] == it[key]));
                for item in items.iter().filter(|item| keeps(item)) {
                    let next = wanted.as_array().unwrap().iter().find(|it| it[key] == item[key]).unwrap();
                    if let Some(found) = all.iter_mut().find(|it| it[key] == item[key]) {
                        prune(found, item, next);
                    }
                }
            }
            _ => prune(found, had, wanted),
        }
    }
}

fn or_default(value: &mut Value, field: &str, default: Value) {
    if value[field].is_null() {
        value[field] = default;
    }
}

/// What a real API server fills in.
fn defaults(kind: &str, live: &mut Value) {
    match kind {
        "StatefulSet" => {
            let spec = &mut live["spec"];
            or_default(spec, "revisionHistoryLimit", json!(10));
            for claim in spec["volumeClaimTemplates"].as_array_mut().unwrap() {
                or_default(claim, "apiVersion", json!("v1"));
                or_default(claim, "kind", json!("PersistentVolumeClaim"));
                or_default(claim, "status", json!({"phase": "Pending"}));
                or_default(&mut claim["spec"], "volumeMode", json!("Filesystem"));
            }
            or_default(&mut spec["template"]["metadata"], "creationTimestamp", Value::Null);
            let pod = &mut spec["template"]["spec"];
            let account = pod["serviceAccountName"].clone();
            for (field, default) in [
                ("restartPolicy", json!("Always")),
                ("dnsPolicy", json!("ClusterFirst")),
                ("schedulerName", json!("default-scheduler")),
                ("serviceAccount", account),
            ] {
                or_default(pod, field, default);
            }
            for volume in pod["volumes"].as_array_mut().unwrap() {
                for source in ["configMap", "secret", "projected"] {
                    if !volume[source].is_null() {
                        or_default(&mut volume[source], "defaultMode", json!(420));
                    }
                }
            }
            let container = &mut pod["containers"][0];
            or_default(container, "terminationMessagePath", json!("/dev/termination-log"));
            or_default(container, "terminationMessagePolicy", json!("File"));
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                or_default(&mut container[probe], "successThreshold", json!(1));
                or_default(&mut container[probe]["httpGet"], "scheme", json!("HTTP"));
            }
            let requests = container["resources"]["requests"].as_object_mut();
            for quantity in requests.into_iter().flat_map(|all| all.values_mut()) {
                // Canonical form: the API server rewrites quantities.
                if quantity == "0.5" {
                    *quantity = json!("500m");
                }
            }
        }
        "Service" => {
            let spec = &mut live["spec"];
            or_default(spec, "type", json!("ClusterIP"));
            or_default(spec, "clusterIP", json!("10.0.0.7"));
            or_default(spec, "sessionAffinity", json!("None"));
            or_default(spec, "internalTrafficPolicy", json!("Cluster"));
        }
        "Deployment" => {
            let spec = &mut live["spec"];
            or_default(spec, "progressDeadlineSeconds", json!(600));
            or_default(spec, "strategy", json!({"type": "RollingUpdate"}));
            let pod = &mut spec["template"]["spec"];
            or_default(pod, "restartPolicy", json!("Always"));
            or_default(pod, "dnsPolicy", json!("ClusterFirst"));
        }
        "HTTPRoute" => {
            for parent in live["spec"]["parentRefs"].as_array_mut().unwrap() {
                or_default(parent, "group", json!("gateway.networking.k8s.io"));
                or_default(parent, "kind", json!("Gateway"));
            }
        }
        _ => {}
    }
}

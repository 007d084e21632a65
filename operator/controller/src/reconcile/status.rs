//! The patch that turns the stored status into the next one.
//!
//! A merge patch of exactly the difference, with the observed resourceVersion as precondition: what others put into
//! fields of ours (a restored backup, say) goes, and an unchanged status is no write at all. Pure.

use kube::Resource;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// `None` when there is nothing to write.
pub(super) fn patch<K: Resource, S: Serialize>(object: &K, stored: Option<&S>, next: &S) -> Option<Value> {
    let stored = stored.and_then(|status| serde_json::to_value(status).ok()).unwrap_or_else(|| json!({}));
    // Ours is a plain struct of strings, numbers and lists: it always becomes JSON.
    let next = serde_json::to_value(next).ok()?;
    let difference = difference(&stored, &next)?;
    Some(json!({ "metadata": { "resourceVersion": object.meta().resource_version }, "status": difference }))
}

/// The merge patch (RFC 7396) from one value to another; `None` when they are equal.
fn difference(from: &Value, to: &Value) -> Option<Value> {
    match (from, to) {
        _ if from == to => None,
        (Value::Object(from), Value::Object(to)) => {
            let gone = from.keys().filter(|key| !to.contains_key(*key)).map(|key| (key.clone(), Value::Null));
            let changed = to.iter().filter_map(|(key, value)| {
                let patch = match from.get(key) {
                    Some(before) => difference(before, value)?,
                    None => value.clone(),
                };
                Some((key.clone(), patch))
            });
            Some(Value::Object(gone.chain(changed).collect::<Map<_, _>>()))
        }
        _ => Some(to.clone()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use paramant_crds::{ParamantRelay, ParamantRelayStatus};

    use super::*;

    /// RFC 7396, as the API server applies it.
    fn merge(target: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        let object = target.as_object_mut().unwrap();
        for (key, value) in patch {
            if value.is_null() {
                object.remove(key);
            } else {
                merge(object.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (0..3).prop_map(Value::from),
            "[a-c]".prop_map(Value::from)
        ];
        let tree = leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        prop::collection::btree_map("[a-d]", tree, 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn applying_the_difference_gives_exactly_the_next_value(from in document(), to in document()) {
            let mut result = from.clone();
            match difference(&from, &to) {
                Some(patch) => merge(&mut result, &patch),
                None => prop_assert_eq!(&from, &to),
            }
            prop_assert_eq!(result, to);
        }
    }

    #[test]
    fn an_unchanged_status_is_no_write_and_a_changed_one_carries_its_precondition() {
        let relay: ParamantRelay = serde_json::from_value(json!({
            "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantRelay",
            "metadata": { "name": "r", "namespace": "n", "resourceVersion": "17" },
            "spec": { "image": "r.example/relay:1" },
            "status": { "observedGeneration": 1 },
        }))
        .unwrap();
        let stored = relay.status.clone().unwrap();
        assert_eq!(patch(&relay, relay.status.as_ref(), &stored), None);
        let next = ParamantRelayStatus { observed_generation: Some(2), ..stored };
        assert_eq!(
            patch(&relay, relay.status.as_ref(), &next),
            Some(json!({ "metadata": { "resourceVersion": "17" }, "status": { "observedGeneration": 2 } }))
        );
    }
}

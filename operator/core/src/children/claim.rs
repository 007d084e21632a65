//! The claim of the relay's volume, which the StatefulSet makes and nobody here ever deletes.
//!
//! Two wishes reach a claim that exists: a larger size, and `retention: Delete`, which is an owner reference set in
//! advance so that the claim goes with the relay though the operator may be away.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as KubeQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use paramant_crds::relay::Retention;
use serde_json::{Value, json};

use super::{INTENT_ANNOTATION, Subject, seal, to_value};
use crate::covers::Quantity;

/// The intent for a live claim, or `None` when it is as it was made and shall stay so.
///
/// It names the live UID, so that a claim that went away in between is not made anew without a volume.
pub fn claim(subject: &Subject<'_>, live: &PersistentVolumeClaim) -> Option<Value> {
    let storage = subject.spec.storage_or_default();
    let wanted = storage.size_or_default();
    let requested = live.spec.as_ref().and_then(|spec| spec.resources.as_ref()).and_then(|resources| {
        resources.requests.as_ref()?.get("storage").map(|KubeQuantity(text)| text.clone())
    });
    let grows = requested.as_deref().is_some_and(|requested| less(requested, wanted.as_str()));
    let goes_along = storage.retention.unwrap_or_default() == Retention::Delete;
    let touched = live.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(INTENT_ANNOTATION));
    if !grows && !goes_along && !touched {
        return None;
    }
    let mut metadata = json!({
        "name": subject.claim_name(),
        "namespace": subject.namespace,
        "labels": to_value(&BTreeMap::from_iter(subject.labels())),
        "uid": live.metadata.uid,
    });
    if let (true, Some(metadata)) = (goes_along, metadata.as_object_mut()) {
        // Not as controller: a claim that a StatefulSet made has none, and needs none.
        let owner = OwnerReference { controller: None, ..subject.owner() };
        metadata.insert("ownerReferences".into(), json!([to_value(&owner)]));
    }
    let mut intent = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata });
    if let (true, Some(intent)) = (grows || touched, intent.as_object_mut()) {
        // Never ask for less than is there: the API server refuses to shrink a claim.
        let size = match requested {
            Some(requested) if !grows => requested,
            _ => wanted.as_str().to_owned(),
        };
        intent.insert("spec".into(), json!({ "resources": { "requests": { "storage": size } } }));
    }
    Some(seal(intent))
}

fn less(a: &str, b: &str) -> bool {
    match (a.parse::<Quantity>(), b.parse::<Quantity>()) {
        (Ok(a), Ok(b)) => a < b,
        _ => false,
    }
}

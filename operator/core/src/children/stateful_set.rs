//! The StatefulSet: one replica, replaced only by deleting its pod (`OnDelete`), its claim kept whatever happens.
//!
//! The template is passed in, because which template may be written is the machine's decision and not a rendering.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PodTemplateSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde_json::{Value, json};

use super::{Subject, seal, to_value};
use crate::durable::ResolvedImage;
use crate::offer::Followed;

/// What a tag was resolved to, as `<relay>-state` keeps it: a second copy, should that be lost. On the StatefulSet and not
/// in its template, where it would restart the relay.
const RESOLVED_IMAGE: &str = "paramant.app/resolved-image";

/// The offer that the relay took, likewise.
const TAKEN_OFFER: &str = "paramant.app/taken-offer";

/// The intent. `live` gives the claim template of a StatefulSet that exists: it cannot be changed in place.
pub fn stateful_set(
    subject: &Subject<'_>,
    template: &Value,
    live: Option<&StatefulSet>,
    resolved: Option<&ResolvedImage>,
    taken: Option<&Followed>,
) -> Value {
    let existing =
        live.and_then(|live| live.spec.as_ref()).and_then(|spec| spec.volume_claim_templates.as_ref());
    let claims = match existing {
        Some(claims) if !claims.is_empty() => claims.iter().map(as_made).collect(),
        _ => vec![claim_template(subject)],
    };
    let resolved = resolved.and_then(|resolved| serde_json::to_string(resolved).ok());
    let taken = taken.and_then(|taken| serde_json::to_string(taken).ok());
    let copies = [(RESOLVED_IMAGE, resolved), (TAKEN_OFFER, taken)];
    let copies: BTreeMap<String, String> =
        copies.into_iter().filter_map(|(key, copy)| Some((key.to_owned(), copy?))).collect();
    let mut intent = to_value(&StatefulSet {
        metadata: ObjectMeta {
            annotations: (!copies.is_empty()).then_some(copies),
            ..subject.metadata(subject.name)
        },
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            service_name: Some(subject.headless_name()),
            selector: LabelSelector { match_labels: Some(subject.selector()), ..LabelSelector::default() },
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".into()),
                rolling_update: None,
            }),
            // OrderedReady would wait for a broken pod to become ready.
            pod_management_policy: Some("Parallel".into()),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some("Retain".into()),
                when_scaled: Some("Retain".into()),
            }),
            volume_claim_templates: Some(claims),
            template: PodTemplateSpec::default(),
            ..StatefulSetSpec::default()
        }),
        status: None,
    });
    if let Some(spec) = intent.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("template".into(), template.clone());
    }
    seal(intent)
}

fn claim_template(subject: &Subject<'_>) -> PersistentVolumeClaim {
    let storage = subject.spec.storage_or_default();
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some("data".into()),
            labels: Some(subject.labels()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec![storage.access_mode.unwrap_or_default().as_str().into()]),
            storage_class_name: storage.class_name.as_ref().map(|name| name.as_str().to_owned()),
            resources: Some(VolumeResourceRequirements {
                requests: Some(
                    [("storage".into(), Quantity(storage.size_or_default().as_str().into()))].into(),
                ),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

/// The part of a live claim template that was ours, without what the API server filled in.
fn as_made(live: &PersistentVolumeClaim) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: live.metadata.name.clone(),
            labels: live.metadata.labels.clone(),
            ..ObjectMeta::default()
        },
        spec: live.spec.as_ref().map(|spec| PersistentVolumeClaimSpec {
            access_modes: spec.access_modes.clone(),
            storage_class_name: spec.storage_class_name.clone(),
            resources: spec.resources.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

/// What a tag was resolved to, as a live StatefulSet remembers it.
pub(crate) fn resolved_image(live: &StatefulSet) -> Option<ResolvedImage> {
    serde_json::from_str(live.metadata.annotations.as_ref()?.get(RESOLVED_IMAGE)?).ok()
}

/// The offer that the relay took, likewise.
pub(crate) fn taken_offer(live: &StatefulSet) -> Option<Followed> {
    serde_json::from_str(live.metadata.annotations.as_ref()?.get(TAKEN_OFFER)?).ok()
}

/// The template inside a live StatefulSet.
pub(crate) fn live_template(live: &StatefulSet) -> Value {
    live.spec.as_ref().map_or(json!({}), |spec| to_value(&spec.template))
}

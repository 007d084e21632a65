//! The ConfigMap `<relay>-state`: what must outlive status, and the relay itself.
//!
//! It has no owner reference: deleting a relay leaves it, so that a relay made again over the same volume continues its
//! log, its key and its rejections, and one made again with another volume its rejections. Its content is [`crate::durable::Durable`].

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::{Subject, seal, to_value};
use crate::durable::Durable;

/// The intent.
pub fn state(subject: &Subject<'_>, durable: &Durable) -> Value {
    seal(to_value(&ConfigMap {
        metadata: ObjectMeta { owner_references: None, ..subject.metadata(subject.state_name()) },
        data: Some(durable.to_data()),
        ..ConfigMap::default()
    }))
}

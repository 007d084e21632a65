//! Events: news for people, one for each transition, never a heartbeat.
//!
//! They follow a status that was just stored, so the same transition is never told twice by passes that repeat. An Event that
//! cannot be written is lost, and nothing else is: the condition says the same.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as KubeEvent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Resource, ResourceExt as _};
use paramant_operator_core::Event;

use super::Inner;
use crate::key::{RelayKey, Subject};
use crate::sentence;

/// What reports: shown as the source.
const CONTROLLER: &str = "paramant.app/operator";
/// The API server refuses longer notes.
const MAX_NOTE: usize = 1000;

impl Inner {
    pub(super) async fn announce<K>(&self, subject: &Subject, object: &K, events: &[Event])
    where
        K: Resource<DynamicType = ()>,
    {
        let key = subject.key();
        let api: Api<KubeEvent> = Api::namespaced(self.client.clone(), &key.namespace);
        for event in events.iter().filter(|event| self.told.is_news(subject, event)) {
            if self.may_write().is_err() || self.going.is_going(&key.namespace) {
                return;
            }
            self.count("Event", "create");
            if let Err(error) = api.create(&PostParams::default(), &self.event(key, object, event)).await {
                self.going.note(&key.namespace, &error);
                tracing::warn!(%subject, reason = %event.reason, error = sentence::of_kube(&error), "an Event was lost");
            }
        }
    }

    fn event<K: Resource<DynamicType = ()>>(&self, key: &RelayKey, object: &K, event: &Event) -> KubeEvent {
        let now = Timestamp::now();
        KubeEvent {
            metadata: ObjectMeta {
                name: Some(format!("{}.{:x}", key.name, now.as_nanosecond())),
                namespace: Some(key.namespace.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            action: Some("Reconcile".to_owned()),
            reason: Some(event.reason.clone()),
            type_: Some(event.type_.as_str().to_owned()),
            note: Some(shortened(&event.message)),
            regarding: Some(ObjectReference {
                resource_version: object.resource_version(),
                ..object.object_ref(&())
            }),
            ..KubeEvent::default()
        }
    }
}

fn shortened(note: &str) -> String {
    note.char_indices().take_while(|(at, _)| *at < MAX_NOTE).map(|(_, letter)| letter).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_long_note_is_cut_between_letters() {
        assert_eq!(shortened("short"), "short");
        assert!(shortened(&"é".repeat(2000)).len() <= MAX_NOTE + 1);
    }
}

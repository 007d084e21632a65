//! What the operator believes of each relay, put together for `/debug/state` from everything a pass looks at.
//!
//! No Secret is read by this process, and nothing that is sent to a relay or comes from one is repeated here but what status
//! shows as well.

use std::collections::BTreeMap;

use paramant_crds::relay::{Phase, Step};
use paramant_operator_core::Resolution;
use serde::Serialize;

use super::Reconciler;
use crate::control::belief::Belief;
use crate::key::{RelayKey, Subject};
use crate::queue::worker::Due;

/// One relay.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    /// Which spec there is, and which the status is about.
    pub generation: Option<i64>,
    /// See [`Self::generation`].
    pub observed_generation: Option<i64>,
    /// The stored status.
    pub phase: Option<Phase>,
    /// The stored step of the update machine.
    pub step: Option<Step>,
    /// Its place in the queue.
    pub queue: Option<Due>,
    /// Writes of ours that the watch has not shown yet: a pass waits for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unseen_writes: Vec<String>,
    /// What is known of its image: `pending`, `resolved`, `refused` or `unavailable`.
    pub image: &'static str,
    /// The control channel; absent where there is no task for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<Belief>,
}

impl Reconciler {
    /// Every relay of the filled scopes, and every one that still has a task.
    pub fn known(&self) -> BTreeMap<String, Known> {
        let inner = &self.inner;
        let mut control = inner.control.beliefs();
        let mut all = BTreeMap::new();
        for relay in inner.world.relays() {
            let Some(key) = crate::triggers::key(&*relay) else { continue };
            let status = relay.status.clone().unwrap_or_default();
            let known = Known {
                generation: relay.metadata.generation,
                observed_generation: status.observed_generation,
                phase: status.phase,
                step: status.update.and_then(|update| update.step),
                ..self.beside(&key, control.remove(&key))
            };
            all.insert(key.to_string(), known);
        }
        for (key, belief) in control {
            all.insert(key.to_string(), self.beside(&key, Some(belief)));
        }
        all
    }

    fn beside(&self, key: &RelayKey, control: Option<Belief>) -> Known {
        let image = match self.inner.resolver.resolution(key) {
            Resolution::Pending => "pending",
            Resolution::Resolved { .. } => "resolved",
            Resolution::Refused { .. } => "refused",
            Resolution::Unavailable { .. } => "unavailable",
        };
        Known {
            queue: self.inner.queue.due(&Subject::Relay(key.clone())),
            unseen_writes: self.inner.expectations.of(key),
            image,
            control,
            ..Known::default()
        }
    }
}

//! Policies and licences: only their status is written, from what is in the local stores.
//!
//! Core says what the status is; here it is put together and written when it differs. Nothing waits for these: a relay reads
//! the policy itself.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use paramant_crds::ParamantRelay;
use paramant_operator_core::{events, standing};

use super::{Inner, Stopped};
use crate::backoff::jittered;
use crate::key::{RelayKey, Subject};
use crate::queue::Outcome;
use crate::stores::Stores;
use crate::triggers;

/// Every change wakes these; this is for what was missed.
const REQUEUE: Duration = Duration::from_secs(600);
/// So long after an edge its policy is looked at.
const LATE: Duration = Duration::from_millis(100);

impl Inner {
    pub(super) async fn policy(&self, key: &RelayKey) -> Result<Outcome, Stopped> {
        let Some(stores) = self.world.of(&key.namespace) else { return Ok(Outcome::Gone) };
        let Some(policy) = stores.policy(key, &key.name) else {
            self.told.forget(&Subject::Policy(key.clone()));
            return Ok(Outcome::Gone);
        };
        let relays = naming(&stores, key, triggers::policy_of);
        let relays: Vec<&ParamantRelay> = relays.iter().map(AsRef::as_ref).collect();
        let now = Timestamp::now();
        let (next, edge) = standing::policy_status(&policy, &relays, now);
        if self.write_status(key, &*policy, policy.status.as_ref(), &next).await? {
            let before =
                policy.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
            let events = events::policy_events(before, &next.conditions);
            self.announce(&Subject::Policy(key.clone()), &*policy, &events).await;
        }
        Ok(Outcome::Requeue(until(edge, now).unwrap_or(REQUEUE).min(jittered(REQUEUE))))
    }

    pub(super) async fn license(&self, key: &RelayKey) -> Result<Outcome, Stopped> {
        let Some(stores) = self.world.of(&key.namespace) else { return Ok(Outcome::Gone) };
        let Some(license) = stores.license(key, &key.name) else {
            self.told.forget(&Subject::License(key.clone()));
            return Ok(Outcome::Gone);
        };
        let relays = naming(&stores, key, triggers::license_of);
        let relays: Vec<&ParamantRelay> = relays.iter().map(AsRef::as_ref).collect();
        let next =
            standing::license_status(&license, &relays, &self.context.license_servers, Timestamp::now());
        if self.write_status(key, &*license, license.status.as_ref(), &next).await? {
            let before =
                license.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
            let events = events::license_events(before, &next.conditions);
            self.announce(&Subject::License(key.clone()), &*license, &events).await;
        }
        Ok(Outcome::Requeue(jittered(REQUEUE)))
    }
}

/// How long until a window opens or closes. A moment late rather than early: before the edge nothing has changed.
fn until(edge: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    let wait = Duration::try_from(edge?.duration_since(now)).unwrap_or_default();
    Some(wait.saturating_add(LATE))
}

/// The relays that name the object at `key`.
fn naming(
    stores: &Stores,
    key: &RelayKey,
    reference: impl Fn(&ParamantRelay) -> Option<&str>,
) -> Vec<Arc<ParamantRelay>> {
    stores.relays.state_filter(|relay| {
        relay.metadata.namespace.as_deref() == Some(&key.namespace) && reference(relay) == Some(&key.name)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_policy_is_looked_at_just_after_its_next_edge() {
        let now: Timestamp = "2026-11-28T00:59:58.5Z".parse().unwrap();
        let edge: Timestamp = "2026-11-28T01:00:00Z".parse().unwrap();
        assert_eq!(until(Some(edge), now), Some(Duration::from_millis(1600)));
        assert_eq!(until(Some(now), edge), Some(LATE), "an edge that is past is due");
        assert_eq!(until(None, now), None);
    }
}

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

impl Inner {
    pub(super) async fn policy(&self, key: &RelayKey) -> Result<Outcome, Stopped> {
        let Some(stores) = self.world.of(&key.namespace) else { return Ok(Outcome::Gone) };
        let Some(policy) = stores.policy(key, &key.name) else {
            self.told.forget(&Subject::Policy(key.clone()));
            return Ok(Outcome::Gone);
        };
        let relays = naming(&stores, key, triggers::policy_of).len();
        let next =
            standing::policy_status(&policy, u32::try_from(relays).unwrap_or(u32::MAX), Timestamp::now());
        if self.write_status(key, &*policy, policy.status.as_ref(), &next).await? {
            let before =
                policy.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
            let events = events::policy_events(before, &next.conditions);
            self.announce(&Subject::Policy(key.clone()), &*policy, &events).await;
        }
        Ok(Outcome::Requeue(jittered(REQUEUE)))
    }

    pub(super) async fn license(&self, key: &RelayKey) -> Result<Outcome, Stopped> {
        let Some(stores) = self.world.of(&key.namespace) else { return Ok(Outcome::Gone) };
        let Some(license) = stores.license(key, &key.name) else {
            self.told.forget(&Subject::License(key.clone()));
            return Ok(Outcome::Gone);
        };
        let relays = naming(&stores, key, triggers::license_of);
        let relays: Vec<&ParamantRelay> = relays.iter().map(AsRef::as_ref).collect();
        let next = standing::license_status(&license, &relays, Timestamp::now());
        if self.write_status(key, &*license, license.status.as_ref(), &next).await? {
            let before =
                license.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
            let events = events::license_events(before, &next.conditions);
            self.announce(&Subject::License(key.clone()), &*license, &events).await;
        }
        Ok(Outcome::Requeue(jittered(REQUEUE)))
    }
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

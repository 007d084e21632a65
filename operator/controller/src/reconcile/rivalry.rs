//! Relays that share what must be each one's own: an identity, or a log.
//!
//! Which of two gives way is core's decision; here they are found, and each is woken when the other appears or goes, because
//! neither's own objects change then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use paramant_crds::ParamantRelay;
use paramant_operator_core::{Report, Rival, Shared};
use paramant_protocol::control::RelayState;

use super::Inner;
use crate::key::RelayKey;
use crate::triggers;

/// Who was seen to rival whom.
#[derive(Debug, Default)]
pub(super) struct Rivalries(Mutex<BTreeSet<(RelayKey, RelayKey)>>);

impl Rivalries {
    /// Notes the rivals of one relay; returns those met for the first time.
    pub(super) fn meet(&self, key: &RelayKey, rivals: &[Rival]) -> Vec<RelayKey> {
        let now: BTreeSet<_> =
            rivals.iter().map(|rival| RelayKey::new(&rival.namespace, &rival.name)).collect();
        let mut known = self.lock();
        known.retain(|(one, other)| one != key || now.contains(other));
        now.into_iter().filter(|rival| known.insert((key.clone(), rival.clone()))).collect()
    }

    /// Forgets a relay that is gone; returns those it rivalled.
    pub(super) fn end(&self, key: &RelayKey) -> Vec<RelayKey> {
        let mut known = self.lock();
        let former = known.iter().filter(|(_, other)| other == key).map(|(one, _)| one.clone()).collect();
        known.retain(|(one, other)| one != key && other != key);
        former
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(RelayKey, RelayKey)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Other relays with this one's identity or log.
    pub(super) fn rivals(&self, key: &RelayKey, relay: &ParamantRelay, report: &Report) -> Vec<Rival> {
        let state = match report {
            Report::Reachable { state, .. } => Some(state.as_ref()),
            Report::Unknown | Report::Unreachable { .. } | Report::KeyChanged { .. } => None,
        };
        let origin = origin(relay, state);
        if state.is_none() && origin.is_none() {
            return Vec::new();
        }
        let states: BTreeMap<RelayKey, Arc<RelayState>> = self.control.states().into_iter().collect();
        let others = self.world.relays();
        let mut rivals: Vec<Rival> = others
            .iter()
            .filter_map(|other| {
                let other_key = triggers::key(&**other).filter(|other_key| other_key != key)?;
                let other_state = states.get(&other_key).map(Arc::as_ref);
                let same_identity = state
                    .zip(other_state)
                    .is_some_and(|(a, b)| a.identity.fingerprint == b.identity.fingerprint);
                let same_origin = origin.is_some() && origin == self::origin(other, other_state);
                let shares = match (same_identity, same_origin) {
                    (true, _) => Shared::Identity,
                    (false, true) => Shared::LogOrigin,
                    (false, false) => return None,
                };
                let created =
                    other.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
                let uid = other.metadata.uid.clone()?;
                Some(Rival { namespace: other_key.namespace, name: other_key.name, uid, created, shares })
            })
            .collect();
        rivals.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        rivals
    }
}

/// The log's name: what the relay reports, else what is asked for. A default name is the relay's own and rivals nobody.
fn origin<'a>(relay: &'a ParamantRelay, state: Option<&'a RelayState>) -> Option<&'a str> {
    let asked = || relay.spec.log.as_ref().and_then(|log| log.origin.as_ref()).map(|origin| origin.as_str());
    state.map(|state| state.log.origin.as_str()).or_else(asked)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn rival(name: &str) -> Rival {
        Rival {
            namespace: "n".to_owned(),
            name: name.to_owned(),
            uid: String::new(),
            created: Timestamp::UNIX_EPOCH,
            shares: Shared::Identity,
        }
    }

    #[test]
    fn a_rival_is_woken_when_it_is_met_and_when_the_other_goes() {
        let (rivalries, a, b) = (Rivalries::default(), RelayKey::new("n", "a"), RelayKey::new("n", "b"));
        assert_eq!(rivalries.meet(&a, &[rival("b")]), vec![b.clone()]);
        assert_eq!(rivalries.meet(&a, &[rival("b")]), []);
        assert_eq!(rivalries.meet(&b, &[rival("a")]), vec![a.clone()]);
        assert_eq!(rivalries.end(&a), vec![b.clone()]);
        assert_eq!(rivalries.end(&a), []);
    }
}

//! Puts together what is known about one relay: local stores, the relay's task, the resolver's answer, and its rivals.

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use paramant_crds::ParamantRelay;
use paramant_operator_core::{Durable, Observation, Referenced, Report, Rival, Shared};
use paramant_protocol::control::RelayState;

use super::Inner;
use crate::control::{CONTROL_PORT, Target};
use crate::key::RelayKey;
use crate::stores::Stores;
use crate::triggers;

impl Inner {
    pub(super) fn observe(&self, key: &RelayKey, stores: &Stores, relay: Arc<ParamantRelay>) -> Observation {
        let policy = reference(relay.spec.policy_ref.as_ref().map(|it| it.name.as_str()), |name| {
            stores.policy(key, name)
        });
        let license = reference(relay.spec.license_ref.as_ref().map(|it| it.name.as_str()), |name| {
            stores.license(key, name)
        });
        let report = self.control.report(key);
        let rivals = self.rivals(key, &relay, &report);
        let (children, resolution) = (stores.children(key), self.resolver.resolution(key));
        Observation { relay, policy, license, children, report, resolution, rivals }
    }

    /// Other relays with this one's identity or log.
    fn rivals(&self, key: &RelayKey, relay: &ParamantRelay, report: &Report) -> Vec<Rival> {
        let state = match report {
            Report::Reachable { state, .. } => Some(state.as_ref()),
            Report::Unknown | Report::Unreachable { .. } | Report::KeyChanged { .. } => None,
        };
        let origin = origin(relay, state);
        if state.is_none() && origin.is_none() {
            return Vec::new();
        }
        let states: std::collections::BTreeMap<RelayKey, Arc<RelayState>> =
            self.control.states().into_iter().collect();
        let others = self.world.relays();
        let mut rivals: Vec<Rival> = others
            .iter()
            .filter_map(|other| {
                let other_key = triggers::relay(other).filter(|other_key| other_key != key)?;
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

fn reference<T>(name: Option<&str>, find: impl Fn(&str) -> Option<Arc<T>>) -> Referenced<T> {
    match name {
        None => Referenced::Unreferenced,
        Some(name) => {
            find(name).map_or_else(|| Referenced::Missing { name: name.to_owned() }, Referenced::Found)
        }
    }
}

/// Where to reach the relay: its pod, once it has an address.
pub(super) fn target(observation: &Observation) -> Option<Target> {
    let name = observation.relay.metadata.name.as_deref()?;
    let pod_name = format!("{name}-0");
    let pod = observation.children.pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(&pod_name))?;
    let status = pod.status.as_ref()?;
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    Some(Target {
        address: SocketAddr::new(status.pod_ip.as_deref()?.parse().ok()?, CONTROL_PORT),
        pod_uid: pod.metadata.uid.clone()?,
        pinned: Durable::read(observation.children.state.as_deref()).control_key,
        pod_ready: ready(pod),
    })
}

fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| {
        all.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
}

//! Puts together what is known about one relay: local stores, the relay's task, the resolver's answer, and its rivals.

use std::net::SocketAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use paramant_crds::ParamantRelay;
use paramant_operator_core::{Durable, Observation, Referenced};

use super::Inner;
use crate::control::{CONTROL_PORT, Target};
use crate::key::RelayKey;
use crate::queue::Wake;
use crate::stores::Stores;
use crate::triggers;

impl Inner {
    pub(super) fn observe(&self, key: &RelayKey, stores: &Stores, relay: Arc<ParamantRelay>) -> Observation {
        let policy = reference(triggers::policy_of(&relay), |name| stores.policy(key, name));
        let license = reference(triggers::license_of(&relay), |name| stores.license(key, name));
        let report = self.control.report(key);
        let rivals = self.rivals(key, &relay, &report);
        for met in self.rivalries.meet(key, &rivals) {
            self.queue.wake(met, Wake::Now);
        }
        let (children, resolution) = (stores.children(key), self.resolver.resolution(key));
        let (refused, directives_refused) = (self.refusals.of(key), self.control.refused(key));
        Observation {
            relay,
            policy,
            license,
            children,
            report,
            resolution,
            inspection: self.inspector.inspection(key),
            refused,
            directives_refused,
            rivals,
        }
    }
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

//! What the tasks of each relay believe now, for `/debug/state`: names, instants and places in an order, nothing that is sent.

use std::collections::BTreeMap;

use paramant_operator_core::observation::Report;
use paramant_protocol::control::{DirectivesMark, DrainState};
use serde::Serialize;

use super::{ControlPlane, Relay, mark};
use crate::key::RelayKey;

/// What is believed of one relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Belief {
    /// `unknown`, `reachable`, `unreachable` or `key-changed`.
    pub report: &'static str,
    /// Why, where it is not reachable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the newest state arrived, or since when it has been unreachable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<jiff::Timestamp>,
    /// Where it is dialled, and the pod that must answer there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// See [`Self::address`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Whether its control key is pinned.
    pub key_pinned: bool,
    /// The drain, as the relay reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainState>,
    /// What it shall be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directives: Option<DirectivesMark>,
    /// What it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<DirectivesMark>,
    /// What it refused last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<DirectivesMark>,
}

impl ControlPlane {
    /// What is believed of every relay there are tasks for.
    pub fn beliefs(&self) -> BTreeMap<RelayKey, Belief> {
        self.lock().present.iter().map(|(key, tasks)| (key.clone(), belief(&tasks.relay))).collect()
    }
}

fn belief(relay: &Relay) -> Belief {
    let (target, directives) = {
        let wanted = relay.wanted.borrow();
        (wanted.target.clone(), wanted.directives.as_deref().map(mark))
    };
    let known = relay.known();
    let (report, reason, at, drain) = match &known.report {
        Report::Unknown => ("unknown", None, None, None),
        Report::Reachable { state, at, .. } => ("reachable", None, Some(*at), Some(state.drain.state)),
        Report::Unreachable { since, reason } => ("unreachable", Some(reason.clone()), Some(*since), None),
        Report::KeyChanged { .. } => {
            ("key-changed", Some("it shows another control key than the pinned one".to_owned()), None, None)
        }
    };
    Belief {
        report,
        reason,
        at,
        address: target.as_ref().map(|target| target.address.to_string()),
        pod: target.as_ref().map(|target| target.pod_uid.clone()),
        key_pinned: target.as_ref().is_some_and(|target| target.pinned.is_some()),
        drain,
        directives,
        acknowledged: known.acknowledged.as_ref().map(|(_, sent)| mark(sent)),
        refused: known.refused.clone(),
    }
}

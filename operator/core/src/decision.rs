//! What one pass wants done. A decision is inert: it says what, the controller does it, in the order given here.
//!
//! Order: `status` first when it differs from what is stored (with `metadata.resourceVersion`; a conflict ends the pass),
//! then `state`, then `directives`, then `apply`, then `delete`. `directives` and everything after them may only be
//! done once `state` is stored; a failing `apply` never holds back `directives`, and a deletion only as
//! [`DeletedKind::waits_for`] says. A disruptive step (a new pod template, a
//! deleted pod) is only ever in a decision whose step was already stored: see [`crate::machine`].

use std::time::Duration;

use paramant_crds::ParamantRelayStatus;
use paramant_protocol::control::Directives;
use serde_json::Value;

use crate::release::Inspect;

/// The outcome of [`crate::decide`].
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The whole next status.
    pub status: ParamantRelayStatus,
    /// The durable copy `<relay>-state`, if what is stored does not cover it: a complete intent for server-side apply.
    pub state: Option<Value>,
    /// What the relay shall be told; hand it to the relay's task, which sends it until it is answered.
    pub directives: Option<Directives>,
    /// Complete intents for server-side apply, only those the live objects do not cover already.
    pub apply: Vec<Value>,
    /// Objects to delete, each with the UID it must still have.
    pub delete: Vec<Deletion>,
    /// An image reference whose digest is needed; the answer comes back in [`crate::observation::Resolution`].
    pub resolve: Option<ImageRef>,
    /// A digest whose signature must be checked; the answer comes back in [`crate::observation::Observation::inspection`].
    pub inspect: Option<Inspect>,
    /// Events to emit: only on transitions.
    pub events: Vec<Event>,
    /// When to decide again if nothing changes before.
    pub requeue: Duration,
}

/// One object to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Which kind.
    pub kind: DeletedKind,
    /// Its name, in the relay's namespace.
    pub name: String,
    /// The UID it must still have: `preconditions.uid`.
    pub uid: String,
}

/// The kinds the operator ever deletes. Claims, Secrets and `<relay>-state` are not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeletedKind {
    /// The relay's pod: the disruptive step. Its own grace period applies, never force.
    Pod,
    /// A StatefulSet whose claim template must change; propagation `Orphan`, so the pod stays.
    StatefulSetOrphan,
    /// No longer exposed by a class.
    Ingress,
    /// No longer exposed by a gateway.
    HttpRoute,
    /// The Deployment of a courier whose purpose was switched off; what belongs to it goes with it.
    Courier,
}

impl DeletedKind {
    /// The kind whose failed apply holds this deletion back. No other may: a quota on Services must not keep a drained pod
    /// from being replaced. A pod made anew needs its StatefulSet, and a way in goes only when the other one is there.
    pub fn waits_for(self) -> &'static str {
        match self {
            Self::Pod | Self::StatefulSetOrphan => "StatefulSet",
            Self::Ingress => "HTTPRoute",
            Self::HttpRoute => "Ingress",
            // The relay is told first that it has no witnesses any more.
            Self::Courier => "ConfigMap",
        }
    }
}

/// An image reference as the spec has it: a tag, or nothing after the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageRef(pub String);

/// One Kubernetes Event on the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `Normal` or `Warning`.
    pub type_: EventType,
    /// CamelCase, the same word as in the condition.
    pub reason: String,
    /// One sentence.
    pub message: String,
}

/// The two types Kubernetes knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// Things go as intended.
    Normal,
    /// A person may want to look.
    Warning,
}

impl EventType {
    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

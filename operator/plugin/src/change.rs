//! What a person may change here, and the merge patch that does it.

use paramant_crds::annotation::PAUSED;
use serde_json::{Value, json};

/// Who owns what is changed here.
pub(crate) const FIELD_MANAGER: &str = "paramant-admin";

/// One change of one relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// `spec.drain`: ask, refuse, or have no opinion.
    Drain(Option<bool>),
    /// The annotation that holds everything back.
    Paused(bool),
}

impl Change {
    /// The merge patch. `null` removes.
    pub(crate) fn patch(self) -> Value {
        match self {
            Self::Drain(wish) => json!({ "spec": { "drain": wish } }),
            Self::Paused(true) => json!({ "metadata": { "annotations": { PAUSED: "true" } } }),
            Self::Paused(false) => json!({ "metadata": { "annotations": { PAUSED: null } } }),
        }
    }
}

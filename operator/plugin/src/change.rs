//! What a person may change about a relay here, and the merge patch that does it.

use paramant_crds::Digest;
use paramant_crds::annotation::{PAUSED, UPDATE_NOW};
use serde_json::{Value, json};

/// One change of one relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// `spec.drain`: ask, refuse, or have no opinion.
    Drain(Option<bool>),
    /// The annotation that holds everything back.
    Paused(bool),
    /// `spec.update.approve`: this image, and this offer of it.
    Approve(Digest, Option<u64>),
    /// `spec.update.pin`: hold this image, or none.
    Pin(Option<Digest>),
    /// `spec.update.retry`.
    Retry(Digest),
    /// The annotation that opens the window for one image.
    UpdateNow(Digest),
}

impl Change {
    /// The merge patch. `null` removes.
    pub(crate) fn patch(&self) -> Value {
        let annotation = |name: &str, value: Value| json!({ "metadata": { "annotations": { name: value } } });
        match self {
            Self::Drain(wish) => json!({ "spec": { "drain": wish } }),
            Self::Paused(true) => annotation(PAUSED, json!("true")),
            Self::Paused(false) => annotation(PAUSED, Value::Null),
            // An offer's number left from an earlier approval would make this one void.
            Self::Approve(digest, sequence) => {
                json!({ "spec": { "update": { "approve": { "digest": digest, "sequence": sequence } } } })
            }
            Self::Pin(digest) => json!({ "spec": { "update": { "pin": digest } } }),
            Self::Retry(digest) => json!({ "spec": { "update": { "retry": digest } } }),
            Self::UpdateNow(digest) => annotation(UPDATE_NOW, json!(digest)),
        }
    }
}

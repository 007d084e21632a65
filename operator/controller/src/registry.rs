//! What do registries say about images? What a tag means ([`resolver`]), who signed a digest, and what release it is
//! ([`inspector`]): small tasks apart from reconcile, so that a dead registry delays nobody but who asked for it.
//!
//! A registry is named by whoever may write a relay, so nothing it answers is believed: bytes are checked against the digest
//! they were asked by, every answer has a limit, every wait an end ([`client`]). Credentials and certificate authorities are
//! files that are read again when they changed ([`access`]).

pub mod access;
pub mod client;
pub mod credentials;
pub mod examine;
pub mod inspector;
pub mod lookup;
mod manifest;
pub mod place;
pub mod resolver;

use std::time::Duration;

use self::client::Fault;
use self::place::Place;

/// Why a registry's answer is missing. The sentences do not change from attempt to attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Only a person can help: no such image, no right to see it, no such reference.
    #[error("{0}")]
    Refused(String),
    /// It may work later.
    #[error("{reason}")]
    Unavailable {
        /// Why.
        reason: String,
        /// When the registry wants to be asked again, if it said so.
        after: Option<Duration>,
    },
}

impl LookupError {
    /// It may work later; the registry did not say when.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), after: None }
    }

    /// What went wrong with `image` at its registry.
    fn of(fault: Fault, place: &Place, image: &str) -> Self {
        let registry = &place.registry;
        match fault {
            Fault::Missing => Self::Refused(format!("the registry {registry} has no image `{image}`")),
            Fault::Denied { with_credentials: false } => Self::Refused(format!(
                "the registry {registry} does not let `{image}` be read without credentials"
            )),
            Fault::Denied { with_credentials: true } => Self::Refused(format!(
                "the registry {registry} does not let `{image}` be read with the operator's credentials"
            )),
            Fault::Busy { after } => Self::Unavailable {
                reason: format!("the registry {registry} limits how often it may be asked"),
                after,
            },
            Fault::Status(code) => Self::unavailable(format!("the registry {registry} answered {code}")),
            Fault::Slow => Self::unavailable(format!("the registry {registry} did not answer in time")),
            Fault::Unreachable => Self::unavailable(format!("the registry {registry} cannot be reached")),
            Fault::Untrusted => Self::unavailable(format!(
                "the registry {registry} shows a certificate that the operator does not trust"
            )),
            Fault::TooLarge => {
                Self::unavailable(format!("the registry {registry} answers more than the operator takes"))
            }
            Fault::Lie => {
                Self::unavailable(format!("the registry {registry} gave other bytes than it was asked for"))
            }
            Fault::Nonsense => {
                Self::unavailable(format!("the registry {registry} gave an answer that makes no sense"))
            }
        }
    }
}

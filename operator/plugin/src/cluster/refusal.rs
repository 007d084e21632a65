//! Why a request came to nothing, and what to do about it.

use kube::core::response::StatusDetails;
use serde_json::Value;

use super::place::{Place, Right};

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// 403.
    #[error("you may not {right}; {} grants it: ask whoever runs the cluster to bind it to you there", right.role())]
    Forbidden {
        /// The right that is missing.
        right: Box<Right>,
    },
    /// 401.
    #[error("the API server does not know you: sign in again, or name another context with --context")]
    Unknown,
    /// There is no such object.
    #[error("there is no {place}{}", hint(place))]
    Missing {
        /// Where it would be.
        place: Box<Place>,
    },
    /// The definitions are not installed, or this path is not served.
    #[error(
        "this API server knows no {resource}: install the operator's chart, which brings the definitions"
    )]
    NoDefinition {
        /// Of what.
        resource: &'static str,
    },
    /// 409.
    #[error("the {place} changed after it was read: look again with `kubectl paramant status` and repeat")]
    Changed {
        /// Which.
        place: Box<Place>,
    },
    /// The API server takes the change for wrong.
    #[error("the API server refuses the change: {said}")]
    Invalid {
        /// Its words.
        said: String,
    },
    /// Another answer.
    #[error("the API server answered {code} for {place}: {said}")]
    Answered {
        /// The HTTP status.
        code: u16,
        /// About what.
        place: Box<Place>,
        /// Its words, shortened.
        said: String,
    },
    /// No answer.
    #[error("the API server was not reached: {0}; check --context and the kubeconfig")]
    Unreached(kube::Error),
    /// None in time.
    #[error("no answer about {place} within {seconds} s")]
    Late {
        /// About what.
        place: Box<Place>,
        /// How long it was waited.
        seconds: u64,
    },
    /// More than this program keeps.
    #[error("the answer about {place} is longer than {limit} bytes")]
    TooLong {
        /// About what.
        place: Box<Place>,
        /// The limit.
        limit: usize,
    },
    /// Not what was asked for.
    #[error("the answer about {place} cannot be read: {why}")]
    Unreadable {
        /// About what.
        place: Box<Place>,
        /// Why.
        why: String,
    },
}

/// The longest piece of an answer that is repeated.
const QUOTED: usize = 400;

impl Refusal {
    /// Reads an answer that is no success. `right` is what the request took.
    pub(crate) fn of(code: u16, body: &[u8], place: &Place, right: Right) -> Self {
        let status = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let said = status.get("message").and_then(Value::as_str).map(str::to_owned);
        let said = said.unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned());
        let said: String = said.chars().take(QUOTED).collect();
        let place = Box::new(place.clone());
        match code {
            401 => Self::Unknown,
            403 => Self::Forbidden { right: Box::new(right) },
            404 if place.is_proxied() => Self::Answered { code, place, said },
            404 if names_an_object(&status) => Self::Missing { place },
            404 => Self::NoDefinition { resource: place.kind.resource },
            409 => Self::Changed { place },
            400 | 422 => Self::Invalid { said },
            _ => Self::Answered { code, place, said },
        }
    }

    /// Whether a right is missing.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }

    /// Whether there is nothing there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

fn names_an_object(status: &Value) -> bool {
    let details = status.get("details").cloned().unwrap_or_default();
    serde_json::from_value::<StatusDetails>(details).is_ok_and(|details| !details.name.is_empty())
}

fn hint(place: &Place) -> &'static str {
    match place.kind.word {
        "relay" => "; `kubectl paramant status -A` lists all relays",
        _ => "",
    }
}

//! Namespaces that are being deleted, as far as a refusal has shown.
//!
//! A namespace ends pods first and waits for them, which a draining relay can make long; until then the relay lives and
//! nothing can be created next to it. There is no right on namespaces to ask with, so the first refusal is remembered and
//! nothing is created there for a while.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a refusal is believed. A namespace made again under the same name waits this long at most.
const BELIEVED: Duration = Duration::from_secs(30);

/// The namespaces of one process.
#[derive(Debug, Default)]
pub(super) struct Going(Mutex<BTreeMap<String, Instant>>);

impl Going {
    /// Notes a refusal if it says that the namespace is going away.
    pub(super) fn note(&self, namespace: &str, error: &kube::Error) -> bool {
        let going = matches!(error, kube::Error::Api(status) if status.code == 403 && says_so(status));
        if going {
            self.lock().insert(namespace.to_owned(), Instant::now());
        }
        going
    }

    /// Whether creating anything there would be refused.
    pub(super) fn is_going(&self, namespace: &str) -> bool {
        let mut known = self.lock();
        known.retain(|_, since| since.elapsed() < BELIEVED);
        known.contains_key(namespace)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The refusal carries a cause of its own; older API servers only a message.
fn says_so(status: &kube::core::Status) -> bool {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
        || status.message.contains("because it is being terminated")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn refusal(message: &str) -> kube::Error {
        kube::Error::Api(kube::core::Status::failure(message, "Forbidden").with_code(403).boxed())
    }

    #[tokio::test(start_paused = true)]
    async fn one_refusal_silences_the_namespace_for_a_while_and_no_other() {
        let going = Going::default();
        assert!(!going.note("a", &refusal("you may not")));
        assert!(!going.is_going("a"));
        assert!(going.note(
            "a",
            &refusal("unable to create new content in namespace a because it is being terminated")
        ));
        assert!(going.is_going("a") && !going.is_going("b"));
        tokio::time::advance(BELIEVED).await;
        assert!(!going.is_going("a"));
    }
}

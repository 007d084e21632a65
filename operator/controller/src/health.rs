//! Is this process well, and if not, why?
//!
//! Parts of the process report what keeps them from working under a topic of their own and take it back when it is over.
//! `/readyz` fails while there is a *blocking* reason; a *degraded* one (one namespace without rights among several) is shown
//! but fails nothing. `/livez` fails only when a watch is stale while other API calls succeed: a restart cures that and
//! nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::time::Instant;

use crate::staleness::Freshness;

/// How bad a reason is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Nothing works until this is over.
    Blocking,
    /// A part does not work; the rest does.
    Degraded,
}

/// One sentence that says what is missing and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// How bad it is.
    pub weight: Weight,
    /// The sentence.
    pub sentence: String,
}

/// The reasons of one process.
#[derive(Debug, Clone)]
pub struct Health {
    reasons: Arc<Mutex<BTreeMap<String, Reason>>>,
    freshness: Freshness,
}

impl Health {
    /// No reason yet.
    pub fn new(freshness: Freshness) -> Self {
        Self { reasons: Arc::default(), freshness }
    }

    /// Reports a reason under `topic`, replacing an earlier one.
    pub fn report(&self, topic: &str, weight: Weight, sentence: impl Into<String>) {
        let reason = Reason { weight, sentence: sentence.into() };
        let before = self.lock().insert(topic.to_owned(), reason.clone());
        if before.as_ref() != Some(&reason) {
            tracing::warn!(topic, weight = ?reason.weight, "{}", reason.sentence);
        }
    }

    /// Takes back what was reported under `topic`.
    pub fn resolve(&self, topic: &str) {
        if self.lock().remove(topic).is_some() {
            tracing::info!(topic, "resolved");
        }
    }

    /// Every reason now, staleness included.
    pub fn reasons(&self) -> BTreeMap<String, Reason> {
        let mut reasons = self.lock().clone();
        for (path, age) in self.freshness.stale(Instant::now()) {
            let sentence = format!("the watch of {path} has heard nothing for {} s", age.as_secs());
            reasons.insert(format!("stale:{path}"), Reason { weight: Weight::Blocking, sentence });
        }
        reasons
    }

    /// Whether `/readyz` answers 200.
    pub fn is_ready(&self) -> bool {
        self.reasons().values().all(|reason| reason.weight != Weight::Blocking)
    }

    /// Why `/livez` fails, if it does.
    pub fn fatal(&self) -> Option<String> {
        let now = Instant::now();
        if !self.freshness.api_answers(now) {
            return None;
        }
        let (path, age) = self.freshness.stale(now).into_iter().next()?;
        Some(format!(
            "the watch of {path} has heard nothing for {} s although the API server answers other calls",
            age.as_secs()
        ))
    }

    /// The stamps behind staleness.
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Reason>> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::time::Duration;

    use super::*;
    use crate::staleness::STALE_AFTER;

    #[test]
    fn one_blocking_reason_makes_it_unready_and_a_degraded_one_does_not() {
        let health = Health::new(Freshness::default());
        assert!(health.is_ready());
        health.report("rights:a", Weight::Degraded, "no rights in a");
        assert!(health.is_ready());
        health.report("schema", Weight::Blocking, "no schema");
        assert!(!health.is_ready());
        health.resolve("schema");
        assert!(health.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_makes_it_unready_but_leaves_it_alive() {
        let freshness = Freshness::default();
        freshness.track("/api/v1/pods");
        let health = Health::new(freshness);
        tokio::time::advance(STALE_AFTER + Duration::from_secs(1)).await;
        assert!(!health.is_ready());
        assert_eq!(health.fatal(), None);
    }
}

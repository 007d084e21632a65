//! How long did it take from the start of the process until everything was looked at once?
//!
//! A new leader has then seen every object and undone what went wrong while nobody led. A scope that waits for its rights is
//! waited for, so the figure stays 0 as long as one does.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::key::Subject;
use crate::metrics::Metrics;
use crate::stores::World;

/// Counts passes until there was one over each object; cheap to clone.
#[derive(Clone)]
pub struct FirstPass {
    inner: Arc<Inner>,
}

struct Inner {
    began: Instant,
    scopes: usize,
    world: World,
    metrics: Metrics,
    /// What was looked at; `None` once it was everything.
    seen: Mutex<Option<BTreeSet<Subject>>>,
}

impl FirstPass {
    /// Begins to count. `began` is the start of the process.
    pub fn new(began: Instant, scopes: usize, world: World, metrics: Metrics) -> Self {
        let seen = Mutex::new(Some(BTreeSet::new()));
        Self { inner: Arc::new(Inner { began, scopes, world, metrics, seen }) }
    }

    /// Notes the end of a pass.
    pub fn passed(&self, subject: Subject) {
        let Inner { began, scopes, world, metrics, seen } = &*self.inner;
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(passed) = seen.as_mut() else { return };
        passed.insert(subject);
        // What vanished meanwhile is among the passed, so they may be more.
        let objects = passed.len();
        if world.count(*scopes).is_some_and(|all| objects >= all) {
            *seen = None;
            let seconds = began.elapsed().as_secs_f64();
            metrics.first_pass.set(seconds);
            tracing::info!(objects, seconds, "looked at everything once");
        }
    }
}

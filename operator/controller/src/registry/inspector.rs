//! Who signed a digest, and what release is it? One task per question, however many relays ask it.
//!
//! An image that may run was verified once: its answer is kept while anybody asks for it, and a while longer. One that may not
//! run is looked at again, less and less often, for a signature may be pushed later. Registries are asked a few questions at a
//! time each, so that one that hangs holds up only what it was asked.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paramant_operator_core::release::{Inspect, Inspection, Verdict};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::LookupError;
use super::examine::Examine;
use crate::backoff::Backoff;
use crate::key::RelayKey;
use crate::metrics::Metrics;
use crate::queue::Wake;
use crate::queue::worker::Queue;

/// One look with all that it takes: a handful of requests as a rule, more than a hundred at worst.
const LOOK_TIMEOUT: Duration = Duration::from_secs(120);
/// The first wait after a failure.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest. A look is some five requests; registries limit anonymous clients by the hour.
const RETRY_MAX: Duration = Duration::from_secs(300);
/// The first wait before an image that may not run is looked at again: someone may just be signing it.
const AGAIN_MIN: Duration = Duration::from_secs(20);
/// The longest.
const AGAIN_MAX: Duration = Duration::from_secs(600);
/// Looks at one registry at the same time.
const PER_REGISTRY: usize = 4;
/// Answers kept though nobody asks for them now: releases that relays come from and may go back to.
const KEPT: usize = 64;

/// The questions of all relays.
#[derive(Clone)]
pub struct Inspector {
    examine: Arc<dyn Examine>,
    queue: Queue,
    metrics: Metrics,
    questions: Arc<Mutex<Questions>>,
}

#[derive(Default)]
struct Questions {
    by_relay: BTreeMap<RelayKey, Inspect>,
    asked: HashMap<Inspect, Question>,
    /// Good answers that nobody asks for now, the oldest first.
    kept: Vec<Inspect>,
    turns: HashMap<String, Arc<Semaphore>>,
}

struct Question {
    askers: BTreeSet<RelayKey>,
    known: Inspection,
    task: JoinHandle<()>,
}

impl Drop for Question {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inspector {
    /// Nothing was asked yet.
    pub fn new(examine: Arc<dyn Examine>, queue: Queue, metrics: Metrics) -> Self {
        Self { examine, queue, metrics, questions: Arc::default() }
    }

    /// Asks about a digest for one relay. Asking the same again does nothing.
    pub fn want(&self, key: &RelayKey, question: &Inspect) {
        let mut questions = self.lock();
        if questions.by_relay.get(key) == Some(question) {
            return;
        }
        questions.release(key);
        questions.by_relay.insert(key.clone(), question.clone());
        questions.kept.retain(|kept| kept != question);
        if let Some(asked) = questions.asked.get_mut(question) {
            asked.askers.insert(key.clone());
            if asked.known != Inspection::Pending {
                self.queue.wake(key.clone(), Wake::Now);
            }
            return;
        }
        let turn = questions.turn(&question.repository);
        let task = tokio::spawn(self.clone().answer(question.clone(), turn));
        let askers = BTreeSet::from([key.clone()]);
        questions.asked.insert(question.clone(), Question { askers, known: Inspection::Pending, task });
    }

    /// What is known for one relay.
    pub fn inspection(&self, key: &RelayKey) -> Inspection {
        let questions = self.lock();
        let question = questions.by_relay.get(key);
        question
            .and_then(|question| questions.asked.get(question))
            .map(|asked| asked.known.clone())
            .unwrap_or_default()
    }

    /// Ends a relay's question.
    pub fn forget(&self, key: &RelayKey) {
        self.lock().release(key);
    }

    async fn answer(self, question: Inspect, turn: Arc<Semaphore>) {
        let mut failures = Backoff::new(RETRY_MIN, RETRY_MAX);
        let mut again = Backoff::new(AGAIN_MIN, AGAIN_MAX);
        loop {
            let looked = {
                // Never closed.
                let _turn = turn.acquire().await;
                timeout(LOOK_TIMEOUT, self.examine.examine(&question)).await
            };
            let looked = looked.unwrap_or_else(|_| {
                let registry = question.repository.split('/').next().unwrap_or_default();
                Err(LookupError::unavailable(format!("the registry {registry} did not answer in time")))
            });
            let asked = question.clone();
            let (known, label, wait) = match looked {
                Ok((release, signature)) => {
                    failures.reset();
                    let (label, wait) = match &signature {
                        Verdict::Verified { .. } => ("verified", None),
                        Verdict::Unsigned => ("unsigned-allowed", None),
                        Verdict::Refused { kind, .. } => (label(kind), Some(again.next_delay())),
                    };
                    (Inspection::Answered { asked, release, signature }, label, wait)
                }
                Err(LookupError::Refused(reason)) => {
                    (Inspection::NotFound { asked, reason }, "refused", Some(again.next_delay()))
                }
                Err(LookupError::Unavailable { reason, after }) => {
                    let wait = failures.next_delay().max(after.unwrap_or_default());
                    (Inspection::Unavailable { asked, reason }, "unavailable", Some(wait))
                }
            };
            self.metrics.image_inspections.with_label_values(&[label]).inc();
            self.tell(&question, known);
            match wait {
                Some(wait) => sleep(wait).await,
                None => return,
            }
        }
    }

    fn tell(&self, question: &Inspect, known: Inspection) {
        let mut questions = self.lock();
        let Some(asked) = questions.asked.get_mut(question) else { return };
        if asked.known == known {
            return;
        }
        asked.known = known;
        for key in &asked.askers {
            self.queue.wake(key.clone(), Wake::Now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Questions> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Questions {
    /// Takes a relay's question back. What nobody asks any more ends, or is kept if its answer is final.
    fn release(&mut self, key: &RelayKey) {
        let Some(question) = self.by_relay.remove(key) else { return };
        let Some(asked) = self.asked.get_mut(&question) else { return };
        asked.askers.remove(key);
        if !asked.askers.is_empty() {
            return;
        }
        if !is_final(&asked.known) {
            self.asked.remove(&question);
            return;
        }
        self.kept.push(question);
        if self.kept.len() > KEPT {
            let oldest = self.kept.remove(0);
            self.asked.remove(&oldest);
        }
    }

    /// The places at one registry.
    fn turn(&mut self, repository: &str) -> Arc<Semaphore> {
        // Those that nobody waits for or holds are made anew when needed.
        self.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        let registry = repository.split('/').next().unwrap_or_default();
        let turn =
            self.turns.entry(registry.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(PER_REGISTRY)));
        Arc::clone(turn)
    }
}

fn is_final(known: &Inspection) -> bool {
    matches!(known, Inspection::Answered { signature: Verdict::Verified { .. } | Verdict::Unsigned, .. })
}

/// The kinds of refusal as labels.
fn label(kind: &str) -> &'static str {
    match kind {
        "WrongKey" => "wrong-key",
        "WrongDigest" => "wrong-digest",
        "Expired" => "expired",
        "Malformed" => "malformed",
        _ => "unsigned",
    }
}

#[cfg(test)]
mod tests;

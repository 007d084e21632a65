//! What does an image reference mean right now? One small task per relay that asked.
//!
//! A tag is looked up once per reference: reconcile asks again only when `spec.image` changed (or after a restart, when the
//! durable copy does not answer already), and a reference that names a digest is answered without any I/O. Failures are
//! retried with backoff, refusals too but slowly, for a tag may be pushed later.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paramant_operator_core::decision::ImageRef;
use paramant_operator_core::digest::Digest;
use paramant_operator_core::observation::Resolution;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use super::LookupError;
use super::lookup::Lookup;
use crate::backoff::{Backoff, jittered};
use crate::key::RelayKey;
use crate::metrics::Metrics;
use crate::queue::Wake;
use crate::queue::worker::Queue;

/// The first wait after a failure.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest. Registries limit anonymous clients; this is twelve requests an hour.
const RETRY_MAX: Duration = Duration::from_secs(300);
/// How long a refusal is left alone.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// The lookups of all relays.
#[derive(Clone)]
pub struct Resolver {
    lookup: Arc<dyn Lookup>,
    queue: Queue,
    metrics: Metrics,
    entries: Arc<Mutex<BTreeMap<RelayKey, Entry>>>,
}

struct Entry {
    image: String,
    resolution: Arc<Mutex<Resolution>>,
    task: Option<JoinHandle<()>>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Resolver {
    /// Nothing was asked yet.
    pub fn new(lookup: Arc<dyn Lookup>, queue: Queue, metrics: Metrics) -> Self {
        Self { lookup, queue, metrics, entries: Arc::default() }
    }

    /// Asks what `image` means for one relay. Asking again for the same image does nothing.
    pub fn want(&self, key: &RelayKey, image: &ImageRef) {
        let mut entries = self.lock();
        if entries.get(key).is_some_and(|entry| entry.image == image.0) {
            return;
        }
        let image = image.0.clone();
        let resolution: Arc<Mutex<Resolution>> = Arc::default();
        let named = image.rsplit_once('@').and_then(|(_, digest)| digest.parse::<Digest>().ok());
        let task = match named {
            Some(digest) => {
                store(&resolution, Resolution::Resolved { image: image.clone(), digest });
                self.queue.wake(key.clone(), Wake::Now);
                None
            }
            None => Some(tokio::spawn(self.clone().resolve(key.clone(), image.clone(), resolution.clone()))),
        };
        entries.insert(key.clone(), Entry { image, resolution, task });
    }

    /// What is known for one relay.
    pub fn resolution(&self, key: &RelayKey) -> Resolution {
        let entries = self.lock();
        let known = entries
            .get(key)
            .map(|entry| entry.resolution.lock().unwrap_or_else(PoisonError::into_inner).clone());
        known.unwrap_or_default()
    }

    /// Ends a relay's lookup.
    pub fn forget(&self, key: &RelayKey) {
        self.lock().remove(key);
    }

    async fn resolve(self, key: RelayKey, image: String, resolution: Arc<Mutex<Resolution>>) {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            let span = tracing::info_span!("registry", relay = %key, image, outcome = tracing::field::Empty);
            let answer = self.lookup.digest(&image).instrument(span.clone()).await.and_then(|digest| {
                digest.parse::<Digest>().map_err(|error| {
                    LookupError::unavailable(format!(
                        "the registry's answer for `{image}` cannot be used: {error}"
                    ))
                })
            });
            let (next, label, wait) = match answer {
                Ok(digest) => (Resolution::Resolved { image: image.clone(), digest }, "resolved", None),
                Err(LookupError::Refused(reason)) => (
                    Resolution::Refused { image: image.clone(), reason },
                    "refused",
                    Some(jittered(AFTER_REFUSAL)),
                ),
                Err(LookupError::Unavailable { reason, after }) => (
                    Resolution::Unavailable { image: image.clone(), reason },
                    "unavailable",
                    Some(backoff.next_delay().max(after.unwrap_or_default())),
                ),
            };
            span.record("outcome", label);
            self.metrics.image_lookups.with_label_values(&[label]).inc();
            if store(&resolution, next) {
                self.queue.wake(key.clone(), Wake::Now);
            }
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RelayKey, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stores what is known; says whether it is news.
fn store(resolution: &Mutex<Resolution>, next: Resolution) -> bool {
    let mut known = resolution.lock().unwrap_or_else(PoisonError::into_inner);
    let news = *known != next;
    *known = next;
    news
}

#[cfg(test)]
mod tests;

//! One watch stream: what arrives is stored, then wakes the relays it concerns.
//!
//! Nothing leaves a stream but wakes: an error is counted, reported, waited out, and followed by another attempt for as long
//! as the process lives. After a repeated first list the relays of everything listed before and now are woken, because an
//! object that vanished in between is no event.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use kube::api::Api;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Watches;
use crate::backoff::Backoff;
use crate::key::Subject;
use crate::queue::Wake;
use crate::sentence;
use crate::stores::Scope;
use crate::stores::packed::Packed;

/// The first wait after a failed watch.
const RETRY_MIN: Duration = Duration::from_millis(500);
/// The longest: everything recovers within a minute of an outage's end.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// Failures in a row before a stream is a reason in `/readyz`: one or two happen whenever the API server restarts.
const REPORT_AFTER: u32 = 3;

/// Under which topic a failing stream is reported.
pub(super) fn topic(kind: &str, scope: &Scope) -> String {
    format!("watch of {kind} in {scope}")
}

/// Where a stream keeps what it brings.
pub(super) trait Keep<K>: Send {
    /// Takes an event.
    fn take(&mut self, event: &Event<K>);
    /// Whom everything that is kept concerns.
    fn concerned(&self, concerned: &(dyn Fn(&K) -> Vec<Subject> + Send + Sync)) -> BTreeSet<Subject>;
}

impl<K> Keep<K> for Writer<K>
where
    K: Resource + Clone + Send + Sync + 'static,
    K::DynamicType: Clone + Eq + Hash + Send + Sync,
{
    fn take(&mut self, event: &Event<K>) {
        self.apply_watcher_event(event);
    }

    fn concerned(&self, concerned: &(dyn Fn(&K) -> Vec<Subject> + Send + Sync)) -> BTreeSet<Subject> {
        self.as_reader().state().iter().flat_map(|object| concerned(object)).collect()
    }
}

impl<K> Keep<K> for Packed<K>
where
    K: Resource + Serialize + DeserializeOwned,
{
    fn take(&mut self, event: &Event<K>) {
        Packed::take(self, event);
    }

    fn concerned(&self, concerned: &(dyn Fn(&K) -> Vec<Subject> + Send + Sync)) -> BTreeSet<Subject> {
        self.all().iter().flat_map(concerned).collect()
    }
}

/// The properties of one stream that do not depend on its kind's type.
pub(super) struct Stream {
    watches: Watches,
    kind: String,
    topic: String,
    wake: Wake,
    wake_on_delete: Wake,
    unfilled: Arc<AtomicUsize>,
}

impl Stream {
    pub(super) fn new(
        watches: Watches,
        scope: &Scope,
        kind: &str,
        wake: Wake,
        unfilled: Arc<AtomicUsize>,
    ) -> Self {
        // A pod is deleted by its StatefulSet or by a roll and is looked for at once; other children by people, or with all else.
        let wake_on_delete = if wake == Wake::Child && kind != "Pod" { Wake::Lost } else { wake };
        let topic = topic(kind, scope);
        Self { watches, kind: kind.to_owned(), topic, wake, wake_on_delete, unfilled }
    }

    pub(super) async fn run<K>(
        self,
        mut kept: impl Keep<K>,
        api: Api<K>,
        config: watcher::Config,
        prune: impl Fn(&mut K) + Send + 'static,
        concerned: impl Fn(&K) -> Vec<Subject> + Send + Sync + 'static,
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
        K::DynamicType: Clone + Eq + Hash + Send + Sync + Unpin,
    {
        let mut stream = pin!(watcher(api, config));
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        let (mut failures, mut filled, mut before) = (0, false, BTreeSet::new());
        loop {
            let event = match stream.next().await {
                Some(Ok(event)) => event.modify(|object| {
                    object.meta_mut().managed_fields = None;
                    prune(object);
                }),
                Some(Err(error)) => {
                    failures += 1;
                    self.failed(failures, &error);
                    tokio::time::sleep(backoff.next_delay()).await;
                    continue;
                }
                None => return,
            };
            kept.take(&event);
            match &event {
                Event::Init => before = kept.concerned(&concerned),
                Event::InitApply(_) => {}
                Event::InitDone if filled => {
                    self.wake_all(
                        kept.concerned(&concerned).into_iter().chain(std::mem::take(&mut before)),
                        self.wake,
                    );
                }
                Event::InitDone => {
                    filled = true;
                    self.unfilled.fetch_sub(1, Ordering::AcqRel);
                }
                Event::Apply(object) => {
                    tracing::trace!(kind = %self.kind, name = %object.name_any(), "changed");
                    self.wake_all(concerned(object), self.wake);
                }
                Event::Delete(object) => {
                    tracing::trace!(kind = %self.kind, name = %object.name_any(), "deleted");
                    self.wake_all(concerned(object), self.wake_on_delete);
                }
            }
            if failures > 0 && !matches!(event, Event::Init) {
                failures = 0;
                backoff.reset();
                self.watches.health.resolve(&self.topic);
            }
        }
    }

    fn wake_all(&self, subjects: impl IntoIterator<Item = Subject>, wake: Wake) {
        for subject in subjects {
            // Standings follow many relays; a flurry of these is one look.
            let wake = if matches!(subject, Subject::Relay(_)) { wake } else { Wake::Child };
            self.watches.queue.wake(subject, wake);
        }
    }

    fn failed(&self, failures: u32, error: &watcher::Error) {
        self.watches.metrics.watch_errors.with_label_values(&[self.kind.as_str()]).inc();
        let error = sentence::of(error);
        tracing::debug!(topic = %self.topic, error, failures, "a watch failed and is tried again");
        if failures >= REPORT_AFTER {
            let sentence = format!("the {} fails; it is tried again by itself: {error}", self.topic);
            self.watches.health.report(&self.topic, self.watches.weight, sentence);
        }
    }
}

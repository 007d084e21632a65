//! Which relay is reconciled when: a pure schedule, driven by [`worker`].
//!
//! kube's `Controller` is not used: its debounce is trailing-edge for every trigger alike, its scheduler knows one backoff
//! curve, and all its triggers share one stream. Here a change of our own kinds runs at once, a change of a child waits until
//! the children are quiet (200 ms) but never longer than a second, each key has its own backoff, and a key never runs twice
//! at the same time. Time is passed in; nothing here sleeps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;

pub mod worker;

/// A child's events are collected this long: one roll of a StatefulSet makes a dozen.
pub const SETTLE: Duration = Duration::from_millis(200);
/// However busy the children are, the relay is looked at this soon.
pub const SETTLE_CEILING: Duration = Duration::from_secs(1);
/// A child that vanished is made anew after this: when a whole namespace is deleted, its objects vanish one kind after the
/// other, and making them again in between is refused.
pub const MOURN: Duration = Duration::from_secs(1);
/// The first delay after a failed reconcile.
pub const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// The longest. Half of the minute in which everything must recover after an outage.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// The longest wait of a key whose runs meet another writer again and again.
pub const RACED_MAX: Duration = Duration::from_secs(5);

/// Why a key is woken, which decides how soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// One of our own kinds changed, or the relay itself reported something: at once.
    Now,
    /// A child changed: when the children are quiet.
    Child,
    /// A child vanished: a little later, in case the relay vanishes too.
    Lost,
}

/// How one run of a key ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done; look again after this long.
    Requeue(Duration),
    /// The object had changed under us; look again very soon, which is no failure.
    Raced,
    /// It failed; back off.
    Failed,
    /// The object is gone; forget the key.
    Gone,
}

/// The keys, and when each is due.
#[derive(Debug)]
pub struct Schedule<K> {
    entries: BTreeMap<K, Entry>,
    /// Every entry that is due at some time and not running, in that order.
    order: BTreeSet<(Instant, K)>,
    running: usize,
}

#[derive(Debug, Default)]
struct Entry {
    now: Option<Instant>,
    settling: Option<Settling>,
    later: Option<Instant>,
    /// Children do not shorten a backoff: a failing key would otherwise be driven by its own half-made children.
    not_before: Option<Instant>,
    failures: u32,
    /// Runs in a row that met another writer.
    races: u32,
    running: bool,
}

#[derive(Debug, Clone, Copy)]
struct Settling {
    first: Instant,
    last: Instant,
}

impl Entry {
    fn due(&self) -> Option<Instant> {
        if self.running {
            return None;
        }
        let settled = self.settling.map(|settling| {
            let quiet = (settling.last + SETTLE).min(settling.first + SETTLE_CEILING);
            self.not_before.map_or(quiet, |not_before| quiet.max(not_before))
        });
        [self.now, settled, self.later].into_iter().flatten().min()
    }
}

impl<K> Default for Schedule<K> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), order: BTreeSet::new(), running: 0 }
    }
}

impl<K: Ord + Clone> Schedule<K> {
    /// Asks for `key` to run. A wake during a run makes it run again afterwards.
    pub fn wake(&mut self, key: K, wake: Wake, now: Instant) {
        self.change(key, |entry| match wake {
            Wake::Now => entry.now = Some(entry.now.map_or(now, |earlier| earlier.min(now))),
            Wake::Child => {
                let first = entry.settling.map_or(now, |settling| settling.first);
                entry.settling = Some(Settling { first, last: now });
            }
            Wake::Lost => {
                let due = now + MOURN;
                entry.later = Some(entry.later.map_or(due, |earlier| earlier.min(due)));
            }
        });
    }

    /// The next key to run, if one is due; it counts as running from here on.
    pub fn start(&mut self, now: Instant) -> Option<K> {
        let (due, key) = self.order.first()?.clone();
        if due > now {
            return None;
        }
        self.change(key.clone(), |entry| {
            entry.running = true;
            entry.now = None;
            entry.settling = None;
            entry.later = None;
            entry.not_before = None;
        });
        self.running += 1;
        Some(key)
    }

    /// Ends a run.
    pub fn finish(&mut self, key: &K, outcome: Outcome, now: Instant) {
        self.running = self.running.saturating_sub(1);
        self.change(key.clone(), |entry| {
            entry.running = false;
            // A child that vanished during the run is due in a moment, not only when the run would have looked again.
            let sooner = |due: Instant, asked: Option<Instant>| asked.map_or(due, |asked| asked.min(due));
            match outcome {
                Outcome::Requeue(after) => {
                    (entry.failures, entry.races) = (0, 0);
                    entry.later = Some(sooner(now + after, entry.later));
                }
                Outcome::Raced => {
                    // Soon, for the watch brings what the other wrote; but a watch that stands still must not make this a loop.
                    let delay = Backoff::delay(SETTLE / 4, RACED_MAX, entry.races);
                    entry.races = entry.races.saturating_add(1);
                    entry.later = Some(sooner(now + delay, entry.later));
                }
                Outcome::Failed => {
                    entry.races = 0;
                    let delay =
                        crate::backoff::jittered(Backoff::delay(BACKOFF_MIN, BACKOFF_MAX, entry.failures));
                    entry.failures = entry.failures.saturating_add(1);
                    entry.later = Some(now + delay);
                    entry.not_before = Some(now + delay);
                }
                Outcome::Gone => (entry.failures, entry.races) = (0, 0),
            }
        });
        if self.entries.get(key).is_some_and(|entry| entry.due().is_none() && !entry.running) {
            self.entries.remove(key);
        }
    }

    /// When the next key becomes due.
    pub fn next_due(&self) -> Option<Instant> {
        self.order.first().map(|(due, _)| *due)
    }

    /// How many keys run now.
    pub fn running(&self) -> usize {
        self.running
    }

    /// How many keys are due at `now`, the running ones included.
    pub fn length(&self, now: Instant) -> usize {
        self.running + self.order.iter().take_while(|(due, _)| *due <= now).count()
    }

    /// How one key stands: whether it runs, when it is due, and how often it failed in a row. `None` if it is not known.
    pub fn standing(&self, key: &K) -> Option<(bool, Option<Instant>, u32)> {
        self.entries.get(key).map(|entry| (entry.running, entry.due(), entry.failures))
    }

    /// How many keys are known.
    pub fn known(&self) -> usize {
        self.entries.len()
    }

    fn change(&mut self, key: K, change: impl FnOnce(&mut Entry)) {
        let entry = self.entries.entry(key.clone()).or_default();
        if let Some(due) = entry.due() {
            self.order.remove(&(due, key.clone()));
        }
        change(entry);
        if let Some(due) = entry.due() {
            self.order.insert((due, key));
        }
    }
}

#[cfg(test)]
mod tests;

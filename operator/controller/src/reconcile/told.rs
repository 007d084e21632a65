//! Which Events were told lately: a relay that goes back and forth says each thing once in ten minutes, not each time.
//!
//! Kept in memory alone: a new leader may repeat one Event, which is no flood. Counting repeats in the Event itself (`series`)
//! would need a right to change Events.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paramant_operator_core::Event;
use tokio::time::Instant;

use crate::key::Subject;

/// A pod that crashes and recovers passes twice in a minute; what is still so after this is worth another line.
const QUIET: Duration = Duration::from_secs(600);
/// More different things than a relay says in ten minutes; the oldest go first.
const MOST: usize = 32;

/// What was told of each object.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<BTreeMap<Subject, Vec<(Event, Instant)>>>);

impl Told {
    /// Whether this is news, and from now on it is not.
    pub(super) fn is_news(&self, subject: &Subject, event: &Event) -> bool {
        let mut all = self.lock();
        let told = all.entry(subject.clone()).or_default();
        told.retain(|(_, at)| at.elapsed() < QUIET);
        if told.iter().any(|(earlier, _)| earlier == event) {
            return false;
        }
        if told.len() >= MOST {
            told.remove(0);
        }
        told.push((event.clone(), Instant::now()));
        true
    }

    pub(super) fn forget(&self, subject: &Subject) {
        self.lock().remove(subject);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Subject, Vec<(Event, Instant)>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use paramant_operator_core::EventType;

    use super::*;
    use crate::key::RelayKey;

    fn event(reason: &str, message: &str) -> Event {
        Event { type_: EventType::Warning, reason: reason.to_owned(), message: message.to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_that_goes_back_and_forth_says_each_thing_once_in_ten_minutes() {
        let (told, key) = (Told::default(), Subject::from(RelayKey::new("n", "health")));
        let (down, up) = (event("CrashLoopBackOff", "it keeps ending"), event("Serving", "it serves"));
        let mut news = 0;
        for _ in 0..30 {
            news += usize::from(told.is_news(&key, &down)) + usize::from(told.is_news(&key, &up));
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        assert_eq!(news, 2);
        tokio::time::advance(QUIET).await;
        assert!(told.is_news(&key, &down), "still so after ten minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn other_words_and_other_relays_are_news_and_memory_has_an_end() {
        let (told, key) = (Told::default(), Subject::from(RelayKey::new("n", "health")));
        assert!(told.is_news(&key, &event("Blocked", "one reason")));
        assert!(told.is_news(&key, &event("Blocked", "another reason")));
        assert!(told.is_news(&RelayKey::new("n", "other").into(), &event("Blocked", "one reason")));
        for n in 0..MOST {
            assert!(told.is_news(&key, &event("Counted", &n.to_string())));
        }
        assert!(told.is_news(&key, &event("Blocked", "one reason")), "the oldest was forgotten");
        assert_eq!(told.lock().get(&key).map(Vec::len), Some(MOST));
    }
}

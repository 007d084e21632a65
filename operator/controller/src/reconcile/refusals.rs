//! The last child of each relay that the API server refused, so that the next pass can say so in status.
//!
//! An answer that will be the same next time (invalid, denied, over a quota) counts at once and is about the intent. Any other
//! answer may pass by itself, such as that of a webhook that is away; it counts when it has come [`INSISTENT`] times in a
//! row, and says nothing about the intent. Conflicts, throttling and an API server that does not answer never count. A
//! child that is taken clears its own refusal.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use paramant_operator_core::Refused;
use paramant_operator_core::children::seal_of;
use serde_json::Value;

use super::Stopped;
use crate::key::RelayKey;

/// So many failures in a row are no hiccup: their backoffs alone take some eight seconds.
const INSISTENT: u32 = 5;
/// How the API server answers, with 500, an intent that does not fit the schema of its kind: a misspelt field, say.
const UNTYPED: &str = "failed to create typed patch object";

/// The refusals of all relays.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<BTreeMap<RelayKey, Record>>);

#[derive(Debug, Default)]
struct Record {
    last: Option<Refused>,
    /// Failures in a row that may yet pass, by kind and name.
    failures: BTreeMap<(String, String), u32>,
}

/// What a failed application means.
enum Answer {
    /// The same next time.
    No(String),
    /// Perhaps another one next time.
    NotNow(String),
    /// None at all, or nothing about this child.
    Nothing,
}

impl Refusals {
    /// Notes how applying `intent` ended.
    pub(super) fn note(&self, key: &RelayKey, intent: &Value, outcome: Result<(), &Stopped>) {
        let text =
            |pointer: &str| intent.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        match outcome.map_err(answer) {
            Ok(()) => {
                self.settle(key, &kind, &name);
            }
            Err(Answer::No(message)) => {
                let sealed = seal_of(intent).map(str::to_owned);
                let refused = Refused { kind, name, sealed, message };
                self.lock().entry(key.clone()).or_default().refused(refused);
            }
            Err(Answer::NotNow(message)) => {
                self.lock().entry(key.clone()).or_default().failed(kind, name, &message);
            }
            Err(Answer::Nothing) => {}
        }
    }

    /// Forgets what was refused of a child. Says whether it was the last refusal.
    pub(super) fn settle(&self, key: &RelayKey, kind: &str, name: &str) -> bool {
        self.lock().get_mut(key).is_some_and(|record| record.settle(kind, name))
    }

    /// The last one, if it still stands.
    pub(super) fn of(&self, key: &RelayKey) -> Option<Refused> {
        self.lock().get(key)?.last.clone()
    }

    pub(super) fn forget(&self, key: &RelayKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RelayKey, Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn settle(&mut self, kind: &str, name: &str) -> bool {
        self.failures.remove(&(kind.to_owned(), name.to_owned()));
        self.last.take_if(|last| last.kind == kind && last.name == name).is_some()
    }

    fn refused(&mut self, refused: Refused) {
        self.failures.remove(&(refused.kind.clone(), refused.name.clone()));
        self.last = Some(refused);
    }

    fn failed(&mut self, kind: String, name: String, message: &str) {
        let failures = self.failures.entry((kind.clone(), name.clone())).or_default();
        *failures = failures.saturating_add(1);
        if *failures >= INSISTENT {
            // No seal: nothing is wrong with this very intent, and a roll must not fail for it.
            let message = format!("every attempt fails, the last with: {message}");
            self.last = Some(Refused { kind, name, sealed: None, message });
        }
    }
}

fn answer(stopped: &Stopped) -> Answer {
    let source = match stopped {
        Stopped::Api { source, .. } => source,
        Stopped::Foreign { .. } => return Answer::No(stopped.to_string()),
        Stopped::Raced(_) | Stopped::NotLeading | Stopped::NamespaceGoing => return Answer::Nothing,
    };
    let kube::Error::Api(status) = &**source else { return Answer::Nothing };
    match status.code {
        400 | 403 | 422 => Answer::No(status.message.clone()),
        500 if status.message.contains(UNTYPED) => Answer::No(status.message.clone()),
        429 => Answer::Nothing,
        _ => Answer::NotNow(status.message.clone()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    const UNDECLARED: &str = "failed to create typed patch object (n/r; apps/v1, Kind=StatefulSet): .spec.template.spec.affinity.podAntiAfinity: field not declared in schema";
    const WEBHOOK: &str = "Internal error occurred: failed calling webhook \"w.example\": connection refused";

    struct Bench {
        refusals: Refusals,
        key: RelayKey,
    }

    impl Bench {
        fn new() -> Self {
            Self { refusals: Refusals::default(), key: RelayKey::new("n", "r") }
        }

        fn answered(&self, kind: &str, code: u16, message: &str) -> Option<Refused> {
            let status = kube::core::Status::failure(message, "").with_code(code).boxed();
            let source = Box::new(kube::Error::Api(status));
            let stopped = Stopped::Api { verb: "apply", kind: kind.to_owned(), source };
            self.refusals.note(&self.key, &intent(kind), Err(&stopped));
            self.refusals.of(&self.key)
        }

        fn taken(&self, kind: &str) -> Option<Refused> {
            self.refusals.note(&self.key, &intent(kind), Ok(()));
            self.refusals.of(&self.key)
        }
    }

    fn intent(kind: &str) -> Value {
        let annotations = json!({ "paramant.app/intent": "seal" });
        json!({ "kind": kind, "metadata": { "name": "r", "annotations": annotations } })
    }

    #[test]
    fn an_answer_that_stays_the_same_is_told_at_once_and_forgotten_when_the_child_is_taken() {
        for (code, message) in [(422, "Invalid value"), (403, "denied"), (400, "bad"), (500, UNDECLARED)] {
            let bench = Bench::new();
            let refused = bench.answered("StatefulSet", code, message).unwrap_or_else(|| panic!("{code}"));
            assert_eq!((refused.sealed.as_deref(), refused.message.as_str()), (Some("seal"), message));
            assert!(bench.taken("Service").is_some(), "another child changes nothing");
            assert_eq!(bench.taken("StatefulSet"), None);
        }
    }

    #[test]
    fn a_failure_that_repeats_is_told_but_never_as_a_fault_of_the_intent() {
        let bench = Bench::new();
        for _ in 0..4 {
            assert_eq!(bench.answered("StatefulSet", 500, WEBHOOK), None, "it may pass");
            assert_eq!(bench.answered("Service", 503, "away"), None, "each child is counted alone");
            bench.taken("Service");
        }
        let refused = bench.answered("StatefulSet", 500, WEBHOOK).unwrap();
        assert!(refused.message.ends_with(WEBHOOK), "{}", refused.message);
        assert_eq!(refused.sealed, None, "a roll must not fail for it");
        assert_eq!(bench.taken("StatefulSet"), None);
        assert_eq!(bench.answered("StatefulSet", 500, WEBHOOK), None, "counted from the start");
    }

    #[test]
    fn throttling_and_an_api_server_that_is_away_are_nobodys_refusal() {
        let bench = Bench::new();
        for _ in 0..20 {
            assert_eq!(bench.answered("Service", 429, "slow down"), None);
            bench.refusals.note(&bench.key, &intent("Service"), Err(&Stopped::NotLeading));
            assert_eq!(bench.refusals.of(&bench.key), None);
        }
    }
}

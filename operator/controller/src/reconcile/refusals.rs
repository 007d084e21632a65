//! The last child of each relay that the API server refused, so that the next pass can say so in status.
//!
//! Only an answer that will be the same next time counts (invalid, denied, over a quota); conflicts, throttling and an API
//! server that is away do not. A child that is taken clears its own refusal.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use paramant_operator_core::Refused;
use paramant_operator_core::children::seal_of;
use serde_json::Value;

use super::Stopped;
use crate::key::RelayKey;

/// The refusals of all relays.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<BTreeMap<RelayKey, Refused>>);

impl Refusals {
    /// Notes how applying `intent` ended.
    pub(super) fn note(&self, key: &RelayKey, intent: &Value, outcome: Result<(), &Stopped>) {
        let text =
            |pointer: &str| intent.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        let mut all = self.lock();
        match outcome.map_err(refusal) {
            Ok(()) => {
                if all.get(key).is_some_and(|last| last.kind == kind && last.name == name) {
                    all.remove(key);
                }
            }
            Err(Some(message)) => {
                let sealed = seal_of(intent).map(str::to_owned);
                all.insert(key.clone(), Refused { kind, name, sealed, message });
            }
            Err(None) => {}
        }
    }

    /// The last one, if it still stands.
    pub(super) fn of(&self, key: &RelayKey) -> Option<Refused> {
        self.lock().get(key).cloned()
    }

    pub(super) fn forget(&self, key: &RelayKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RelayKey, Refused>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The API server's sentence, if asking again is no use.
fn refusal(stopped: &Stopped) -> Option<String> {
    match stopped {
        Stopped::Api { source, .. } => match &**source {
            kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => {
                Some(status.message.clone())
            }
            _ => None,
        },
        Stopped::Raced(_) | Stopped::NotLeading | Stopped::NamespaceGoing => None,
    }
}

//! Signs checkpoints: Ed25519, then ML-DSA-44 with the time, then the identity's ML-DSA-65, all under the origin.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use paramant_log::{CheckpointSigner, Head, SignError};
use paramant_tlog::Checkpoint;
use paramant_tlog::keys::{Ed25519Key, MlDsa44Key, MlDsa65Key, NoKey, Signer};
use paramant_tlog::note::Note;
use paramant_tlog::vkey::VerifierKey;

use crate::identity::{Identity, LogKeys};

/// The three keys of a log, under its name.
pub(super) struct NoteSigner {
    origin: String,
    ed25519: Ed25519Key,
    ml_dsa_44: MlDsa44Key,
    ml_dsa_65: MlDsa65Key,
    /// The time of the newest signature, in seconds.
    latest: AtomicU64,
}

/// The origin cannot name a key.
#[derive(Debug, thiserror::Error)]
#[error("the log's origin {origin:?} cannot be the name of a signing key: {source}")]
pub struct KeysRefused {
    origin: String,
    source: NoKey,
}

impl NoteSigner {
    pub(super) fn new(origin: &str, identity: &Identity, keys: &LogKeys) -> Result<Self, KeysRefused> {
        let refused = |source| KeysRefused { origin: origin.to_owned(), source };
        let (ed25519, ml_dsa_44) = keys.checkpoint_keys(origin).map_err(refused)?;
        let ml_dsa_65 = identity.checkpoint_key(origin).map_err(refused)?;
        let latest = AtomicU64::new(0);
        Ok(Self { origin: origin.to_owned(), ed25519, ml_dsa_44, ml_dsa_65, latest })
    }

    pub(super) fn verifiers(&self) -> Vec<VerifierKey> {
        self.keys().iter().map(|key| key.verifier().clone()).collect()
    }

    fn keys(&self) -> [&dyn Signer; 3] {
        [&self.ed25519, &self.ml_dsa_44, &self.ml_dsa_65]
    }
}

impl CheckpointSigner for NoteSigner {
    fn sign(&self, head: &Head) -> Result<String, SignError> {
        let text = Checkpoint::new(&self.origin, head.size, head.sha256_root).to_text();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let at = never_back(&self.latest, now);
        let note = Note::sign(&text, &self.keys(), at).map_err(|error| SignError(error.to_string()))?;
        Ok(note.to_text())
    }
}

/// A clock that is set back must not make a newer checkpoint look older than the one before it: the time stands still until
/// the clock has caught up.
fn never_back(latest: &AtomicU64, now: u64) -> u64 {
    latest.fetch_max(now, Ordering::Relaxed).max(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_does_not_take_checkpoints_along() {
        let latest = AtomicU64::new(0);
        let times = [100, 101, 40, 41, 101, 102].map(|now| never_back(&latest, now));
        assert_eq!(times, [100, 101, 101, 101, 101, 102]);
    }
}

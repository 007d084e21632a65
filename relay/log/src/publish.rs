//! Signing the durable head and making it public.
//!
//! Order: take the durable head; sign; check that the note says what was to be signed; write `checkpoint` durably
//! (temporary name, sync, rename, sync the directory); only then may anyone see it. A crash after signing and before
//! the rename leaves a signature that nobody saw, over a head that is durable and so stays a prefix of the log.

use crate::disk::{WriteError, write_durably};
use crate::error::{PublishError, SignError};
use crate::shared::{Shared, lock};
use crate::{CheckpointSigner, Head, Published};
use paramant_tlog::Checkpoint;
use paramant_tlog::note::Note;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

/// The published checkpoint's file in the log's directory.
pub(crate) const FILE: &str = "checkpoint";

/// Publishes checkpoints, one at a time.
pub(crate) struct Publisher {
    shared: Arc<Shared>,
    signer: Arc<dyn CheckpointSigner>,
    turn: Mutex<()>,
}

impl Publisher {
    pub(crate) fn new(shared: Arc<Shared>, signer: Arc<dyn CheckpointSigner>) -> Self {
        Self { shared, signer, turn: Mutex::new(()) }
    }

    /// Publishes at the log's cadence, when the head has moved, until the log stops.
    pub(crate) fn run(&self) {
        let every = self.shared.options.checkpoint_every;
        let mut next = Instant::now() + every;
        let mut refusal = None;
        while !self.shared.is_stopping() && !self.shared.has_failed() {
            let now = Instant::now();
            if now < next {
                self.shared.publish_bell.wait(next - now);
                continue;
            }
            next = (next + every).max(now);
            if self.shared.published().is_none() && self.shared.read().head.size == 0 {
                continue;
            }
            match self.publish() {
                Ok(_) => refusal = None,
                // A signer behind a fence refuses for as long as that takes: said once, not at every turn.
                Err(error) if refusal.as_ref() == Some(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no checkpoint was published; trying again");
                    refusal = Some(error);
                }
            }
        }
    }

    /// Signs and publishes the durable head, unless it is published already.
    pub(crate) fn publish(&self) -> Result<Arc<Published>, PublishError> {
        let _turn = lock(&self.turn);
        if self.shared.has_failed() {
            return Err(PublishError::Failed);
        }
        let head = self.shared.read().head;
        if let Some(published) = self.shared.published().filter(|published| published.head == head) {
            return Ok(published);
        }
        let note = self.signer.sign(&head)?;
        check(&note, &head)?;
        let path = self.shared.options.dir.join(FILE);
        match write_durably(self.shared.disk.as_ref(), &path, note.as_bytes()) {
            Ok(()) => {}
            Err(WriteError::Refused(error)) => return Err(PublishError::Io(error.to_string())),
            Err(WriteError::SyncFailed(error)) => {
                self.shared.fail("syncing the checkpoint", &error);
                return Err(PublishError::Failed);
            }
        }
        let published = Arc::new(Published { head, note, at: SystemTime::now() });
        // First: whoever sees the checkpoint finds it counted.
        self.shared.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
        *self.shared.published.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&published));
        self.shared.derive_bell.ring();
        Ok(published)
    }
}

fn check(note: &str, head: &Head) -> Result<(), PublishError> {
    let wrong = |what: String| PublishError::WrongNote(what);
    let parsed = Note::parse(note.as_bytes()).map_err(|e| wrong(e.to_string()))?;
    let checkpoint = Checkpoint::parse(&parsed.text).map_err(|e| wrong(e.to_string()))?;
    if checkpoint.size != head.size || checkpoint.root != head.sha256_root {
        return Err(wrong(format!("size {} instead of {}, or another root", checkpoint.size, head.size)));
    }
    Ok(())
}

impl From<paramant_tlog::keys::SignFailed> for SignError {
    fn from(error: paramant_tlog::keys::SignFailed) -> Self {
        SignError(error.to_string())
    }
}

//! Reads that ended and are not written down yet.
//!
//! A reader has every byte of a view a moment before the rows say so. Whoever asks for the same blob in that moment waits until
//! they do: so the read of the last view says that it was the last, and nobody is told that a file is being read that was read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::store::BlobId;

/// Far above what writing down takes; a disk that stalls longer must not keep the question from being answered.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many reads of each blob are being written down.
#[derive(Debug, Default, Clone)]
pub(super) struct Settling(Arc<watch::Sender<HashMap<BlobId, u32>>>);

/// One read that is being written down; dropped when it is.
#[derive(Debug)]
pub(super) struct Unsettled {
    settling: Settling,
    blob: BlobId,
}

impl Settling {
    pub(super) fn begin(&self, blob: BlobId) -> Unsettled {
        self.0.send_modify(|counts| *counts.entry(blob).or_default() += 1);
        Unsettled { settling: self.clone(), blob }
    }

    /// Waits until no read of this blob is being written down.
    pub(super) async fn ended(&self, blob: BlobId) {
        let mut counts = self.0.subscribe();
        let none = counts.wait_for(|counts| !counts.contains_key(&blob));
        drop(tokio::time::timeout(PATIENCE, none).await);
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.settling.0.send_modify(|counts| {
            if let Some(count) = counts.get_mut(&self.blob) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&self.blob);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_question_waits_for_the_reads_of_its_own_blob_and_not_for_ever() {
        let settling = Settling::default();
        let (mine, other) = (BlobId([1; 16]), BlobId([2; 16]));
        let (first, second) = (settling.begin(mine), settling.begin(mine));
        settling.ended(other).await;
        let began = tokio::time::Instant::now();
        let waiting = tokio::spawn({
            let settling = settling.clone();
            async move { settling.ended(mine).await }
        });
        drop(first);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!waiting.is_finished(), "the second is not written down yet");
        drop(second);
        drop(waiting.await);
        assert!(began.elapsed() < PATIENCE);
        let _stalled = settling.begin(mine);
        settling.ended(mine).await;
        assert!(began.elapsed() >= PATIENCE, "a stalled disk holds a question up for so long only");
    }
}

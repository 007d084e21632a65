//! The proof that the log holds an entry, as anybody outside could put it together.

use std::time::Duration;

use paramant_tlog::Tree;
use paramant_tlog::tlog_proof::TlogProof;

use super::{LogError, LogService};

/// Between two looks whether a checkpoint has come.
const LOOK: Duration = Duration::from_millis(50);

impl LogService {
    /// Waits for a signed checkpoint over the entry at `index`; answers how many entries it covers. One comes every second while the log
    /// grows, unless the log may not be signed now.
    pub async fn covering(&self, index: u64, patience: Duration) -> Option<u64> {
        let covering = || Some(self.published()?.head.size).filter(|size| *size > index);
        let wait = async {
            loop {
                match covering() {
                    Some(size) => return size,
                    None => tokio::time::sleep(LOOK).await,
                }
            }
        };
        tokio::time::timeout(patience, wait).await.ok()
    }

    /// The entry, its path, and the newest checkpoint; `None` when that does not cover it.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn proof(&self, index: u64) -> Result<Option<TlogProof>, LogError> {
        let Some(published) = self.published().filter(|it| it.head.size > index) else { return Ok(None) };
        let log = self.clone();
        let proof = move || {
            let extra = log.engine().entry(index)?.map(|entry| entry.bytes);
            let path = log.engine().inclusion(Tree::Sha256, index, published.head.size)?;
            Ok(Some(TlogProof { extra, index, path, checkpoint: published.note.clone() }))
        };
        tokio::task::spawn_blocking(proof).await.unwrap_or(Err(LogError::Ended))
    }
}

//! The pass at start: what a crash left half done is finished or removed before the first request.
//!
//! Leases of the process before are cut. A `pending` row whose leaf is in the log becomes live, any other is removed with its
//! key. A burn goes on where it stopped. Files that no row names are removed; rows whose key or file is gone are burned.

use std::collections::HashMap;
use std::sync::Arc;

use paramant_protocol::entry::body::BurnCause;

use super::Transfers;
use crate::store::blob_rows::{self, BlobRow};
use crate::store::claim_rows;
use crate::store::meta::MetaError;
use crate::store::slots::SlotError;
use crate::store::{BlobId, RecoveryError};

impl Transfers {
    pub(super) async fn recover(&self) -> Result<(), RecoveryError> {
        let meta = &self.0.vault.meta;
        let cut = meta.write(|c| Ok::<_, MetaError>(claim_rows::cut_all(c)?)).await?;
        let unfinished = meta.read(|c| Ok::<_, MetaError>(blob_rows::unfinished(c)?)).await?;
        let half_done = unfinished.len();
        for blob in unfinished {
            self.settle_unfinished(blob).await?;
        }

        let (orphans, lost) = self.compare_with_files().await?;
        for id in lost {
            let row = meta.read(move |c| Ok::<_, MetaError>(blob_rows::by_id(c, id)?)).await?;
            if let Some(row) = row {
                tracing::error!(upload = %id, "an acknowledged payload lost its key or its file; its row is burned");
                self.burn(&row, BurnCause::Lost).await;
            }
        }
        let spent: Vec<BlobRow> = meta.read(|c| Ok::<_, MetaError>(blob_rows::spent_at_start(c)?)).await?;
        for blob in spent {
            self.burn(&blob, BurnCause::Read).await;
        }
        tracing::info!(
            cut_leases = cut,
            half_done,
            orphan_files = orphans,
            unread = self.in_flight().blobs,
            "store recovered"
        );
        Ok(())
    }

    /// Removes files without a row; answers how many, and the rows without a file or key. Counts what is unread.
    async fn compare_with_files(&self) -> Result<(u64, Vec<BlobId>), RecoveryError> {
        let vault = self.0.vault.clone();
        let in_flight = Arc::clone(&self.0.in_flight);
        let comparing = tokio::task::spawn_blocking(move || {
            let kept = vault.meta.read_blocking(|c| Ok::<_, MetaError>(blob_rows::kept(c)?))?;
            in_flight.add(kept.len() as u64, kept.iter().map(|(_, _, size)| size).sum());
            // Counted as before the restart: their burn takes them off again.
            let (blobs, bytes) =
                vault.meta.read_blocking(|c| Ok::<_, MetaError>(blob_rows::superseded(c)?))?;
            in_flight.add(blobs, bytes);
            let mut missing: HashMap<BlobId, _> = kept.into_iter().map(|(id, slot, _)| (id, slot)).collect();
            let mut lost = Vec::new();
            let orphans = vault.payloads.sweep(&mut |id| match missing.remove(&id) {
                None => false,
                Some(slot) => {
                    // A burn that stopped right after its first step: the key is gone, the row does not know yet.
                    if matches!(vault.keys.get(slot, id), Err(SlotError::Gone)) {
                        lost.push(id);
                    }
                    true
                }
            })?;
            lost.extend(missing.into_keys());
            Ok((orphans, lost))
        });
        comparing.await.unwrap_or(Err(RecoveryError::Meta(MetaError::Closed)))
    }
}

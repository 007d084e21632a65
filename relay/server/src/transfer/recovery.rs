//! The pass at start: what a crash left half done is finished or removed before the first request.
//!
//! Leases of the process before are cut. A `pending` row whose leaf is in the log becomes live, any other is removed with its
//! key. A burn goes on where it stopped. Files that no row names are removed; rows whose key or file is gone are burned. Uploads in
//! chunks go on: one whose completion was not logged is open again, one that was given up is removed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use paramant_protocol::entry::body::BurnCause;

use super::Transfers;
use crate::metrics::Loss;
use crate::store::blob_rows::{self, BlobRow, Kept};
use crate::store::chunk_rows::{self, KeptChunk};
use crate::store::meta::MetaError;
use crate::store::slots::{Slot, SlotError};
use crate::store::{BlobId, RecoveryError, claim_rows, upload_rows};

/// Whose a file is.
struct Owner {
    id: BlobId,
    slot: Slot,
    /// A chunk of an open upload: the sender can be asked for it again.
    chunk: Option<u64>,
}

impl Owner {
    fn blob(blob: &Kept) -> Self {
        Self { id: blob.id, slot: blob.slot, chunk: None }
    }

    fn of(chunk: &KeptChunk) -> Self {
        Self { id: chunk.owner, slot: chunk.slot, chunk: chunk.open.then_some(chunk.number) }
    }
}

/// What rows speak of and is not there.
#[derive(Default)]
struct Lost {
    blobs: BTreeMap<BlobId, Loss>,
    chunks: Vec<(BlobId, u64)>,
}

impl Lost {
    fn note(&mut self, owner: Owner, loss: Loss) {
        match owner.chunk {
            Some(number) => self.chunks.push((owner.id, number)),
            None => drop(self.blobs.insert(owner.id, loss)),
        }
    }
}

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
        for (upload, number) in lost.chunks {
            tracing::error!(%upload, number, "an acknowledged chunk lost its file or key; its sender is asked for it again");
            meta.write(move |c| Ok::<_, MetaError>(chunk_rows::delete(c, upload, number)?)).await?;
        }
        self.give_up_keyless().await?;
        self.remove_given_up().await?;
        meta.write(|c| Ok::<_, MetaError>(chunk_rows::delete_ownerless(c)?)).await?;
        for (id, loss) in lost.blobs {
            let row = meta.read(move |c| Ok::<_, MetaError>(blob_rows::by_id(c, id)?)).await?;
            if let Some(row) = row {
                // An empty slot may be a burn that was cut off after its first step, which is no reason for alarm.
                if loss != Loss::Key {
                    self.0.core.metrics.lost(loss);
                }
                tracing::error!(upload = %id, ?loss, "an acknowledged payload lost its key or its file; its row is burned");
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
    async fn compare_with_files(&self) -> Result<(u64, Lost), RecoveryError> {
        let vault = self.0.vault.clone();
        let in_flight = Arc::clone(&self.0.in_flight);
        let comparing = tokio::task::spawn_blocking(move || {
            let kept = vault.meta.read_blocking(|c| Ok::<_, MetaError>(blob_rows::kept(c)?))?;
            in_flight.add(kept.len() as u64, kept.iter().map(|blob| blob.size).sum());
            let open = vault.meta.read_blocking(|c| Ok::<_, MetaError>(upload_rows::open(c)?))?;
            in_flight.add(0, open.bytes);
            let chunks = vault.meta.read_blocking(|c| Ok::<_, MetaError>(chunk_rows::kept(c)?))?;
            // Counted as before the restart: their burn takes them off again.
            let (blobs, bytes) =
                vault.meta.read_blocking(|c| Ok::<_, MetaError>(blob_rows::superseded(c)?))?;
            in_flight.add(blobs, bytes);
            let whole = kept.into_iter().filter(|blob| !blob.in_chunks);
            let mut missing: HashMap<BlobId, Owner> =
                whole.map(|blob| (blob.id, Owner::blob(&blob))).collect();
            missing.extend(chunks.iter().map(|chunk| (chunk.file, Owner::of(chunk))));
            let mut lost = Lost::default();
            let orphans = vault.payloads.sweep(&mut |file| match missing.remove(&file) {
                None => false,
                Some(owner) => {
                    // A burn that stopped right after its first step: the key is gone, the row does not know yet.
                    if matches!(vault.keys.get(owner.slot, owner.id), Err(SlotError::Gone)) {
                        lost.note(owner, Loss::Key);
                    }
                    true
                }
            })?;
            missing.into_values().for_each(|owner| lost.note(owner, Loss::File));
            Ok((orphans, lost))
        });
        comparing.await.unwrap_or(Err(RecoveryError::Meta(MetaError::Closed)))
    }
}

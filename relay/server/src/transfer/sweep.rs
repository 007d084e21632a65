//! The sweep: burns what has expired, ends leases that stand still, and goes on with what an error left undone.
//!
//! Expiry is checked on every access too; the sweep is what frees the space, and follows a clock that leaps ahead only after a
//! while ([`super::expiry_clock`]). It is tied to upload ids, so that a timer of an
//! earlier upload can never touch a later one of the same bytes.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt;
use paramant_protocol::entry::body::BurnCause;

use super::burn::Burning;
use super::{Inner, Transfers};
use crate::log_service::Entry;
use crate::store::blob_rows::{self, BlobRow, State};
use crate::store::meta::MetaError;
use crate::store::{RecoveryError, now_ms, told_rows, upload_rows};

/// How long an expired payload may stay on disk.
const EVERY: Duration = Duration::from_secs(2);
/// A reader that takes no chunk (64 KiB) for so long is slower than 1 kB/s and counts as gone; its account may lease the view
/// again.
const STALLED: Duration = Duration::from_secs(60);
/// Blobs burned in one round, and at once.
const ROUND: u32 = 1024;
const AT_ONCE: usize = 16;

/// Sweeps until the transfer path is gone.
pub(super) async fn run(transfers: Weak<Inner>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(inner) = transfers.upgrade() else { return };
        let transfers = Transfers(inner);
        transfers.cut_stalled(STALLED).await;
        if let Err(error) = transfers.sweep_once().await {
            tracing::error!(%error, "the sweep could not read what to do; it tries again");
        }
    }
}

impl Transfers {
    /// One round; answers how many blobs it burned.
    pub(super) async fn sweep_once(&self) -> Result<usize, MetaError> {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        self.sweep_at(now_ms(), Duration::try_from(boot).unwrap_or_default()).await
    }

    /// The same, by these clocks: the machine's, and one that nobody sets.
    pub(super) async fn sweep_at(&self, wall_ms: i64, since_boot: Duration) -> Result<usize, MetaError> {
        let unfinished = self.0.vault.meta.read(|c| Ok::<_, MetaError>(blob_rows::unfinished(c)?)).await?;
        for blob in unfinished {
            // An upload in chunks is counted already: its bytes were set aside when it was opened.
            let size = if blob.chunk_size.is_some() { 0 } else { blob.size };
            match self.settle_unfinished(blob).await {
                Ok(true) => self.0.in_flight.add(1, size),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "an unfinished upload or burn could not be settled; the sweep tries again");
                }
            }
        }
        self.burn_again().await?;
        let now = self.expired_before(wall_ms, since_boot);
        self.sweep_uploads(now).await?;
        let due =
            self.0.vault.meta.read(move |c| Ok::<_, MetaError>(blob_rows::to_burn(c, now, ROUND)?)).await?;
        let count = due.len();
        futures::stream::iter(due)
            .for_each_concurrent(AT_ONCE, |blob| async move { self.burn(&blob, BurnCause::Expired).await })
            .await;
        Ok(count)
    }

    /// The time up to which a lifetime must have ended for its payload to be burned.
    fn expired_before(&self, wall_ms: i64, since_boot: Duration) -> i64 {
        let now = self.0.expiry.lock().unwrap_or_else(PoisonError::into_inner).look(wall_ms, since_boot);
        if let Some(ahead_ms) = now.leapt_ms {
            tracing::warn!(
                ahead_ms,
                "the machine's clock leapt ahead; what expires by that is not readable, and burned in an hour unless the clock is set right"
            );
        }
        now.ms
    }

    /// Goes on with burns that an error stopped.
    async fn burn_again(&self) -> Result<(), MetaError> {
        let again = std::mem::take(&mut *self.0.burn_again.lock().unwrap_or_else(PoisonError::into_inner));
        for (id, why) in again {
            let row = self.0.vault.meta.read(move |c| Ok::<_, MetaError>(blob_rows::by_id(c, id)?)).await?;
            if let Some(row) = row {
                self.burn_for(&row, why).await;
            }
        }
        Ok(())
    }

    /// Decides what a crash or an error left half way: a `pending` row by whether its leaf is in the log, a burned one by
    /// whether its entry is. Answers whether this made an upload live.
    pub(super) async fn settle_unfinished(&self, blob: BlobRow) -> Result<bool, RecoveryError> {
        match (blob.state, blob.burn_entry.clone()) {
            (State::Pending, _) => {
                if self.0.committing.lock().unwrap_or_else(PoisonError::into_inner).contains(&blob.id) {
                    return Ok(false);
                }
                self.settle_pending(blob).await
            }
            (State::Burned, Some((bytes, leaf, log_from))) => {
                let Some(_burning) = Burning::begin(self, blob.id) else { return Ok(false) };
                let found = self.0.core.log.find_legacy_leaf(&leaf.0, log_from)?;
                if found.is_some() {
                    self.remove_files(&blob).await.map_err(std::io::Error::other)?;
                    self.forget_row(&blob).await.map_err(std::io::Error::other)?;
                    return Ok(false);
                }
                let entry = Entry { bytes, legacy_leaf: leaf.0 };
                self.finish_burn(&blob, entry).await.map_err(std::io::Error::other)?;
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    async fn settle_pending(&self, blob: BlobRow) -> Result<bool, RecoveryError> {
        let id = blob.id;
        let vault = &self.0.vault;
        match self.0.core.log.find_legacy_leaf(&blob.leaf.0, blob.log_from)? {
            // An upload that ended since the row was read made it live, and counted it, itself.
            Some(index) => {
                let publish = move |c: &rusqlite::Connection| {
                    let told = told_rows::publish(c, &blob, index, now_ms())?.is_some();
                    if told && blob.chunk_size.is_some() {
                        let live = BlobRow { log_index: Some(index), ..blob };
                        upload_rows::finish(c, id, &live, now_ms())?;
                    }
                    Ok::<_, MetaError>(told)
                };
                Ok(vault.meta.write(publish).await?)
            }
            // Its chunks were acknowledged: it is open again, and the client asks for its completion once more.
            None if blob.chunk_size.is_some() => {
                vault.meta.write(move |c| Ok::<_, MetaError>(blob_rows::delete(c, id)?)).await?;
                Ok(false)
            }
            None => {
                vault.keys.clear(vec![(blob.slot, id)]).await?;
                vault.meta.write(move |c| Ok::<_, MetaError>(blob_rows::delete(c, id)?)).await?;
                let payloads = Arc::clone(&vault.payloads);
                tokio::task::spawn_blocking(move || payloads.remove(id))
                    .await
                    .map_err(std::io::Error::other)??;
                Ok(false)
            }
        }
    }
}

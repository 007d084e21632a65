//! Uploads in chunks that nobody goes on with: deleted by their sender, expired, or without a key.
//!
//! The order is row (marked as given up, its room given back), key, files, rows. A crash in between leaves an upload that is marked: the
//! next start, or the next sweep, removes what is left of it. Removing twice is one removal.

use std::time::Duration;

use rusqlite::Connection;

use super::Transfers;
use super::chunked::{AGE, IDLE, REMEMBERED};
use crate::store::chunk_rows;
use crate::store::meta::MetaError;
use crate::store::slots::SlotError;
use crate::store::upload_rows::{self, UploadRow};
use crate::store::{AccountId, BlobId, RecoveryError};

/// Uploads removed in one round of the sweep.
const ROUND: u32 = 64;

impl Transfers {
    /// Gives an open upload up. `false`: the account has no such upload open.
    ///
    /// # Errors
    /// When the database or the key file fail; the sweep goes on then.
    pub async fn abort_upload(&self, account: AccountId, id: BlobId) -> Result<bool, RecoveryError> {
        let this = self.clone();
        let aborting = async move {
            let find = move |c: &Connection| Ok::<_, RecoveryError>(upload_rows::find(c, account, id)?);
            let Some(row) = this.0.vault.meta.read(find).await? else { return Ok(false) };
            let given_up = this.give_up_upload(&row).await?;
            this.remove_given_up().await?;
            Ok(given_up)
        };
        self.0.unattended.finish(aborting).await
    }

    /// One round of the sweep over uploads.
    pub(super) async fn sweep_uploads(&self, now: i64) -> Result<(), MetaError> {
        let before = |age: Duration| now.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let (idle, old, done) = (before(IDLE), before(AGE), before(REMEMBERED));
        let stale = move |c: &Connection| Ok::<_, MetaError>(upload_rows::stale(c, idle, old, ROUND)?);
        for row in self.0.vault.meta.read(stale).await? {
            tracing::info!(upload = %row.id, "an unfinished upload has expired");
            self.give_up_upload(&row).await?;
        }
        let has_done = move |c: &Connection| Ok::<_, MetaError>(upload_rows::has_done_before(c, done)?);
        if self.0.vault.meta.read(has_done).await? {
            self.0.vault.meta.write(move |c| Ok::<_, MetaError>(upload_rows::forget_done(c, done)?)).await?;
        }
        if let Err(error) = self.remove_given_up().await {
            tracing::error!(%error, "an upload that was given up is not removed yet; the sweep tries again");
        }
        Ok(())
    }

    /// At start: what has no key any more cannot go on (payloads in memory).
    pub(super) async fn give_up_keyless(&self) -> Result<(), RecoveryError> {
        let open = |c: &Connection| Ok::<_, RecoveryError>(upload_rows::all_open(c)?);
        for row in self.0.vault.meta.read(open).await? {
            if matches!(self.0.vault.keys.get(row.slot, row.id), Err(SlotError::Gone)) {
                self.give_up_upload(&row).await?;
            }
        }
        Ok(())
    }

    async fn give_up_upload(&self, row: &UploadRow) -> Result<bool, MetaError> {
        let (this, id) = (self.clone(), row.id);
        let give_up =
            move |c: &Connection| Ok::<_, MetaError>(!this.is_committing(id) && upload_rows::give_up(c, id)?);
        let given_up = self.0.vault.meta.write(give_up).await?;
        if given_up {
            self.0.in_flight.release(row.size);
        }
        Ok(given_up)
    }

    /// Removes what is left of uploads that were given up: key, files, rows.
    pub(super) async fn remove_given_up(&self) -> Result<(), RecoveryError> {
        let given_up = |c: &Connection| Ok::<_, RecoveryError>(upload_rows::given_up(c, ROUND)?);
        for row in self.0.vault.meta.read(given_up).await? {
            self.remove_chunks(&row).await?;
            let id = row.id;
            self.0.vault.meta.write(move |c| Ok::<_, RecoveryError>(upload_rows::delete(c, id)?)).await?;
        }
        Ok(())
    }

    /// Destroys the key of an upload that is no blob, and removes its chunks.
    pub(super) async fn remove_chunks(&self, row: &UploadRow) -> Result<(), RecoveryError> {
        let (vault, id) = (self.0.vault.clone(), row.id);
        vault.keys.clear(vec![(row.slot, id)]).await?;
        let removing = tokio::task::spawn_blocking(move || {
            for chunk in vault.meta.read_blocking(|c| Ok::<_, RecoveryError>(chunk_rows::of(c, id)?))? {
                vault.payloads.remove(chunk.file)?;
            }
            Ok::<_, RecoveryError>(())
        });
        removing.await.map_err(std::io::Error::other)??;
        self.0.vault.meta.write(move |c| Ok::<_, RecoveryError>(chunk_rows::delete_all(c, id)?)).await
    }
}

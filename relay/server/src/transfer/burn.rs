//! Destroying a payload: the key in its slot first, then the row, then the file, then the log's word for it.
//!
//! A crash in between is harmless at every point: without its key the file is noise, the row names what is left to do, and
//! the next start (or the next sweep) goes on from there. Burning twice is one burning. The audit row of a last read or a
//! cancellation is in the transaction that marks the row: after a crash before it the row tells of a loss, not of a read.

use std::sync::PoisonError;

use paramant_protocol::entry::body::BurnCause;

use super::Transfers;
use crate::entries::{self, EntryError};
use crate::log_service::{Entry, LogError};
use crate::store::blob_rows::{self, BlobRow, Space};
use crate::store::chunk_rows;
use crate::store::meta::MetaError;
use crate::store::slots::SlotError;
use crate::store::{AccountId, BlobId, Digest, activity_rows, now_ms, told_rows};

/// Why a payload is not burned whole yet; what remains is tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum BurnError {
    #[error(transparent)]
    Slot(#[from] SlotError),
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error("the payload's file: {0}")]
    File(#[from] std::io::Error),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Entry(#[from] EntryError),
}

/// Why a blob is not known to be taken back.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// The database.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// Its key could not be overwritten; that is tried again.
    #[error("the key of a blob that was to be taken back is not destroyed yet")]
    NotDestroyed,
    /// It is being burned for another reason, just now.
    #[error("the blob that was to be taken back is being burned already")]
    Burning,
}

/// Why a payload is destroyed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Why {
    pub(super) cause: BurnCause,
    /// Who has just read it for the last time, if that is not written down yet.
    pub(super) reader: Option<AccountId>,
}

impl Why {
    /// Tells account holders, in the transaction that marks the row.
    fn tell(self, c: &rusqlite::Connection, blob: &BlobRow) -> Result<(), rusqlite::Error> {
        match (self.cause, self.reader) {
            (_, Some(reader)) => told_rows::read_to_its_end(c, blob, reader, true, now_ms())?,
            (BurnCause::Cancelled, None) => told_rows::taken_back(c, blob, now_ms())?,
            // A read that is written down already, an expiry or a loss.
            _ => {}
        }
        activity_rows::burned(c, blob.account)
    }
}

impl From<rusqlite::Error> for BurnError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Meta(error.into())
    }
}

impl Transfers {
    /// Burns a blob. An error is logged and the sweep goes on with what remains.
    pub(super) async fn burn(&self, blob: &BlobRow, cause: BurnCause) {
        self.burn_for(blob, Why { cause, reader: None }).await;
    }

    /// Burns a blob whose last view this account has just read to its end.
    pub(super) async fn burn_read(&self, blob: &BlobRow, reader: AccountId) {
        self.burn_for(blob, Why { cause: BurnCause::Read, reader: Some(reader) }).await;
    }

    pub(super) async fn burn_for(&self, blob: &BlobRow, why: Why) {
        let Some(_burning) = Burning::begin(self, blob.id) else { return };
        let burned = match self.destroy_key(blob).await {
            Ok(()) => self.burn_rest(blob, why).await,
            Err(error) => Err(error),
        };
        if let Err(error) = burned {
            self.go_on_later(blob, why, &error);
        }
    }

    fn go_on_later(&self, blob: &BlobRow, why: Why, error: &BurnError) {
        tracing::error!(upload = %blob.id, %error, "a payload is not burned whole yet; the sweep goes on with it");
        self.0.burn_again.lock().unwrap_or_else(PoisonError::into_inner).insert(blob.id, why);
    }

    /// Whether the blob's key may be gone though its row does not say so: a burn runs, or an error stopped one.
    pub(super) fn is_burning(&self, id: BlobId) -> bool {
        self.0.burning.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
            || self.0.burn_again.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }

    /// Takes an unread blob back, for the account that sent it: from the answer on its key is destroyed. `false`: there is
    /// none.
    ///
    /// # Errors
    /// When the database cannot be read, or the key is not known to be destroyed (yet).
    pub async fn cancel(&self, account: AccountId, lookup: Digest) -> Result<bool, CancelError> {
        let this = self.clone();
        // To its end even when the client hangs up: a key without a row that says so would look like a loss.
        self.0.unattended.finish(async move { this.take_back(account, lookup).await }).await
    }

    async fn take_back(&self, account: AccountId, lookup: Digest) -> Result<bool, CancelError> {
        let find = move |c: &rusqlite::Connection| -> Result<Option<BlobRow>, MetaError> {
            let content = blob_rows::unread(c, account, Space::Content, lookup)?;
            Ok(match content {
                Some(blob) => Some(blob),
                None => blob_rows::unread(c, account, Space::Drop, lookup)?,
            })
        };
        let now = now_ms();
        let found = self.0.vault.meta.read(find).await?;
        let Some(blob) = found.filter(|blob| blob.log_index.is_some() && blob.expires_ms > now) else {
            return Ok(false);
        };
        self.revoke_leases_of(blob.id);
        let Some(_burning) = Burning::begin(self, blob.id) else { return Err(CancelError::Burning) };
        let why = Why { cause: BurnCause::Cancelled, reader: None };
        if let Err(error) = self.destroy_key(&blob).await {
            self.go_on_later(&blob, why, &error);
            return Err(CancelError::NotDestroyed);
        }
        // What remains makes nothing readable again.
        if let Err(error) = self.burn_rest(&blob, why).await {
            self.go_on_later(&blob, why, &error);
        }
        Ok(true)
    }

    async fn destroy_key(&self, blob: &BlobRow) -> Result<(), BurnError> {
        Ok(self.0.vault.keys.clear(vec![(blob.slot, blob.id)]).await?)
    }

    /// The steps after the key: row (and what its account is told), file, entry.
    async fn burn_rest(&self, blob: &BlobRow, why: Why) -> Result<(), BurnError> {
        let vault = &self.0.vault;
        let entry = entries::burned(blob.leaf, why.cause)?;
        let (row, written, log_from) = (blob.clone(), entry.clone(), self.0.core.log.head().size);
        let first = vault
            .meta
            .write::<_, BurnError, _>(move |c| {
                let leaf = Digest(written.legacy_leaf);
                let first = blob_rows::mark_burned(c, row.id, &written.bytes, leaf, log_from)?;
                if first {
                    why.tell(c, &row)?;
                }
                Ok(first)
            })
            .await?;
        if first {
            self.0.in_flight.remove(blob.size);
            self.count(|totals| totals.burned += 1);
            self.finish_burn(blob, entry).await?;
        }
        Ok(())
    }

    /// The steps after the row is marked: file, entry, and the row itself.
    pub(super) async fn finish_burn(&self, blob: &BlobRow, entry: Entry) -> Result<(), BurnError> {
        self.remove_files(blob).await?;
        self.0.core.log.append(entry).await?;
        self.forget_row(blob).await
    }

    /// Removes the payload: one file, or one for each chunk.
    pub(super) async fn remove_files(&self, blob: &BlobRow) -> Result<(), BurnError> {
        let (vault, id, in_chunks) = (self.0.vault.clone(), blob.id, blob.chunk_size.is_some());
        let removing = tokio::task::spawn_blocking(move || {
            if !in_chunks {
                return Ok(vault.payloads.remove(id)?);
            }
            for chunk in vault.meta.read_blocking(|c| Ok::<_, BurnError>(chunk_rows::of(c, id)?))? {
                vault.payloads.remove(chunk.file)?;
            }
            Ok(())
        });
        removing.await.map_err(std::io::Error::other)?
    }

    /// Forgets a blob whose files are gone and whose entry is in the log: by that the next start would forget it.
    pub(super) async fn forget_row(&self, blob: &BlobRow) -> Result<(), BurnError> {
        let (id, in_chunks) = (blob.id, blob.chunk_size.is_some());
        let forget = move |c: &rusqlite::Connection| {
            if in_chunks {
                chunk_rows::delete_all(c, id)?;
            }
            Ok::<_, BurnError>(blob_rows::delete(c, id)?)
        };
        self.0.vault.meta.write_soon(forget).await
    }
}

/// While it lives, nobody else burns the blob.
pub(super) struct Burning<'t> {
    transfers: &'t Transfers,
    id: BlobId,
}

impl<'t> Burning<'t> {
    pub(super) fn begin(transfers: &'t Transfers, id: BlobId) -> Option<Self> {
        let first = transfers.0.burning.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        first.then_some(Self { transfers, id })
    }
}

impl Drop for Burning<'_> {
    fn drop(&mut self) {
        self.transfers.0.burning.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

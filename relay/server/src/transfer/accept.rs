//! From bytes that arrived to an upload that is acknowledged.
//!
//! The order is the promise: payload file, its directory, its key and its row `pending`, all at once, durable → `transfer` entry
//! durable in the log → row `live` with the entry's index. A crash after any step leaves either the whole upload (its entry is in
//! the log) or nothing (it is not), and the pass at start tells which: so the row may be `live` a moment before the disk knows, and the
//! upload is acknowledged in that moment. What account holders are told of it (audit row, device queue) and its receipt are in the
//! transaction that makes the row `live`. Runs to its end even when the client hangs up.

use std::io;
use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;
use paramant_protocol::id::ReceiptId;

use super::{OverLimit, Transfers, Unfinished};
use crate::entries::{self, EntryError};
use crate::log_service::{Entry, LogError};
use crate::plans;
use crate::store::NeedError;
use crate::store::blob_rows::{self, BlobRow, Inserted, Space, State};
use crate::store::meta::MetaError;
use crate::store::slots::{Slot, SlotError};
use crate::store::usage_rows::{self, Counted, Quota};
use crate::store::{AccountId, BlobId, Digest, link_rows, now_ms, random_receipt_id};
use crate::store::{receipt_rows, told_rows, upload_rows};

/// How often, and how many times, a repeat looks whether the same upload has become live, or its last read has ended.
const REPEAT_LOOKS: (Duration, u32) = (Duration::from_millis(20), 500);

/// What is to be kept, and for whom.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Who sent it.
    pub account: AccountId,
    /// Which names `lookup` competes with.
    pub space: Space,
    /// What it will be asked for by.
    pub lookup: Digest,
    /// SHA-256 of the payload.
    pub hash: Digest,
    /// How long it may wait to be read.
    pub ttl: Duration,
    /// How often it may be read.
    pub views: u32,
    /// The sender's device.
    pub device: Option<String>,
    /// Whether the sender's signature over the hash held.
    pub sig_valid: bool,
    /// How many the account may send in a month, while plans limit that.
    pub quota: Option<Quota>,
    /// Who may read it besides the account, and with what.
    pub access: Access,
    /// A view whose bytes began to go out is used, whatever becomes of the read.
    pub strict: bool,
}

/// What is kept, or on its way to the disk, and is to have a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    /// The blob's id.
    pub(super) id: BlobId,
    /// Its bytes.
    pub(super) size: u64,
    /// Where its key is.
    pub(super) slot: Slot,
    /// It arrived in chunks of this size, under an upload row of the same id.
    pub(super) chunk_size: Option<u64>,
}

/// An upload whose row is to be written, with what belongs into its transaction, and its entry.
#[derive(Debug)]
pub(super) struct Pending {
    row: BlobRow,
    entry: Entry,
    at: Timestamp,
    receipt: ReceiptId,
    link: Option<Digest>,
    quota: Option<Quota>,
}

/// How a blob may be read besides by its account's keys, and what readers must know.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// A password, as the PHC string that [`crate::passwords`] makes.
    pub password: Option<String>,
    /// The file's name, encrypted by the sender.
    pub enc_meta: Option<String>,
    /// SHA-256 of a fresh token: a download link of this upload, or of the unread one that stands for it.
    pub link: Option<Digest>,
}

/// An upload that may be acknowledged.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Its row, live, or that of the same unread upload before it.
    pub blob: BlobRow,
    /// Where its entry is.
    pub log_index: u64,
    /// What this uploader, and nobody else, asks for the entry's proof by.
    pub receipt: ReceiptId,
}

/// Why an upload was not kept. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The volume is full, or too little of it is free.
    #[error("the relay has no disk space left for this upload; try again later")]
    DiskFull,
    /// Too many bytes wait to be read.
    #[error(transparent)]
    OverLimit(#[from] OverLimit),
    /// The same upload by the same account is still being kept, or is being read for the last time.
    #[error("the same bytes are on their way in or out; try again in a moment")]
    InProgress,
    /// The account has sent what its plan allows this month.
    #[error("this account's plan allows {} uploads a month, and they are used up", .0.limit)]
    Quota(Quota),
    /// Too many unfinished uploads.
    #[error(
        "there are {open} unfinished uploads, and at most {limit} may be: complete or delete one, or wait until it expires"
    )]
    TooManyOpen {
        /// How many.
        open: u64,
        /// How many may be.
        limit: u64,
    },
    /// Unfinished uploads of one account hold too much room.
    #[error(
        "this account's unfinished uploads hold {open} bytes, and with this one it would be more than {limit}: complete or delete one, or wait until it expires"
    )]
    TooMuchOpen {
        /// Bytes they announced.
        open: u64,
        /// `limits.maxOpenPerAccount`.
        limit: u64,
    },
    /// It is of a kind that the release before this one could not read.
    #[error(
        "the relay was just updated; large and strict uploads like this one are taken again once the update has settled"
    )]
    NotCommitted,
    /// The volume failed.
    #[error("the payload could not be written: {0}")]
    Io(io::Error),
    /// The database failed.
    #[error(transparent)]
    Meta(MetaError),
    /// The log takes no entries.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No randomness, or a closed key file.
    #[error("{0}")]
    Internal(String),
}

impl From<io::Error> for UploadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io(error),
        }
    }
}

impl From<MetaError> for UploadError {
    fn from(error: MetaError) -> Self {
        match error {
            MetaError::Full => Self::DiskFull,
            other => Self::Meta(other),
        }
    }
}

impl From<rusqlite::Error> for UploadError {
    fn from(error: rusqlite::Error) -> Self {
        MetaError::from(error).into()
    }
}

impl From<NeedError> for UploadError {
    fn from(error: NeedError) -> Self {
        match error {
            NeedError::NotCommitted { .. } => Self::NotCommitted,
            NeedError::Sqlite(error) => error.into(),
        }
    }
}

impl From<SlotError> for UploadError {
    fn from(error: SlotError) -> Self {
        match error {
            SlotError::Io(error) => error.into(),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<EntryError> for UploadError {
    fn from(error: EntryError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<getrandom::Error> for UploadError {
    fn from(error: getrandom::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

impl Transfers {
    /// Keeps a payload under these terms and answers once it may be acknowledged.
    ///
    /// # Errors
    /// [`UploadError`]; nothing of the upload is left then.
    pub async fn accept(&self, terms: Terms, unfinished: Unfinished) -> Result<Accepted, UploadError> {
        let this = self.clone();
        // A task of its own: a client that hangs up now must not leave a row half way.
        self.0.unattended.finish(async move { this.keep(terms, unfinished).await }).await
    }

    async fn keep(&self, terms: Terms, mut unfinished: Unfinished) -> Result<Accepted, UploadError> {
        let slot = unfinished.slot().await?;
        let _committing = Committing::begin(self, unfinished.id);
        let stored = Stored { id: unfinished.id, size: unfinished.size, slot, chunk_size: None };
        let pending = self.pending(&terms, stored)?;
        let accepted = match tokio::join!(unfinished.keep(slot), self.insert(&pending)) {
            (Ok(()), Ok(None)) => self.log_and_publish(pending).await,
            (stored, Ok(Some(earlier))) => {
                if stored.is_ok() {
                    unfinished.forget(slot).await;
                }
                return Ok(earlier);
            }
            (Ok(()), Err(error)) => Err(error),
            (Err(error), row) => {
                if matches!(row, Ok(None)) {
                    self.take_row_back(unfinished.id).await;
                }
                return Err(error);
            }
        };
        match accepted {
            Ok(accepted) => {
                let size = unfinished.size;
                unfinished.reservation.became_blob(size);
                self.acknowledged(&accepted.blob);
                Ok(accepted)
            }
            Err(error) => {
                self.give_up(unfinished, slot, &error).await;
                Err(error)
            }
        }
    }

    /// An upload may be acknowledged: whoever listens is told.
    pub(super) fn acknowledged(&self, blob: &BlobRow) {
        self.0.core.streams.tell_of(blob);
        self.count(|totals| {
            totals.inbound += 1;
            totals.bytes_in += blob.size;
        });
    }

    /// The row and the entry of an upload.
    pub(super) fn pending(&self, terms: &Terms, stored: Stored) -> Result<Pending, UploadError> {
        let core = &self.0.core;
        let at = Timestamp::now();
        let sector = core.settings.current().sector.clone();
        let (entry, ts) = entries::transfer(terms.hash, &sector, at)?;
        let created_ms = at.as_millisecond();
        let ttl_ms = i64::try_from(terms.ttl.as_millis()).unwrap_or(i64::MAX);
        let row = BlobRow {
            id: stored.id,
            account: terms.account,
            space: terms.space,
            lookup: terms.lookup,
            hash: terms.hash,
            size: stored.size,
            ttl_ms,
            created_ms,
            expires_ms: created_ms.saturating_add(ttl_ms),
            views: terms.views,
            views_left: terms.views,
            state: State::Pending,
            slot: stored.slot,
            sig_valid: terms.sig_valid,
            device: terms.device.clone(),
            sector,
            ts,
            leaf: Digest(entry.legacy_leaf),
            log_from: core.log.head().size,
            log_index: None,
            password: terms.access.password.clone(),
            enc_meta: terms.access.enc_meta.clone(),
            burn_entry: None,
            chunk_size: stored.chunk_size,
            strict: terms.strict,
        };
        let (link, quota) = (terms.access.link, terms.quota.clone());
        Ok(Pending { row, entry, at, receipt: random_receipt_id()?, link, quota })
    }

    /// From what is durable, its `pending` row too, to what may be acknowledged.
    pub(super) async fn log_and_publish(&self, pending: Pending) -> Result<Accepted, UploadError> {
        let core = &self.0.core;
        let Pending { row, entry, receipt, .. } = pending;
        let appended = core.log.append(entry).await?;
        let blob = BlobRow { state: State::Live, log_index: Some(appended.index), ..row };
        let live = blob.clone();
        let publish = move |c: &rusqlite::Connection| {
            let told = told_rows::publish(c, &live, appended.index, now_ms())?;
            if told.is_some() && live.chunk_size.is_some() {
                upload_rows::finish(c, live.id, &live, live.created_ms)?;
            }
            Ok::<_, MetaError>(told)
        };
        // The entry is durable: from it the next start would make this row live.
        let told = self.0.vault.meta.write_soon(publish).await?;
        let told = told
            .ok_or_else(|| UploadError::Internal("the upload's row changed before it was live".to_owned()))?;
        if told.hooks > 0 {
            core.outbox_news.notify_one();
        }
        Ok(Accepted { blob, log_index: appended.index, receipt })
    }

    /// Inserts the row, or answers the same unread upload before it. Waits while that one is on its way in or out: an upload
    /// that is being read for the last time must not stand for this one, it is burned in a moment.
    pub(super) async fn insert(&self, pending: &Pending) -> Result<Option<Accepted>, UploadError> {
        let (pause, looks) = REPEAT_LOOKS;
        let (receipt, link, at) = (pending.receipt, pending.link, pending.at);
        for _ in 0..looks {
            let (new, quota) = (pending.row.clone(), pending.quota.clone());
            let schema = self.0.vault.meta.schema().clone();
            let inserting = self.0.vault.meta.write(move |c| {
                let inserted = blob_rows::insert_pending(c, &schema, &new, &receipt)?;
                match &inserted {
                    Inserted::New => {
                        count(c, &new, quota.as_ref(), at)?;
                        if let Some(token) = link {
                            link_rows::insert(c, token, new.id)?;
                        }
                    }
                    Inserted::Unread(earlier) => {
                        receipt_rows::insert(c, &receipt, earlier)?;
                        if let Some(token) = link {
                            link_rows::insert(c, token, earlier.id)?;
                        }
                    }
                    Inserted::Undecided => {}
                }
                Ok::<_, UploadError>(inserted)
            });
            match inserting.await? {
                Inserted::New => return Ok(None),
                Inserted::Unread(blob) if !self.is_burning(blob.id) => {
                    let log_index = blob.log_index.unwrap_or_default();
                    return Ok(Some(Accepted { blob: *blob, log_index, receipt }));
                }
                Inserted::Unread(_) | Inserted::Undecided => tokio::time::sleep(pause).await,
            }
        }
        Err(UploadError::InProgress)
    }

    /// Removes the row of an upload of which nothing else is left.
    async fn take_row_back(&self, id: BlobId) {
        let delete = move |c: &rusqlite::Connection| Ok::<_, MetaError>(blob_rows::delete(c, id)?);
        if let Err(error) = self.0.vault.meta.write_soon(delete).await {
            tracing::warn!(%error, upload = %id, "the row of an upload that failed is still there; the sweep removes it");
        }
    }

    /// Removes what was kept, unless its entry may be in the log: then the sweep decides, as after a crash.
    async fn give_up(&self, unfinished: Unfinished, slot: Slot, error: &UploadError) {
        let id = unfinished.id;
        let row = self.0.vault.meta.read_blocking(|c| Ok::<_, MetaError>(blob_rows::by_id(c, id)?));
        if matches!(row, Ok(None)) {
            unfinished.forget(slot).await;
        } else {
            tracing::warn!(%error, upload = %id, "an upload ended between its row and its answer; it is settled by the sweep");
        }
    }
}

/// Counts a new upload; a refusal takes its row back with it.
fn count(
    c: &rusqlite::Connection,
    row: &BlobRow,
    quota: Option<&Quota>,
    at: Timestamp,
) -> Result<(), UploadError> {
    let month = plans::month(at);
    let upload = Counted { account: row.account, now_ms: row.created_ms, month: &month, hash: row.hash };
    match (usage_rows::count(c, &upload, quota)?, quota) {
        (false, Some(quota)) => Err(UploadError::Quota(quota.clone())),
        _ => Ok(()),
    }
}

/// While it lives, the sweep leaves the upload's row alone.
pub(super) struct Committing<'t> {
    transfers: &'t Transfers,
    id: BlobId,
}

impl<'t> Committing<'t> {
    pub(super) fn begin(transfers: &'t Transfers, id: BlobId) -> Self {
        transfers.0.committing.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        Self { transfers, id }
    }
}

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        self.transfers.0.committing.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

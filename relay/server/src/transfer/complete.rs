//! An upload in chunks becomes a blob.
//!
//! Nothing is copied or read again: the blob is the chunks' files under the upload's key, its name the hash of the list of their
//! hashes, each computed as it arrived. The order is that of every upload: row `pending` → `transfer` entry durable → row `live`, and
//! the upload `done` in the same transaction. A crash before the entry leaves the upload open with all its chunks, one after it a
//! blob: the pass at start tells which by the log. A repeat gets the same answer, even when the blob was read meanwhile.

use std::sync::PoisonError;
use std::time::Duration;

use paramant_protocol::chunks::{ChunkList, Division, UploadProgress};
use paramant_protocol::id::ReceiptId;
use rusqlite::Connection;

use super::Transfers;
use super::accept::{Access, Committing, Stored, Terms, UploadError};
use crate::store::blob_rows::{self, BlobRow, Space};
use crate::store::chunk_rows::{self, ChunkRow};
use crate::store::link_rows;
use crate::store::meta::MetaError;
use crate::store::receipt_rows::{self, Receipted};
use crate::store::upload_rows::{self, Finished, UploadPhase, UploadRow};
use crate::store::usage_rows::Quota;
use crate::store::{AccountId, BlobId, Digest, now_ms, random_receipt_id};

/// How often, and how many times, a repeat looks whether the same completion has ended.
const LOOKS: (Duration, u32) = (Duration::from_millis(20), 500);

/// A completed upload, to be answered.
#[derive(Debug, Clone, Copy)]
pub struct Completed {
    /// What the answer says.
    pub blob: Finished,
    /// What this uploader, and nobody else, asks for the entry's proof by.
    pub receipt: ReceiptId,
    /// This request made it a blob.
    pub first: bool,
    /// The link that was asked for reads the blob: it is still there.
    pub linked: bool,
}

/// What a completion asks for.
#[derive(Debug, Clone, Default)]
pub struct Completion {
    /// The blob's name, if the client says it.
    pub expected: Option<Digest>,
    /// How many the account may send in a month, while plans limit that.
    pub quota: Option<Quota>,
    /// SHA-256 of a fresh token: a download link of the blob.
    pub link: Option<Digest>,
}

/// Why an upload is not complete. It stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum CompleteError {
    /// No such upload of this account.
    #[error("there is no such upload")]
    Gone,
    /// Chunks are missing.
    #[error("chunks are missing")]
    Missing(Vec<[u64; 2]>),
    /// The list's hash is not the one expected.
    #[error("the list of the chunks that arrived has the hash {found}")]
    HashMismatch {
        /// As computed.
        found: Digest,
    },
    /// The account holds the same unread under another password, or this one has a password and the other may have it too: which
    /// of both readers will be asked for is not for the relay to choose.
    #[error(
        "the same chunks wait to be read, and a password is asked for one of the two; cancel that upload first"
    )]
    OtherPassword,
    /// As for any upload.
    #[error(transparent)]
    Upload(#[from] UploadError),
}

impl From<MetaError> for CompleteError {
    fn from(error: MetaError) -> Self {
        Self::Upload(error.into())
    }
}

impl From<rusqlite::Error> for CompleteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Upload(error.into())
    }
}

impl Transfers {
    /// Makes an upload a blob, or answers what it became before.
    ///
    /// # Errors
    /// [`CompleteError`]; all that was acknowledged stays.
    pub async fn complete_upload(
        &self,
        account: AccountId,
        id: BlobId,
        asked: Completion,
    ) -> Result<Completed, CompleteError> {
        let this = self.clone();
        // To its end even when the client hangs up, as every upload.
        self.0.unattended.finish(async move { this.complete(account, id, asked).await }).await
    }

    async fn complete(
        &self,
        account: AccountId,
        id: BlobId,
        asked: Completion,
    ) -> Result<Completed, CompleteError> {
        let Completion { expected, quota, link } = asked;
        let committing = self.one_at_a_time(id).await?;
        // On the writer, after every chunk that was acknowledged: from the guard on none is taken.
        let find = move |c: &Connection| {
            let Some(row) = upload_rows::find(c, account, id)? else { return Err(CompleteError::Gone) };
            let chunks = if row.phase == UploadPhase::Open { chunk_rows::of(c, id)? } else { Vec::new() };
            Ok((row, chunks))
        };
        let (row, chunks) = self.0.vault.meta.write(find).await?;
        if let UploadPhase::Done(blob) = row.phase {
            return self.again(account, blob, expected, link).await;
        }
        let hash = name(&row, &chunks)?;
        if [row.expected, expected].into_iter().flatten().any(|expected| expected != hash) {
            return Err(CompleteError::HashMismatch { found: hash });
        }
        let terms = Terms {
            account,
            space: Space::Content,
            lookup: hash,
            hash,
            ttl: Duration::from_millis(row.ttl_ms.max(0).cast_unsigned()),
            views: row.views,
            device: row.device.clone(),
            sig_valid: false,
            strict: row.strict,
            quota: quota.map(|quota| Quota { file: row.file_id, ..quota }),
            access: Access { password: row.password.clone(), enc_meta: row.enc_meta.clone(), link },
        };
        let stored = Stored { id, size: row.size, slot: row.slot, chunk_size: Some(row.chunk_size) };
        let pending = self.pending(&terms, stored)?;
        let (accepted, first) = match self.insert(&pending).await? {
            None => {
                let accepted = self.log_and_publish(pending).await?;
                self.0.in_flight.add(1, 0); // its bytes were set aside when it was opened
                self.acknowledged(&accepted.blob);
                (accepted, true)
            }
            // Both sealed with a salt of their own: whether it is the same password cannot be told here.
            Some(earlier) if earlier.blob.password != row.password => {
                return Err(CompleteError::OtherPassword);
            }
            Some(earlier) => {
                self.stand_down(&row, &earlier.blob).await?;
                (earlier, false)
            }
        };
        drop(committing);
        Ok(Completed {
            blob: finished(&accepted.blob),
            receipt: accepted.receipt,
            first,
            linked: link.is_some(),
        })
    }

    /// The account holds the same unread: that stands for this upload, whose chunks go.
    async fn stand_down(&self, row: &UploadRow, earlier: &BlobRow) -> Result<(), CompleteError> {
        let (id, blob) = (row.id, earlier.clone());
        let finish =
            move |c: &Connection| Ok::<_, CompleteError>(upload_rows::finish(c, id, &blob, now_ms())?);
        if self.0.vault.meta.write(finish).await? {
            self.0.in_flight.release(row.size);
        }
        if let Err(error) = self.remove_chunks(row).await {
            tracing::warn!(%error, upload = %id, "chunks that nothing needs are still there; the next start removes them");
        }
        Ok(())
    }

    async fn again(
        &self,
        account: AccountId,
        blob: Finished,
        expected: Option<Digest>,
        link: Option<Digest>,
    ) -> Result<Completed, CompleteError> {
        if expected.is_some_and(|expected| expected != blob.hash) {
            return Err(CompleteError::HashMismatch { found: blob.hash });
        }
        let receipt = random_receipt_id().map_err(UploadError::from)?;
        let entry = Receipted { log_index: blob.log_index, leaf: blob.leaf };
        let insert = move |c: &Connection| {
            receipt_rows::insert_for(c, &receipt, entry)?;
            // The token of the answer before is not known any more; a blob that was read has no links.
            let there = blob_rows::unread(c, account, Space::Content, blob.hash)?;
            let there = there.filter(|there| there.leaf == blob.leaf);
            let (Some(token), Some(there)) = (link, there) else { return Ok(false) };
            link_rows::insert(c, token, there.id)?;
            Ok::<_, CompleteError>(true)
        };
        let linked = self.0.vault.meta.write(insert).await?;
        Ok(Completed { blob, receipt, first: false, linked })
    }

    /// Waits until nobody else completes this upload.
    async fn one_at_a_time(&self, id: BlobId) -> Result<Committing<'_>, UploadError> {
        let (pause, looks) = LOOKS;
        for _ in 0..looks {
            let first = self.0.committing.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
            if first {
                return Ok(Committing::begin(self, id));
            }
            tokio::time::sleep(pause).await;
        }
        Err(UploadError::InProgress)
    }
}

impl UploadRow {
    /// How it divides; `None` only for a row that this release did not write.
    pub(super) fn division(&self) -> Option<Division> {
        Division::new(self.size, self.chunk_size).ok()
    }
}

/// The name of the blob, if all its chunks are there.
fn name(row: &UploadRow, chunks: &[ChunkRow]) -> Result<Digest, CompleteError> {
    let broken = || UploadError::Internal("an upload's row has sizes that cannot be".to_owned());
    let division = row.division().ok_or_else(broken)?;
    let mut list = ChunkList::new(row.size, row.chunk_size);
    let mut there = chunks.iter().peekable();
    let mut missing = Vec::new();
    for number in 0..division.count() {
        match there.next_if(|chunk| chunk.number == number) {
            Some(chunk) if Some(chunk.size) == division.length(number) => list.push(&chunk.hash.0),
            _ => missing.push(number),
        }
    }
    if missing.is_empty() {
        Ok(Digest(*list.finish().as_bytes()))
    } else {
        Err(CompleteError::Missing(UploadProgress::ranges(missing)))
    }
}

fn finished(blob: &BlobRow) -> Finished {
    Finished {
        hash: blob.hash,
        size: blob.size,
        ttl_ms: blob.ttl_ms,
        sig_valid: blob.sig_valid,
        leaf: blob.leaf,
        log_index: blob.log_index.unwrap_or_default(),
    }
}

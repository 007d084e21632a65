//! Uploads in chunks: opened, and filled in any order by any number of connections.
//!
//! Opening makes a key durable and then the row, so a row always has its key. A chunk's file is durable before its row, and its row
//! before its answer; no lock is held meanwhile, and a chunk that comes twice is kept once. A crash leaves at most files and keys
//! that no row speaks of: the pass at start removes them. What was acknowledged of an open upload survives any restart (with
//! payloads in memory: none does).

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use paramant_protocol::chunks::{Division, UploadProgress};
use rusqlite::Connection;

use super::accept::UploadError;
use super::intake::{Intake, Received};
use super::{OverLimit, Transfers};
use crate::store::chunk_rows::{self, ChunkRow};
use crate::store::meta::MetaError;
use crate::store::seal::PayloadKey;
use crate::store::slots::SlotError;
use crate::store::upload_rows::{self, UploadPhase, UploadRow};
use crate::store::{AccountId, BlobId, Digest, now_ms};

/// An upload that no chunk comes for is given up: a sender whose line is down over night goes on in the morning.
pub(super) const IDLE: Duration = Duration::from_secs(24 * 3600);
/// An upload is given up at this age whatever comes: room is not held for ever by a chunk a day.
pub(super) const AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Unfinished uploads of one account, and of all: each may hold room for a largest blob.
const OPEN_OF_ACCOUNT: u64 = 16;
const OPEN: u64 = 1024;
/// How long a repeat of `complete` is answered.
pub(super) const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// What is to be uploaded, and under which terms.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Who sends it.
    pub account: AccountId,
    /// How it divides.
    pub division: Division,
    /// The name of its list of chunks, if it is known.
    pub expected: Option<Digest>,
    /// How long the blob may wait to be read, from its completion.
    pub ttl: Duration,
    /// How often it may be read.
    pub views: u32,
    /// The sender's device.
    pub device: Option<String>,
    /// At most one disclosure of a view.
    pub strict: bool,
    /// What readers are asked for, as the PHC string that [`crate::passwords`] makes.
    pub password: Option<String>,
    /// The file's name, encrypted by the sender.
    pub enc_meta: Option<String>,
    /// SHA-256 of the name by which the sender tells that it sends a file again.
    pub file_id: Option<Digest>,
}

/// An upload and how far it is.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Its row.
    pub row: UploadRow,
    /// Numbers of the chunks that are kept, of those asked for, in ranges.
    pub present: Vec<[u64; 2]>,
    /// It is being logged.
    pub completing: bool,
    /// When it is given up.
    pub expires_ms: i64,
}

/// A chunk on its way in.
#[derive(Debug)]
pub struct Chunk {
    transfers: Transfers,
    upload: BlobId,
    number: u64,
    file: BlobId,
    intake: Intake,
}

/// Why a chunk was not kept.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// No such upload of this account.
    #[error("there is no such upload")]
    Gone,
    /// It takes none any more.
    #[error("the upload takes no chunks: it is being completed, or is complete")]
    NotOpen,
    /// No such number.
    #[error("the upload has chunks 0 to {last}, and no chunk {number}")]
    Beyond {
        /// What was asked.
        number: u64,
        /// The last there is.
        last: u64,
    },
    /// As for any upload.
    #[error(transparent)]
    Upload(#[from] UploadError),
}

impl From<MetaError> for ChunkError {
    fn from(error: MetaError) -> Self {
        Self::Upload(error.into())
    }
}

impl From<rusqlite::Error> for ChunkError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Upload(error.into())
    }
}

impl Transfers {
    /// Opens an upload: its key, then its row.
    ///
    /// # Errors
    /// When there is no room, or too many are open.
    pub async fn open_upload(&self, opening: Opening) -> Result<Upload, UploadError> {
        let this = self.clone();
        self.0.unattended.finish(async move { this.open_new(opening).await }).await
    }

    async fn open_new(&self, opening: Opening) -> Result<Upload, UploadError> {
        let size = opening.division.size();
        self.has_room(size)?;
        let limit = self.0.core.settings.current().limits.max_in_flight;
        self.0.in_flight.hold(size, limit).map_err(|over: OverLimit| UploadError::from(over))?;
        let opened = self.open_held(opening).await;
        if opened.is_err() {
            self.0.in_flight.release(size);
        }
        opened
    }

    async fn open_held(&self, opening: Opening) -> Result<Upload, UploadError> {
        let (id, key) = (BlobId::random()?, PayloadKey::random()?);
        let slot = self.0.vault.keys.store(id, key).await?;
        let now = now_ms();
        let row = UploadRow {
            id,
            account: opening.account,
            phase: UploadPhase::Open,
            size: opening.division.size(),
            chunk_size: opening.division.chunk_size(),
            expected: opening.expected,
            ttl_ms: i64::try_from(opening.ttl.as_millis()).unwrap_or(i64::MAX),
            views: opening.views,
            device: opening.device,
            strict: opening.strict,
            password: opening.password,
            enc_meta: opening.enc_meta,
            file_id: opening.file_id,
            slot,
            created_ms: now,
            touched_ms: now,
        };
        let schema = self.0.vault.meta.schema().clone();
        let (new, most) = (row.clone(), self.0.core.settings.current().limits.open_per_account());
        let insert = move |c: &Connection| {
            let (own, all) = (upload_rows::open_of(c, new.account)?, upload_rows::open(c)?);
            for (open, limit) in [(own.count, OPEN_OF_ACCOUNT), (all.count, OPEN)] {
                if open >= limit {
                    return Err(UploadError::TooManyOpen { open, limit });
                }
            }
            // Room that an account sets aside is room that others do not have, before a single byte of it came.
            if own.bytes.saturating_add(new.size) > most {
                return Err(UploadError::TooMuchOpen { open: own.bytes, limit: most });
            }
            Ok(upload_rows::insert(c, &schema, &new)?)
        };
        if let Err(error) = self.0.vault.meta.write(insert).await {
            drop(self.0.vault.keys.clear(vec![(slot, id)]).await);
            return Err(error);
        }
        Ok(Upload::new(row, Vec::new(), false))
    }

    /// How far an upload of this account is.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn upload(&self, account: AccountId, id: BlobId) -> Result<Option<Upload>, MetaError> {
        self.look(account, id, chunk_rows::numbers).await
    }

    /// The same, asking for one chunk only: what every chunk costs must not grow with their number.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn upload_with(
        &self,
        account: AccountId,
        id: BlobId,
        number: u64,
    ) -> Result<Option<Upload>, MetaError> {
        let this_one = move |c: &Connection, id: BlobId| {
            let there = chunk_rows::find(c, id, number)?;
            Ok::<Vec<u64>, rusqlite::Error>(there.map(|chunk| chunk.number).into_iter().collect())
        };
        self.look(account, id, this_one).await
    }

    async fn look(
        &self,
        account: AccountId,
        id: BlobId,
        kept: impl FnOnce(&Connection, BlobId) -> Result<Vec<u64>, rusqlite::Error> + Send + 'static,
    ) -> Result<Option<Upload>, MetaError> {
        let find = move |c: &Connection| {
            let Some(row) = upload_rows::find(c, account, id)? else { return Ok::<_, MetaError>(None) };
            let numbers = match row.phase {
                UploadPhase::Open => kept(c, id)?,
                UploadPhase::Done(_) => (0..row.size.div_ceil(row.chunk_size.max(1))).collect(),
                UploadPhase::GivenUp => Vec::new(),
            };
            let completing = row.phase == UploadPhase::Open && !upload_rows::takes_chunks(c, id)?;
            Ok(Some(Upload::new(row, UploadProgress::ranges(numbers), completing)))
        };
        let found = self.0.vault.meta.read(find).await?;
        Ok(found.map(|upload| Upload { completing: upload.completing || self.is_committing(id), ..upload }))
    }

    /// Begins a chunk of an upload that the account has open.
    ///
    /// # Errors
    /// [`ChunkError`]; nothing is changed.
    pub async fn receive_chunk(&self, upload: &Upload, number: u64) -> Result<(Chunk, u64), ChunkError> {
        let row = &upload.row;
        if row.phase != UploadPhase::Open || upload.completing {
            return Err(ChunkError::NotOpen);
        }
        let length = row.division().and_then(|division| division.length(number));
        let last = row.size.div_ceil(row.chunk_size.max(1)).saturating_sub(1);
        let length = length.ok_or(ChunkError::Beyond { number, last })?;
        self.has_room(length)?;
        let (vault, slot, id) = (self.0.vault.clone(), row.slot, row.id);
        let reading = tokio::task::spawn_blocking(move || vault.keys.get(slot, id));
        let key = match reading.await.map_err(std::io::Error::other).map_err(UploadError::from)? {
            Ok(key) => key,
            // Given up since the row was read.
            Err(SlotError::Gone) => return Err(ChunkError::Gone),
            Err(error) => return Err(UploadError::from(error).into()),
        };
        let file = BlobId::random().map_err(UploadError::from)?;
        let intake = Intake::new(file, &key.for_chunk(file), Arc::clone(&self.0.vault.payloads), length)?;
        Ok((Chunk { transfers: self.clone(), upload: id, number, file, intake }, length))
    }

    /// Whether the upload's completion is under way in this process.
    pub(super) fn is_committing(&self, id: BlobId) -> bool {
        self.0.committing.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }
}

impl Chunk {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        self.intake.push(bytes).await
    }

    /// The chunk has ended. `check` says whether it is the one that was meant; then it is made durable, file and row.
    ///
    /// # Errors
    /// What `check` says, or [`ChunkError`]; nothing of the chunk is left.
    pub async fn keep<E: From<ChunkError>>(
        self,
        check: impl FnOnce(&Received) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { transfers, upload, number, file, intake } = self;
        let (received, mut part) = intake.end().map_err(ChunkError::from)?;
        check(&received)?;
        let row = ChunkRow { number, file, hash: received.hash, size: received.size };
        let unattended = transfers.0.unattended.clone();
        let keeping = async move {
            part.keep().await?;
            let kept = transfers.insert_chunk(upload, row).await;
            match kept {
                Ok(Inserted::New) => Ok(()),
                Ok(Inserted::Replaced(old)) => {
                    let payloads = Arc::clone(&transfers.0.vault.payloads);
                    drop(tokio::task::spawn_blocking(move || payloads.remove(old)).await);
                    Ok(())
                }
                Ok(Inserted::Known) => {
                    part.forget().await;
                    Ok(())
                }
                Err(error) => {
                    part.forget().await;
                    Err(error)
                }
            }
        };
        Ok(unattended.finish(keeping).await?)
    }
}

/// What became of a chunk's row.
enum Inserted {
    New,
    /// The file before it has no row any more.
    Replaced(BlobId),
    /// The same bytes were there.
    Known,
}

impl Transfers {
    async fn insert_chunk(&self, upload: BlobId, chunk: ChunkRow) -> Result<Inserted, ChunkError> {
        let this = self.clone();
        let insert = move |c: &Connection| {
            let known =
                chunk_rows::find(c, upload, chunk.number)?.is_some_and(|there| there.hash == chunk.hash);
            // Asked on the writer: a completion that has begun reads its chunks there, after this.
            if this.is_committing(upload) || !upload_rows::takes_chunks(c, upload)? {
                // Another client of the same upload was quicker, with the same bytes.
                return if known { Ok(Inserted::Known) } else { Err(ChunkError::NotOpen) };
            }
            upload_rows::touch(c, upload, now_ms())?;
            if known {
                return Ok(Inserted::Known);
            }
            Ok(match chunk_rows::put(c, upload, chunk)? {
                None => Inserted::New,
                Some(before) => Inserted::Replaced(before.file),
            })
        };
        self.0.vault.meta.write(insert).await
    }
}

impl Upload {
    fn new(row: UploadRow, present: Vec<[u64; 2]>, completing: bool) -> Self {
        let after = |from: i64, age: Duration| {
            from.saturating_add(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
        };
        let expires_ms = match row.phase {
            UploadPhase::Done(_) => after(row.touched_ms, REMEMBERED),
            _ => after(row.touched_ms, IDLE).min(after(row.created_ms, AGE)),
        };
        Self { row, present, completing, expires_ms }
    }
}

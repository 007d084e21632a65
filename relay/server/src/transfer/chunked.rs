//! Uploads in chunks: opened, filled in any order by any number of connections, given up when nobody goes on.
//!
//! Opening makes a key durable and then the row, so a row always has its key. A chunk's file is durable before its row, and its row
//! before its answer; no lock is held meanwhile, and a chunk that comes twice is kept once. Giving up goes row, key, files, rows.
//! A crash leaves at most files and keys that no row speaks of, and uploads marked as given up: the pass at start removes them.
//! What was acknowledged of an open upload survives any restart (with payloads in memory: none does).

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
use crate::store::{AccountId, BlobId, Digest, RecoveryError, now_ms};

/// An upload that no chunk comes for is given up: a sender whose line is down over night goes on in the morning.
const IDLE: Duration = Duration::from_secs(24 * 3600);
/// An upload is given up at this age whatever comes: room is not held for ever by a chunk a day.
const AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Unfinished uploads of one account, and of all: each may hold room for a largest blob.
const OPEN_OF_ACCOUNT: u64 = 16;
const OPEN: u64 = 1024;
/// How long a repeat of `complete` is answered.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// Uploads removed in one round of the sweep.
const ROUND: u32 = 64;

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
}

/// An upload and how far it is.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Its row.
    pub row: UploadRow,
    /// Numbers of the chunks that are kept, in ranges.
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
        let slot = self.0.vault.keys.put(id, key).await?;
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
            slot,
            created_ms: now,
            touched_ms: now,
        };
        let new = row.clone();
        let insert = move |c: &Connection| {
            let counts =
                [(upload_rows::open_of(c, new.account)?, OPEN_OF_ACCOUNT), (upload_rows::open(c)?, OPEN)];
            for (open, limit) in counts {
                if open.count >= limit {
                    return Err(UploadError::TooManyOpen { open: open.count, limit });
                }
            }
            Ok(upload_rows::insert(c, &new)?)
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
        let find = move |c: &Connection| {
            let Some(row) = upload_rows::find(c, account, id)? else { return Ok::<_, MetaError>(None) };
            let numbers = match row.phase {
                UploadPhase::Open => chunk_rows::numbers(c, id)?,
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
            // Asked on the writer: a completion that has begun reads its chunks there, after this.
            if this.is_committing(upload) || !upload_rows::takes_chunks(c, upload)? {
                return Err(ChunkError::NotOpen);
            }
            upload_rows::touch(c, upload, now_ms())?;
            if chunk_rows::find(c, upload, chunk.number)?.is_some_and(|there| there.hash == chunk.hash) {
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

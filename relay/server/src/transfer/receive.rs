//! An upload on its way in: hashed, checked, sealed and written as it arrives, with constant memory.
//!
//! At most one frame of plaintext (64 KiB), two sealed frames being filled and two being written are held. A payload that
//! grows past its limit is counted on but no longer kept, so that the refusal can be sent after the body, where every client
//! reads it. Nothing is durable, and no row speaks of it, before [`Unfinished::keep`]; dropping at any point leaves nothing.

use std::io;
use std::sync::Arc;

use aws_lc_rs::digest;
use paramant_protocol::pqhb::{HeaderCheck, HeaderError};
use tokio::task::JoinHandle;

use super::accept::UploadError;
use super::in_flight::Reservation;
use super::{OverLimit, Transfers};
use crate::store::blobs::{BlobPart, BlobStore};
use crate::store::seal::{FRAME, PayloadKey, Sealer, TAG};
use crate::store::slots::Slot;
use crate::store::{BlobId, Digest, Vault};

/// Sealed bytes handed to the disk at a time: two frames, so that filling and writing overlap in a quarter megabyte.
const WRITE: usize = 2 * (FRAME + TAG);

/// An upload in progress.
#[derive(Debug)]
pub struct Receiving {
    id: BlobId,
    key: PayloadKey,
    sealer: Sealer,
    hash: Hasher,
    wire: HeaderCheck,
    wire_verdict: Result<(), HeaderError>,
    /// The frame being filled.
    plain: Vec<u8>,
    sealed: Vec<u8>,
    writing: Writing,
    vault: Vault,
    reservation: Reservation,
    size: u64,
    max_size: u64,
}

/// What is known of a payload once all of it has arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// SHA-256; meaningless when the payload is too large.
    pub hash: Digest,
    /// Its bytes.
    pub size: u64,
    /// More than the limit allows: nothing was kept.
    pub too_large: bool,
    /// What the check of a PQHB header says.
    pub wire: Result<(), HeaderError>,
}

/// A payload that has arrived whole and is not durable yet.
#[derive(Debug)]
pub struct Unfinished {
    pub(super) id: BlobId,
    pub(super) size: u64,
    key: PayloadKey,
    sealed: Vec<u8>,
    writing: Writing,
    vault: Vault,
    pub(super) reservation: Reservation,
}

struct Hasher(digest::Context);

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

/// Where the part is.
#[derive(Debug)]
enum Writing {
    /// Not begun: small payloads are created, written and synced in one step.
    Unbegun,
    /// On a blocking thread.
    Busy(JoinHandle<io::Result<Box<dyn BlobPart>>>),
    /// Too large, or failed: what was written is removed.
    Given,
}

impl Transfers {
    /// Begins an upload of a payload that may have `max_size` bytes and is announced with `expected`.
    ///
    /// # Errors
    /// When there is no room: too much in flight, or too little disk left.
    pub fn receive(&self, expected: u64, max_size: u64) -> Result<Receiving, UploadError> {
        let limits = self.0.core.settings.current().limits.clone();
        let reservation = self.0.in_flight.reserve(expected.min(max_size), limits.max_in_flight)?;
        let free = self.0.vault.payloads.free_bytes().map_err(UploadError::from)?;
        if free.saturating_sub(expected.min(max_size)) < limits.min_free_disk {
            return Err(UploadError::DiskFull);
        }
        let (id, key) = (BlobId::random()?, PayloadKey::random()?);
        Ok(Receiving {
            id,
            sealer: Sealer::new(&key, id).map_err(io::Error::other)?,
            key,
            hash: Hasher(digest::Context::new(&digest::SHA256)),
            wire: HeaderCheck::default(),
            wire_verdict: Ok(()),
            plain: Vec::new(),
            sealed: Vec::new(),
            writing: Writing::Unbegun,
            vault: self.0.vault.clone(),
            reservation,
            size: 0,
            max_size,
        })
    }
}

impl Receiving {
    /// Takes the next bytes of the payload.
    ///
    /// # Errors
    /// When the disk is full or fails, or too much is in flight.
    pub async fn push(&mut self, mut bytes: &[u8]) -> Result<(), UploadError> {
        self.size += bytes.len() as u64;
        if self.size > self.max_size {
            self.writing = Writing::Given;
            self.plain = Vec::new();
            self.sealed = Vec::new();
            return Ok(());
        }
        self.reservation.grow_to(self.size).map_err(|over: OverLimit| UploadError::from(over))?;
        self.hash.0.update(bytes);
        if self.wire_verdict.is_ok() {
            self.wire_verdict = self.wire.push(bytes);
        }
        while !bytes.is_empty() {
            // A full frame is sealed only when more follows: the last one is sealed as the last.
            if self.plain.len() == FRAME {
                self.seal(false)?;
                if self.sealed.len() >= WRITE {
                    self.write().await?;
                }
            }
            let (now, later) = bytes.split_at(bytes.len().min(FRAME - self.plain.len()));
            self.plain.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// The payload has ended.
    ///
    /// # Errors
    /// Never in practice; sealing asks for it.
    pub fn end(mut self) -> Result<(Received, Unfinished), UploadError> {
        let too_large = self.size > self.max_size;
        if !too_large {
            self.seal(true)?;
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(self.hash.0.finish().as_ref()); // total: SHA-256 gives 32 bytes
        let wire = self.wire_verdict.and_then(|()| self.wire.finish());
        let received = Received { hash: Digest(hash), size: self.size, too_large, wire };
        let unfinished = Unfinished {
            id: self.id,
            size: self.size,
            key: self.key,
            sealed: self.sealed,
            writing: self.writing,
            vault: self.vault,
            reservation: self.reservation,
        };
        Ok((received, unfinished))
    }

    fn seal(&mut self, last: bool) -> Result<(), UploadError> {
        self.sealer.seal(&self.plain, last, &mut self.sealed).map_err(io::Error::other)?;
        self.plain.clear();
        Ok(())
    }

    async fn write(&mut self) -> Result<(), UploadError> {
        let sealed = std::mem::take(&mut self.sealed);
        let payloads = Arc::clone(&self.vault.payloads);
        let id = self.id;
        let part = part(std::mem::replace(&mut self.writing, Writing::Given)).await?;
        self.writing = Writing::Busy(tokio::task::spawn_blocking(move || {
            let mut part = begun(part, &*payloads, id)?;
            part.append(&sealed)?;
            Ok(part)
        }));
        Ok(())
    }
}

impl Unfinished {
    /// Makes payload and key durable; from here on somebody must write the row, or call [`Unfinished::forget`].
    pub(super) async fn keep(&mut self) -> Result<Slot, UploadError> {
        let part = part(std::mem::replace(&mut self.writing, Writing::Given)).await?;
        let (sealed, payloads, id) =
            (std::mem::take(&mut self.sealed), Arc::clone(&self.vault.payloads), self.id);
        let file = tokio::task::spawn_blocking(move || {
            let mut part = begun(part, &*payloads, id)?;
            part.append(&sealed)?;
            part.finish()
        });
        let (slot, file) = tokio::join!(self.vault.keys.put(id, self.key.clone()), file);
        match (slot, file.map_err(io::Error::other).and_then(|file| file)) {
            (Ok(slot), Ok(())) => Ok(slot),
            (slot, file) => {
                forget(&self.vault, id, slot.as_ref().ok().copied()).await;
                file.map_err(UploadError::from)?;
                Err(slot.map_or_else(UploadError::from, |_| UploadError::DiskFull))
            }
        }
    }

    /// Removes what [`Unfinished::keep`] made durable: key, then file.
    pub(super) async fn forget(&self, slot: Slot) {
        forget(&self.vault, self.id, Some(slot)).await;
    }
}

/// Destroys a payload that no row speaks of.
async fn forget(vault: &Vault, id: BlobId, slot: Option<Slot>) {
    if let Some(slot) = slot {
        drop(vault.keys.clear(vec![(slot, id)]).await);
    }
    let payloads = Arc::clone(&vault.payloads);
    drop(tokio::task::spawn_blocking(move || payloads.remove(id)).await);
}

/// Waits for the write before, if there is one.
async fn part(writing: Writing) -> Result<Option<Box<dyn BlobPart>>, UploadError> {
    match writing {
        Writing::Unbegun => Ok(None),
        Writing::Busy(task) => Ok(Some(task.await.map_err(io::Error::other)??)),
        Writing::Given => Err(io::Error::other("the payload was given up").into()),
    }
}

fn begun(
    part: Option<Box<dyn BlobPart>>,
    payloads: &dyn BlobStore,
    id: BlobId,
) -> io::Result<Box<dyn BlobPart>> {
    match part {
        Some(part) => Ok(part),
        None => payloads.create(id),
    }
}

//! An upload that arrives whole: one file, one key, room reserved for what it brings.
//!
//! The bytes go through an [`Intake`]. No row speaks of the upload, and nothing of it is durable, before [`Unfinished::keep`];
//! dropping at any point leaves nothing.

use std::sync::Arc;

use super::accept::UploadError;
use super::in_flight::Reservation;
use super::intake::{Intake, Part, Received};
use super::{OverLimit, Transfers};
use crate::store::seal::PayloadKey;
use crate::store::slots::Slot;
use crate::store::{BlobId, Vault};

/// An upload in progress.
#[derive(Debug)]
pub struct Receiving {
    id: BlobId,
    key: PayloadKey,
    intake: Intake,
    vault: Vault,
    reservation: Reservation,
    max_size: u64,
}

/// A payload that has arrived whole and is not durable yet.
#[derive(Debug)]
pub struct Unfinished {
    pub(super) id: BlobId,
    pub(super) size: u64,
    key: PayloadKey,
    part: Part,
    vault: Vault,
    pub(super) reservation: Reservation,
}

impl Transfers {
    /// Begins an upload of a payload that may have `max_size` bytes and is announced with `expected`.
    ///
    /// # Errors
    /// When there is no room: too much in flight, or too little disk left.
    pub fn receive(&self, expected: u64, max_size: u64) -> Result<Receiving, UploadError> {
        let limit = self.0.core.settings.current().limits.max_in_flight;
        let reservation = self.0.in_flight.reserve(expected.min(max_size), limit)?;
        self.has_room(expected.min(max_size))?;
        let (id, key) = (BlobId::random()?, PayloadKey::random()?);
        let intake = Intake::new(id, &key, Arc::clone(&self.0.vault.payloads), max_size)?;
        Ok(Receiving { id, key, intake, vault: self.0.vault.clone(), reservation, max_size })
    }

    /// Whether so much may still be written to the volume.
    pub(super) fn has_room(&self, bytes: u64) -> Result<(), UploadError> {
        let free = self.0.vault.payloads.free_bytes().map_err(UploadError::from)?;
        if free.saturating_sub(bytes) < self.0.core.settings.current().limits.min_free_disk {
            return Err(UploadError::DiskFull);
        }
        Ok(())
    }
}

impl Receiving {
    /// Takes the next bytes of the payload.
    ///
    /// # Errors
    /// When the disk is full or fails, or too much is in flight.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        let size = self.intake.size() + bytes.len() as u64;
        if size <= self.max_size {
            self.reservation.grow_to(size).map_err(|over: OverLimit| UploadError::from(over))?;
        }
        self.intake.push(bytes).await
    }

    /// The payload has ended.
    ///
    /// # Errors
    /// Never in practice; sealing asks for it.
    pub fn end(self) -> Result<(Received, Unfinished), UploadError> {
        let (received, part) = self.intake.end()?;
        let unfinished = Unfinished {
            id: self.id,
            size: received.size,
            key: self.key,
            part,
            vault: self.vault,
            reservation: self.reservation,
        };
        Ok((received, unfinished))
    }
}

impl Unfinished {
    /// Where its key will be.
    pub(super) async fn slot(&self) -> Result<Slot, UploadError> {
        Ok(self.vault.keys.take().await?)
    }

    /// Makes payload and key durable; from here on there must be a row, or [`Unfinished::forget`] is called. On an error nothing is
    /// left.
    pub(super) async fn keep(&mut self, slot: Slot) -> Result<(), UploadError> {
        let (key, file) =
            tokio::join!(self.vault.keys.put(slot, self.id, self.key.clone()), self.part.keep());
        if key.is_ok() && file.is_ok() {
            return Ok(());
        }
        self.forget(slot).await;
        file?;
        Ok(key?)
    }

    /// Removes what [`Unfinished::keep`] made durable: key, then file.
    pub(super) async fn forget(&self, slot: Slot) {
        drop(self.vault.keys.clear(vec![(slot, self.id)]).await);
        self.part.forget().await;
    }
}

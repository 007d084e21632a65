//! Bytes on their way into one file: hashed, checked, sealed and written as they arrive, with constant memory.
//!
//! At most one frame of plaintext (64 KiB), two sealed frames being filled and two being written are held. Bytes beyond the limit
//! are counted but no longer kept, so that the refusal can be sent after the body, where every client reads it. Nothing is
//! durable before [`Part::keep`]; dropping at any point leaves nothing. Whole payloads and chunks arrive this way.

use std::io;
use std::sync::Arc;

use aws_lc_rs::digest;
use paramant_protocol::pqhb::{HeaderCheck, HeaderError};
use tokio::task::JoinHandle;

use super::accept::UploadError;
use crate::store::blobs::{BlobPart, BlobStore};
use crate::store::seal::{FRAME, PayloadKey, Sealer, TAG};
use crate::store::{BlobId, Digest};

/// Sealed bytes handed to the disk at a time: two frames, so that filling and writing overlap in a quarter megabyte.
const WRITE: usize = 2 * (FRAME + TAG);

/// A file being filled.
#[derive(Debug)]
pub(super) struct Intake {
    file: BlobId,
    sealer: Sealer,
    hash: Hasher,
    wire: HeaderCheck,
    wire_verdict: Result<(), HeaderError>,
    /// The frame being filled.
    plain: Vec<u8>,
    sealed: Vec<u8>,
    writing: Writing,
    payloads: Arc<dyn BlobStore>,
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
    /// A PQHB blob that its sender did not sign.
    pub unsigned: bool,
}

/// A file that has all its bytes and is not durable yet.
#[derive(Debug)]
pub(super) struct Part {
    file: BlobId,
    sealed: Vec<u8>,
    writing: Writing,
    payloads: Arc<dyn BlobStore>,
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

impl Intake {
    /// A file of at most `max_size` bytes, to be sealed with a key that seals nothing else.
    pub(super) fn new(
        file: BlobId,
        key: &PayloadKey,
        payloads: Arc<dyn BlobStore>,
        max_size: u64,
    ) -> Result<Self, UploadError> {
        Ok(Self {
            file,
            sealer: Sealer::new(key, file).map_err(io::Error::other)?,
            hash: Hasher(digest::Context::new(&digest::SHA256)),
            wire: HeaderCheck::default(),
            wire_verdict: Ok(()),
            plain: Vec::new(),
            sealed: Vec::new(),
            writing: Writing::Unbegun,
            payloads,
            size: 0,
            max_size,
        })
    }

    /// Bytes so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next bytes.
    pub(super) async fn push(&mut self, mut bytes: &[u8]) -> Result<(), UploadError> {
        self.size += bytes.len() as u64;
        if self.size > self.max_size {
            self.writing = Writing::Given;
            self.plain = Vec::new();
            self.sealed = Vec::new();
            return Ok(());
        }
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

    /// The bytes have ended.
    pub(super) fn end(mut self) -> Result<(Received, Part), UploadError> {
        let too_large = self.size > self.max_size;
        if !too_large {
            self.seal(true)?;
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(self.hash.0.finish().as_ref()); // total: SHA-256 gives 32 bytes
        let unsigned = self.wire.is_unsigned();
        let wire = self.wire_verdict.and_then(|()| self.wire.finish());
        let received = Received { hash: Digest(hash), size: self.size, too_large, wire, unsigned };
        let part =
            Part { file: self.file, sealed: self.sealed, writing: self.writing, payloads: self.payloads };
        Ok((received, part))
    }

    fn seal(&mut self, last: bool) -> Result<(), UploadError> {
        self.sealer.seal(&self.plain, last, &mut self.sealed).map_err(io::Error::other)?;
        self.plain.clear();
        Ok(())
    }

    async fn write(&mut self) -> Result<(), UploadError> {
        let sealed = std::mem::take(&mut self.sealed);
        let payloads = Arc::clone(&self.payloads);
        let file = self.file;
        let part = part(std::mem::replace(&mut self.writing, Writing::Given)).await?;
        self.writing = Writing::Busy(tokio::task::spawn_blocking(move || {
            let mut part = begun(part, &*payloads, file)?;
            part.append(&sealed)?;
            Ok(part)
        }));
        Ok(())
    }
}

impl Part {
    /// Makes the file durable under its name. On an error nothing of it is left.
    pub(super) async fn keep(&mut self) -> Result<(), UploadError> {
        let part = part(std::mem::replace(&mut self.writing, Writing::Given)).await?;
        let (sealed, payloads, file) =
            (std::mem::take(&mut self.sealed), Arc::clone(&self.payloads), self.file);
        let keeping = tokio::task::spawn_blocking(move || {
            let mut part = begun(part, &*payloads, file)?;
            part.append(&sealed)?;
            part.finish()
        });
        Ok(keeping.await.map_err(io::Error::other)??)
    }

    /// Removes the file that [`Part::keep`] made durable.
    pub(super) async fn forget(&self) {
        let (payloads, file) = (Arc::clone(&self.payloads), self.file);
        drop(tokio::task::spawn_blocking(move || payloads.remove(file)).await);
    }
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
    file: BlobId,
) -> io::Result<Box<dyn BlobPart>> {
    match part {
        Some(part) => Ok(part),
        None => payloads.create(file),
    }
}

//! The bytes of a claimed view on their way out, as a response body.
//!
//! The file is read and opened frame by frame on blocking threads, one batch ahead of the network, so memory is constant.
//! Before each chunk the lease is asked whether it still stands. The payload's last byte handed over completes the lease; a body that
//! is dropped before, or that was asked for less, is a detected cut. Over HTTP/2 a chunk is asked for before the reader has room for it,
//! so there the last byte is handed over by itself and the lease is complete when the end is asked for: the reader took the rest.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use super::claim::LeaseGuard;
use crate::drain::ClaimGuard;
use crate::metrics::Loss;
use crate::store::blob_rows::BlobRow;
use crate::store::chunk_rows;
use crate::store::meta::MetaError;
use crate::store::seal::{Damaged, FRAME, Opener, PayloadKey, TAG};
use crate::store::slots::SlotError;
use crate::store::{BlobId, Vault};

/// Frames read and opened at a time: a quarter megabyte, and one such batch ahead.
const BATCH: u64 = 4;

/// A sealed payload, opened for reading from some byte on.
pub(super) struct Source {
    /// The file being read, and those after it.
    reading: Reading,
    later: VecDeque<File>,
    vault: Vault,
    key: PayloadKey,
    left: u64,
    /// Opened before the first byte was promised.
    first: VecDeque<Bytes>,
}

/// One file of a payload, and the key that it is sealed with.
struct File {
    id: BlobId,
    size: u64,
    in_chunks: bool,
}

struct Reading {
    file: Box<dyn Read + Send>,
    opener: Opener,
    left: u64,
    /// Plaintext bytes of the next frame that were not asked for.
    skip: usize,
}

/// Why a payload cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error(transparent)]
    Key(#[from] SlotError),
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl SourceError {
    /// What is lost, if the payload will never be readable again.
    pub(super) fn lost(&self) -> Option<Loss> {
        match self {
            Self::Key(SlotError::Gone) => Some(Loss::Key),
            Self::Damaged(_) => Some(Loss::Damaged),
            Self::Io(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => Some(Loss::File),
                _ => None,
            },
            Self::Key(_) => None,
        }
    }
}

impl From<SourceError> for io::Error {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Io(error) => error,
            other => Self::other(other),
        }
    }
}

impl Source {
    /// Opens key and files and the first batch of frames, from byte `from` of the payload on. Blocking.
    pub(super) fn open(vault: &Vault, blob: &BlobRow, from: u64) -> Result<Self, SourceError> {
        let key = vault.keys.get(blob.slot, blob.id)?;
        let mut later = files(vault, blob)?;
        let mut skip = from;
        while let Some(whole) = later.front().map(|file| file.size).filter(|size| *size <= skip) {
            skip -= whole;
            later.pop_front();
        }
        let first = later.pop_front().ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let reading = Reading::open(vault, &key, &first, skip)?;
        let left = blob.size.saturating_sub(from);
        let mut source = Self { reading, later, vault: vault.clone(), key, left, first: VecDeque::new() };
        source.first = source.read_batch()?;
        Ok(source)
    }

    fn read_batch(&mut self) -> Result<VecDeque<Bytes>, SourceError> {
        let mut batch = VecDeque::new();
        while self.left > 0 && (batch.len() as u64) < BATCH {
            if self.reading.left == 0 {
                let next = self.later.pop_front().ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
                self.reading = Reading::open(&self.vault, &self.key, &next, 0)?;
            }
            let frame = self.reading.frame()?;
            self.left = self.left.saturating_sub(frame.len() as u64);
            batch.push_back(frame);
        }
        Ok(batch)
    }
}

/// The files of a payload, in order.
fn files(vault: &Vault, blob: &BlobRow) -> Result<VecDeque<File>, SourceError> {
    if blob.chunk_size.is_none() {
        return Ok(VecDeque::from([File { id: blob.id, size: blob.size, in_chunks: false }]));
    }
    let chunks = vault.meta.read_blocking(|c| Ok::<_, MetaError>(chunk_rows::of(c, blob.id)?));
    let chunks = chunks.map_err(io::Error::other)?;
    Ok(chunks.into_iter().map(|chunk| File { id: chunk.file, size: chunk.size, in_chunks: true }).collect())
}

impl Reading {
    fn open(vault: &Vault, key: &PayloadKey, file: &File, skip: u64) -> Result<Self, SourceError> {
        let frame = skip / FRAME as u64;
        let opener = if file.in_chunks {
            Opener::at(&key.for_chunk(file.id), file.id, frame)?
        } else {
            Opener::at(key, file.id, frame)?
        };
        let sealed = vault.payloads.open(file.id, frame * (FRAME + TAG) as u64)?;
        let skip_in_frame = usize::try_from(skip % FRAME as u64).unwrap_or(0); // total: below 64 KiB
        Ok(Self { file: sealed, opener, left: file.size - frame * FRAME as u64, skip: skip_in_frame })
    }

    fn frame(&mut self) -> Result<Bytes, SourceError> {
        let plain = self.left.min(FRAME as u64);
        self.left -= plain;
        let length = usize::try_from(plain).unwrap_or(FRAME);
        let mut frame = vec![0; length + TAG];
        self.file.read_exact(&mut frame)?;
        self.opener.open(&mut frame, self.left == 0)?;
        frame.truncate(length);
        let mut frame = Bytes::from(frame);
        drop(frame.split_to(std::mem::take(&mut self.skip).min(frame.len())));
        Ok(frame)
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("left", &self.left).finish_non_exhaustive()
    }
}

type NextBatch = Result<(Source, VecDeque<Bytes>), SourceError>;

/// The body of a download.
#[derive(Debug)]
pub struct Sending {
    guard: LeaseGuard,
    /// Bytes of the payload behind those asked for: with any left the view is not used up whole.
    beyond: u64,
    _drain: ClaimGuard,
    ready: VecDeque<Bytes>,
    reading: Option<JoinHandle<NextBatch>>,
    left: u64,
    /// Whether the end must be asked for.
    until_taken: bool,
    /// It was.
    ended: bool,
}

impl Sending {
    /// The first `length` bytes of what the source holds.
    pub(super) fn new(mut source: Source, length: u64, guard: LeaseGuard, drain: ClaimGuard) -> Self {
        let ready = std::mem::take(&mut source.first);
        let whole = source.left + ready.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        let left = length.min(whole);
        let beyond = whole - left;
        let (until_taken, ended) = (false, false);
        let mut this = Self { guard, beyond, _drain: drain, ready, reading: None, left, until_taken, ended };
        this.read_ahead(source);
        this
    }

    /// For a connection that asks for a chunk before the reader has room for it.
    #[must_use]
    pub fn until_taken(self) -> Self {
        Self { until_taken: true, ..self }
    }

    fn read_ahead(&mut self, mut source: Source) {
        self.reading = (source.left > 0).then(|| {
            tokio::task::spawn_blocking(move || {
                let batch = source.read_batch()?;
                Ok((source, batch))
            })
        });
    }
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if this.left == 0 {
            this.ended = true;
            if this.beyond == 0 {
                this.guard.complete();
            }
            return Poll::Ready(None);
        }
        if this.ready.is_empty() {
            let Some(reading) = &mut this.reading else {
                return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
            };
            let read = match Pin::new(reading).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(read) => read.unwrap_or_else(|error| Err(io::Error::other(error).into())),
            };
            this.reading = None;
            match read {
                Ok((source, batch)) => {
                    this.ready = batch;
                    this.read_ahead(source);
                }
                Err(error) => {
                    this.guard.unreadable(&error);
                    return Poll::Ready(Some(Err(error.into())));
                }
            }
        }
        let Some(mut chunk) = this.ready.pop_front() else {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        };
        chunk.truncate(usize::try_from(this.left).unwrap_or(usize::MAX));
        if this.until_taken && chunk.len() > 1 && chunk.len() as u64 == this.left {
            this.ready.push_front(chunk.split_off(chunk.len() - 1));
        }
        this.guard.progress.sending(chunk.len() as u64);
        if !this.guard.progress.may_send() {
            return Poll::Ready(Some(Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the lease of this view ended",
            ))));
        }
        this.left = this.left.saturating_sub(chunk.len() as u64);
        if this.left == 0 && this.beyond == 0 && !this.until_taken {
            this.guard.complete();
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && (self.ended || !self.until_taken)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

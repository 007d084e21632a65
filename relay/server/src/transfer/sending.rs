//! The bytes of a claimed view on their way out, as a response body.
//!
//! The file is read and opened frame by frame on blocking threads, one batch ahead of the network, so memory is constant.
//! Before each chunk the lease is asked whether it still stands. The last chunk handed over completes the lease; a body that
//! is dropped before is a detected cut.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use super::claim::LeaseGuard;
use crate::drain::ClaimGuard;
use crate::store::Vault;
use crate::store::blob_rows::BlobRow;
use crate::store::seal::{Damaged, FRAME, Opener, TAG};
use crate::store::slots::SlotError;

/// Frames read and opened at a time: a quarter megabyte, and one such batch ahead.
const BATCH: u64 = 4;

/// A sealed payload, opened for reading.
pub(super) struct Source {
    file: Box<dyn Read + Send>,
    opener: Opener,
    left: u64,
    /// Opened before the first byte was promised.
    first: VecDeque<Bytes>,
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
    /// The payload will never be readable again.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Key(SlotError::Gone) | Self::Damaged(_) => true,
            Self::Io(error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof),
            Self::Key(_) => false,
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
    /// Opens key and file and the first batch of frames. Blocking.
    pub(super) fn open(vault: &Vault, blob: &BlobRow) -> Result<Self, SourceError> {
        let key = vault.keys.get(blob.slot, blob.id)?;
        let opener = Opener::new(&key, blob.id)?;
        let file = vault.payloads.open(blob.id)?;
        let mut source = Self { file, opener, left: blob.size, first: VecDeque::new() };
        source.first = source.read_batch()?;
        Ok(source)
    }

    fn read_batch(&mut self) -> Result<VecDeque<Bytes>, SourceError> {
        let mut batch = VecDeque::new();
        while self.left > 0 && (batch.len() as u64) < BATCH {
            let plain = self.left.min(FRAME as u64);
            self.left -= plain;
            let length = usize::try_from(plain).unwrap_or(FRAME);
            let mut frame = vec![0; length + TAG];
            self.file.read_exact(&mut frame)?;
            self.opener.open(&mut frame, self.left == 0)?;
            frame.truncate(length);
            batch.push_back(Bytes::from(frame));
        }
        Ok(batch)
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
    _drain: ClaimGuard,
    ready: VecDeque<Bytes>,
    reading: Option<JoinHandle<NextBatch>>,
    left: u64,
}

impl Sending {
    pub(super) fn new(mut source: Source, guard: LeaseGuard, drain: ClaimGuard) -> Self {
        let ready = std::mem::take(&mut source.first);
        let left = source.left + ready.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        let mut this = Self { guard, _drain: drain, ready, reading: None, left };
        this.read_ahead(source);
        this
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
            return Poll::Ready(None);
        }
        if this.ready.is_empty() {
            let Some(reading) = &mut this.reading else {
                return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
            };
            let read = match Pin::new(reading).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(read) => {
                    read.map_err(io::Error::other).and_then(|read| read.map_err(io::Error::from))
                }
            };
            this.reading = None;
            match read {
                Ok((source, batch)) => {
                    this.ready = batch;
                    this.read_ahead(source);
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        let Some(chunk) = this.ready.pop_front() else {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        };
        if !this.guard.progress.may_send() {
            return Poll::Ready(Some(Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the lease of this view ended",
            ))));
        }
        this.left = this.left.saturating_sub(chunk.len() as u64);
        if this.left == 0 {
            this.guard.complete();
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

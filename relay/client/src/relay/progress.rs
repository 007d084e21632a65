//! Counting bytes as they go, for whoever shows a bar.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Bytes per piece of an upload: small enough for a smooth bar, large enough to cost nothing.
const PIECE: usize = 64 << 10;

/// Something that happened to a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It will have so many bytes (0: unknown).
    Total(u64),
    /// So many more went.
    Advance(u64),
    /// So many had gone before this run: they say nothing about its rate.
    Before(u64),
}

/// Who wants to know.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(Step) + Send + Sync>);

impl Progress {
    /// Tells `listener`.
    pub fn to(listener: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// Tells nobody.
    pub fn silent() -> Self {
        Self::to(|_| {})
    }

    /// So many things will be counted.
    pub(crate) fn begin(&self, total: u64) {
        (self.0)(Step::Total(total));
    }

    /// So many were done before.
    pub(crate) fn before(&self, done: u64) {
        (self.0)(Step::Before(done));
    }

    /// So many more are done.
    pub(crate) fn count(&self, more: u64) {
        (self.0)(Step::Advance(more));
    }
}

/// A body that is sent in pieces, each counted when it is taken.
pub(super) fn counted(bytes: Bytes, progress: Progress) -> reqwest::Body {
    progress.begin(bytes.len() as u64);
    reqwest::Body::wrap(Counted { bytes, progress })
}

struct Counted {
    bytes: Bytes,
    progress: Progress,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.bytes.len().min(PIECE);
        let piece = self.bytes.split_to(length);
        self.progress.count(length as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

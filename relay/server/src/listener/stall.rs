//! Ends a connection whose peer takes bytes too slowly, or none: a reader that stalls would hold a claim, and with it a drain, for
//! ever. And one whose peer chose HTTP/2 and then does not begin it, for which hyper would wait without end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::pace::Pace;

/// A stream whose writes fail when the peer takes less than a minimum pace, and whose first bytes must come in time.
pub(super) struct StallGuard<S> {
    stream: S,
    pace: Pace,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    opening: Option<Opening>,
}

/// The first bytes, until they have come.
struct Opening {
    left: usize,
    end: Pin<Box<Sleep>>,
}

impl<S> StallGuard<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, pace: Pace::of_reader(), waiting: None, opening: None }
    }

    /// Gives the peer so long for its first `bytes`.
    pub(super) fn opened_within(mut self, time: Duration, bytes: usize) -> Self {
        self.opening = Some(Opening { left: bytes, end: Box::pin(tokio::time::sleep(time)) });
        self
    }

    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(written) = written {
            if let Some((since, _)) = self.waiting.take() {
                self.pace.waited(since);
            }
            if let Ok(written) = &written {
                self.pace.moved(bytes(written) as u64);
            }
            return Poll::Ready(written);
        }
        let patience = self.pace.patience();
        let (_, sleep) =
            self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(patience))));
        ready!(sleep.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes bytes too slowly")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallGuard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let Some(opening) = &mut this.opening else { return read };
        if read.is_ready() {
            opening.left = opening.left.saturating_sub(buffer.filled().len() - before);
            if opening.left == 0 {
                this.opening = None;
            }
            return read;
        }
        ready!(opening.end.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer did not begin to speak HTTP/2")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallGuard<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.watch(context, written, |written| *written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.watch(context, written, |written| *written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        this.watch(context, flushed, |()| 0)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

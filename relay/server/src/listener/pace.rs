//! A minimum pace in both directions: a peer may be slow, but not so slow that it holds a place for nothing.
//!
//! Only time spent waiting for the peer counts, never time this process takes itself. What a peer sent or took earns it further
//! waiting, so that a long transfer survives a dead minute and a drip does not live for ever.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

/// Bytes a second that earn further waiting: below any link on which a transfer makes sense.
const PACE: u64 = 1024;
/// The longest single silence.
pub(super) const SILENCE: Duration = Duration::from_secs(60);
/// Waiting for a request's body that is never held against a client.
const SENDING: Duration = Duration::from_secs(20);
/// Waiting for the reader of an answer that is never held against it: a phone in a tunnel comes back within a minute.
const TAKING: Duration = Duration::from_secs(60);

/// What one peer did, and how long it was waited for.
#[derive(Debug)]
pub(super) struct Pace {
    grace: Duration,
    bytes: u64,
    waited: Duration,
}

impl Pace {
    /// Of a client that sends a body.
    pub(super) fn of_sender() -> Self {
        Self { grace: SENDING, bytes: 0, waited: Duration::ZERO }
    }

    /// Of a client that takes an answer.
    pub(super) fn of_reader() -> Self {
        Self { grace: TAKING, bytes: 0, waited: Duration::ZERO }
    }

    /// The peer sent, or took, so many bytes more.
    pub(super) fn moved(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// The peer was waited for since then.
    pub(super) fn waited(&mut self, since: Instant) {
        self.waited += since.elapsed();
    }

    /// How much longer the peer may be silent.
    pub(super) fn patience(&self) -> Duration {
        let earned = self.grace + Duration::from_secs(self.bytes / PACE);
        earned.saturating_sub(self.waited).min(SILENCE)
    }
}

/// A request body that fails when the client is too slow.
#[derive(Debug)]
pub(super) struct PacedBody {
    body: Incoming,
    pace: Pace,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

/// The client was too slow.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the request body arrived too slowly")]
pub(super) struct TooSlow;

impl PacedBody {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, pace: Pace::of_sender(), waiting: None }
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(frame) => {
                if let Some((since, _)) = this.waiting.take() {
                    this.pace.waited(since);
                }
                if let Some(Ok(frame)) = &frame {
                    this.pace.moved(frame.data_ref().map_or(0, |data| data.len() as u64));
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let patience = this.pace.patience();
                let (_, sleep) = this
                    .waiting
                    .get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(patience))));
                ready!(sleep.as_mut().poll(context));
                Poll::Ready(Some(Err(TooSlow.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_bytes_earns_patience_up_to_the_longest_silence() {
        let pace = |bytes, waited| Pace { grace: SENDING, bytes, waited }.patience();
        assert_eq!(pace(0, Duration::ZERO), SENDING);
        assert_eq!(pace(0, SENDING), Duration::ZERO);
        assert_eq!(pace(10 * PACE, SENDING), Duration::from_secs(10));
        assert_eq!(pace(u64::MAX / 2, SENDING), SILENCE);
        assert_eq!(Pace::of_reader().patience(), TAKING);
    }
}

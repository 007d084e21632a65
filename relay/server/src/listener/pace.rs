//! A minimum pace for request bodies: a client may be slow, but not so slow that it holds a place for nothing.
//!
//! Only time spent waiting for the client counts, never time this process takes itself.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

/// Waiting that is never held against a client.
const GRACE: Duration = Duration::from_secs(20);
/// Bytes a second that earn further waiting: below any link on which a transfer makes sense.
const PACE: u64 = 1024;
/// The longest single silence.
const SILENCE: Duration = Duration::from_secs(60);

/// A request body that fails when the client is too slow.
#[derive(Debug)]
pub(super) struct PacedBody {
    body: Incoming,
    received: u64,
    waited: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

/// The client was too slow.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the request body arrived too slowly")]
pub(super) struct TooSlow;

impl PacedBody {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, received: 0, waited: Duration::ZERO, waiting: None }
    }
}

/// How much longer a client may be silent that sent `received` bytes and was waited for `waited` so far.
fn patience(received: u64, waited: Duration) -> Duration {
    let earned = GRACE + Duration::from_secs(received / PACE);
    earned.saturating_sub(waited).min(SILENCE)
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
                    this.waited += since.elapsed();
                }
                if let Some(Ok(frame)) = &frame {
                    this.received += frame.data_ref().map_or(0, |data| data.len() as u64);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let (received, waited) = (this.received, this.waited);
                let (_, sleep) = this.waiting.get_or_insert_with(|| {
                    (Instant::now(), Box::pin(tokio::time::sleep(patience(received, waited))))
                });
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
    fn sending_earns_patience_up_to_the_longest_silence() {
        assert_eq!(patience(0, Duration::ZERO), GRACE);
        assert_eq!(patience(0, GRACE), Duration::ZERO);
        assert_eq!(patience(10 * PACE, GRACE), Duration::from_secs(10));
        assert_eq!(patience(u64::MAX / 2, GRACE), SILENCE);
    }
}

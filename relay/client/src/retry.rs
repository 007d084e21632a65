//! Asking again: after a line that broke, a gateway that answered, a limit. The one way the client waits between attempts.
//!
//! The pauses double from half a second to half a minute; a relay's `Retry-After` is a lower bound. Attempts end when nothing has
//! succeeded for [`Patience`]. What asking again cannot change is answered at once.

use std::time::{Duration, Instant};

use crate::error::ClientError;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// A relay that says more than this is not waited for in one pause.
const RETRY_AFTER: u64 = 120;

/// How long to go on without any success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(pub Duration);

impl Default for Patience {
    /// Longer than a relay takes to move to another node, and than most lines are down.
    fn default() -> Self {
        Self(Duration::from_secs(600))
    }
}

/// Attempts at one thing.
#[derive(Debug)]
pub struct Attempts {
    patience: Patience,
    since: Instant,
    pause: Duration,
}

impl Attempts {
    /// Begins.
    pub fn new(patience: Patience) -> Self {
        Self { patience, since: Instant::now(), pause: FIRST }
    }

    /// Something went forward: patience begins anew.
    pub fn succeeded(&mut self) {
        (self.since, self.pause) = (Instant::now(), FIRST);
    }

    /// Waits before the next attempt, or answers the error when there should be none.
    pub async fn after(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !error.may_pass() {
            return Err(error);
        }
        self.wait(error).await
    }

    /// As [`Attempts::after`], whatever the error is.
    pub async fn wait(&mut self, error: ClientError) -> Result<(), ClientError> {
        let asked = match &error {
            ClientError::Refused { retry_after: Some(seconds), .. } => {
                Duration::from_secs((*seconds).min(RETRY_AFTER))
            }
            _ => Duration::ZERO,
        };
        let pause = jittered(self.pause).max(asked);
        if self.since.elapsed() + pause > self.patience.0 {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        self.pause = (self.pause * 2).min(LONGEST);
        Ok(())
    }
}

/// From half the pause to all of it, so that many clients of one relay do not come back at once.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0; 1];
    let _ = aws_lc_rs::rand::fill(&mut byte); // without randomness: half the pause
    pause / 2 + pause / 2 * u32::from(byte[0]) / 255
}

/// Does something until it succeeds or asking again is of no use.
pub async fn until_done<T, F: Future<Output = Result<T, ClientError>>>(
    patience: Patience,
    mut attempt: impl FnMut() -> F,
) -> Result<T, ClientError> {
    let mut attempts = Attempts::new(patience);
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => attempts.after(error).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn refused(status: u16, retry_after: Option<u64>) -> ClientError {
        ClientError::Refused { action: "test", status, reason: String::new(), retry_after }
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again_and_what_cannot_is_not() {
        let mut calls = 0;
        let done = until_done(Patience::default(), || {
            calls += 1;
            std::future::ready(if calls < 3 { Err(refused(503, None)) } else { Ok(calls) })
        });
        assert_eq!(done.await.unwrap(), 3);
        let mut calls = 0;
        let refused = until_done(Patience::default(), || {
            calls += 1;
            std::future::ready(Err::<(), _>(refused(400, None)))
        });
        assert!(matches!(refused.await, Err(ClientError::Refused { status: 400, .. })));
        assert_eq!(calls, 1);
    }

    #[tokio::test]
    async fn a_relay_that_says_when_is_asked_no_sooner_and_patience_ends() {
        let began = Instant::now();
        let mut attempts = Attempts::new(Patience(Duration::from_millis(1500)));
        attempts.after(refused(429, Some(1))).await.unwrap();
        assert!(began.elapsed() >= Duration::from_secs(1));
        assert!(attempts.after(refused(429, Some(1))).await.is_err());
        attempts.succeeded();
        attempts.after(refused(429, Some(1))).await.unwrap();
    }
}

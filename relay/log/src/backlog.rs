//! How far the tiles may lag behind what is published before appends wait for them, and for how long appends wait.
//!
//! Entries without files take memory, so the lag is bounded. Tiles that are merely slow hold appends up; tiles that cannot
//! be written at all (no file handles, no room, no rights) must not: whoever appends is told, and a log that closes waits
//! for nothing.

use crate::AppendError;
use crate::shared::Shared;
use std::time::{Duration, Instant};

/// The bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backlog {
    /// The most published entries without files: they take about 100 bytes of memory each.
    pub(crate) most: u64,
    /// How long no tile may be written before appends are refused: far above the time a round of them takes.
    pub(crate) patience: Duration,
}

impl Default for Backlog {
    fn default() -> Self {
        Self { most: 1 << 18, patience: Duration::from_secs(10) }
    }
}

/// The writer's view of the tiles' progress.
pub(crate) struct Pace {
    backlog: Backlog,
    /// How many entries had files when it was last seen to grow while too many had none, and when that was.
    stuck: Option<(u64, Instant)>,
}

impl Pace {
    pub(crate) fn new(backlog: Backlog) -> Self {
        Self { backlog, stuck: None }
    }

    /// Waits while too many published entries have no files; refuses when that does not get better.
    pub(crate) fn keep(&mut self, shared: &Shared) -> Result<(), AppendError> {
        loop {
            let derived = shared.read().derived;
            let behind = shared.published_size().saturating_sub(derived);
            // Looked at before the queue's lock, which callers hold briefly: the common case takes no further lock.
            if behind <= self.backlog.most || shared.has_failed() || shared.queue.is_closed() {
                self.stuck = None;
                return Ok(());
            }
            let since = match self.stuck {
                Some((then, since)) if then == derived => since,
                _ => self.stuck.insert((derived, Instant::now())).1,
            };
            let left = self.backlog.patience.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Err(AppendError::TilesBehind(behind));
            }
            shared.derived_bell.wait(left.min(Duration::from_millis(100)));
        }
    }
}

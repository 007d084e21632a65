//! The thread that keeps one blank segment ready, so that the writer never waits for zeros to reach the disk.

use crate::segment::{self, Blank, Zeros};
use crate::shared::{Shared, lock};
use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the writer waits for a blank before it refuses the batch: far above the time 32 MiB of zeros take.
const PATIENCE: Duration = Duration::from_secs(10);
/// When a blank is used up so soon, the log is busy: the next one is not filled, since writing everything twice would cost
/// more than the dearer syncs. The crash matrix does the same on a busy machine as on an idle one.
const HURRIED: Duration = if cfg!(test) { Duration::MAX } else { Duration::from_secs(5) };
/// How long to wait after a failure, which is mostly a full disk.
const RETRY: Duration = Duration::from_secs(1);

/// The place where the blank segment waits for the writer.
#[derive(Default)]
pub(crate) struct Spare {
    place: Mutex<Place>,
    changed: Condvar,
}

#[derive(Default)]
enum Place {
    #[default]
    Empty,
    Ready(Blank),
    /// The last attempt failed.
    Failed(io::Error),
    /// Nothing is to be made any more.
    Closed,
}

impl Spare {
    /// Takes the blank, waiting for it if need be.
    pub(crate) fn take(&self) -> io::Result<Blank> {
        let waited =
            self.changed.wait_timeout_while(lock(&self.place), PATIENCE, |p| matches!(p, Place::Empty));
        let (mut place, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let taken = std::mem::take(&mut *place);
        drop(place);
        self.changed.notify_all();
        match taken {
            Place::Ready(blank) => Ok(blank),
            Place::Failed(error) => Err(error),
            Place::Empty => Err(io::Error::new(io::ErrorKind::TimedOut, "the disk is too slow")),
            Place::Closed => {
                self.close();
                Err(io::Error::other("the log is closed"))
            }
        }
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        *lock(&self.place) = Place::Closed;
        self.changed.notify_all();
    }

    /// Works until closed. A failure stays visible for a while and is then tried again.
    pub(crate) fn run(&self, shared: &Shared) {
        let mut ready: Option<Instant> = None;
        // Each blank has its own name: the writer may not have renamed the one before yet.
        for number in 0u64.. {
            let name = format!("spare-{number}.tmp");
            {
                let waited = self.changed.wait_while(lock(&self.place), |p| matches!(p, Place::Ready(_)));
                let mut place = waited.unwrap_or_else(PoisonError::into_inner);
                if matches!(*place, Place::Failed(_)) {
                    let later = self.changed.wait_timeout(place, RETRY);
                    place = later.unwrap_or_else(PoisonError::into_inner).0;
                }
                if matches!(*place, Place::Closed) {
                    return;
                }
            }
            let zeros = match ready {
                Some(ready) if ready.elapsed() < HURRIED => Zeros::Promised,
                _ => Zeros::Written,
            };
            let capacity = shared.options.segment_bytes;
            let made = segment::blank(shared.disk.as_ref(), &shared.wal(), &name, capacity, zeros);
            let mut place = lock(&self.place);
            match (&*place, made) {
                (Place::Closed, _) => return,
                (_, Ok(blank)) => {
                    *place = Place::Ready(blank);
                    ready = Some(Instant::now());
                }
                (_, Err(error)) => {
                    tracing::warn!(%error, "no room for the next write-ahead segment");
                    *place = Place::Failed(error);
                }
            }
            drop(place);
            self.changed.notify_all();
        }
    }
}

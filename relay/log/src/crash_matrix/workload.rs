//! What the logs of the matrix go through, one step at a time, so that each run makes the same calls.

use super::journal::{Id, Journal, Seen};
use super::oracle::{self, Base};
use super::platter::Platter;
use super::vfs::Vfs;
use crate::{AppendError, CloseError, Log, Options, PublishError, start};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Segments so small that a few batches fill one.
pub(super) const SEGMENT: u64 = 48 * 1024;

/// One thing that happens to a log.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// Start of a process.
    Open,
    /// One small entry.
    One,
    /// The longest entry there can be.
    Long,
    /// So many small entries, all but the first few in one batch.
    Together(usize),
    Publish,
    /// End of a process, in order.
    Close,
}

/// Append, checkpoint, rotation, tiles, removal of segments, close, restart: the life of a small log.
pub(super) const LIFE: &[Step] = {
    use Step::{Close, Long, One, Open, Publish, Together};
    &[
        Open,
        One,
        Publish,
        Long,
        Together(100),
        Publish,
        Long,
        Together(160),
        Publish,
        // A segment whose room was only reserved: small, large, many.
        One,
        Long,
        Together(40),
        Close,
        Open,
        Together(120),
        Long,
        Together(140),
        Publish,
        Long,
        One,
        Close,
        Open,
        One,
        Publish,
        One,
    ]
};

/// So many tiles at once that they are synced together.
pub(super) const BURST: &[Step] = {
    use Step::{One, Open, Publish, Together};
    &[Open, Together(530), Publish, One, Publish, Together(300), Publish, One]
};

/// A restart that does a little of everything.
pub(super) const RESTART: &[Step] = &[Step::Open, Step::One, Step::Publish];

/// One log on one disk, through several processes.
pub(super) struct Session {
    pub(super) vfs: Vfs,
    pub(super) journal: Journal,
    pub(super) log: Option<Log>,
    life: u32,
    /// Size of its segments.
    pub(super) segment_bytes: u64,
}

/// The process had to end: a start that failed, or an engine that did.
#[derive(Debug)]
pub(super) struct Ended(pub(super) String);

/// What became of one append.
type Outcome = Receiver<Result<(), AppendError>>;

impl Session {
    pub(super) fn new(vfs: Vfs, journal: Journal) -> Self {
        Self { vfs, journal, log: None, life: 0, segment_bytes: SEGMENT }
    }

    pub(super) fn run(&mut self, steps: &[Step]) -> Result<(), Ended> {
        for step in steps {
            self.step(*step)?;
            self.vfs.settle();
            if self.log.as_ref().is_some_and(Log::has_failed) {
                return Err(Ended("the engine has failed".to_owned()));
            }
        }
        Ok(())
    }

    /// The same without a rest between the steps: for short ones.
    pub(super) fn run_through(&mut self, steps: &[Step]) -> Result<(), Ended> {
        for step in steps {
            self.step(*step)?;
        }
        self.vfs.settle();
        Ok(())
    }

    /// The process dies now: what is on disk, and what the world knows.
    pub(super) fn die(self) -> (Platter, Seen) {
        let left = self.vfs.die();
        drop(self.log);
        left
    }

    /// What the oracle has to say about the open log, which may have begun with entries that were judged before.
    pub(super) fn judge(&self, base: &Base) -> Vec<String> {
        let Some(log) = &self.log else { return vec!["the log is not open".to_owned()] };
        let derived = log.derived();
        oracle::judge(log, derived, &self.journal.seen(), &self.vfs.look(Platter::clone), base)
    }

    pub(super) fn step(&mut self, step: Step) -> Result<(), Ended> {
        match step {
            Step::Open => self.open(),
            Step::One => self.one(0),
            Step::Long => self.one(crate::MAX_ENTRY),
            Step::Together(count) => self.together(count),
            Step::Publish => self.publish(),
            Step::Close => self.close(),
        }
    }

    fn open(&mut self) -> Result<(), Ended> {
        self.life = self.journal.begin_life();
        let options = Options {
            checkpoint_every: Duration::from_secs(3600),
            segment_bytes: self.segment_bytes,
            ..Options::new(PathBuf::from(super::DIR))
        };
        let signer = Arc::new(self.journal.clone());
        let log =
            start::open(options, signer, Arc::new(self.vfs.clone())).map_err(|e| Ended(e.to_string()))?;
        // Whoever asks sees it from this moment on.
        self.journal.publish(log.published().map_or(0, |published| published.head.size));
        self.log = Some(log);
        Ok(())
    }

    fn append(&self, length: usize) -> Outcome {
        let (sender, receiver) = channel();
        let (id, entry): (Id, _) = self.journal.submit(self.life, length);
        let journal = self.journal.clone();
        if let Some(log) = &self.log {
            log.append(entry, move |outcome| {
                if let Ok(appended) = outcome {
                    journal.acknowledge(id, appended);
                }
                // Nobody waits any more when the process has ended.
                let _ = sender.send(outcome.map(drop));
            });
        }
        receiver
    }

    /// One entry, handed in again when it is refused.
    fn one(&self, length: usize) -> Result<(), Ended> {
        for _ in 0..3 {
            match self.append(length).recv().unwrap() {
                Ok(()) => return Ok(()),
                Err(AppendError::Failed) => return Err(Ended("an append failed".to_owned())),
                Err(_refused) => {}
            }
        }
        Ok(())
    }

    /// Entries that arrive while a sync goes on become one batch.
    fn together(&self, count: usize) -> Result<(), Ended> {
        self.vfs.hold();
        let outcomes: Vec<Outcome> = (0..count)
            .map(|number| {
                let outcome = self.append(0);
                // However many batches the engine has under way at once: from the third entry on they wait.
                if number < 3 {
                    self.vfs.settle();
                }
                outcome
            })
            .collect();
        self.vfs.release();
        for outcome in outcomes {
            if outcome.recv().unwrap() == Err(AppendError::Failed) {
                return Err(Ended("an append failed".to_owned()));
            }
        }
        Ok(())
    }

    fn publish(&self) -> Result<(), Ended> {
        let Some(log) = &self.log else { return Ok(()) };
        for _ in 0..2 {
            match log.publish_now() {
                Ok(published) => {
                    self.journal.publish(published.head.size);
                    return Ok(());
                }
                Err(PublishError::Failed) => return Err(Ended("publishing failed".to_owned())),
                Err(_again) => {}
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Ended> {
        let Some(log) = self.log.take() else { return Ok(()) };
        let reader = log.clone();
        let closed = log.close();
        self.journal.publish(reader.published().map_or(0, |published| published.head.size));
        match closed {
            Err(CloseError::Publish(PublishError::Failed)) => Err(Ended("closing failed".to_owned())),
            _ => Ok(()),
        }
    }
}

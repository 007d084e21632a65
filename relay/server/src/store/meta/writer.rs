//! The thread that changes the database: many requests in one transaction, each in a savepoint of its own.

use std::sync::mpsc;

use rusqlite::{Connection, ErrorCode};

use super::MetaError;
use super::syncer::Syncer;
use crate::failed_sync;

/// Requests in one transaction at most, so that the first waiter of a burst is not held up by the last.
const BATCH: usize = 256;

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Readers see it.
    Seen,
    /// No crash takes it away.
    Durable,
}

/// A request on its way through the writer: given the connection it runs its statements; given none (its batch is already
/// lost) it runs nothing.
pub(super) struct Job {
    until: Until,
    statements: Statements,
}

type Statements = Box<dyn FnOnce(Option<&Connection>) -> Executed + Send>;

/// Tells whoever asked the fate of the transaction.
pub(super) type Finish = Box<dyn FnOnce(Result<(), MetaError>) + Send>;

/// A request whose statements have run.
struct Executed {
    /// Undo its savepoint.
    failed: bool,
    finish: Finish,
}

impl Job {
    pub(super) fn new<T, E>(
        until: Until,
        change: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        answer: impl FnOnce(Result<T, E>) + Send + 'static,
    ) -> Self
    where
        T: Send + 'static,
        E: From<MetaError> + Send + 'static,
    {
        let statements: Statements = Box::new(move |connection| {
            let result = connection.map(change);
            Executed {
                failed: !matches!(result, Some(Ok(_))),
                finish: Box::new(move |fate| {
                    answer(match (result, fate) {
                        (Some(Err(own)), _) => Err(own),
                        (_, Err(shared)) => Err(shared.into()),
                        (Some(Ok(value)), Ok(())) => Ok(value),
                        (None, Ok(())) => Err(MetaError::Closed.into()),
                    })
                }),
            }
        });
        Self { until, statements }
    }
}

/// Those who wait for one batch.
#[derive(Default)]
struct Waiting {
    seen: Vec<Finish>,
    durable: Vec<Finish>,
}

pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) syncer: Syncer,
}

impl Writer {
    pub(super) fn run(self, inbox: &mpsc::Receiver<Job>) {
        while let Ok(first) = inbox.recv() {
            let mut waiting = Waiting::default();
            let fate = self.commit(std::iter::once(first).chain(inbox.try_iter()).take(BATCH), &mut waiting);
            if let Err(MetaError::Sqlite(error)) = &fate
                && error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
            {
                failed_sync::end("meta.db", &**error);
            }
            for finish in waiting.seen {
                finish(fate.clone());
            }
            match fate {
                Ok(()) => self.syncer.sync(waiting.durable),
                Err(_) => waiting.durable.into_iter().for_each(|finish| finish(fate.clone())),
            }
        }
        // The last sync before the file is closed.
        self.syncer.close();
    }

    fn commit(&self, jobs: impl Iterator<Item = Job>, waiting: &mut Waiting) -> Result<(), MetaError> {
        let mut fate = self.connection.execute_batch("BEGIN IMMEDIATE").map_err(MetaError::from);
        for job in jobs {
            let queue = match job.until {
                Until::Seen => &mut waiting.seen,
                Until::Durable => &mut waiting.durable,
            };
            if fate.is_ok() {
                fate = self.execute(job, queue);
            } else {
                queue.push((job.statements)(None).finish);
            }
        }
        if fate.is_ok() {
            fate = self.connection.execute_batch("COMMIT").map_err(MetaError::from);
        }
        if fate.is_err() && !self.connection.is_autocommit() {
            drop(self.connection.execute_batch("ROLLBACK"));
        }
        fate
    }

    fn execute(&self, job: Job, queue: &mut Vec<Finish>) -> Result<(), MetaError> {
        self.connection.execute_batch("SAVEPOINT request")?;
        let request = (job.statements)(Some(&self.connection));
        queue.push(request.finish);
        if self.connection.is_autocommit() {
            // A full disk makes SQLite roll the whole transaction back by itself.
            return Err(MetaError::Full);
        }
        if request.failed {
            self.connection.execute_batch("ROLLBACK TO request")?;
        }
        self.connection.execute_batch("RELEASE request")?;
        Ok(())
    }
}

//! `meta.db`: one writer thread that commits many requests at once, one that syncs, and readers with connections of their own.
//!
//! SQLite in WAL mode with `synchronous=NORMAL`: it syncs around its checkpoints, and a commit only appends to the write-ahead
//! log. That file is synced here, by a thread of its own (`syncer`): while one batch is being synced the next is written, and
//! everything committed meanwhile shares the next sync. A commit is seen by readers at once; who asked for it is answered when it is
//! durable, or, where a start puts right what a crash loses, when it is seen ([`Meta::write_soon`]). Each request runs in its own
//! savepoint, so one that fails takes nothing of its neighbours with it. A failed sync ends the process. No payload key ever
//! enters this file: with `secure_delete` they would still linger in the write-ahead log.

mod syncer;
mod writer;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::oneshot;

use self::syncer::Syncer;
use self::writer::{Finish, Job, Until, Writer};
use super::migrations::{MigrationError, Release, Schema};

/// Reader connections kept open; more are opened under load and closed again.
const IDLE_READERS: usize = 8;

/// A handle on the database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Meta(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    schema: Schema,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    syncs: Mutex<Option<mpsc::Sender<Vec<Finish>>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Mutex<Vec<Connection>>,
}

/// The database refused or lost a request.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MetaError {
    /// No space left: nothing of this request was kept.
    #[error("the volume is full")]
    Full,
    /// The store is closing.
    #[error("the database is closed")]
    Closed,
    /// Anything else SQLite says.
    #[error("the database: {0}")]
    Sqlite(Arc<rusqlite::Error>),
}

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum MetaOpenError {
    /// SQLite refused.
    #[error("{path}: {source}")]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// Its words.
        source: rusqlite::Error,
    },
    /// Its file is damaged.
    #[error(
        "{} is damaged ({source}): keep the whole data directory as it is, and restore the newest backup with \
         'paramant-relay restore' into another one", path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// The words of SQLite.
        source: rusqlite::Error,
    },
    /// Its schema does not fit this release.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// No file, or no thread to be had.
    #[error("the database's file or its writer: {0}")]
    Io(#[from] std::io::Error),
}

impl From<rusqlite::Error> for MetaError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            _ => Self::Sqlite(Arc::new(error)),
        }
    }
}

impl Meta {
    /// Opens or creates the database and brings its schema forward.
    ///
    /// # Errors
    /// When SQLite cannot open it, or a newer release has left a schema this one cannot read.
    pub fn open(path: &Path) -> Result<Self, MetaOpenError> {
        Self::open_as(Release::THIS, path)
    }

    /// As [`Meta::open`], by a release that may be another than this one.
    pub(crate) fn open_as(release: Release, path: &Path) -> Result<Self, MetaOpenError> {
        // It holds the admin's second factor; SQLite gives what it puts beside it the same mode.
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        let sqlite = |source: rusqlite::Error| match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                MetaOpenError::Damaged { path: path.to_owned(), source }
            }
            _ => MetaOpenError::Sqlite { path: path.to_owned(), source },
        };
        let mut connection = Connection::open(path).map_err(sqlite)?;
        prepare(&connection).map_err(sqlite)?;
        let schema = Schema::open(&mut connection, release).map_err(|error| match error {
            MigrationError::Sqlite(source) | MigrationError::Step { source, .. }
                if source.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) =>
            {
                sqlite(source)
            }
            error => error.into(),
        })?;
        if let Err(error) = reserve(&connection) {
            tracing::warn!(%error, "no space could be set aside for the database; on a full volume reads may be refused");
        }
        // There since the first statement, and the same file until the last connection closes.
        let syncer = Syncer::start(File::open(wal(path))?)?;
        let syncs = syncer.batches.clone();
        let (jobs, inbox) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("meta-writer".into())
            .spawn(move || Writer { connection, syncer }.run(&inbox))?;
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            schema,
            jobs: Mutex::new(Some(jobs)),
            syncs: Mutex::new(Some(syncs)),
            writer: Mutex::new(Some(thread)),
            readers: Mutex::new(Vec::new()),
        })))
    }

    /// What may be written.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.0.schema
    }

    /// `commit-upgrade`: what needs a schema up to `asked` may be written once this has returned, also after a crash. Never less than
    /// before, nor more than this release knows. Blocks.
    ///
    /// # Errors
    /// As [`Meta::write`]; then nothing more is committed.
    pub fn commit_schema(&self, asked: u32) -> Result<(), MetaError> {
        let Some(to) = self.0.schema.beyond(asked) else { return Ok(()) };
        let schema = self.0.schema.clone();
        self.write_blocking::<_, MetaError, _>(move |c| Ok(schema.commit(c, to)?))?;
        self.0.schema.committed_to(to);
        tracing::info!(
            schema = to,
            "the update is committed: older releases may no longer be able to read the data"
        );
        Ok(())
    }

    /// Runs `change` on the writer and answers once it is durable. An error undoes this request alone.
    ///
    /// # Errors
    /// Whatever `change` answers; [`MetaError::Full`] when the volume is full.
    pub async fn write<T, E, F>(&self, change: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<MetaError> + From<rusqlite::Error> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        self.run(Until::Durable, change).await
    }

    /// Runs `change` on the writer and answers once readers see it; it is durable with whatever is synced next, or by itself within
    /// moments. Only for what the next start puts right when a crash has lost it.
    ///
    /// # Errors
    /// As [`Meta::write`].
    pub async fn write_soon<T, E, F>(&self, change: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<MetaError> + From<rusqlite::Error> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        self.run(Until::Seen, change).await
    }

    /// Answers once everything that was seen before is durable.
    ///
    /// # Errors
    /// When the store is closing.
    pub async fn synced(&self) -> Result<(), MetaError> {
        let (answer, answered) = oneshot::channel();
        let finish: Finish = Box::new(move |fate| drop(answer.send(fate)));
        {
            let syncs = self.0.syncs.lock().map_err(|_| MetaError::Closed)?;
            let syncs = syncs.as_ref().ok_or(MetaError::Closed)?;
            syncs.send(vec![finish]).map_err(|_| MetaError::Closed)?;
        }
        answered.await.unwrap_or(Err(MetaError::Closed))
    }

    async fn run<T, E, F>(&self, until: Until, change: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<MetaError> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.send(Job::new(until, change, move |result| drop(answer.send(result))))?;
        answered.await.unwrap_or_else(|_| Err(MetaError::Closed.into()))
    }

    /// As [`Meta::write`], for a caller without a runtime.
    ///
    /// # Errors
    /// As [`Meta::write`].
    pub fn write_blocking<T, E, F>(&self, change: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<MetaError> + From<rusqlite::Error> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let (answer, answered) = mpsc::sync_channel(1);
        self.send(Job::new(Until::Durable, change, move |result| drop(answer.send(result))))?;
        answered.recv().unwrap_or_else(|_| Err(MetaError::Closed.into()))
    }

    /// Runs `query` on a reader; sees every write that was answered before.
    ///
    /// # Errors
    /// Whatever `query` answers, or that no connection could be opened.
    pub async fn read<T, E, F>(&self, query: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<MetaError> + From<rusqlite::Error> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let this = self.clone();
        let task = tokio::task::spawn_blocking(move || this.read_blocking(query));
        task.await.unwrap_or_else(|_| Err(MetaError::Closed.into()))
    }

    /// As [`Meta::read`], on the caller's thread.
    ///
    /// # Errors
    /// As [`Meta::read`].
    pub fn read_blocking<T, E>(&self, query: impl FnOnce(&Connection) -> Result<T, E>) -> Result<T, E>
    where
        E: From<MetaError> + From<rusqlite::Error>,
    {
        let idle = self.0.readers.lock().ok().and_then(|mut readers| readers.pop());
        let connection = match idle {
            Some(connection) => connection,
            None => reader(&self.0.path)?,
        };
        let result = query(&connection);
        if let Ok(mut readers) = self.0.readers.lock()
            && readers.len() < IDLE_READERS
        {
            readers.push(connection);
        }
        result
    }

    /// Waits until every request so far is durable and closes the file.
    pub fn close(&self) {
        drop(self.0.jobs.lock().map(|mut jobs| jobs.take()));
        drop(self.0.syncs.lock().map(|mut syncs| syncs.take()));
        let thread = self.0.writer.lock().ok().and_then(|mut writer| writer.take());
        if let Some(thread) = thread {
            drop(thread.join());
        }
        if let Ok(mut readers) = self.0.readers.lock() {
            readers.clear();
        }
    }

    fn send(&self, job: Job) -> Result<(), MetaError> {
        let jobs = self.0.jobs.lock().map_err(|_| MetaError::Closed)?;
        jobs.as_ref().ok_or(MetaError::Closed)?.send(job).map_err(|_| MetaError::Closed)
    }
}

fn wal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// A statement is planned once, not again for each new value that is bound to it: nothing here is chosen by a bound value.
pub(super) fn plan_once(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn prepare(connection: &Connection) -> Result<(), rusqlite::Error> {
    plan_once(connection)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = NORMAL;
         PRAGMA secure_delete = ON;
         PRAGMA foreign_keys = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA wal_autocheckpoint = 1000;
         PRAGMA journal_size_limit = 4194304;
         PRAGMA cache_size = -4096;",
    )
}

/// Gives the write-ahead log the space it works in, and the file beside it as much in free pages, while there is some: a read writes
/// rows too, and must go on when uploads have filled the volume. From here on the log is written over and over in place.
fn reserve(connection: &Connection) -> Result<(), rusqlite::Error> {
    // One page less than what makes SQLite check the log into the file, which it then does; the zeros need no wiping.
    connection
        .execute_batch(
            "PRAGMA secure_delete = OFF;
         DROP TABLE IF EXISTS reserve; -- of a start that was cut here
         BEGIN IMMEDIATE;
         CREATE TABLE reserve (filler BLOB);
         INSERT INTO reserve VALUES (zeroblob(4096 * 1000));
         COMMIT;
         DROP TABLE reserve;",
        )
        .inspect_err(|_| {
            if !connection.is_autocommit() {
                drop(connection.execute_batch("ROLLBACK"));
            }
        })
        .and(connection.execute_batch("PRAGMA secure_delete = ON"))
}

fn reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    plan_once(&connection)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -512;")?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rusqlite::StatementStatus;

    use super::*;

    async fn opened(dir: &Path) -> Meta {
        let meta = Meta::open(&dir.join("meta.db")).unwrap();
        meta.write::<_, MetaError, _>(|c| Ok(c.execute_batch("CREATE TABLE t (n INTEGER UNIQUE)")?))
            .await
            .unwrap();
        meta
    }

    async fn insert(meta: &Meta, n: i64) -> Result<(), MetaError> {
        meta.write(move |c| Ok(c.execute("INSERT INTO t VALUES (?)", [n]).map(drop)?)).await
    }

    fn count(meta: &Meta) -> i64 {
        meta.read_blocking::<_, MetaError>(|c| {
            Ok(c.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?)
        })
        .unwrap()
    }

    #[tokio::test]
    async fn nobody_else_on_the_machine_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let meta = opened(dir.path()).await;
        insert(&meta, 1).await.unwrap();
        for file in ["meta.db", "meta.db-wal", "meta.db-shm"] {
            let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[tokio::test]
    async fn a_request_that_fails_undoes_itself_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let meta = opened(dir.path()).await;
        let requests = [1, 2, 2, 3, 3, 4].map(|n| insert(&meta, n));
        let results = futures::future::join_all(requests).await;
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), 2);
        assert_eq!(count(&meta), 4);
    }

    /// How often SQLite planned this statement anew for a value that was bound to it.
    fn planned_again(connection: &Connection) -> i32 {
        connection
            .execute_batch("CREATE TABLE r (n INTEGER, s INTEGER); CREATE INDEX r_n ON r(n) WHERE s = 3")
            .unwrap();
        let mut statement = connection.prepare("SELECT count(*) FROM r WHERE n = ?1 AND s = ?1").unwrap();
        for n in 0..5 {
            statement.query_row([n], |row| row.get::<_, i64>(0)).unwrap();
        }
        statement.get_status(StatementStatus::RePrepare)
    }

    #[tokio::test]
    async fn a_statement_is_planned_once() {
        assert!(
            planned_again(&Connection::open_in_memory().unwrap()) > 0,
            "by default SQLite looks at the values"
        );
        let dir = tempfile::tempdir().unwrap();
        let meta = opened(dir.path()).await;
        let written = meta.write::<_, MetaError, _>(|c| Ok(planned_again(c))).await.unwrap();
        assert_eq!(written, 0);
        let reader =
            meta.read_blocking::<_, MetaError>(|c| Ok(c.db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG)?));
        assert!(reader.unwrap(), "readers as well");
    }

    #[tokio::test]
    async fn it_has_its_space_from_the_start_and_takes_no_more_at_each() {
        let dir = tempfile::tempdir().unwrap();
        let size = |file: &str| std::fs::metadata(dir.path().join(file)).unwrap().len();
        let meta = opened(dir.path()).await;
        let (log, file) = (size("meta.db-wal"), size("meta.db"));
        assert!(log >= 4_000_000 && file >= 4_000_000, "{log} and {file} bytes");
        for n in 0..3000 {
            insert(&meta, n).await.unwrap();
        }
        assert_eq!((size("meta.db-wal"), size("meta.db")), (log, file), "it is written over in place");
        let wiped: i64 = meta
            .write::<_, MetaError, _>(|c| Ok(c.query_row("PRAGMA secure_delete", [], |row| row.get(0))?))
            .await
            .unwrap();
        assert_eq!(wiped, 1);
        meta.close();
        let again = Meta::open(&dir.path().join("meta.db")).unwrap();
        assert!(size("meta.db-wal") >= 4_000_000 && size("meta.db") <= file + 262_144);
        assert_eq!(count(&again), 3000);
    }

    #[tokio::test]
    async fn what_was_seen_is_durable_when_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let meta = opened(dir.path()).await;
        meta.write_soon::<_, MetaError, _>(|c| Ok(c.execute("INSERT INTO t VALUES (1)", []).map(drop)?))
            .await
            .unwrap();
        assert_eq!(count(&meta), 1, "readers see it");
        meta.synced().await.unwrap();
        meta.close();
        assert!(matches!(meta.synced().await, Err(MetaError::Closed)));
    }

    #[tokio::test]
    async fn what_was_answered_is_there_after_a_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let meta = opened(dir.path()).await;
        insert(&meta, 7).await.unwrap();
        meta.close();
        assert!(matches!(insert(&meta, 8).await, Err(MetaError::Closed)));
        assert_eq!(count(&Meta::open(&dir.path().join("meta.db")).unwrap()), 1);
    }
}

//! The relay's log as the rest of the process sees it: append and wait, tree heads, proofs, tiles.
//!
//! Order of things: an entry is durable before anyone is answered; a head is signed only once it is durable, and once the
//! fence is open ([`fence`]); tiles and checkpoints show only what has been published. When a sync fails the engine refuses
//! everything and [`LogService::failed`] resolves: the process must end, since pages after a failed sync are not to be
//! believed.

mod anchors;
pub mod fence;
pub mod guard;
mod hours;
pub mod key_book;
mod key_ring;
mod origin;
mod proof;
mod signing;
mod tree_heads;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use paramant_log::{AppendError, Log, Options};
use paramant_protocol::entry::{self, Body, EntryError, Kind};
use paramant_protocol::sth::SignedSth;
use paramant_tlog::vkey::VerifierKey;
use tokio::sync::{oneshot, watch};

pub use paramant_log::{Appended, Entry, Head, Published, ReadError};
pub use paramant_tlog::{Hash, Tree};

pub use self::anchors::AnchorError;
use self::anchors::Anchors;
use self::fence::{Sources, Standing};
use self::guard::Guard;
use self::hours::DatedLog;
use self::key_book::{KeyBook, KeyRecord};
use self::key_ring::KeyRing;
pub use self::key_ring::{KeysRefused, RotateError};
pub use self::origin::{Names, OriginError};
pub(crate) use self::tree_heads::on_disk as tree_heads_on_disk;
pub use self::tree_heads::{RecordError, TreeHeads, TreeHeadsError};
use crate::data_dir::DataDir;
use crate::identity::Identity;
use crate::settings::Settings;

/// How often a checkpoint is published while the log grows.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// How often the engine is asked whether it has failed.
const LOOK: Duration = Duration::from_secs(1);

/// A handle on the log; cheap to clone.
#[derive(Clone)]
pub struct LogService(Arc<Inner>);

struct Inner {
    log: DatedLog,
    names: Names,
    relay_id: String,
    /// Fingerprint of the relay's identity.
    identity: String,
    guard: Guard,
    ring: KeyRing,
    heads: TreeHeads,
    anchors: Anchors,
    failed: watch::Sender<bool>,
    /// One more than the index of the last entry worth a push to witnesses.
    worth: AtomicU64,
}

/// Why the log could not be opened. The process ends with exit code 70.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The name it should have.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// The keys it is signed with.
    #[error(transparent)]
    Keys(#[from] KeysRefused),
    /// The engine.
    #[error("the log cannot be opened: {0}")]
    Log(#[from] paramant_log::OpenError),
    /// Its newest entries.
    #[error("the newest entries of the log cannot be read: {0}")]
    Read(#[from] ReadError),
    /// The tree heads signed so far.
    #[error(transparent)]
    TreeHeads(#[from] TreeHeadsError),
    /// A rotation of the keys that a crash cut off.
    #[error("a rotation of the log's keys was cut off and could not be completed: {0}")]
    Rotation(#[from] RotateError),
}

/// The log did not take or give an entry. When it is the disk's fault the process is already ending.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log is closed, or failed and the process is ending: nothing may be acknowledged.
    #[error("the log takes no more entries: {0}")]
    Refused(#[from] AppendError),
    /// The writer ended before it answered.
    #[error("the log ended before it answered")]
    Ended,
    /// The entry cannot be made.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl LogService {
    /// Opens the log under the origin it was born with. Nothing is signed before [`LogService::arm`].
    ///
    /// # Errors
    /// [`OpenError`]; a log that cannot be opened whole is never opened in part.
    pub fn open(
        data: &DataDir,
        settings: &Settings,
        identity: &Arc<Identity>,
        keys: KeyBook,
    ) -> Result<Self, OpenError> {
        let names = origin::fix(data, settings.log_origin.as_deref(), identity.fingerprint())?;
        let relay_id = settings.public_url.clone().unwrap_or_else(|| names.origin.clone());
        let guard = Guard::new(Sources {
            operator: settings.control.is_some(),
            witnesses: settings.witnesses.as_ref().map_or(0, |witnesses| witnesses.quorum()),
        });
        let ring = KeyRing::new(&names.origin, identity, keys, guard.clone())?;
        let legacy_leaf = |bytes: &[u8]| entry::Entry::parse(bytes).ok().map(|entry| entry.leaf());
        let options = Options { checkpoint_every: CHECKPOINT_EVERY, legacy_leaf, ..Options::new(data.log()) };
        let log = DatedLog::open(Log::open(options, Arc::new(ring.clone()))?)?;
        ring.complete(&log)?;
        let heads = TreeHeads::open(
            &data.tree_heads(),
            log.engine().clone(),
            identity.clone(),
            relay_id.clone(),
            guard.clone(),
        )?;
        let anchors = Anchors::open(&data.tree_heads(), log.engine(), heads.total());
        let failed = watch::Sender::new(false);
        let identity = identity.fingerprint().to_owned();
        let worth = AtomicU64::new(0);
        Ok(Self(Arc::new(Inner {
            log,
            names,
            relay_id,
            identity,
            guard,
            ring,
            heads,
            anchors,
            failed,
            worth,
        })))
    }

    /// Appends and waits until the entry is durable.
    ///
    /// # Errors
    /// [`LogError`]: the caller answers 503 and must not acknowledge anything.
    pub async fn append(&self, entry: Entry) -> Result<Appended, LogError> {
        self.append_and_wait(entry, true).await
    }

    async fn append_and_wait(&self, entry: Entry, worth: bool) -> Result<Appended, LogError> {
        let (sender, receiver) = oneshot::channel();
        self.append_as(entry, worth, move |result| {
            // Nobody waits any more: the entry stands all the same.
            let _ = sender.send(result);
        });
        receiver.await.unwrap_or(Err(LogError::Ended))
    }

    /// Where an entry is, if it is there at or after `from`.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn find(&self, entry: &Entry, from: u64) -> Result<Option<u64>, LogError> {
        let (log, leaf) = (self.clone(), entry.legacy_leaf);
        let looking = tokio::task::spawn_blocking(move || log.find_legacy_leaf(&leaf, from));
        looking.await.unwrap_or(Err(LogError::Ended))
    }

    /// Appends an entry unless it is there already, at or after `from`; answers its index. Whoever may have been cut off between
    /// an append and the note of its place comes here.
    ///
    /// # Errors
    /// As [`LogService::append`], or when the disk cannot be read.
    pub async fn append_once(&self, entry: &Entry, from: u64) -> Result<u64, LogError> {
        match self.find(entry, from).await? {
            Some(index) => Ok(index),
            None => Ok(self.append(entry.clone()).await?.index),
        }
    }

    /// Appends an entry with a body, dated now.
    ///
    /// # Errors
    /// As [`LogService::append`].
    pub async fn record(&self, body: Body) -> Result<Appended, LogError> {
        let worth = !is_summary(&body);
        let entry = entry::Entry::with_body(body, Timestamp::now())?;
        self.append_and_wait(Entry { legacy_leaf: entry.leaf(), bytes: entry.into_bytes() }, worth).await
    }

    /// Appends without waiting; `done` runs on the log's writer thread and must be quick.
    pub fn append_with(&self, entry: Entry, done: impl FnOnce(Result<Appended, LogError>) + Send + 'static) {
        self.append_as(entry, true, done);
    }

    fn append_as(
        &self,
        entry: Entry,
        worth: bool,
        done: impl FnOnce(Result<Appended, LogError>) + Send + 'static,
    ) {
        let inner = self.0.clone();
        self.0.log.append(entry, move |result| {
            match &result {
                Ok(appended) => {
                    if worth {
                        inner.worth.fetch_max(appended.index + 1, Ordering::AcqRel);
                    }
                    inner.heads.wake();
                }
                Err(AppendError::Failed) => {
                    inner.failed.send_replace(true);
                }
                Err(_) => {}
            }
            done(result.map_err(LogError::Refused));
        });
    }

    /// Resolves when the disk failed under the log: end the process, with exit code 70, and sign nothing more.
    pub async fn failed(&self) {
        let mut failed = self.0.failed.subscribe();
        loop {
            tokio::select! {
                // The sender lives as long as `self`.
                _ = failed.wait_for(|failed| *failed) => return,
                // A failure outside an append (a checkpoint, a tile) is only seen by asking.
                () = tokio::time::sleep(LOOK) => {}
            }
            if self.engine().has_failed() {
                return;
            }
        }
    }

    /// The newest tree head whose size exceeds `index`, waiting at most `patience` for the next one, and not at all when it
    /// will not come by then (at most ten are signed a second; the first after a quiet moment comes at once). `None`: not in time,
    /// answer `sth: null`.
    pub async fn sth_covering(&self, index: u64, patience: Duration) -> Option<Arc<SignedSth>> {
        // Behind the fence the next one may be long in coming.
        let patience = if self.0.guard.may_sign().is_ok() { patience } else { Duration::ZERO };
        self.0.heads.covering(index, patience).await
    }

    /// How many wait for the next tree head.
    #[must_use]
    pub fn awaiting_sth(&self) -> u64 {
        self.0.heads.awaiting()
    }

    /// The path of `index` in the SHA3 tree of `size` entries, bottom up, and that tree's root. Reads the disk.
    ///
    /// # Errors
    /// When `size` exceeds the durable head or the disk fails.
    pub fn legacy_inclusion(&self, index: u64, size: u64) -> Result<(Vec<Hash>, Hash), LogError> {
        let path = self.engine().inclusion(Tree::Sha3, index, size)?;
        Ok((path, self.engine().root(Tree::Sha3, size)?))
    }

    /// As [`LogService::legacy_inclusion`], if it takes no disk: so it is for the newest entries.
    #[must_use]
    pub fn new_legacy_inclusion(&self, index: u64, size: u64) -> Option<(Vec<Hash>, Hash)> {
        self.engine().inclusion_in_memory(Tree::Sha3, index, size)
    }

    /// The index of the entry with this legacy leaf at or after `from`, for the start-up pass over pending rows.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn find_legacy_leaf(&self, leaf: &Hash, from: u64) -> Result<Option<u64>, LogError> {
        Ok(self.engine().find_legacy_leaf(leaf, from)?)
    }

    /// Every tree head ever signed.
    pub fn tree_heads(&self) -> &TreeHeads {
        &self.0.heads
    }

    /// The durable head.
    pub fn head(&self) -> Head {
        self.engine().head()
    }

    /// Whether the last entry says that nothing follows it. Reads the disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn is_closed(&self) -> Result<bool, ReadError> {
        let Some(last) = self.head().size.checked_sub(1) else { return Ok(false) };
        let entry = self.engine().entry(last)?;
        let kind = entry.as_ref().and_then(|entry| entry::peek(&entry.bytes)).map(|(kind, _)| kind);
        Ok(kind == Some(Kind::LogClosed.name()))
    }

    /// The newest published checkpoint.
    pub fn published(&self) -> Option<Arc<Published>> {
        self.engine().published()
    }

    /// One more than the index of the last entry of this run that is worth a push to witnesses. The entry about the start is one,
    /// so there is always a push after a start.
    pub fn worth_witnessing(&self) -> u64 {
        self.0.worth.load(Ordering::Acquire)
    }

    /// The engine, for reads. They touch the disk: call them where blocking is allowed.
    pub fn engine(&self) -> &Log {
        self.0.log.engine()
    }

    /// The log's name in checkpoints.
    pub fn origin(&self) -> &str {
        &self.0.names.origin
    }

    /// Names of the logs that this one was adopted in place of, newest first.
    pub fn retired(&self) -> &[String] {
        &self.0.names.retired
    }

    /// `relay_id` of tree heads and receipts: the public URL, or the origin.
    pub fn relay_id(&self) -> &str {
        &self.0.relay_id
    }

    /// The keys whose lines the published checkpoint carries, in their order: Ed25519 and ML-DSA-44 (during the overlap of a
    /// rotation those of both generations), ML-DSA-65.
    pub fn verifiers(&self) -> Vec<VerifierKey> {
        let size = self.published().map_or_else(|| self.head().size, |published| published.head.size);
        self.0.ring.verifiers(size)
    }

    /// Every key that ever signed checkpoints, retired ones and the identity's included.
    pub fn all_verifiers(&self) -> Vec<VerifierKey> {
        let ever = self.key_records().into_iter().filter_map(|record| record.vkey.parse().ok());
        ever.chain(self.verifiers().pop()).collect()
    }

    /// Every key that ever signed checkpoints, but the identity's, with the tree sizes it signs, oldest first.
    pub fn key_records(&self) -> Vec<KeyRecord> {
        self.0.ring.records()
    }

    /// Signs and publishes the durable head, signs the last tree head, and stops the writers. Blocks; the last call of all.
    pub fn close(&self) {
        self.0.heads.close();
        match (self.engine().clone().close(), self.0.guard.standing()) {
            (Ok(()), _) => {}
            (Err(error), Standing::Open) => {
                tracing::error!(%error, "the log did not close cleanly; its entries are safe");
            }
            (Err(_), Standing::Waiting(why) | Standing::Closed(why)) => {
                tracing::info!(why, "the log closed without a new checkpoint; its entries are safe");
            }
        }
    }
}

/// Entries that only sum up what the log's own bookkeeping did. Were they worth a push, each push would lead to the next.
fn is_summary(body: &Body) -> bool {
    matches!(body, Body::OutboundCall(_) | Body::SupportKeyUsed(_) | Body::SthAnchor(_))
}

impl std::fmt::Debug for LogService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogService({})", self.origin())
    }
}

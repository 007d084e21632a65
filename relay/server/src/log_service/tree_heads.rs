//! Signed tree heads of the published protocol: at most ten a second, every one kept and served.
//!
//! A thread of its own signs (half a millisecond of ML-DSA-65 has no place on the log's writer or on the runtime). The first
//! head after a quiet moment is signed at once, so that a lone upload gets its tree head with its answer; nobody waits for one that
//! will not come in time. A head is on disk
//! before anyone sees it; sizes and times only ever grow.

mod record;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use paramant_log::Log;
use paramant_protocol::sth::{SignedSth, Sth};
use tokio::sync::watch;

pub use self::record::RecordError;
use self::record::RecordFile;
use super::guard::Guard;
use crate::identity::Identity;

/// Ten a second.
const SPACING: Duration = Duration::from_millis(100);

/// All tree heads ever signed, and the thread that signs more.
pub struct TreeHeads {
    file: Arc<RecordFile>,
    newest: watch::Receiver<Newest>,
    /// Those who wait for the next one.
    awaiting: AtomicU64,
    ending: Arc<AtomicBool>,
    thread: thread::Thread,
    handle: Mutex<Option<JoinHandle<()>>>,
}

/// The newest head, and when the next may be signed at the earliest, once one was.
#[derive(Default)]
struct Newest {
    head: Option<Arc<SignedSth>>,
    rests_until: Option<Instant>,
}

/// Why the tree heads cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TreeHeadsError {
    /// The file.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A head was signed that the log no longer reaches.
    #[error(
        "this relay has signed a tree head over {signed} entries, but its log holds only {held}: the data directory is an old or damaged copy; restore the newest one, or retire this log with 'paramant-relay log adopt'"
    )]
    Beyond {
        /// Entries signed.
        signed: u64,
        /// Entries held.
        held: u64,
    },
    /// The operating system gives no thread.
    #[error("cannot start the thread that signs tree heads: {0}")]
    Thread(std::io::Error),
}

/// The file of all heads in its directory.
const FILE: &str = "tree-heads";

/// How many heads lie in a directory, for those who only look.
pub(crate) fn on_disk(directory: &Path) -> u64 {
    std::fs::metadata(directory.join(FILE)).map_or(0, |file| file.len() / record::RECORD)
}

impl TreeHeads {
    /// Reads what was signed before and starts the thread.
    pub(super) fn open(
        directory: &Path,
        log: Log,
        identity: Arc<Identity>,
        relay_id: String,
        guard: Guard,
    ) -> Result<Self, TreeHeadsError> {
        let file = Arc::new(RecordFile::open(&directory.join(FILE))?);
        let last = file.last()?;
        let held = log.head().size;
        if let Some(signed) = last.as_ref().map(|head| head.tree_size).filter(|signed| *signed > held) {
            return Err(TreeHeadsError::Beyond { signed, held });
        }
        let (sender, newest) = watch::channel(Newest { head: last.map(Arc::new), rests_until: None });
        let ending = Arc::new(AtomicBool::new(false));
        let signing = Signing {
            log,
            identity,
            relay_id,
            guard,
            file: file.clone(),
            newest: sender,
            ending: ending.clone(),
        };
        let handle = thread::Builder::new()
            .name("tree-heads".to_owned())
            .spawn(move || signing.run())
            .map_err(TreeHeadsError::Thread)?;
        let thread = handle.thread().clone();
        let (awaiting, handle) = (AtomicU64::new(0), Mutex::new(Some(handle)));
        Ok(Self { file, newest, awaiting, ending, thread, handle })
    }

    /// The newest.
    pub fn newest(&self) -> Option<Arc<SignedSth>> {
        self.newest.borrow().head.clone()
    }

    /// How many were ever signed.
    pub fn total(&self) -> u64 {
        self.file.len()
    }

    /// The one with this number, counted from 0 in the order of signing. Reads the disk.
    ///
    /// # Errors
    /// When the disk fails or the record is damaged.
    pub fn nth(&self, number: u64) -> Result<Option<SignedSth>, RecordError> {
        if number < self.total() { self.file.read(number).map(Some) } else { Ok(None) }
    }

    /// The newest `count`, oldest first. Reads the disk.
    ///
    /// # Errors
    /// When the disk fails or a record is damaged.
    pub fn recent(&self, count: u64) -> Result<Vec<SignedSth>, RecordError> {
        let total = self.total();
        (total.saturating_sub(count)..total).map(|number| self.file.read(number)).collect()
    }

    /// At most `limit` from number `from` on, oldest first; numbers count from 0. Reads the disk.
    ///
    /// # Errors
    /// When the disk fails or a record is damaged.
    pub fn range(&self, from: u64, limit: u64) -> Result<Vec<SignedSth>, RecordError> {
        let end = from.saturating_add(limit).min(self.total());
        (from..end).map(|number| self.file.read(number)).collect()
    }

    /// How many of them are over at most `size` entries: sizes only grow. Reads the disk, a logarithmic number of times.
    ///
    /// # Errors
    /// When the disk fails or a record is damaged.
    pub fn count_up_to(&self, size: u64) -> Result<u64, RecordError> {
        self.partition(|head| head.tree_size <= size)
    }

    /// The first with a time at or after `millis`. Reads the disk, a logarithmic number of times.
    ///
    /// # Errors
    /// When the disk fails or a record is damaged.
    pub fn first_at_or_after(&self, millis: i64) -> Result<Option<SignedSth>, RecordError> {
        let first = self.partition(|head| head.timestamp < millis)?;
        if first < self.total() { self.file.read(first).map(Some) } else { Ok(None) }
    }

    /// The number of the first head that is not `before`, when all that are come first.
    fn partition(&self, before: impl Fn(&SignedSth) -> bool) -> Result<u64, RecordError> {
        let (mut low, mut high) = (0, self.total());
        while low < high {
            let middle = low + (high - low) / 2;
            if before(&self.file.read(middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    pub(super) async fn covering(&self, index: u64, patience: Duration) -> Option<Arc<SignedSth>> {
        let end = Instant::now() + patience;
        let mut newest = self.newest.clone();
        let _awaiting = Awaiting::begin(&self.awaiting);
        loop {
            {
                let newest = newest.borrow_and_update();
                if let Some(head) = newest.head.as_ref().filter(|head| head.tree_size > index) {
                    return Some(head.clone());
                }
                if !may_come(newest.rests_until, Instant::now(), end) {
                    return None;
                }
            }
            tokio::time::timeout_at(end.into(), newest.changed()).await.ok()?.ok()?;
        }
    }

    /// How many wait for the next head.
    pub(super) fn awaiting(&self) -> u64 {
        self.awaiting.load(Ordering::Relaxed)
    }

    /// The log has grown.
    pub(super) fn wake(&self) {
        self.thread.unpark();
    }

    /// Signs the last head and ends the thread.
    pub(super) fn close(&self) {
        self.ending.store(true, Ordering::Release);
        self.thread.unpark();
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if handle.is_some_and(|handle| handle.join().is_err()) {
            tracing::error!("the thread that signs tree heads ended badly");
        }
    }
}

/// Whether waiting until `end` can bring a head.
fn may_come(rests_until: Option<Instant>, now: Instant, end: Instant) -> bool {
    now < end && rests_until.is_none_or(|until| until <= end)
}

/// One that waits for the next head.
struct Awaiting<'c>(&'c AtomicU64);

impl<'c> Awaiting<'c> {
    fn begin(count: &'c AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Signing {
    log: Log,
    identity: Arc<Identity>,
    relay_id: String,
    guard: Guard,
    file: Arc<RecordFile>,
    newest: watch::Sender<Newest>,
    ending: Arc<AtomicBool>,
}

impl Signing {
    fn run(self) {
        let mut last_signed: Option<Instant> = None;
        loop {
            let ending = self.ending.load(Ordering::Acquire);
            let pause = last_signed.map_or(Duration::ZERO, |at| SPACING.saturating_sub(at.elapsed()));
            if !pause.is_zero() && !ending {
                thread::park_timeout(pause);
                continue;
            }
            match self.sign_if_grown() {
                Ok(true) => last_signed = Some(Instant::now()),
                Ok(false) if ending => return,
                Ok(false) => thread::park(),
                Err(problem) => {
                    tracing::error!(problem, "no tree head was signed; uploads go on without one");
                    if ending {
                        return;
                    }
                    thread::park_timeout(Duration::from_secs(1));
                }
            }
        }
    }

    /// Behind the fence nothing is signed; whoever opens it wakes this thread.
    fn sign_if_grown(&self) -> Result<bool, String> {
        if self.guard.may_sign().is_err() {
            return Ok(false);
        }
        let head = self.log.head();
        let newest = self.newest.borrow().head.clone();
        if newest.as_ref().map_or(0, |newest| newest.tree_size) >= head.size {
            return Ok(false);
        }
        // Searching by time needs times that only grow, whatever the clock does.
        let after = newest.map_or(i64::MIN, |newest| newest.timestamp.saturating_add(1));
        let timestamp = Timestamp::now().as_millisecond().max(after);
        let sth = Sth::new(&self.relay_id, &head.sha3_root, head.size, timestamp);
        let message = sth.sign_bytes().map_err(|error| error.to_string())?;
        let signature = self.identity.sign(&message).map_err(|error| error.to_string())?;
        let signed = sth.signed(&signature);
        self.file.append(&signed).map_err(|error| error.to_string())?;
        let rests_until = Some(Instant::now() + SPACING);
        self.newest.send_replace(Newest { head: Some(Arc::new(signed)), rests_until });
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_head_that_will_not_come_in_time() {
        let now = Instant::now();
        let (short, long) = (now + Duration::from_millis(40), now + Duration::from_millis(120));
        let signed_now = Some(now + SPACING);
        assert!(may_come(None, now, short), "after a quiet moment one comes at once");
        assert!(!may_come(signed_now, now, short) && may_come(signed_now, now, long));
        assert!(may_come(Some(short), now, short));
        assert!(!may_come(None, now, now));
    }
}

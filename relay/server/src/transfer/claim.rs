//! Leasing one view: of any number of racing readers exactly one gets it.
//!
//! The winner is chosen by one database transaction. Its row and its `transfer_claimed` entry, synced side by side, are durable before
//! the first byte. A lease ends complete (then what is spent is burned) or cut (then the same account may lease the view again, under a
//! higher generation, until bytes of it have gone out four times); it ends when its guard drops, whatever becomes of the
//! request.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use paramant_protocol::entry::body::BurnCause;
use paramant_protocol::id::ReceiptId;

use super::Transfers;
use super::sending::{Sending, Source, SourceError};
use crate::entries::{self, EntryError};
use crate::log_service::LogError;
use crate::metrics::Loss;
use crate::store::blob_rows::{self, Asked, BlobRow, State};
use crate::store::claim_rows::{self, Lease, LeaseError, Locked, Settled};
use crate::store::meta::MetaError;
use crate::store::{AccountId, BlobId, ClaimId, Digest, now_ms, random_receipt_id};
use crate::store::{receipt_rows, told_rows};

/// A view that was leased, with its bytes ready to go.
#[derive(Debug)]
pub struct Claimed {
    /// The blob.
    pub blob: BlobRow,
    /// Nothing remains to be read once this lease completes.
    pub last: bool,
    /// Where the `transfer_claimed` entry is.
    pub entry_index: u64,
    /// Opens that entry's blinded id.
    pub salt: Digest,
    /// What this reader, and nobody else, asks for the proof of the transfer's entry by.
    pub receipt: ReceiptId,
    /// Which bytes of the payload the body holds.
    pub range: Range<u64>,
    /// The bytes.
    pub body: Sending,
}

/// What a reader asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    Whole,
    /// From the first to the last byte, both included.
    Part {
        /// Counted from 0.
        first: u64,
        /// Not before the first.
        last: u64,
    },
    /// Nothing that is there.
    Beyond,
}

/// Why a view could not be leased, though it may be there.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It asks for a password.
    #[error("the blob asks for a password")]
    Locked(Locked),
    /// The database.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The log takes no entries.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No randomness.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The payload's file could not be read.
    #[error("the payload could not be read: {0}")]
    Io(std::io::Error),
    /// The range lies behind the payload's end. No view was used.
    #[error("the payload has {size} bytes")]
    Beyond {
        /// Its bytes.
        size: u64,
    },
}

impl From<rusqlite::Error> for ClaimError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Meta(error.into())
    }
}

impl From<LeaseError> for ClaimError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Locked(locked) => Self::Locked(locked),
            LeaseError::Sqlite(error) => error.into(),
        }
    }
}

/// How far a running lease has come, for whoever watches over it.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) blob: BlobId,
    pub(super) claim: ClaimId,
    pub(super) generation: u32,
    reader: AccountId,
    /// When the lease began, by a clock that nobody sets, and how long after that the last chunk was taken.
    began: Instant,
    last_ms: AtomicU64,
    /// Set when the lease was ended by somebody else: not one chunk more.
    revoked: AtomicBool,
    /// Set before the first chunk goes out.
    disclosed: AtomicBool,
    /// The byte of the payload that the lease begins with, and the one behind the last that went out.
    from: AtomicU64,
    to: AtomicU64,
}

impl Progress {
    /// Asked before each chunk: whether it may go out. Of this and [`Progress::revoke`] at the same time at least one sees
    /// the other: either the chunk stays, or the cut knows of it.
    pub(super) fn may_send(&self) -> bool {
        self.disclosed.store(true, Ordering::SeqCst);
        self.last_ms.store(millis(self.began.elapsed()), Ordering::Relaxed);
        !self.revoked.load(Ordering::SeqCst)
    }

    /// How long no chunk was taken.
    fn idle(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Ordering::Relaxed)))
    }

    /// The lease begins with this byte.
    fn begin(&self, from: u64) {
        self.from.store(from, Ordering::SeqCst);
        self.to.store(from, Ordering::SeqCst);
    }

    /// So many bytes more are about to go out; said before [`Progress::may_send`] is asked.
    pub(super) fn sending(&self, bytes: u64) {
        self.to.fetch_add(bytes, Ordering::SeqCst);
    }

    fn revoke(&self) {
        self.revoked.store(true, Ordering::SeqCst);
    }

    fn ending(&self, complete: bool) -> Ending {
        if complete {
            Ending::Complete
        } else {
            let disclosed = self.disclosed.load(Ordering::SeqCst);
            let sent = || self.from.load(Ordering::SeqCst)..self.to.load(Ordering::SeqCst);
            Ending::Cut { sent: disclosed.then(sent) }
        }
    }
}

/// How a lease ended.
#[derive(Debug, Clone)]
enum Ending {
    /// Every byte was handed over.
    Complete,
    /// Not every byte; these were, if any.
    Cut { sent: Option<Range<u64>> },
}

/// The leases that run in this process.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<ClaimId, Arc<Progress>>>);

/// One running lease. Dropping it settles it.
#[derive(Debug)]
pub(super) struct LeaseGuard {
    transfers: Transfers,
    lease: Lease,
    pub(super) progress: Arc<Progress>,
    complete: bool,
    /// Why the payload can never be read again, if that was found.
    lost: Option<Loss>,
}

impl Transfers {
    /// Leases one view to who asks. `None`: nothing there that they may read now, for whatever reason. `unlocked` is the blob
    /// whose password they gave, if they did; it is compared in the transaction that leases the view. `wanted` says what of a
    /// payload of some length is to be sent; a part that does not begin with the first byte is sent only when a lease that broke is
    /// continued, else the whole: no reader loses a beginning it never saw.
    ///
    /// # Errors
    /// [`ClaimError::Locked`] when it asks for a password; else when database, log or file fail. No view is lost then.
    pub async fn claim(
        &self,
        asked: Asked,
        unlocked: Option<BlobId>,
        wanted: impl Fn(u64) -> Wanted + Send + Sync,
    ) -> Result<Option<Claimed>, ClaimError> {
        let now = now_ms();
        // Most questions for what is not there end here, at the cost of one read, the same for every reason.
        let there =
            self.0.vault.meta.read(move |c| Ok::<_, ClaimError>(blob_rows::readable(c, asked, now)?)).await?;
        let Some(there) = there else { return Ok(None) };
        if let Some(locked) = Locked::unless(&there, unlocked) {
            return Err(ClaimError::Locked(locked));
        }
        self.0.settling.ended(there.id).await;
        if wanted(there.size) == Wanted::Beyond {
            return Err(ClaimError::Beyond { size: there.size });
        }
        let claim = ClaimId::random().map_err(EntryError::from)?;
        let receipt = random_receipt_id().map_err(EntryError::from)?;
        let this = self.clone();
        // A task of its own: if the client hangs up here, the guard in its answer is dropped and the lease is cut.
        let leasing = self.0.unattended.spawn(async move {
            let lease = this
                .0
                .vault
                .meta
                .write_soon(move |c| {
                    let lease = claim_rows::lease(c, asked, unlocked, claim, now)?;
                    if let Some(lease) = &lease {
                        receipt_rows::insert(c, &receipt, &lease.blob)?;
                    }
                    Ok::<_, ClaimError>(lease)
                })
                .await?;
            Ok::<_, ClaimError>(lease.map(|lease| LeaseGuard::new(this, lease)))
        });
        let Some(guard) = leasing.await.unwrap_or(Ok(None))? else { return Ok(None) };

        let salt = Digest::random().map_err(EntryError::from)?;
        let entry = entries::claimed(guard.lease.blob.leaf, salt, guard.lease.generation)?;
        let vault = self.0.vault.clone();
        let blob = guard.lease.blob.clone();
        let range = range(wanted(blob.size), blob.size, guard.lease.generation > 1);
        let from = range.start;
        guard.progress.begin(from);
        let opening = tokio::task::spawn_blocking(move || Source::open(&vault, &blob, from));
        let (leased, logged, opened) =
            tokio::join!(self.0.vault.meta.synced(), self.0.core.log.append(entry), opening);
        leased?;
        let entry_index = logged?.index;
        match opened.map_err(|error| ClaimError::Io(std::io::Error::other(error)))? {
            Ok(source) => {
                self.count(|totals| {
                    totals.outbound += 1;
                    totals.bytes_out += range.end - range.start;
                });
                let blob = guard.lease.blob.clone();
                let last = guard.lease.last && range.end == blob.size;
                let body =
                    Sending::new(source, range.end - range.start, guard, self.0.core.drain.begin_claim());
                Ok(Some(Claimed { blob, last, entry_index, salt, receipt, range, body }))
            }
            Err(error) => match error.lost() {
                Some(loss) => {
                    self.burn_lost(&guard.lease.blob, loss).await;
                    Ok(None)
                }
                None => Err(ClaimError::Io(error.into())),
            },
        }
    }

    /// Reports a payload that cannot be read any more, and burns its row. One that is burned meanwhile anyway is no loss.
    async fn burn_lost(&self, blob: &BlobRow, loss: Loss) {
        let id = blob.id;
        let row = self.0.vault.meta.read(move |c| Ok::<_, MetaError>(blob_rows::by_id(c, id)?)).await;
        let burned = matches!(&row, Ok(row) if row.as_ref().is_none_or(|row| row.state == State::Burned));
        if burned || self.is_burning(id) {
            return;
        }
        self.0.core.metrics.lost(loss);
        tracing::error!(upload = %id, ?loss, "an acknowledged payload cannot be read any more; its row is burned");
        self.burn(blob, BurnCause::Lost).await;
    }

    /// Ends running leases that no chunk was taken from for so long; they count as cut.
    pub(super) async fn cut_stalled(&self, patience: Duration) {
        let stalled: Vec<_> =
            self.0.leases.all().into_iter().filter(|progress| progress.idle() > patience).collect();
        for progress in stalled {
            progress.revoke();
            self.settle(&progress, progress.ending(false)).await;
        }
    }

    /// Ends the leases of one blob: not one chunk more.
    pub(super) fn revoke_leases_of(&self, blob: BlobId) {
        for progress in self.0.leases.all().into_iter().filter(|progress| progress.blob == blob) {
            progress.revoke();
        }
    }

    /// Writes down how a lease ended, and burns what is spent.
    async fn settle(&self, lease: &Progress, ending: Ending) {
        let (blob, claim, generation, reader) = (lease.blob, lease.claim, lease.generation, lease.reader);
        let complete = matches!(ending, Ending::Complete);
        let settled = self
            .0
            .vault
            .meta
            .write::<_, MetaError, _>(move |c| {
                let settled = match ending {
                    Ending::Complete => claim_rows::complete(c, claim, generation)?,
                    Ending::Cut { sent } => claim_rows::cut(c, claim, generation, sent)?,
                };
                let row = if settled == Settled::Stale { None } else { blob_rows::by_id(c, blob)? };
                let spent = settled == Settled::Spent;
                if let (Some(row), true) = (&row, complete) {
                    told_rows::read_to_its_end(c, row, reader, spent, now_ms())?;
                }
                Ok(row.filter(|_| spent))
            })
            .await;
        match settled {
            Ok(Some(row)) => {
                self.burn(&row, if complete { BurnCause::Read } else { BurnCause::Lost }).await;
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(upload = %blob, %error, "how a lease ended could not be written down")
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn range(wanted: Wanted, size: u64, continued: bool) -> Range<u64> {
    match wanted {
        Wanted::Part { first, last } if (first == 0 || continued) && first <= last && last < size => {
            first..last + 1
        }
        _ => 0..size,
    }
}

impl Leases {
    fn all(&self) -> Vec<Arc<Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn insert(&self, progress: &Arc<Progress>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(progress.claim, Arc::clone(progress));
    }

    fn remove(&self, claim: ClaimId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&claim);
    }
}

impl LeaseGuard {
    fn new(transfers: Transfers, lease: Lease) -> Self {
        let progress = Arc::new(Progress {
            blob: lease.blob.id,
            claim: lease.claim,
            generation: lease.generation,
            reader: lease.reader,
            began: Instant::now(),
            last_ms: AtomicU64::new(0),
            revoked: AtomicBool::new(false),
            disclosed: AtomicBool::new(false),
            from: AtomicU64::new(0),
            to: AtomicU64::new(0),
        });
        transfers.0.leases.insert(&progress);
        Self { transfers, lease, progress, complete: false, lost: None }
    }

    /// The rest of the payload could not be read.
    pub(super) fn unreadable(&mut self, error: &SourceError) {
        self.lost = error.lost();
    }

    /// Every byte was handed over: from the drop on the view is used.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        self.transfers.0.leases.remove(self.lease.claim);
        let (transfers, complete, lost) = (self.transfers.clone(), self.complete, self.lost);
        let (lease, progress) = (self.lease.clone(), Arc::clone(&self.progress));
        let drained = self.transfers.0.core.drain.begin_claim();
        let unsettled = self.transfers.0.settling.begin(self.lease.blob.id);
        // Without a runtime the process is ending, and the next start treats the lease as cut.
        if tokio::runtime::Handle::try_current().is_ok() {
            let unattended = transfers.0.unattended.clone();
            drop(unattended.spawn(async move {
                if let Some(loss) = lost {
                    transfers.burn_lost(&lease.blob, loss).await;
                } else if complete && lease.last {
                    // The key first: what was read for the last time is destroyed before anything else is written.
                    transfers.burn_read(&lease.blob, lease.reader).await;
                } else {
                    transfers.settle(&progress, progress.ending(complete)).await;
                }
                drop(unsettled);
                drop(drained);
            }));
        }
    }
}

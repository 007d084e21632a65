//! Whether new uploads are taken, and how far a drain has come.
//!
//! Who asks is decided by `requests`, a pure function of what was asked and the time: every source but spec and policy
//! carries its own end, which this process enforces alone, so an operator that dies leaves no relay drained for ever. Counting
//! is by guards that end with the work they stand for. An upload that began before the drain runs to its end; reads are
//! never refused. The switch is under one lock: once [`Drain::direct`] has returned, no upload can still slip in.

mod progress;
mod requests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use paramant_licensing::actions::Draining;
use paramant_protocol::control::{DrainDirective, DrainReport};
use tokio::sync::{Notify, watch};

use self::progress::Progress;
pub use self::requests::Requests;

/// What a refused client is told to wait. Longer than a pod replacement usually takes, shorter than patience.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// How often the state is looked at when nothing known is due: a floor against clocks that jump.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// A handle on the drain; cheap to clone.
#[derive(Debug, Clone)]
pub struct Drain(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    progress: Mutex<Progress>,
    changed: watch::Sender<DrainReport>,
    /// Wakes the task that waits for the next known instant.
    rescheduled: Notify,
}

/// One upload in progress; dropping it ends the upload.
#[derive(Debug)]
#[must_use = "an upload counts only while its guard lives"]
pub struct UploadGuard(Drain);

/// One claim whose response runs; dropping it ends the claim.
#[derive(Debug)]
#[must_use = "a claim counts only while its guard lives"]
pub struct ClaimGuard(Drain);

/// New uploads are refused: 503 with `Retry-After`.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the relay is draining and takes no new uploads; try again in {} s", .retry_after.as_secs())]
pub struct UploadsRefused {
    /// For the `Retry-After` header, whole seconds, at least 1.
    pub retry_after: Duration,
}

impl Drain {
    /// A relay that serves. `counts_unclaimed`: payloads live in memory, so a blob nobody has read yet is work in flight.
    pub fn new(counts_unclaimed: bool) -> Self {
        let progress = Progress::new(counts_unclaimed);
        let report = progress.report(Timestamp::now());
        Self(Arc::new(Shared {
            progress: Mutex::new(progress),
            changed: watch::Sender::new(report),
            rescheduled: Notify::new(),
        }))
    }

    /// Starts an upload, or refuses it while the relay drains. Call it before reading any of the body.
    ///
    /// # Errors
    /// [`UploadsRefused`] while a drain is asked for.
    pub fn begin_upload(&self) -> Result<UploadGuard, UploadsRefused> {
        let mut progress = self.lock();
        if progress.requests.draining(Timestamp::now()) {
            return Err(UploadsRefused { retry_after: RETRY_AFTER });
        }
        progress.uploads += 1;
        drop(progress);
        Ok(UploadGuard(self.clone()))
    }

    /// Goes on with an upload that was begun before: never refused, and waited for.
    pub fn continue_upload(&self) -> UploadGuard {
        self.change(|progress| progress.uploads += 1);
        UploadGuard(self.clone())
    }

    /// Starts a claim. Never refused: reads go on while the relay drains.
    pub fn begin_claim(&self) -> ClaimGuard {
        self.change(|progress| progress.claims += 1);
        ClaimGuard(self.clone())
    }

    /// How many blobs are live and unread. Counts only when payloads live in memory.
    pub fn set_unclaimed(&self, unclaimed: u64) {
        self.change(|progress| progress.unclaimed = unclaimed);
    }

    /// Puts the operator's wishes in force, at once.
    pub fn direct(&self, directive: DrainDirective) {
        self.change(|progress| progress.requests.operator = directive);
    }

    /// Does what a vendor's request brings about: a drain that ends by itself, or the end of one. `now` is the instant by which requests
    /// are judged. It ends by the clock on the wall and by the time that this process has run, whichever is first.
    pub fn obey(&self, request: &Draining, now: Timestamp) {
        let left = request.left(now);
        self.change(|progress| {
            progress.requests.vendor_until =
                left.map(|left| Timestamp::now().saturating_add(left).unwrap_or(Timestamp::MAX));
            progress.vendor_ends = left.map(|left| Instant::now() + left);
        });
    }

    /// Lifts a vendor's drain.
    pub fn lift(&self) {
        self.change(|progress| (progress.requests.vendor_until, progress.vendor_ends) = (None, None));
    }

    /// The process was told to end. There is no way back.
    pub fn shut_down(&self) {
        self.change(|progress| progress.requests.shutting_down = true);
    }

    /// How far the drain has come, now.
    pub fn report(&self) -> DrainReport {
        self.lock().report(Timestamp::now())
    }

    /// News: on each change of state, source or deadline, and of the counts while a drain runs.
    pub fn subscribe(&self) -> watch::Receiver<DrainReport> {
        self.0.changed.subscribe()
    }

    /// Enforces what only time changes: a request that expires, a settle time that passes. Runs until the process ends.
    pub async fn keep_time(self) {
        loop {
            let now = Timestamp::now();
            self.update(|_| {});
            let next = self.lock().next_change(now);
            let wait =
                next.and_then(|at| Duration::try_from(at.duration_since(now)).ok()).unwrap_or(HEARTBEAT);
            tokio::select! {
                () = tokio::time::sleep(wait.min(HEARTBEAT)) => {}
                () = self.0.rescheduled.notified() => {}
            }
        }
    }

    /// Waits until nothing is in flight: no upload, no claim, and, where payloads end with the process, no unread blob either,
    /// though for those no longer than the drain's deadline. Only useful while a drain runs: counts are no news otherwise.
    pub async fn idle(&self) {
        let counts_unclaimed = self.lock().counts_unclaimed();
        let mut news = self.subscribe();
        loop {
            let report = news.borrow_and_update().clone();
            let left =
                report.deadline.and_then(|at| Duration::try_from(at.duration_since(Timestamp::now())).ok());
            let overdue = report.deadline.is_some() && left.is_none_or(|left| left.is_zero());
            let read = !counts_unclaimed || report.unclaimed == 0 || overdue;
            if report.uploads == 0 && report.claims == 0 && read {
                return;
            }
            tokio::select! {
                // The sender lives in `self`, so an error cannot happen; if it did, there would be nothing to wait for.
                changed = news.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(left.unwrap_or(HEARTBEAT).min(HEARTBEAT)) => {}
            }
        }
    }

    fn change(&self, apply: impl FnOnce(&mut Progress)) {
        if self.update(apply) {
            self.0.rescheduled.notify_one();
        }
    }

    /// Applies a change and announces what it did. Returns whether a drain runs or ran: then known instants may have moved.
    fn update(&self, apply: impl FnOnce(&mut Progress)) -> bool {
        let mut progress = self.lock();
        let was_draining = progress.is_draining();
        apply(&mut progress);
        let now = Timestamp::now();
        progress.advance(now);
        // The common case, once per upload and claim: serving before and after is no news.
        if !was_draining && !progress.is_draining() {
            return false;
        }
        let report = progress.report(now);
        // Under the lock, or two changes could be announced in the wrong order.
        self.0.changed.send_if_modified(|announced| {
            let news = *announced != report;
            if news {
                *announced = report;
            }
            news
        });
        true
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        // A panic while holding the lock leaves plain counters behind; refusing to go on would lose the drain itself.
        let mut progress = self.0.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if progress.vendor_ends.is_some_and(|ends| ends <= Instant::now()) {
            (progress.requests.vendor_until, progress.vendor_ends) = (None, None);
        }
        progress
    }
}

impl Drop for UploadGuard {
    fn drop(&mut self) {
        self.0.change(|progress| progress.uploads = progress.uploads.saturating_sub(1));
    }
}

impl Drop for ClaimGuard {
    fn drop(&mut self) {
        self.0.change(|progress| progress.claims = progress.claims.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests;

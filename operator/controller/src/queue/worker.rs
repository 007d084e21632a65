//! Runs what the [`Schedule`] says is due: at most [`CONCURRENCY`] keys at once, each within [`RECONCILE_TIMEOUT`].
//!
//! A run that panics or overruns its time counts as failed and delays nobody else.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{Outcome, Schedule, Wake};
use crate::key::Subject;
use crate::metrics::Metrics;

/// Reconciles at once. The API server's own fairness queues are the limit beyond this.
pub const CONCURRENCY: usize = 10;
/// No reconcile takes longer: it talks to the API server only.
pub const RECONCILE_TIMEOUT: Duration = Duration::from_secs(30);

/// Where one subject stands in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Due {
    /// A pass runs now.
    pub running: bool,
    /// When the next one begins, 0 if it only waits for room.
    pub due_in_seconds: Option<u64>,
    /// How many passes in a row failed.
    pub failures: u32,
}

/// Wakes keys from anywhere in the process.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    schedule: Arc<Mutex<Schedule<Subject>>>,
    changed: Arc<Notify>,
}

impl Queue {
    /// Asks for `subject` to be reconciled.
    pub fn wake(&self, subject: impl Into<Subject>, wake: Wake) {
        self.lock().wake(subject.into(), wake, Instant::now());
        self.changed.notify_one();
    }

    /// Keys due or running, and keys known.
    pub fn lengths(&self) -> (usize, usize) {
        let schedule = self.lock();
        (schedule.length(Instant::now()), schedule.known())
    }

    /// Where one subject stands, if it is known.
    pub fn due(&self, subject: &Subject) -> Option<Due> {
        let (running, due, failures) = self.lock().standing(subject)?;
        let due_in_seconds = due.map(|due| due.saturating_duration_since(Instant::now()).as_secs());
        Some(Due { running, due_in_seconds, failures })
    }

    /// Runs keys until `stop`, then lets the running ones end.
    pub async fn run<F, R>(&self, metrics: &Metrics, stop: CancellationToken, reconcile: F)
    where
        F: Fn(Subject) -> R,
        R: Future<Output = Outcome> + Send + 'static,
    {
        let mut running: JoinSet<(Subject, Outcome)> = JoinSet::new();
        loop {
            let next = self.fill(&mut running, metrics, &reconcile);
            metrics.queue_length.set(i64::try_from(self.lengths().0).unwrap_or(i64::MAX));
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.changed.notified() => {}
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
                Some(ended) = running.join_next() => self.ended(ended),
            }
        }
        while let Some(ended) = running.join_next().await {
            self.ended(ended);
        }
    }

    /// Starts what is due and there is room for. Returns when to look again, if there is room at all.
    fn fill<F, R>(
        &self,
        running: &mut JoinSet<(Subject, Outcome)>,
        metrics: &Metrics,
        reconcile: &F,
    ) -> Option<Instant>
    where
        F: Fn(Subject) -> R,
        R: Future<Output = Outcome> + Send + 'static,
    {
        let mut schedule = self.lock();
        while schedule.running() < CONCURRENCY {
            let (now, due) = (Instant::now(), schedule.next_due());
            let Some(key) = schedule.start(now) else { return due };
            let waited = due.map(|due| now.saturating_duration_since(due)).unwrap_or_default();
            metrics.queue_wait.observe(waited.as_secs_f64());
            let work = reconcile(key.clone());
            running.spawn(async move {
                // A task of its own, so that a panic is caught here and still carries its key.
                let outcome = match timeout(RECONCILE_TIMEOUT, AbortOnDrop(tokio::spawn(work))).await {
                    Ok(Ok(outcome)) => outcome,
                    Ok(Err(error)) => {
                        tracing::error!(subject = %key, %error, "a reconcile ended abnormally");
                        Outcome::Failed
                    }
                    Err(_) => {
                        tracing::error!(subject = %key, "a reconcile took longer than {RECONCILE_TIMEOUT:?} and was given up");
                        Outcome::Failed
                    }
                };
                (key, outcome)
            });
        }
        None
    }

    fn ended(&self, ended: Result<(Subject, Outcome), tokio::task::JoinError>) {
        match ended {
            Ok((key, outcome)) => self.lock().finish(&key, outcome, Instant::now()),
            Err(error) => tracing::error!(%error, "a reconcile's supervisor ended abnormally"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Schedule<Subject>> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the task when the wait for it is given up.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::key::RelayKey;

    fn key(n: usize) -> Subject {
        RelayKey::new("n", format!("r{n}")).into()
    }

    #[tokio::test(start_paused = true)]
    async fn ten_run_at_once_and_a_hanging_one_delays_nobody() {
        let queue = Queue::default();
        let (now, most, done) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for n in 0..40 {
            queue.wake(key(n), Wake::Now);
        }
        let stop = CancellationToken::new();
        let metrics = Metrics::new().unwrap();
        let work = |subject: Subject| {
            let (now, most, done) = (now.clone(), most.clone(), done.clone());
            async move {
                assert_ne!(subject, self::key(1), "this one panics on purpose");
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                if subject == self::key(0) {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                done.fetch_add(1, Ordering::SeqCst);
                Outcome::Requeue(Duration::from_secs(3600))
            }
        };
        let run = queue.run(&metrics, stop.clone(), work);
        tokio::select! {
            () = run => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        assert_eq!(done.load(Ordering::SeqCst), 38);
        assert_eq!(most.load(Ordering::SeqCst), CONCURRENCY);
    }

    #[tokio::test(start_paused = true)]
    async fn an_overrun_is_given_up_and_tried_again() {
        let queue = Queue::default();
        queue.wake(key(0), Wake::Now);
        let tries = Arc::new(AtomicUsize::new(0));
        let metrics = Metrics::new().unwrap();
        let work = |_| {
            let tries = tries.clone();
            async move {
                tries.fetch_add(1, Ordering::SeqCst);
                std::future::pending::<Outcome>().await
            }
        };
        let run = queue.run(&metrics, CancellationToken::new(), work);
        let _ = tokio::time::timeout(RECONCILE_TIMEOUT * 2 + Duration::from_secs(2), run).await;
        assert_eq!(tries.load(Ordering::SeqCst), 3);
    }
}

//! Senders and a receiver that go on whatever happens to the relay, and remember what the relay promised them.
//!
//! An upload that was answered 200 is a promise: at the end each must be read exactly once. A read that reports success must
//! carry the very bytes that were sent. A connection that is refused or cut is no broken promise, but how long it lasts is
//! measured: from the first failure to the next answer of any kind.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::relay::{Relay, random_blob};

/// One packet, several, and one that is still on its way when a pod goes.
const LENGTHS: [usize; 3] = [700, 20_000, 300_000];
/// Between two uploads of one sender: a few hundred kilobytes a second altogether.
const PACE: Duration = Duration::from_millis(100);
/// The receiver leaves the newest alone, so that at any time some wait unread, as they do in life.
const LEFT_ALONE: usize = 40;

/// An acknowledged upload that nobody has read yet.
struct Promise {
    digest: String,
    bytes: Vec<u8>,
}

/// What was seen so far.
#[derive(Default)]
pub(super) struct Tally {
    acknowledged: usize,
    refused_by_drain: usize,
    read: usize,
    failed_connections: usize,
    /// The longest time without any answer, by any of the senders.
    pub(super) longest_gap: Duration,
    /// What was tried in that time, and how each failed.
    pub(super) story: String,
    broken: Vec<String>,
}

/// Two senders and a receiver.
pub(super) struct Traffic {
    relay: Relay,
    stop: Arc<AtomicBool>,
    unread: Arc<Mutex<VecDeque<Promise>>>,
    tally: Arc<Mutex<Tally>>,
    workers: Vec<thread::JoinHandle<()>>,
}

impl Traffic {
    /// Begins.
    pub(super) fn start(relay: &Relay) -> Self {
        let mut traffic = Traffic {
            relay: relay.clone(),
            stop: Arc::default(),
            unread: Arc::default(),
            tally: Arc::default(),
            workers: Vec::new(),
        };
        for _ in 0..2 {
            let (relay, stop) = (relay.clone(), traffic.stop.clone());
            let (unread, tally) = (traffic.unread.clone(), traffic.tally.clone());
            traffic.workers.push(thread::spawn(move || send(&relay, &stop, &unread, &tally)));
        }
        let (relay, stop) = (relay.clone(), traffic.stop.clone());
        let (unread, tally) = (traffic.unread.clone(), traffic.tally.clone());
        traffic.workers.push(thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let next = {
                    let mut unread = held(&unread);
                    if unread.len() > LEFT_ALONE { unread.pop_front() } else { None }
                };
                if let Some(promise) = next {
                    receive(&relay, promise, &unread, &tally);
                }
                thread::sleep(PACE / 2);
            }
        }));
        traffic
    }

    /// How many uploads were acknowledged so far.
    pub(super) fn acknowledged(&self) -> usize {
        held(&self.tally).acknowledged
    }

    /// Ends, and reads everything that is still unread: each once, and none twice.
    pub(super) fn settle(self) -> Result<Tally> {
        self.stop.store(true, Ordering::SeqCst);
        for worker in self.workers {
            worker.join().map_err(|_| anyhow::anyhow!("a thread of the traffic panicked"))?;
        }
        let mut last = Vec::new();
        for _ in 0..10_000 {
            let Some(promise) = held(&self.unread).pop_front() else { break };
            last.push(promise.digest.clone());
            receive(&self.relay, promise, &self.unread, &self.tally);
        }
        if !held(&self.unread).is_empty() {
            bail!("{} acknowledged uploads could not be read in the end", held(&self.unread).len());
        }
        for digest in last.iter().rev().take(20) {
            let (status, _) = self.relay.download(digest)?;
            if status != 404 {
                bail!("a blob that was read answers {status} to a second reader, expected 404");
            }
        }
        let tally = std::mem::take(&mut *held(&self.tally));
        if !tally.broken.is_empty() {
            bail!("{} promises were broken, the first: {:?}", tally.broken.len(), tally.broken.first());
        }
        if tally.read != tally.acknowledged {
            bail!("{} uploads were acknowledged and {} read", tally.acknowledged, tally.read);
        }
        Ok(tally)
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{} uploads acknowledged and each read once, {} refused by drains, {} connections failed, none for longer than {:.1} s",
            self.acknowledged,
            self.refused_by_drain,
            self.failed_connections,
            self.longest_gap.as_secs_f64()
        )
    }
}

fn send(relay: &Relay, stop: &AtomicBool, unread: &Mutex<VecDeque<Promise>>, tally: &Mutex<Tally>) {
    let mut silent_since: Option<Instant> = None;
    let mut story: Vec<String> = Vec::new();
    for round in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok((bytes, digest)) = random_blob(LENGTHS[round % LENGTHS.len()]) else { return };
        match relay.upload(&bytes, &digest) {
            Ok((status, body)) => {
                let mut tally = held(tally);
                if let Some(since) = silent_since.take()
                    && since.elapsed() > tally.longest_gap
                {
                    tally.longest_gap = since.elapsed();
                    tally.story = story.join("; ");
                }
                story.clear();
                match status {
                    200 => {
                        tally.acknowledged += 1;
                        held(unread).push_back(Promise { digest, bytes });
                    }
                    503 => tally.refused_by_drain += 1,
                    other => tally.broken.push(format!("an upload answered {other}: {body}")),
                }
            }
            Err(error) => {
                let since = silent_since.get_or_insert_with(Instant::now);
                story.push(format!("{:.1} s: {error:#}", since.elapsed().as_secs_f64()));
                held(tally).failed_connections += 1;
            }
        }
        thread::sleep(PACE);
    }
}

fn receive(relay: &Relay, promise: Promise, unread: &Mutex<VecDeque<Promise>>, tally: &Mutex<Tally>) {
    match relay.download(&promise.digest) {
        Ok((200, got)) => {
            let mut tally = held(tally);
            tally.read += 1;
            tally.broken.extend(difference(&promise.bytes, &got));
        }
        // It starts or ends, or the line was cut: whoever waits comes again.
        Ok((502..=504, _)) | Err(_) => {
            held(unread).push_back(promise);
            thread::sleep(Duration::from_millis(200));
        }
        Ok((status, _)) => {
            held(tally).broken.push(format!("an acknowledged upload ({}) answers {status}", promise.digest))
        }
    }
}

/// What is wrong with bytes that a read reported as the whole.
fn difference(sent: &[u8], got: &[u8]) -> Option<String> {
    (sent != got).then(|| format!("a read of {} bytes succeeded with {} others", sent.len(), got.len()))
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_read_that_is_short_or_altered_is_told() {
        assert!(difference(b"abc", b"ab").is_some() && difference(b"abc", b"abd").is_some());
        assert!(difference(b"abc", b"abc").is_none());
    }
}

//! Entries that wait to be written, and the turn at the disk.
//!
//! Two threads write in turns (see `writer`). At any time at most one of them gathers the next batch and at most one has
//! the turn: it writes and syncs. What is gathered while the other has the turn is hashed and framed by the time it ends.

use crate::record::{self, MAX_TRAILER};
use crate::shared::{Job, lock};
use crate::{AppendError, Entry};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// While the disk is busy, fewer entries than these are left to wait: a batch is what arrives during the last sync, and
/// hashing pays from a few dozen on.
const WORTHWHILE: usize = 64;
/// Nobody waits for entries.
const NOBODY: usize = usize::MAX;

/// Between those who append and the two threads that write.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    /// Only the one thread that gathers waits here.
    changed: Condvar,
}

struct Waiting {
    jobs: VecDeque<Job>,
    /// Why no entry is taken any more.
    refusal: Option<AppendError>,
    /// A batch is being written and synced.
    writing: bool,
    /// Batches that are durable and whose callers are being told.
    answering: usize,
    /// Until when those who are told now may still get into the next batch.
    open_until: Option<Instant>,
    /// How long the last turns took.
    turns: Turns,
    /// Number of jobs at which the gathering thread is to be woken.
    wake_at: usize,
}

/// The shortest of the last turns at the disk: what one more sync costs at least.
#[derive(Default)]
struct Turns {
    last: VecDeque<Duration>,
}

impl Turns {
    const KEPT: usize = 32;

    fn add(&mut self, took: Duration) {
        self.last.push_back(took);
        if self.last.len() > Self::KEPT {
            self.last.pop_front();
        }
    }

    fn shortest(&self) -> Duration {
        self.last.iter().min().copied().unwrap_or_default()
    }
}

/// What a batch may still take.
pub(crate) struct Room {
    pub(crate) bytes: usize,
    pub(crate) entries: usize,
}

/// What comes next for a batch that is being gathered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// More entries were taken; nothing stands in the way of the turn any more if they are the `last`.
    More { last: bool },
    /// The batch has the turn: it is to be written, and the turn [given back](Queue::give_back).
    Turn,
}

impl Room {
    /// Room up to the end of the segment, for a trailer as well.
    pub(crate) fn new(left: u64, most_bytes: usize, entries: usize) -> Self {
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        Self { bytes: left.saturating_sub(MAX_TRAILER).min(most_bytes), entries }
    }

    fn take(&mut self, entry: &Entry) -> bool {
        let length = record::entry_length(entry);
        let fits = self.entries > 0 && length <= self.bytes;
        if fits {
            self.entries -= 1;
            self.bytes -= length;
        } else {
            // Entries stay in their order: nothing behind one that does not fit.
            self.entries = 0;
        }
        fits
    }
}

impl Default for Queue {
    fn default() -> Self {
        let waiting = Waiting {
            jobs: VecDeque::new(),
            refusal: None,
            writing: false,
            answering: 0,
            open_until: None,
            turns: Turns::default(),
            wake_at: NOBODY,
        };
        Self { waiting: Mutex::new(waiting), changed: Condvar::new() }
    }
}

impl Queue {
    /// Adds an entry; gives it back, and why, when none is taken any more.
    pub(crate) fn push(&self, job: Job) -> Option<(Job, AppendError)> {
        let mut waiting = lock(&self.waiting);
        if let Some(refusal) = waiting.refusal.clone() {
            return Some((job, refusal));
        }
        waiting.jobs.push_back(job);
        if waiting.jobs.len() == waiting.wake_at {
            self.changed.notify_one();
        }
        None
    }

    /// No further entry is taken; those that wait are written.
    pub(crate) fn close(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.refusal.get_or_insert(AppendError::Closed);
        self.changed.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.waiting).refusal.is_some()
    }

    /// No further entry is taken, and those that wait are given back. Nobody has to wait for a turn any more: whoever
    /// gets it sees the failure.
    pub(crate) fn fail(&self) -> VecDeque<Job> {
        let mut waiting = lock(&self.waiting);
        waiting.refusal = Some(AppendError::Failed);
        waiting.writing = false;
        self.changed.notify_one();
        std::mem::take(&mut waiting.jobs)
    }

    /// Waits for entries that are worth being gathered. False when none will come.
    pub(crate) fn wait_for_entries(&self) -> bool {
        let mut waiting = lock(&self.waiting);
        loop {
            let hindrance = waiting.hindrance();
            let enough = if hindrance == Hindrance::None { 1 } else { WORTHWHILE };
            if waiting.jobs.len() >= enough {
                return true;
            }
            if waiting.jobs.is_empty() && waiting.refusal.is_some() {
                return false;
            }
            waiting = self.wait(waiting, enough, hindrance);
        }
    }

    /// Waits until nobody has the turn: all that was gathered is durable, or the log has failed.
    pub(crate) fn wait_until_written(&self) {
        let mut waiting = lock(&self.waiting);
        while waiting.writing {
            waiting = self.wait(waiting, NOBODY, Hindrance::Disk);
        }
    }

    /// Takes at most so many entries that will not be written.
    pub(crate) fn take(&self, taken: &mut VecDeque<Job>, most: usize) {
        let mut room = Room { bytes: usize::MAX, entries: most };
        lock(&self.waiting).give(taken, &mut room);
    }

    /// Takes what has arrived, as far as there is room, or the turn when nothing stands in its way; waits for one of them.
    /// After `last` entries the turn comes before more entries.
    pub(crate) fn next(&self, taken: &mut VecDeque<Job>, room: &mut Room, last: bool) -> Next {
        let mut waiting = lock(&self.waiting);
        loop {
            let hindrance = if last { waiting.disk() } else { waiting.hindrance() };
            let enough = if hindrance == Hindrance::None { 1 } else { WORTHWHILE };
            if !last && waiting.jobs.len() >= enough && waiting.give(taken, room) {
                return Next::More { last: hindrance == Hindrance::None };
            }
            // A full batch waits for nobody but the disk.
            let hindrance = if room.entries == 0 { waiting.disk() } else { hindrance };
            if hindrance == Hindrance::None {
                waiting.writing = true;
                return Next::Turn;
            }
            let wake_at = if room.entries > 0 { WORTHWHILE } else { NOBODY };
            waiting = self.wait(waiting, wake_at, hindrance);
        }
    }

    /// Ends a turn that took so long. The batch's callers are about to be told, which [`Self::answered`] ends: who appends
    /// again at once still gets into the next batch, as long as waiting for that costs less than a further sync would.
    pub(crate) fn give_back(&self, took: Duration) {
        let mut waiting = lock(&self.waiting);
        waiting.writing = false;
        waiting.answering += 1;
        waiting.turns.add(took);
        waiting.open_until = Some(Instant::now() + waiting.turns.shortest());
        self.changed.notify_one();
    }

    /// The callers of a batch have been told.
    pub(crate) fn answered(&self) {
        lock(&self.waiting).answering -= 1;
        self.changed.notify_one();
    }

    fn wait<'a>(
        &self,
        mut waiting: MutexGuard<'a, Waiting>,
        wake_at: usize,
        hindrance: Hindrance,
    ) -> MutexGuard<'a, Waiting> {
        waiting.wake_at = wake_at;
        let mut waiting = match hindrance {
            Hindrance::Answers(left) => {
                self.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
            }
            _ => self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
        };
        waiting.wake_at = NOBODY;
        waiting
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.waiting).jobs.len()
    }
}

/// Why a batch cannot have the turn now, or should not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hindrance {
    None,
    /// Another batch has the turn.
    Disk,
    /// Callers of the batch before are being told, and it pays to wait for what they append; so long at most.
    Answers(Duration),
}

impl Waiting {
    fn disk(&self) -> Hindrance {
        if self.writing { Hindrance::Disk } else { Hindrance::None }
    }

    fn hindrance(&self) -> Hindrance {
        let left = self.open_until.map(|until| until.saturating_duration_since(Instant::now()));
        match left.filter(|left| self.answering > 0 && !left.is_zero() && self.refusal.is_none()) {
            _ if self.writing => Hindrance::Disk,
            Some(left) => Hindrance::Answers(left),
            None => Hindrance::None,
        }
    }

    /// Moves entries over as far as there is room. False when there was none.
    fn give(&mut self, taken: &mut VecDeque<Job>, room: &mut Room) -> bool {
        let count = self.jobs.iter().take_while(|job| room.take(&job.entry)).count();
        if count == self.jobs.len() && taken.is_empty() {
            // The usual case: two words change hands while those who append wait for the lock.
            std::mem::swap(&mut self.jobs, taken);
        } else {
            taken.extend(self.jobs.drain(..count));
        }
        count > 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn job(number: u8, length: usize) -> Job {
        let entry = Entry { bytes: vec![number; length], legacy_leaf: [number; 32] };
        Job { entry, leaf: [0; 32], done: Box::new(|_| ()) }
    }

    fn push(queue: &Queue, job: Job) {
        assert!(queue.push(job).is_none());
    }

    fn plenty() -> Room {
        Room { bytes: usize::MAX, entries: usize::MAX }
    }

    #[test]
    fn a_free_disk_is_taken_after_what_has_arrived() {
        let (queue, mut taken) = (Queue::default(), VecDeque::new());
        push(&queue, job(1, 10));
        assert!(queue.wait_for_entries());
        assert_eq!(queue.next(&mut taken, &mut plenty(), false), Next::More { last: true });
        push(&queue, job(2, 10));
        assert_eq!(queue.next(&mut taken, &mut plenty(), true), Next::Turn);
        assert_eq!((taken.len(), queue.len()), (1, 1));
    }

    #[test]
    fn while_the_disk_is_busy_few_entries_wait_and_many_are_gathered() {
        let (queue, mut taken) = (Queue::default(), VecDeque::new());
        assert_eq!(queue.next(&mut taken, &mut plenty(), true), Next::Turn);
        for _ in 0..WORTHWHILE {
            push(&queue, job(1, 10));
        }
        let mut room = plenty();
        assert_eq!(queue.next(&mut taken, &mut room, false), Next::More { last: false });
        push(&queue, job(2, 10));
        queue.give_back(Duration::ZERO);
        assert_eq!(queue.next(&mut taken, &mut room, false), Next::More { last: true });
        assert_eq!(queue.next(&mut taken, &mut room, true), Next::Turn);
        assert_eq!(taken.len(), WORTHWHILE + 1);
    }

    #[test]
    fn callers_who_are_being_told_get_into_the_next_batch_unless_that_takes_longer_than_a_sync() {
        for (sync, gets_in) in [(Duration::from_secs(60), true), (Duration::from_millis(1), false)] {
            let (queue, mut taken) = (Queue::default(), VecDeque::new());
            assert_eq!(queue.next(&mut taken, &mut plenty(), true), Next::Turn);
            for _ in 0..WORTHWHILE {
                push(&queue, job(1, 10));
            }
            queue.give_back(sync);
            assert!(matches!(queue.next(&mut taken, &mut plenty(), false), Next::More { .. }));
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    std::thread::sleep(Duration::from_millis(100));
                    push(&queue, job(2, 10));
                    queue.answered();
                });
                let next = queue.next(&mut taken, &mut plenty(), false);
                assert_eq!(next, if gets_in { Next::More { last: true } } else { Next::Turn });
            });
        }
    }

    #[test]
    fn a_batch_without_room_takes_the_turn_and_leaves_the_rest_in_order() {
        let (queue, mut taken) = (Queue::default(), VecDeque::new());
        for (number, length) in [(1, 10), (2, 1000), (3, 10)] {
            push(&queue, job(number, length));
        }
        let mut room = Room::new((MAX_TRAILER + 500) as u64, usize::MAX, 100);
        assert_eq!(queue.next(&mut taken, &mut room, false), Next::More { last: true });
        assert_eq!(queue.next(&mut taken, &mut room, false), Next::Turn);
        assert_eq!(taken.len(), 1);
        queue.give_back(Duration::ZERO);
        let mut rest = VecDeque::new();
        queue.take(&mut rest, 100);
        let order: Vec<u8> = rest.iter().map(|job| job.entry.legacy_leaf[0]).collect();
        assert_eq!(order, [2, 3]);
    }

    #[test]
    fn a_closed_queue_gives_out_what_it_has_and_a_failed_one_gives_it_back() {
        let queue = Queue::default();
        push(&queue, job(1, 1));
        queue.close();
        assert!(matches!(queue.push(job(2, 1)), Some((_, AppendError::Closed))));
        assert!(queue.wait_for_entries());
        assert_eq!(queue.fail().len(), 1);
        assert!(matches!(queue.push(job(2, 1)), Some((_, AppendError::Failed))));
        assert!(!queue.wait_for_entries());
    }
}

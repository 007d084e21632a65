//! What the last receipts said, for a reader who lost the header (`GET /v2/receipt/{hash}`).
//!
//! In memory alone, for an hour: who read what, and the exact time that opens a leaf of the log, are kept on no disk once a blob is
//! burned. The newest read of a name by an account stands for those before it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Delivery;
use crate::store::{AccountId, Digest};

/// How long a reader may ask again.
const KEPT: Duration = Duration::from_secs(3600);
/// Reads remembered: some 400 bytes each, so four megabytes at most. When there are more, the oldest are forgotten early.
const MOST: usize = 8192;

type Name = (AccountId, Digest);

/// The reads of the last hour.
#[derive(Debug, Default)]
pub struct Copies(Mutex<Reads>);

#[derive(Debug, Default)]
struct Reads {
    by_name: HashMap<Name, (Instant, Delivery)>,
    /// When each was kept, oldest first; a name that was read again stands here twice.
    in_order: VecDeque<(Instant, Name)>,
}

impl Copies {
    /// Remembers a read.
    pub fn keep(&self, account: AccountId, lookup: Digest, delivery: Delivery) {
        self.keep_at(Instant::now(), (account, lookup), delivery);
    }

    /// The newest read of this name by this account, if it is not long ago.
    #[must_use]
    pub fn find(&self, account: AccountId, lookup: Digest) -> Option<Delivery> {
        self.find_at(Instant::now(), (account, lookup))
    }

    fn keep_at(&self, now: Instant, name: Name, delivery: Delivery) {
        let mut reads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reads.by_name.insert(name, (now, delivery));
        reads.in_order.push_back((now, name));
        while reads.in_order.front().is_some_and(|(at, _)| now >= *at + KEPT) || reads.in_order.len() > MOST {
            let Some((at, name)) = reads.in_order.pop_front() else { break };
            if reads.by_name.get(&name).is_some_and(|(kept, _)| *kept == at) {
                reads.by_name.remove(&name);
            }
        }
    }

    fn find_at(&self, now: Instant, name: Name) -> Option<Delivery> {
        let reads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, delivery) = reads.by_name.get(&name)?;
        (now < *at + KEPT).then(|| delivery.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn delivery(index: u64) -> Delivery {
        let nothing = Digest([0; 32]);
        Delivery {
            hash: nothing,
            leaf: nothing,
            index,
            ts: String::new(),
            sector: String::new(),
            retrieved_at: 0,
            tree_size: 0,
            last: true,
            claim: (0, nothing),
        }
    }

    #[test]
    fn a_read_is_found_for_an_hour_by_its_reader_and_the_newest_counts() {
        let (copies, now) = (Copies::default(), Instant::now());
        let name = |account: u8, lookup: u8| (AccountId([account; 16]), Digest([lookup; 32]));
        let found = |at, name| copies.find_at(at, name).map(|found| found.index);
        copies.keep_at(now, name(1, 1), delivery(1));
        let later = now + Duration::from_secs(1800);
        copies.keep_at(later, name(1, 1), delivery(2));
        assert_eq!(found(later, name(1, 1)), Some(2));
        assert_eq!((found(later, name(2, 1)), found(later, name(1, 2))), (None, None));
        // The first is forgotten, and takes nothing of the second with it.
        copies.keep_at(now + KEPT, name(3, 3), delivery(3));
        assert_eq!(found(now + KEPT, name(1, 1)), Some(2));
        assert_eq!(found(later + KEPT, name(1, 1)), None);
    }

    #[test]
    fn they_are_so_many_at_most() {
        let (copies, now) = (Copies::default(), Instant::now());
        let name = |n: usize| {
            (
                AccountId([0; 16]),
                Digest(std::array::from_fn(|at| n.to_le_bytes().get(at).copied().unwrap_or(0))),
            )
        };
        for n in 0..=MOST {
            copies.keep_at(now, name(n), delivery(n as u64));
        }
        assert!(copies.find_at(now, name(0)).is_none());
        assert!(copies.find_at(now, name(1)).is_some() && copies.find_at(now, name(MOST)).is_some());
        assert_eq!(copies.0.lock().unwrap().by_name.len(), MOST);
    }
}

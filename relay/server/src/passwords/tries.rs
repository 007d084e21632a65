//! How often wrong passwords may be tried, and by whom.
//!
//! Two counts for each try: of this reader for this blob, and of this reader for all blobs, where a reader is an account, or
//! for download links the address it comes from. Both start again a quarter of an hour after their first wrong password.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{PasswordError, Passwords, Trier};
use crate::listener::client_address::block;
use crate::store::blob_rows::Asked;
use crate::store::{AccountId, BlobId};

/// Wrong passwords of one reader for one blob in one window: enough for a person with several in mind. A program gets 40 an
/// hour, so one of a million passwords lasts a year of trying.
pub(super) const PER_BLOB: u32 = 10;
/// Wrong passwords of one account, or one address without a key, for all blobs in one window.
pub(super) const PER_READER: u32 = 50;
/// After so long the count starts again.
pub(super) const WINDOW: Duration = Duration::from_secs(900);
/// Counts remembered, under 100 bytes each. When there are more, the oldest go: whoever wants to push out theirs pays for ten
/// thousand hashes, two at a time.
const REMEMBERED: usize = 20_000;

/// What wrong passwords are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Count {
    /// This reader, for this blob; the account is made from the token for a link.
    Blob(BlobId, AccountId),
    Account(AccountId),
    Address(IpAddr),
}

#[derive(Debug, Clone, Copy)]
struct Wrong {
    times: u32,
    since: Instant,
}

/// The counts of one relay.
#[derive(Debug, Default)]
pub(super) struct Tries {
    wrong: HashMap<Count, Wrong>,
    running: HashSet<(BlobId, AccountId)>,
}

/// One try, counted as wrong until it was right, or until it is certain that nothing was compared. While it lives, its reader
/// tries no other password for the blob.
#[derive(Debug)]
pub(super) struct Counted {
    passwords: Passwords,
    running: (BlobId, AccountId),
    counts: [Count; 2],
    outcome: Outcome,
}

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It never had its turn.
    NotCompared,
    Wrong,
    Right,
}

impl Counted {
    pub(super) fn begin(passwords: &Passwords, blob: BlobId, trier: Trier) -> Result<Self, PasswordError> {
        let running = (blob, trier.asked.claimant());
        let reader = match trier.asked {
            Asked::ByName { account, .. } => Count::Account(account),
            Asked::ByLink(_) => Count::Address(block(trier.address)),
        };
        let counts = [Count::Blob(running.0, running.1), reader];
        passwords.tries(|tries, now| tries.begin(running, counts, now))?;
        Ok(Self { passwords: passwords.clone(), running, counts, outcome: Outcome::NotCompared })
    }

    pub(super) fn was(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.passwords.tries(|tries, _| {
            tries.running.remove(&self.running);
            match self.outcome {
                Outcome::NotCompared => tries.take_back(&self.counts),
                Outcome::Wrong => {}
                Outcome::Right => tries.forgive(self.counts),
            }
        });
    }
}

impl Tries {
    fn begin(
        &mut self,
        running: (BlobId, AccountId),
        counts: [Count; 2],
        now: Instant,
    ) -> Result<(), PasswordError> {
        if self.running.contains(&running) {
            return Err(PasswordError::InProgress);
        }
        self.wrong.retain(|count, wrong| !counts.contains(count) || now < wrong.since + WINDOW);
        for (count, limit) in counts.into_iter().zip([PER_BLOB, PER_READER]) {
            if let Some(wrong) = self.wrong.get(&count).filter(|wrong| wrong.times >= limit) {
                let wait = (wrong.since + WINDOW).saturating_duration_since(now);
                return Err(PasswordError::Exhausted { wait });
            }
        }
        self.running.insert(running);
        for count in counts {
            self.wrong.entry(count).or_insert(Wrong { times: 0, since: now }).times += 1;
        }
        self.make_room(now);
        Ok(())
    }

    /// The right password: what was wrong for this blob before is forgotten, and this try is taken back.
    fn forgive(&mut self, [blob, reader]: [Count; 2]) {
        self.wrong.remove(&blob);
        self.take_back(&[reader]);
    }

    fn take_back(&mut self, counts: &[Count]) {
        for count in counts {
            if let Some(wrong) = self.wrong.get_mut(count) {
                wrong.times = wrong.times.saturating_sub(1);
            }
        }
    }

    fn make_room(&mut self, now: Instant) {
        if self.wrong.len() <= REMEMBERED {
            return;
        }
        self.wrong.retain(|_, wrong| now < wrong.since + WINDOW);
        if self.wrong.len() <= REMEMBERED {
            return;
        }
        // A tenth at once, so that this is rare.
        let mut begun: Vec<_> = self.wrong.values().map(|wrong| wrong.since).collect();
        let (_, oldest, _) = begun.select_nth_unstable(REMEMBERED / 10);
        let oldest = *oldest;
        self.wrong.retain(|_, wrong| wrong.since > oldest);
    }
}

#[cfg(test)]
impl Tries {
    pub(super) fn is_running(&self, blob: BlobId) -> bool {
        self.running.iter().any(|(running, _)| *running == blob)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn counts(blob: u8, reader: u8) -> ((BlobId, AccountId), [Count; 2]) {
        let (blob, account) = (BlobId([blob; 16]), AccountId([reader; 16]));
        ((blob, account), [Count::Blob(blob, account), Count::Account(account)])
    }

    fn wrong(tries: &mut Tries, blob: u8, reader: u8, now: Instant) -> Result<(), PasswordError> {
        let (running, counts) = counts(blob, reader);
        tries.begin(running, counts, now)?;
        tries.running.remove(&running);
        Ok(())
    }

    #[test]
    fn a_reader_has_its_tries_for_a_blob_and_gets_them_again_after_the_window() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        for n in 0..PER_BLOB {
            wrong(&mut tries, 1, 1, now).unwrap_or_else(|error| unreachable!("try {n}: {error}"));
        }
        let soon = now + Duration::from_secs(1);
        let Err(PasswordError::Exhausted { wait }) = wrong(&mut tries, 1, 1, soon) else { unreachable!() };
        assert_eq!(wait, WINDOW - Duration::from_secs(1));
        wrong(&mut tries, 1, 2, soon).unwrap();
        wrong(&mut tries, 2, 1, soon).unwrap();
        wrong(&mut tries, 1, 1, now + WINDOW).unwrap();
    }

    #[test]
    fn a_reader_that_goes_from_blob_to_blob_is_stopped_too() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        let allowed = (0..100).filter(|blob| wrong(&mut tries, *blob, 1, now).is_ok()).count();
        assert_eq!(allowed, PER_READER as usize);
        assert!(wrong(&mut tries, 200, 2, now).is_ok());
    }

    #[test]
    fn of_two_tries_at_once_the_second_is_told_to_wait() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        let (running, both) = counts(1, 1);
        tries.begin(running, both, now).unwrap();
        assert!(matches!(tries.begin(running, both, now), Err(PasswordError::InProgress)));
        let (other, others) = counts(1, 2);
        tries.begin(other, others, now).unwrap();
    }

    #[test]
    fn the_right_password_takes_its_count_back() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        for _ in 0..PER_READER * 2 {
            wrong(&mut tries, 1, 1, now).unwrap();
            tries.forgive(counts(1, 1).1);
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_newest_stays() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        for n in 0..REMEMBERED as u64 + 10 {
            let mut blob = [0; 16];
            blob[..8].copy_from_slice(&n.to_be_bytes());
            let counts = [Count::Blob(BlobId(blob), AccountId([1; 16])), Count::Account(AccountId(blob))];
            tries.begin((BlobId(blob), AccountId([1; 16])), counts, now + Duration::from_micros(n)).unwrap();
            assert!(tries.wrong.contains_key(&counts[0]));
        }
        assert!(tries.wrong.len() <= REMEMBERED + 2);
    }
}

//! How many entries of each kind the published log has, counted once as it grows.
//!
//! A process begins to count when somebody first asks. A request reads at most [`STEP`] entries that were not counted yet; where more
//! are left, one task goes on until the log is counted, and the page says how far it has come. Entries never change, so what was
//! counted stays true.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use paramant_log::ReadError;
use paramant_protocol::entry::{self, Kind};
use tokio::sync::Semaphore;

use crate::app::Core;
use crate::log_service::LogService;

/// Entries that are counted at once: 64 bundles.
const STEP: u64 = 16_384;
/// Entries read at once: a bundle.
const AT_ONCE: u64 = 256;

/// Entries by kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// The first so many entries are counted.
    pub(super) of_first: u64,
    by_kind: BTreeMap<&'static str, u64>,
}

impl Counts {
    pub(super) fn of(&self, kind: Kind) -> u64 {
        self.by_kind.get(kind.name()).copied().unwrap_or_default()
    }

    /// Counts on to `to`.
    fn advance(&mut self, log: &LogService, to: u64) -> Result<(), ReadError> {
        while self.of_first < to {
            let most = AT_ONCE.min(to - self.of_first);
            let read = log.engine().entries(self.of_first, usize::try_from(most).unwrap_or_default())?;
            if read.is_empty() {
                break;
            }
            for stored in &read {
                if let Some(kind) = entry::peek(&stored.bytes).and_then(|(kind, _)| Kind::parse(kind)) {
                    *self.by_kind.entry(kind.name()).or_default() += 1;
                }
            }
            self.of_first += read.len() as u64;
        }
        Ok(())
    }
}

/// What one process has counted.
#[derive(Debug)]
pub(super) struct Tally {
    counts: Mutex<Counts>,
    /// Who has it counts; the others show what there is.
    turn: Arc<Semaphore>,
    step: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { counts: Mutex::default(), turn: Arc::new(Semaphore::new(1)), step: STEP }
    }
}

impl Tally {
    /// The counts, over `size` entries if they can be had at once.
    pub(super) async fn counts(self: &Arc<Self>, core: &Core, size: u64) -> Result<Counts, ReadError> {
        let counts = self.now();
        if counts.of_first >= size {
            return Ok(counts);
        }
        let Ok(turn) = self.turn.clone().try_acquire_owned() else { return Ok(counts) };
        let counts = self.step(core, counts, size).await?;
        if counts.of_first < size {
            let (tally, core, mut counted) = (Arc::clone(self), core.clone(), counts.clone());
            tokio::spawn(async move {
                let _turn = turn;
                while counted.of_first < size && !core.closing.is_cancelled() {
                    match tally.step(&core, counted, size).await {
                        Ok(further) => counted = further,
                        Err(error) => return tracing::error!(%error, "the log could not be counted"),
                    }
                }
            });
        }
        Ok(counts)
    }

    async fn step(&self, core: &Core, mut counts: Counts, size: u64) -> Result<Counts, ReadError> {
        let (log, to) = (core.log.clone(), size.min(counts.of_first + self.step));
        let reading = tokio::task::spawn_blocking(move || counts.advance(&log, to).map(|()| counts));
        // A reading task ends early only with the process.
        let Ok(read) = reading.await else { return Ok(self.now()) };
        let counts = read?;
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&counts);
        Ok(counts)
    }

    fn now(&self) -> Counts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::Timestamp;
    use paramant_protocol::entry::body::{AdminChange, AdminChanged};
    use paramant_protocol::entry::{Body, Entry as Written};

    use super::*;
    use crate::log_service::Entry;
    use crate::test_relay::TestRelay;

    /// Every tenth is of another kind.
    async fn append(relay: &TestRelay, entries: u32) {
        let now = Timestamp::now();
        let waiting = (0..entries).map(|number| {
            let entry = if number % 10 == 0 {
                Written::with_body(Body::AdminChanged(AdminChanged { what: AdminChange::KeyCreated }), now)
                    .unwrap()
            } else {
                Written::transfer(paramant_protocol::leaf::sha3(&number.to_be_bytes()), now)
            };
            relay.app.core.log.append(Entry { legacy_leaf: entry.leaf(), bytes: entry.into_bytes() })
        });
        for appended in futures::future::join_all(waiting).await {
            appended.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_long_log_is_counted_step_by_step_and_never_again() {
        let relay = TestRelay::start().await;
        append(&relay, 1000).await;
        let (core, tally) = (&relay.app.core, Arc::new(Tally { step: 300, ..Tally::default() }));
        let first = tally.counts(core, 1000).await.unwrap();
        assert_eq!((first.of_first, first.of(Kind::AdminChanged)), (300, 30), "a request reads one step");
        // Whoever counts on gives its turn back when it is done.
        drop(tally.turn.acquire().await.unwrap());
        let all = tally.counts(core, 1000).await.unwrap();
        assert_eq!((all.of_first, all.of(Kind::AdminChanged), all.of(Kind::Transfer)), (1000, 100, 900));

        // Planted: a number that no second look at the same entries would give.
        tally.counts.lock().unwrap().by_kind.insert("transfer", 5000);
        append(&relay, 20).await;
        let more = tally.counts(core, 1020).await.unwrap();
        assert_eq!((more.of_first, more.of(Kind::AdminChanged), more.of(Kind::Transfer)), (1020, 102, 5018));
        let shorter = tally.counts(core, 10).await.unwrap();
        assert_eq!(shorter.of_first, 1020, "an older checkpoint counts nothing anew");
        relay.stop().await;
    }
}

//! The hours of entries, which go back by one at most; where the machine's clock was set back further, an entry says so first.
//!
//! One at most, because appends are dated before they are put in order. The entry that says so has the new hour, and from it
//! on the hours count anew. Auditors refuse hours that go back without it.

use std::sync::{Arc, Mutex, PoisonError, mpsc};

use jiff::Timestamp;
use paramant_log::{AppendError, Log, ReadError};
use paramant_protocol::entry::body::{ClockAuthority, ClockCorrected};
use paramant_protocol::entry::{self, Body, Kind};

use super::{Appended, Entry};

const HOUR: i64 = 3600;
/// Entries that are read at start to find the latest hour: more than can be under way at once when an hour ends.
const LOOKED_AT: usize = 4096;

/// The engine, for whoever appends.
#[derive(Clone)]
pub(super) struct DatedLog {
    log: Log,
    /// Held while an entry is put in the queue, so that none comes between a correction and its cause.
    latest: Arc<Mutex<Latest>>,
}

/// The latest hour so far.
#[derive(Debug, Default, PartialEq, Eq)]
struct Latest {
    /// As an entry carries it; empty in an empty log.
    text: String,
    seconds: i64,
}

/// What the hour of one more entry changes.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// The latest hour stays.
    None,
    /// This is the latest hour now.
    Later(Latest),
    /// The clock was set back: this is, once an entry has said so.
    SetBack(Latest, Timestamp),
}

impl DatedLog {
    /// Goes on where the log ends.
    pub(super) fn open(log: Log) -> Result<Self, ReadError> {
        let from = log.head().size.saturating_sub(LOOKED_AT as u64);
        let mut latest = Latest::default();
        for entry in log.entries(from, LOOKED_AT)? {
            match latest.change(&entry.bytes) {
                Change::None => {}
                Change::Later(hour) | Change::SetBack(hour, _) => latest = hour,
            }
        }
        Ok(Self { log, latest: Arc::new(Mutex::new(latest)) })
    }

    /// The engine, for everything but appends.
    pub(super) fn engine(&self) -> &Log {
        &self.log
    }

    /// Appends. If a correction is due it is durable first, for which this blocks: once for each time that the clock is set back.
    pub(super) fn append(
        &self,
        entry: Entry,
        done: impl FnOnce(Result<Appended, AppendError>) + Send + 'static,
    ) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match latest.change(&entry.bytes) {
            Change::None => {}
            Change::Later(hour) => *latest = hour,
            Change::SetBack(hour, at) => {
                tracing::warn!(hour = %hour.text, before = %latest.text, "the clock was set back; the log says so");
                // Refused: so is the entry, and the next one tries again.
                if let Some(Err(error)) = correction(at).map(|entry| self.log.append_blocking(entry)) {
                    return done(Err(error));
                }
                *latest = hour;
            }
        }
        self.log.append(entry, done);
    }

    /// The same for callers that wait.
    pub(super) fn append_blocking(&self, entry: Entry) -> Result<Appended, AppendError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.append(entry, move |result| drop(sender.send(result)));
        receiver.recv().unwrap_or(Err(AppendError::Closed))
    }
}

impl Latest {
    fn change(&self, entry: &[u8]) -> Change {
        let Some((kind, hour)) = entry::peek(entry).filter(|(_, hour)| *hour != self.text) else {
            return Change::None;
        };
        // What follows it in an adopted log is older: transfers of the log before.
        if kind == Kind::LogAdopted.name() {
            return Change::None;
        }
        let Ok(at) = hour.parse::<Timestamp>() else { return Change::None };
        let next = Self { text: hour.to_owned(), seconds: at.as_second() };
        if self.text.is_empty() || next.seconds > self.seconds {
            Change::Later(next)
        } else if self.seconds - next.seconds > HOUR {
            Change::SetBack(next, at)
        } else {
            Change::None
        }
    }
}

fn correction(at: Timestamp) -> Option<Entry> {
    let body = Body::ClockCorrected(ClockCorrected { by: ClockAuthority::Machine });
    let entry = entry::Entry::with_body(body, at).ok()?;
    Some(Entry { legacy_leaf: entry.leaf(), bytes: entry.into_bytes() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use paramant_log::{CheckpointSigner, Head, Options, SignError};

    use super::*;

    struct NoSigner;

    impl CheckpointSigner for NoSigner {
        fn sign(&self, _: &Head) -> Result<String, SignError> {
            Err(SignError("not here".to_owned()))
        }
    }

    fn entry(hour: u8) -> Entry {
        let at = format!("2026-01-02T{hour:02}:30:00Z").parse().unwrap();
        let entry = entry::Entry::transfer([hour; 32], at);
        Entry { legacy_leaf: entry.leaf(), bytes: entry.into_bytes() }
    }

    /// Kinds and hours of a log after entries of these hours, the process starting anew before each `restart`.
    fn logged(hours: &[u8], restart: usize) -> Vec<(String, u8)> {
        let home = tempfile::tempdir().unwrap();
        let log = Log::open(Options::new(home.path()), Arc::new(NoSigner)).unwrap();
        let mut dated = DatedLog::open(log.clone()).unwrap();
        for (number, hour) in hours.iter().enumerate() {
            if number == restart {
                dated = DatedLog::open(log.clone()).unwrap();
            }
            dated.append_blocking(entry(*hour)).unwrap();
        }
        let entries = log.entries(0, 100).unwrap();
        let told = |entry: &Entry| {
            let (kind, hour) = entry::peek(&entry.bytes).unwrap();
            (kind.to_owned(), hour[11..13].parse().unwrap())
        };
        entries.iter().map(told).collect()
    }

    #[track_caller]
    fn corrected(hours: &[u8], expected: &[usize]) {
        for restart in 0..hours.len() {
            let mut wanted = Vec::new();
            for (number, hour) in hours.iter().enumerate() {
                if expected.contains(&number) {
                    wanted.push(("clock_corrected".to_owned(), *hour));
                }
                wanted.push(("transfer".to_owned(), *hour));
            }
            assert_eq!(logged(hours, restart), wanted, "restarted before entry {restart}");
        }
    }

    #[test]
    fn hours_go_back_by_one_freely_and_by_more_only_after_an_entry_that_says_so() {
        corrected(&[5, 4, 5, 4, 6, 5], &[]);
        corrected(&[5, 3, 3, 2, 3], &[1]);
        corrected(&[9, 3, 9, 3], &[1, 3]);
        corrected(&[5, 4, 3], &[2]);
    }
}

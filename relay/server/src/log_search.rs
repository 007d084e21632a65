//! Entries by kind and time, at a bounded cost however long the log is.
//!
//! A time becomes an index by halving: about log2(size) entries are read, a bundle and a leaf tile each. From there at most
//! [`SCAN`] entries are looked at (64 bundles), and the answer says where to go on. Hours only grow, except where the clock was
//! set back: an entry from before such a step can then be missed by its time, never by its index, and nothing is shown that
//! does not fit.

use paramant_log::ReadError;
use paramant_protocol::entry::{self, Kind};

use crate::log_service::{Entry, LogService};

/// Entries that one search looks at.
pub(crate) const SCAN: u64 = 16_384;
/// Entries read at once: a bundle.
const AT_ONCE: u64 = 256;

/// Which entries are wanted. Hours are as entries carry them, and compare as texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) kind: Option<Kind>,
    /// This hour or later.
    pub(crate) since: Option<String>,
    /// Before this hour.
    pub(crate) until: Option<String>,
}

/// What a search from the newest on found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Newest first, with their indices.
    pub(crate) entries: Vec<(u64, Entry)>,
    /// Entries below this index were not looked at.
    pub(crate) before: Option<u64>,
}

impl Filter {
    /// Whether everything is wanted.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn fits(&self, entry: &Entry) -> bool {
        let Some((kind, hour)) = entry::peek(&entry.bytes) else { return self.is_empty() };
        self.kind.is_none_or(|wanted| wanted.name() == kind)
            && self.since.as_deref().is_none_or(|since| since <= hour)
            && self.until.as_deref().is_none_or(|until| hour < until)
    }

    /// Indices between which everything that fits lies, in a log of this size.
    pub(crate) fn bounds(&self, log: &LogService, size: u64) -> Result<(u64, u64), ReadError> {
        let from = self.since.as_deref().map_or(Ok(0), |hour| first_at_or_after(log, hour, size))?;
        let to = self.until.as_deref().map_or(Ok(size), |hour| first_at_or_after(log, hour, size))?;
        Ok((from, to))
    }
}

/// The first of `size` entries that is not from before this hour, or `size`.
fn first_at_or_after(log: &LogService, hour: &str, size: u64) -> Result<u64, ReadError> {
    let (mut low, mut high) = (0, size);
    while low < high {
        let middle = low + (high - low) / 2;
        let entry = log.engine().entry(middle)?;
        let earlier =
            entry.as_ref().and_then(|entry| entry::peek(&entry.bytes)).is_some_and(|(_, at)| at < hour);
        if earlier {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// At most `limit` entries that fit, the newest of those below `before` first. Blocks.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn newest(
    log: &LogService,
    filter: &Filter,
    size: u64,
    before: u64,
    limit: usize,
) -> Result<Found, ReadError> {
    let (from, to) = filter.bounds(log, size)?;
    let mut at = before.min(to);
    let enough = at.saturating_sub(SCAN).max(from);
    let mut entries = Vec::new();
    while at > enough && entries.len() < limit {
        let start = ((at - 1) / AT_ONCE * AT_ONCE).max(enough);
        let read = log.engine().entries(start, usize::try_from(at - start).unwrap_or_default())?;
        let read: Vec<_> = (start..at).zip(read).collect();
        if read.is_empty() {
            break;
        }
        for (index, entry) in read.into_iter().rev() {
            at = index;
            if filter.fits(&entry) {
                entries.push((index, entry));
            }
            if entries.len() == limit {
                break;
            }
        }
    }
    Ok(Found { entries, before: (at > from).then_some(at) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

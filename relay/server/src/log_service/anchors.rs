//! Anchors: entries that chain all tree heads signed so far, so that none of them can be forgotten or swapped later.
//!
//! One is appended once an hour and at shutdown, but only if a head was signed since the last one for another reason than
//! that anchor itself, or an idle log would grow for ever. `sth/anchor.json` remembers the last anchor (count, chain, the
//! index of its entry), so that a restart reads only the heads after it; it is held against that entry, and without it the
//! chain is computed from the first head on. A crash between the entry and the file costs one further anchor.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use paramant_log::{AppendError, Entry, Log, ReadError};
use paramant_protocol::canonical::CanonicalError;
use paramant_protocol::entry::body::{Digest, SthAnchor};
use paramant_protocol::entry::{self, Body, EntryError};
use paramant_protocol::sth;
use paramant_tlog::Hash;
use serde::{Deserialize, Serialize};

use super::hours::DatedLog;
use super::tree_heads::{RecordError, TreeHeads};
use crate::data_dir::durable;

/// The last anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Anchor {
    /// Heads it covers.
    count: u64,
    /// The chain over them.
    chain: Digest,
    /// Where its entry is.
    index: u64,
}

/// Where the chain is, and how to go on with it.
#[derive(Debug)]
pub(super) struct Anchors {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Option<Anchor>,
    /// As far as the chain was computed: number of heads, value.
    chained: (u64, Hash),
}

/// Why no anchor was appended.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The tree heads.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A head without a canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// The entry cannot be made.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The log takes no entries.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The file beside the heads.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Anchors {
    /// Goes on from the last anchor, if it is in the log as remembered.
    pub(super) fn open(directory: &Path, log: &Log, heads: u64) -> Self {
        let path = directory.join("anchor.json");
        let last = remembered(&path).filter(|anchor| {
            let holds = anchor.count <= heads && matches!(stands(log, anchor), Ok(true));
            if !holds {
                tracing::warn!(
                    "sth/anchor.json is not what the log says; the chain over all tree heads is computed anew"
                );
            }
            holds
        });
        let chained = last.map_or((0, sth::CHAIN_START), |anchor| (anchor.count, anchor.chain.0));
        Self { path, state: Mutex::new(State { last, chained }) }
    }

    /// Appends an anchor if there is a reason for one.
    pub(super) fn anchor(&self, heads: &TreeHeads, log: &DatedLog) -> Result<bool, AnchorError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let count = heads.total();
        if !due(state.last, count, |number| heads.nth(number))? {
            return Ok(false);
        }
        let (mut chained, mut chain) = state.chained;
        while chained < count {
            let Some(head) = heads.nth(chained)? else { break };
            chain = sth::chain(chain, &head)?;
            chained += 1;
        }
        state.chained = (chained, chain);
        let body = SthAnchor { count: chained, chain: chain.into() };
        let entry = entry::Entry::with_body(Body::SthAnchor(body), Timestamp::now())?;
        let entry = Entry { legacy_leaf: entry.leaf(), bytes: entry.into_bytes() };
        let index = log.append_blocking(entry)?.index;
        let anchor = Anchor { count: chained, chain: chain.into(), index };
        state.last = Some(anchor);
        let io = |source| AnchorError::Io { path: self.path.clone(), source };
        let bytes = serde_json::to_vec(&anchor).map_err(|error| io(io::Error::other(error)))?;
        durable::write(&self.path, &bytes).map_err(io)?;
        Ok(true)
    }
}

/// Whether a head was signed since the last anchor for another reason than that anchor.
fn due(
    last: Option<Anchor>,
    count: u64,
    head: impl Fn(u64) -> Result<Option<sth::SignedSth>, RecordError>,
) -> Result<bool, RecordError> {
    let Some(last) = last else { return Ok(count > 0) };
    if count != last.count + 1 {
        return Ok(count > last.count);
    }
    let size = |number: u64| Ok::<_, RecordError>(head(number)?.map(|head| head.tree_size));
    let before = last.count.checked_sub(1).map(size).transpose()?.flatten();
    let only_the_anchor = before == Some(last.index) && size(last.count)? == Some(last.index + 1);
    Ok(!only_the_anchor)
}

fn remembered(path: &Path) -> Option<Anchor> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).ok(),
        Err(_) => None,
    }
}

/// Whether the entry at the anchor's index says what the anchor says.
fn stands(log: &Log, anchor: &Anchor) -> Result<bool, ReadError> {
    let stored = log.entry(anchor.index)?;
    let parsed = stored.and_then(|stored| entry::Entry::parse(&stored.bytes).ok());
    let said = SthAnchor { count: anchor.count, chain: anchor.chain };
    Ok(parsed.is_some_and(|entry| entry.body() == Some(&Body::SthAnchor(said))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use paramant_protocol::sth::Sth;

    use super::*;

    /// Heads with these tree sizes; the last anchor covers `count` of them and is entry `index`.
    fn due_after(sizes: &[u64], last: Option<(u64, u64)>) -> bool {
        let last = last.map(|(count, index)| Anchor { count, chain: Digest([1; 32]), index });
        let head = |number: u64| {
            let size = sizes.get(usize::try_from(number).unwrap());
            Ok(size.map(|size| Sth::new("r", &[0; 32], *size, 0).signed(b"s")))
        };
        due(last, sizes.len() as u64, head).unwrap()
    }

    #[test]
    fn an_anchor_alone_never_causes_another() {
        assert!(!due_after(&[], None), "nothing was signed");
        assert!(due_after(&[1], None));
        // An anchor as entry 5 over two heads, the last of five entries.
        assert!(!due_after(&[3, 5], Some((2, 5))), "nothing since");
        assert!(!due_after(&[3, 5, 6], Some((2, 5))), "the head that covers the anchor only");
        assert!(due_after(&[3, 5, 7], Some((2, 5))), "one that covers another entry too");
        assert!(due_after(&[3, 5, 6, 7], Some((2, 5))));
        // Entry 4 came between the last head and the anchor.
        assert!(due_after(&[3, 4, 6], Some((2, 5))));
    }
}

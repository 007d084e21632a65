//! The log as the published JSON interface shows it, held against the entries.

use std::collections::BTreeMap;

use paramant_protocol::path::parse_hash;
use paramant_protocol::transparency::{LogEntry, LogPage, MAX_LIMIT};
use paramant_tlog::Hash;

use super::report::{Check, Finding, finding};
use super::{Source, Stop, source};

pub(super) const NAME: &str = "json log";
pub(super) const ROOT: &str = "sha3 root";

/// Up to this many entries the JSON interface is read whole; beyond, its first and last page.
pub(super) const WHOLE: u64 = 10_000;

/// What the JSON interface shows.
pub(super) struct Pages {
    /// Entries, as the last page read says.
    pub(super) size: u64,
    root: String,
    entries: BTreeMap<u64, LogEntry>,
}

/// Reads the pages from an entry on.
pub(super) async fn fetch<S: Source>(source: &S, start: u64) -> Result<Pages, Stop> {
    let mut entries = BTreeMap::new();
    let mut from = start;
    loop {
        let page: LogPage =
            source::json(source, &format!("/v2/ct/log?from={from}&limit={MAX_LIMIT}")).await?;
        if page.tree_size.is_some_and(|size| size != page.size) {
            return Err(finding(NAME, "size and tree_size of /v2/ct/log differ").into());
        }
        let count = page.entries.len() as u64;
        for (expected, entry) in (from..).zip(page.entries) {
            if entry.index != expected {
                return Err(finding(NAME, format!("entry {expected} is shown as {}", entry.index)).into());
            }
            entries.insert(expected, entry);
        }
        let reached = from + count;
        if count < MAX_LIMIT.min(page.size.saturating_sub(from)) {
            return Err(finding(NAME, format!("the page from {from} has only {count} entries")).into());
        }
        if reached >= page.size {
            return Ok(Pages { size: page.size, root: page.root, entries });
        }
        from = if page.size - start > WHOLE { reached.max(page.size - MAX_LIMIT) } else { reached };
    }
}

impl Pages {
    /// Whether a page shows an entry, so that the root after it is needed.
    pub(super) fn show(&self, index: u64) -> bool {
        self.entries.contains_key(&index)
    }

    /// Holds an entry, if a page shows it, against what was read. Kind and hour are absent beyond the checkpoint.
    pub(super) fn entry(&self, index: u64, entry: Option<(&str, &str)>, leaf: &Hash) -> Result<(), Finding> {
        let Some(shown) = self.entries.get(&index) else { return Ok(()) };
        let same = parse_hash(&shown.leaf_hash).as_ref() == Some(leaf)
            && entry.is_none_or(|(kind, hour)| shown.ts == hour && shown.kind.as_deref() == Some(kind));
        if same { Ok(()) } else { Err(otherwise(index)) }
    }

    /// Holds the root after an entry, if a page shows it, against what was computed.
    pub(super) fn root_after(&self, index: u64, root: &Hash) -> Result<(), Finding> {
        match self.entries.get(&index) {
            Some(shown) if parse_hash(&shown.tree_hash).as_ref() != Some(root) => Err(otherwise(index)),
            _ => Ok(()),
        }
    }

    /// The leaf a page shows for an entry.
    pub(super) fn leaf(&self, index: u64) -> Result<Option<Hash>, Finding> {
        let Some(shown) = self.entries.get(&index) else { return Ok(None) };
        let leaf = parse_hash(&shown.leaf_hash);
        leaf.map(Some).ok_or_else(|| finding(NAME, format!("the leaf of entry {index} is not a hash")))
    }

    pub(super) fn check(&self, beyond: u64) -> Check {
        let compared = self.entries.len();
        let rest = if beyond > 0 {
            format!("; {beyond} of them not yet under the checkpoint")
        } else {
            String::new()
        };
        Check::passed(NAME, format!("{compared} of {} entries of /v2/ct/log compared{rest}", self.size))
    }

    /// The root that the pages show.
    pub(super) fn root(&self, computed: Option<Hash>) -> Result<Check, Finding> {
        let name = ROOT;
        match computed {
            Some(root) if hex::encode(root) == self.root => Ok(Check::passed(name, self.root.clone())),
            Some(root) => {
                let text = format!("the entries give {}, /v2/ct/log says {}", hex::encode(root), self.root);
                Err(finding(name, text))
            }
            None => {
                let text = format!("/v2/ct/log says {} entries; the log does not hold them", self.size);
                Err(finding(name, text))
            }
        }
    }
}

fn otherwise(index: u64) -> Finding {
    finding(NAME, format!("/v2/ct/log shows entry {index} otherwise than the log holds it"))
}

//! The log as the published JSON interface shows it, held against the entries.

use std::collections::BTreeMap;

use paramant_protocol::entry::Entry;
use paramant_protocol::path::parse_hash;
use paramant_protocol::transparency::{LogEntry, LogPage, MAX_LIMIT};
use paramant_tlog::Hash;

use super::entries::Walk;
use super::report::{Check, Finding, finding};
use super::{Source, Stop, source};

/// Up to this many entries the JSON interface is read whole; beyond, its first and last page.
pub(super) const WHOLE: u64 = 10_000;

/// What the JSON interface shows.
pub(super) struct Pages {
    /// Entries, as the last page read says.
    pub(super) size: u64,
    root: String,
    entries: BTreeMap<u64, LogEntry>,
}

/// Reads the pages.
pub(super) async fn fetch<S: Source>(source: &S) -> Result<Pages, Stop> {
    let mut entries = BTreeMap::new();
    let mut from = 0;
    loop {
        let page: LogPage =
            source::json(source, &format!("/v2/ct/log?from={from}&limit={MAX_LIMIT}")).await?;
        if page.tree_size.is_some_and(|size| size != page.size) {
            return Err(finding("json log", "size and tree_size of /v2/ct/log differ").into());
        }
        let count = page.entries.len() as u64;
        for (expected, entry) in (from..).zip(page.entries) {
            if entry.index != expected {
                return Err(
                    finding("json log", format!("entry {expected} is shown as {}", entry.index)).into()
                );
            }
            entries.insert(expected, entry);
        }
        let reached = from + count;
        if count < MAX_LIMIT.min(page.size.saturating_sub(from)) {
            return Err(finding("json log", format!("the page from {from} has only {count} entries")).into());
        }
        if reached >= page.size {
            return Ok(Pages { size: page.size, root: page.root, entries });
        }
        from = if page.size > WHOLE { reached.max(page.size - MAX_LIMIT) } else { reached };
    }
}

impl Pages {
    /// Holds an entry, if a page shows it, against what was recomputed. `entry` is absent beyond the checkpoint.
    pub(super) fn compare(
        &self,
        index: u64,
        entry: Option<&Entry>,
        leaf: &Hash,
        root: impl FnOnce() -> Hash,
    ) -> Result<(), Finding> {
        let Some(shown) = self.entries.get(&index) else { return Ok(()) };
        let same = shown.leaf_hash == hex::encode(leaf)
            && shown.tree_hash == hex::encode(root())
            && entry.is_none_or(|entry| {
                shown.ts == entry.hour() && shown.kind.as_deref() == Some(entry.kind().name())
            });
        if same {
            return Ok(());
        }
        Err(finding("json log", format!("/v2/ct/log shows entry {index} otherwise than the log holds it")))
    }

    /// The leaf a page shows for an entry.
    pub(super) fn leaf(&self, index: u64) -> Result<Option<Hash>, Finding> {
        let Some(shown) = self.entries.get(&index) else { return Ok(None) };
        let leaf = parse_hash(&shown.leaf_hash);
        leaf.map(Some).ok_or_else(|| finding("json log", format!("the leaf of entry {index} is not a hash")))
    }

    pub(super) fn summary(&self, beyond: u64) -> String {
        let compared = self.entries.len();
        let rest = if beyond > 0 {
            format!("; {beyond} of them not yet under the checkpoint")
        } else {
            String::new()
        };
        format!("{compared} of {} entries of /v2/ct/log compared{rest}", self.size)
    }
}

/// The root that the pages show.
pub(super) fn root(pages: &Pages, walk: &Walk<'_>) -> Result<Check, Finding> {
    match walk.sha3_root_at(pages.size) {
        Some(root) if hex::encode(root) == pages.root => Ok(Check::passed("sha3 root", pages.root.clone())),
        Some(root) => {
            let text = format!("the entries give {}, /v2/ct/log says {}", hex::encode(root), pages.root);
            Err(finding("sha3 root", text))
        }
        None => Err(finding(
            "sha3 root",
            format!("/v2/ct/log says {} entries; the log does not hold them", pages.size),
        )),
    }
}

//! The newest entries of a log, each under a signed checkpoint.
//!
//! The right edge of the tree before the entries comes from the tiles, the entries from their bundles; together they must give
//! the signed root, so every entry shown is in the log where it is said to be. Following a log, each newer checkpoint must
//! go on from the one before it.

use std::ops::Range;

use paramant_protocol::entry::Entry;
use paramant_tlog::tile::{self, Coordinates, WIDTH};
use paramant_tlog::{Checkpoint, CompactRange, bundle, entry_leaf};

use crate::audit::Source;
use crate::audit::nodes::Nodes;
use crate::error::ClientError;
use crate::logged::Trust;

/// An entry and its index.
pub type Numbered = (u64, Entry);

/// A log, read from its end.
pub struct Tail<'s, S> {
    source: &'s S,
    trust: Trust,
    checkpoint: Checkpoint,
    /// The tree before the first bundle that was read; under the signed root.
    edge: CompactRange,
    /// The tree before the bundle that was not full.
    newest: CompactRange,
}

impl<'s, S: Source> Tail<'s, S> {
    /// Opens a log at its newest checkpoint. Answers the entries of its last bundles, at least `wanted` if it has so many.
    pub async fn open(
        source: &'s S,
        trust: Trust,
        wanted: u64,
    ) -> Result<(Self, Vec<Numbered>), ClientError> {
        let checkpoint = newest(source, &trust).await?;
        let first = checkpoint.size.saturating_sub(wanted) / WIDTH;
        let mut nodes = Nodes::new(source, checkpoint.size);
        let edge = nodes.range(first * WIDTH).await?;
        let (entries, newest, root) = read(source, &edge, checkpoint.size, checkpoint.size).await?;
        if root != checkpoint.root {
            let text = format!(
                "entries from {} on and the tiles before them do not give the signed root",
                first * WIDTH
            );
            return Err(ClientError::NotLogged(text));
        }
        Ok((Self { source, trust, checkpoint, edge, newest }, entries))
    }

    /// The checkpoint that everything read so far lies under.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The first entry that was read.
    pub fn first(&self) -> u64 {
        self.edge.size()
    }

    /// Up to `bundles` bundles before those that were read. None left: nothing.
    pub async fn earlier(&mut self, bundles: u64) -> Result<Vec<Numbered>, ClientError> {
        let end = self.edge.size();
        let first = end.saturating_sub(bundles * WIDTH);
        let edge = Nodes::new(self.source, self.checkpoint.size).range(first).await?;
        let (entries, reached, _) = read(self.source, &edge, end, self.checkpoint.size).await?;
        if reached != self.edge {
            let text = format!("entries {first} to {end} are not those under the signed checkpoint");
            return Err(ClientError::NotLogged(text));
        }
        self.edge = edge;
        Ok(entries)
    }

    /// Entries that came since, once they are under a newer checkpoint.
    pub async fn newer(&mut self) -> Result<Vec<Numbered>, ClientError> {
        let checkpoint = newest(self.source, &self.trust).await?;
        let before = self.checkpoint.size;
        if checkpoint.size < before || (checkpoint.size == before && checkpoint.root != self.checkpoint.root)
        {
            let text = format!(
                "a checkpoint of {} entries came after one of {before}: two histories",
                checkpoint.size
            );
            return Err(ClientError::NotLogged(text));
        }
        if checkpoint.size == before {
            return Ok(Vec::new());
        }
        let (mut entries, newest, root) =
            read(self.source, &self.newest, checkpoint.size, checkpoint.size).await?;
        // What was shown before must still be there.
        let known = entries.iter().take_while(|(index, _)| *index < before);
        let mut range = self.newest.clone();
        known.for_each(|(_, entry)| range.append(entry_leaf(entry.bytes()), |_, _| {}));
        if root != checkpoint.root || range.root() != self.checkpoint.root {
            return Err(ClientError::NotLogged(format!(
                "the checkpoint of {} entries does not go on from the one of {before}",
                checkpoint.size
            )));
        }
        entries.retain(|(index, _)| *index >= before);
        (self.checkpoint, self.newest) = (checkpoint, newest);
        Ok(entries)
    }

    /// The first bundle that may hold entries of an hour or later, looked for among the bundles' first entries. Hours may go
    /// back by one, so the caller starts a little earlier and compares each entry.
    pub async fn find(&self, hour: &str) -> Result<u64, ClientError> {
        let (mut low, mut high) = (0, self.checkpoint.size.div_ceil(WIDTH));
        while low < high {
            let middle = low + (high - low) / 2;
            let span = middle * WIDTH..(middle * WIDTH + 1).min(self.checkpoint.size);
            let entries = bundles(self.source, span, self.checkpoint.size).await?;
            // The fixed form of an hour sorts as time does.
            if entries.first().is_some_and(|(_, entry)| entry.hour() < hour) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low.saturating_sub(1) * WIDTH)
    }
}

async fn newest<S: Source>(source: &S, trust: &Trust) -> Result<Checkpoint, ClientError> {
    let bytes = source.get("/log/checkpoint").await?;
    let bytes = bytes.ok_or_else(|| ClientError::NotLogged("no checkpoint is published yet".into()))?;
    trust.open(&bytes).map(|(checkpoint, _)| checkpoint).map_err(ClientError::NotLogged)
}

/// The entries from the end of an edge up to `end`, the tree before the last bundle that is not full, and the root.
async fn read<S: Source>(
    source: &S,
    edge: &CompactRange,
    end: u64,
    size: u64,
) -> Result<(Vec<Numbered>, CompactRange, paramant_tlog::Hash), ClientError> {
    let entries = bundles(source, edge.size()..end, size).await?;
    let mut range = edge.clone();
    let mut full = edge.clone();
    for (_, entry) in &entries {
        range.append(entry_leaf(entry.bytes()), |_, _| {});
        if range.size().is_multiple_of(WIDTH) {
            full = range.clone();
        }
    }
    Ok((entries, full, range.root()))
}

/// The entries of the bundles that begin in a span of a log of `size` entries.
async fn bundles<S: Source>(source: &S, span: Range<u64>, size: u64) -> Result<Vec<Numbered>, ClientError> {
    let mut entries = Vec::new();
    for number in span.start / WIDTH..span.end.div_ceil(WIDTH) {
        let wrong = |reason: String| ClientError::NotLogged(format!("bundle {number}: {reason}"));
        let width = Coordinates { level: 0, index: number }.width_at(size);
        let path = format!("/log/{}", tile::bundle_path(number, width));
        let bytes = source.get(&path).await?.ok_or_else(|| wrong("it is not there".into()))?;
        let decoded = bundle::decode(&bytes).map_err(|error| wrong(error.to_string()))?;
        if decoded.len() != usize::from(width) {
            return Err(wrong(format!("it holds {} entries, not {width}", decoded.len())));
        }
        for (index, bytes) in (number * WIDTH..).zip(decoded) {
            let entry = Entry::parse(bytes).map_err(|error| wrong(format!("entry {index}: {error}")))?;
            entries.push((index, entry));
        }
    }
    Ok(entries)
}

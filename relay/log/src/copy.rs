//! Copying entries of the write-ahead log, batch by batch, when a log is opened. See `start` for why.

use crate::error::{OpenError, ReadError, open_io};
use crate::pending::Pending;
use crate::read::{near, show_entries_at};
use crate::record::{self, State};
use crate::replay::{Location, corrupt};
use crate::shared::Segment;
use std::collections::BTreeMap;
use std::path::Path;

/// Writes batches for a new segment.
pub(crate) struct Copier<'a> {
    pub(crate) segments: &'a BTreeMap<u64, Segment>,
    /// Number of the new segment.
    pub(crate) epoch: u64,
    read: Vec<u8>,
    pending: Pending,
}

impl<'a> Copier<'a> {
    pub(crate) fn new(segments: &'a BTreeMap<u64, Segment>, epoch: u64) -> Self {
        Self { segments, epoch, read: Vec::new(), pending: Pending::default() }
    }

    /// Reads the entries at these places back, adds them to the state, and appends their records and a trailer to
    /// `bytes`, which will stand at `offset`. The places become those of the copies.
    pub(crate) fn batch(
        &mut self,
        places: &mut [Location],
        offset: u64,
        state: &mut State,
        bytes: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        let (epoch, Self { segments, read, pending, .. }) = (self.epoch, self);
        let mut copies = Vec::with_capacity(places.len());
        let mut index = state.size();
        let mut rest: &[Location] = places;
        while let Some(first) = rest.first() {
            let segment = segments
                .get(&first.epoch)
                .ok_or_else(|| corrupt(Path::new("wal"), first.offset, format!("entry {index} is gone")))?;
            let (run, after) = rest.split_at(near(rest));
            let from = index;
            show_entries_at(segment, run, from, read, |legacy_leaf, entry| {
                let start = bytes.len();
                record::push_entry(bytes, epoch, index, &legacy_leaf, entry);
                let length = (bytes.len() - start) as u32;
                copies.push(Location { epoch, offset: offset + start as u64, length });
                pending.push(legacy_leaf, entry);
                index += 1;
            })
            .map_err(not_read)?;
            rest = after;
        }
        pending.grow(&mut state.ranges, [&mut |_, _| (), &mut |_, _| ()]);
        state.push_trailer(bytes, epoch);
        places.copy_from_slice(&copies);
        Ok(())
    }
}

fn not_read(error: ReadError) -> OpenError {
    match error {
        ReadError::Corrupt(damage) => damage.into(),
        ReadError::Io { path, source } => open_io(&path)(source),
        other => corrupt(Path::new("wal"), 0, other.to_string()).into(),
    }
}

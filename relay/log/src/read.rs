//! Reading: entries, tiles, bundles, roots and proofs.
//!
//! Each read asks memory first (what has no file yet) and files second. Between the two, the deriving thread may move
//! nodes from memory into files, never the other way: so what is in neither was asked beyond the head, or is missing.

use crate::error::{ReadError, read_io};
use crate::record::{self, Kind};
use crate::replay::{Location, corrupt};
use crate::shared::{Segment, Shared};
use crate::{Entry, tiles};
use paramant_tlog::proof::{self, ProofError, ReadNode};
use paramant_tlog::tile::{self, Coordinates, WIDTH};
use paramant_tlog::{Hash, Node, Tree, bundle, verify};

/// The most that is read of a segment at once: several groups of usual entries.
const READ_AT_ONCE: u64 = 512 * 1024;
/// The most entries that are looked up at once.
const MOST_AT_ONCE: usize = 1024;

/// Reads the records at these places of one segment, which follow one another from an index on, in one go, and shows
/// each entry's leaf and bytes in order.
pub(crate) fn show_entries_at(
    segment: &Segment,
    locations: &[Location],
    first: u64,
    buffer: &mut Vec<u8>,
    mut show: impl FnMut(Hash, &[u8]),
) -> Result<(), ReadError> {
    let (Some(start), Some(last)) = (locations.first(), locations.last()) else { return Ok(()) };
    buffer.resize((last.end() - start.offset) as usize, 0);
    let read = segment.file.read_at(buffer, start.offset).map_err(read_io(&segment.path))?;
    let bytes = buffer.get(..read).unwrap_or_default();
    for (index, location) in (first..).zip(locations) {
        let from = (location.offset - start.offset) as usize;
        let record = bytes.get(from..from + location.length as usize).unwrap_or_default();
        let (leaf, bytes) = entry_in(record, segment, *location, index)?;
        show(leaf, bytes);
    }
    Ok(())
}

/// How many of these places, at least one if there are any, are near enough to each other to be read in one go.
pub(crate) fn near(places: &[Location]) -> usize {
    let Some(first) = places.first() else { return 0 };
    let is_near =
        |place: &&Location| place.epoch == first.epoch && place.end() - first.offset <= READ_AT_ONCE;
    places.iter().take_while(is_near).count().max(1)
}

/// Checks that these bytes of a segment are the entry expected: its leaf and its bytes.
fn entry_in<'a>(
    bytes: &'a [u8],
    segment: &Segment,
    location: Location,
    index: u64,
) -> Result<(Hash, &'a [u8]), ReadError> {
    let record = record::parse(bytes, location.epoch);
    let record = record.filter(|record| record.kind == Kind::Entry && record.index == index);
    record.and_then(|record| record::entry(record.payload)).ok_or_else(|| {
        let what = format!("entry {index} was here and is not valid any more");
        corrupt(&segment.path, location.offset, what).into()
    })
}

/// Nodes of one tree for one question: keeps the tiles it has read.
struct TileReader<'a> {
    shared: &'a Shared,
    tree: Tree,
    tiles: Vec<(Coordinates, Vec<Hash>)>,
}

impl ReadNode for TileReader<'_> {
    type Error = ReadError;

    fn node(&mut self, node: Node) -> Result<Hash, ReadError> {
        if let Some(hash) = self.shared.node_in_memory(self.tree, node) {
            return Ok(hash);
        }
        let (tile, run) = Coordinates::holding(node);
        if let Some(hash) = self.shared.upper_tiles.over(self.tree, tile, &run) {
            return Ok(hash);
        }
        if let Some((_, nodes)) = self.tiles.iter().find(|(known, _)| *known == tile) {
            return Ok(self.tree.fold(nodes.get(run).unwrap_or_default()));
        }
        let start = tile.index * WIDTH + run.start as u64;
        if let Some(nodes) = self.shared.run_in_memory(self.tree, tile.level, start, run.len()) {
            return Ok(self.tree.fold(&nodes));
        }
        let nodes = self.shared.tile_in_file(self.tree, tile)?;
        let hash = self.tree.fold(nodes.get(run).unwrap_or_default());
        self.tiles.push((tile, nodes));
        Ok(hash)
    }
}

/// Nodes of one tree that no file is read for.
struct MemoryReader<'a> {
    shared: &'a Shared,
    tree: Tree,
}

/// A node is in a file only.
struct NotInMemory;

impl ReadNode for MemoryReader<'_> {
    type Error = NotInMemory;

    fn node(&mut self, node: Node) -> Result<Hash, NotInMemory> {
        self.shared.node_in_memory(self.tree, node).ok_or(NotInMemory)
    }
}

impl Shared {
    /// The path of an entry and the root above it, if both can be had without reading a file.
    pub(crate) fn inclusion_in_memory(&self, tree: Tree, index: u64, size: u64) -> Option<(Vec<Hash>, Hash)> {
        self.within_head(size).ok()?;
        let mut reader = MemoryReader { shared: self, tree };
        let path = proof::inclusion(tree, &mut reader, index, size).ok()?;
        let root = proof::root(tree, &mut reader, size).ok()?;
        Some((path, root))
    }

    fn node_in_memory(&self, tree: Tree, node: Node) -> Option<Hash> {
        self.read().edges.iter().find(|edge| edge.tree() == tree)?.node(node)
    }

    pub(crate) fn run_in_memory(
        &self,
        tree: Tree,
        level: u8,
        start: u64,
        length: usize,
    ) -> Option<Vec<Hash>> {
        let durable = self.read();
        let edge = durable.edges.iter().find(|edge| edge.tree() == tree)?;
        edge.run(level, start, length).map(<[Hash]>::to_vec)
    }

    /// A tile as it stands in its file; one that is not there or has a wrong length is mended if it can be. Whether it
    /// is the right one shows in the proof made from it.
    fn tile_in_file(&self, tree: Tree, tile: Coordinates) -> Result<Vec<Hash>, ReadError> {
        match tiles::read_tile(self.disk.as_ref(), &self.options.dir, tree, tile) {
            Ok(Some(nodes)) => Ok(nodes),
            Ok(None) | Err(ReadError::Corrupt(_)) => self.checked_tile(tree, tile),
            Err(error) => Err(error),
        }
    }

    fn within_head(&self, size: u64) -> Result<(), ReadError> {
        let head = self.read().head.size;
        if size <= head { Ok(()) } else { Err(ReadError::BeyondHead { asked: size, size: head }) }
    }

    fn reader(&self, tree: Tree) -> TileReader<'_> {
        TileReader { shared: self, tree, tiles: Vec::new() }
    }

    pub(crate) fn root(&self, tree: Tree, size: u64) -> Result<Hash, ReadError> {
        self.within_head(size)?;
        proof::root(tree, &mut self.reader(tree), size)
    }

    pub(crate) fn inclusion(&self, tree: Tree, index: u64, size: u64) -> Result<Vec<Hash>, ReadError> {
        self.within_head(size)?;
        self.proven(tree, size, |reader, root| {
            let path = proof::inclusion(tree, reader, index, size).map_err(flatten)?;
            let Some(root) = root else { return Ok((path, true)) };
            let leaf = reader.node(Node { level: 0, index })?;
            let holds = verify::inclusion(tree, &leaf, index, size, &path, &root).is_ok();
            Ok((path, holds))
        })
    }

    pub(crate) fn consistency(&self, tree: Tree, from: u64, to: u64) -> Result<Vec<Hash>, ReadError> {
        self.within_head(to)?;
        self.proven(tree, to, |reader, root| {
            let path = proof::consistency(tree, reader, from, to).map_err(flatten)?;
            let Some(root) = root else { return Ok((path, true)) };
            let old = match self.known_root(tree, from) {
                Some(old) => old,
                None => proof::root(tree, reader, from)?,
            };
            let holds = verify::consistency(tree, from, &old, to, &root, &path).is_ok();
            Ok((path, holds))
        })
    }

    /// A proof that holds for the head it is asked for. When it does not, a tile that was read for it is damaged: each
    /// is checked, mended if that is possible, and the proof made once more.
    fn proven(
        &self,
        tree: Tree,
        size: u64,
        prove: impl Fn(&mut TileReader<'_>, Option<Hash>) -> Result<(Vec<Hash>, bool), ReadError>,
    ) -> Result<Vec<Hash>, ReadError> {
        let root = self.known_root(tree, size);
        let mut reader = self.reader(tree);
        let (path, holds) = prove(&mut reader, root)?;
        if holds {
            if root.is_some() {
                self.upper_tiles.keep(tree, &reader.tiles);
            }
            return Ok(path);
        }
        for (tile, _) in &reader.tiles {
            self.checked_tile(tree, *tile)?;
        }
        match prove(&mut self.reader(tree), root)? {
            (path, true) => Ok(path),
            (_, false) => {
                let what = "the tiles do not lead to the root, though each fits the one above it";
                Err(corrupt(&self.options.dir, 0, what).into())
            }
        }
    }

    /// The root of a size that is the durable or the published head.
    fn known_root(&self, tree: Tree, size: u64) -> Option<Hash> {
        let durable = self.read().head;
        let published = self.published().map(|published| published.head);
        let head = [Some(durable), published].into_iter().flatten().find(|head| head.size == size)?;
        Some(match tree {
            Tree::Sha256 => head.sha256_root,
            Tree::Sha3 => head.sha3_root,
        })
    }

    /// The first nodes of a tile, wherever they are. The caller knows that they exist.
    pub(crate) fn tile_nodes(
        &self,
        tree: Tree,
        tile: Coordinates,
        width: u16,
    ) -> Result<Vec<Hash>, ReadError> {
        if let Some(nodes) = self.run_in_memory(tree, tile.level, tile.index * WIDTH, usize::from(width)) {
            return Ok(nodes);
        }
        let mut nodes = self.checked_tile(tree, tile)?;
        nodes.truncate(usize::from(width));
        Ok(nodes)
    }

    /// A published tile of the SHA-256 tree, or nothing when the published checkpoint does not reach it.
    pub(crate) fn published_tile(&self, level: u8, n: u64, width: u16) -> Result<Option<Vec<u8>>, ReadError> {
        let tile = Coordinates { level, index: n };
        if width == 0 || width > tile.width_at(self.published_size()) {
            return Ok(None);
        }
        Ok(Some(tile::encode(&self.tile_nodes(Tree::Sha256, tile, width)?)))
    }

    /// A published bundle, or nothing when the published checkpoint does not reach it.
    pub(crate) fn published_bundle(&self, n: u64, width: u16) -> Result<Option<Vec<u8>>, ReadError> {
        let entries = Coordinates { level: 0, index: n };
        if width == 0 || width > entries.width_at(self.published_size()) {
            return Ok(None);
        }
        let is_in_file = (n + 1) * WIDTH <= self.read().derived;
        if is_in_file && let Some(whole) = self.checked_bundle(n)? {
            let path = tiles::bundle_path(&self.options.dir, n);
            let cut = bundle::prefix(&whole, width).map_err(|e| corrupt(&path, 0, e.to_string()))?;
            return Ok(Some(cut.to_vec()));
        }
        let mut bytes = Vec::new();
        for entry in self.entries(n * WIDTH, usize::from(width))? {
            let _fits_because_entries_are_below_16_kib = bundle::push(&mut bytes, &entry.bytes);
        }
        Ok(Some(bytes))
    }

    pub(crate) fn entry(&self, index: u64) -> Result<Option<Entry>, ReadError> {
        Ok(self.entries(index, 1)?.pop())
    }

    /// Entries from an index on, up to the durable head.
    pub(crate) fn entries(&self, from: u64, limit: usize) -> Result<Vec<Entry>, ReadError> {
        let head = self.read().head.size;
        let to = from.saturating_add(limit as u64).min(head);
        let mut entries = Vec::with_capacity(to.saturating_sub(from).min(1024) as usize);
        let mut at = from;
        while at < to {
            match self.places_in_segment(at, to) {
                Some((segment, places)) => {
                    let mut buffer = Vec::new();
                    show_entries_at(&segment, &places, at, &mut buffer, |legacy_leaf, bytes| {
                        entries.push(Entry { bytes: bytes.to_vec(), legacy_leaf });
                    })?;
                    at += places.len() as u64;
                }
                None => {
                    let group = self.group_in_file(at / WIDTH)?;
                    let first = (at % WIDTH) as usize;
                    let wanted = group.into_iter().skip(first).take((to - at) as usize);
                    let before = entries.len();
                    entries.extend(wanted);
                    at += (entries.len() - before) as u64;
                }
            }
        }
        Ok(entries)
    }

    /// Shows leaf and bytes of the entries of a group that has no files yet, in order, as read back from the segments.
    pub(crate) fn show_group(
        &self,
        group: u64,
        buffer: &mut Vec<u8>,
        mut show: impl FnMut(Hash, &[u8]),
    ) -> Result<(), ReadError> {
        let (mut at, to) = (group * WIDTH, (group + 1) * WIDTH);
        while at < to {
            let Some((segment, places)) = self.places_in_segment(at, to) else {
                return Err(ReadError::BeyondHead { asked: to, size: at });
            };
            show_entries_at(&segment, &places, at, buffer, &mut show)?;
            at += places.len() as u64;
        }
        Ok(())
    }

    /// Where entries from `from` on are, at least one and not beyond `to`, all in one segment and near each other;
    /// nothing when they are in files already.
    fn places_in_segment(&self, from: u64, to: u64) -> Option<(Segment, Vec<Location>)> {
        let durable = self.read();
        let position = from.checked_sub(durable.derived)?;
        let end = (to - durable.derived).min(durable.locations.len() as u64);
        if position >= end {
            return None;
        }
        let mut places: Vec<Location> =
            durable.locations.range(position as usize..end as usize).take(MOST_AT_ONCE).copied().collect();
        places.truncate(near(&places));
        let segment = durable.segments.get(&places.first()?.epoch).cloned()?;
        Some((segment, places))
    }

    /// The 256 entries of a group that is in files.
    fn group_in_file(&self, group: u64) -> Result<Vec<Entry>, ReadError> {
        let path = tiles::bundle_path(&self.options.dir, group);
        let missing = || corrupt(&path, 0, "the entry bundle is missing");
        let bytes = self.checked_bundle(group)?.ok_or_else(missing)?;
        let entries = bundle::decode(&bytes).map_err(|e| corrupt(&path, 0, e.to_string()))?;
        let leaves = self.tile_nodes(Tree::Sha3, Coordinates { level: 0, index: group }, WIDTH as u16)?;
        let entry = |(bytes, legacy_leaf): (&[u8], Hash)| Entry { bytes: bytes.to_vec(), legacy_leaf };
        Ok(entries.into_iter().zip(leaves).map(entry).collect())
    }

    /// The first index at or after `from` whose legacy leaf is the one given.
    pub(crate) fn find_legacy_leaf(&self, leaf: &Hash, from: u64) -> Result<Option<u64>, ReadError> {
        let head = self.read().head.size;
        let mut at = from;
        while at < head {
            let tile = Coordinates { level: 0, index: at / WIDTH };
            let nodes = self.tile_nodes(Tree::Sha3, tile, tile.width_at(head))?;
            let skip = (at % WIDTH) as usize;
            if let Some(position) = nodes.iter().skip(skip).position(|node| node == leaf) {
                return Ok(Some(at + position as u64));
            }
            at = (tile.index + 1) * WIDTH;
        }
        Ok(None)
    }
}

fn flatten(error: ProofError<ReadError>) -> ReadError {
    match error {
        ProofError::Store(error) => error,
        ProofError::IndexBeyondSize { index, size } => ReadError::BeyondHead { asked: index, size },
        ProofError::SizesReversed { from, to } => ReadError::SizesReversed { from, to },
    }
}

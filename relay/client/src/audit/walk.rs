//! Walking the entry bundles: both trees grow, and every published tile is compared.
//!
//! Memory does not grow with the log: the right edges of the trees, the tile that is being filled at each level, and roots
//! that were asked for. A walk can be taken up where an earlier one ended, at the last full bundle before it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use paramant_protocol::entry::{EntryReader, Read};
use paramant_protocol::path::parse_hash;
use paramant_tlog::tile::{self, Coordinates, HEIGHT, WIDTH};
use paramant_tlog::{Block, CompactRange, Hash, Tree, bundle, entry_leaf};
use serde::{Deserialize, Serialize};

use super::nodes::Nodes;
use super::pages::Pages;
use super::report::{Finding, finding};
use super::rules::{Anchor, Known, Rules};
use super::{Source, Stop};

/// Where a walk can be taken up again: at a full bundle's end. Kept between runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edge {
    size: u64,
    sha256: Vec<String>,
    /// None where the walk did not begin with the first entry.
    sha3: Option<Vec<String>>,
    /// Per tile level from 1 on, the nodes of the tile that is being filled.
    filling: Vec<Vec<String>>,
}

impl Edge {
    /// Entries before it.
    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

/// Both trees as far as they were walked.
pub(super) struct Walk {
    sha256: CompactRange,
    sha3: Option<CompactRange>,
    filling: Vec<Vec<Hash>>,
    /// The last bundle, while it is not full.
    tail: Option<Bundle>,
    reader: EntryReader,
    pub(super) tiles: u64,
    pub(super) spent: Duration,
}

/// One bundle, hashed.
pub(super) struct Bundle {
    first: u64,
    sha256: Block,
    sha3: Block,
}

/// What a bundle is held against, besides its tile.
pub(super) struct Against<'a> {
    pub(super) known: Known<'a>,
    pub(super) rules: &'a mut Rules,
    pub(super) pages: Option<&'a Pages>,
}

/// A tile above level 0 as the entries give it.
pub(super) type Expected = (Coordinates, Vec<u8>);

impl Walk {
    /// A walk from the first entry.
    pub(super) fn new() -> Self {
        Self::from(CompactRange::new(Tree::Sha256), Some(CompactRange::new(Tree::Sha3)), Vec::new())
    }

    fn from(sha256: CompactRange, sha3: Option<CompactRange>, filling: Vec<Vec<Hash>>) -> Self {
        let reader = EntryReader::new();
        Self { sha256, sha3, filling, tail: None, reader, tiles: 0, spent: Duration::ZERO }
    }

    /// A walk from where an earlier one ended. None when what was kept contradicts itself.
    pub(super) fn resume(edge: &Edge) -> Option<Self> {
        let hashes =
            |texts: &[String]| texts.iter().map(|text| parse_hash(text)).collect::<Option<Vec<Hash>>>();
        let range = |tree, texts: &[String]| CompactRange::resume(tree, edge.size, hashes(texts)?).ok();
        if !edge.size.is_multiple_of(WIDTH) {
            return None;
        }
        let sha256 = range(Tree::Sha256, &edge.sha256)?;
        let sha3 = match &edge.sha3 {
            Some(texts) => Some(range(Tree::Sha3, texts)?),
            None => None,
        };
        let mut filling = edge.filling.iter().map(|level| hashes(level)).collect::<Option<Vec<_>>>()?;
        filling.insert(0, Vec::new());
        let fits = (1..=tile::MAX_LEVEL).all(|level| {
            let found = filling.get(usize::from(level)).map_or(0, Vec::len) as u64;
            found == tile::nodes_at(level, edge.size) % WIDTH
        });
        fits.then(|| Self::from(sha256, sha3, filling))
    }

    /// A walk from a bundle on, with everything before it taken from the tiles: for a part of a log that stands alone.
    pub(super) async fn after_tiles<S: Source>(nodes: &mut Nodes<'_, S>, first: u64) -> Result<Self, Stop> {
        let sha256 = nodes.range(first).await?;
        let mut filling = vec![Vec::new()];
        for level in 1..=tile::MAX_LEVEL {
            let complete = tile::nodes_at(level, first);
            let width = usize::try_from(complete % WIDTH).unwrap_or(0);
            let place = Coordinates { level, index: complete / WIDTH };
            let tile: &[Hash] = if width == 0 { &[] } else { nodes.tile(place).await? };
            filling.push(tile.get(..width).unwrap_or_default().to_vec());
        }
        Ok(Self::from(sha256, None, filling))
    }

    /// Where the walk can be taken up again.
    pub(super) fn edge(&self) -> Edge {
        let texts = |hashes: &[Hash]| hashes.iter().map(hex::encode).collect::<Vec<_>>();
        Edge {
            size: self.sha256.size(),
            sha256: texts(self.sha256.hashes()),
            sha3: self.sha3.as_ref().map(|range| texts(range.hashes())),
            filling: self.filling.iter().skip(1).map(|level| texts(level)).collect(),
        }
    }

    /// Whether it began with the first entry, in this run or an earlier one.
    pub(super) fn is_whole(&self) -> bool {
        self.sha3.is_some()
    }

    /// Entries walked, those of the earlier walk among them.
    pub(super) fn size(&self) -> u64 {
        self.sha256.size() + self.tail.as_ref().map_or(0, |tail| tail.sha256.leaves().len() as u64)
    }

    /// The first entry of the next bundle.
    pub(super) fn next_bundle(&self) -> u64 {
        self.sha256.size() / WIDTH
    }

    /// Reads a bundle of `width` entries, holds its entries against the rules and the pages, and its leaves against the tile.
    pub(super) fn bundle(
        &mut self,
        width: u16,
        bytes: &[u8],
        tile: &[u8],
        against: &mut Against<'_>,
    ) -> Result<(Bundle, Vec<Anchor>), Finding> {
        let begun = Instant::now();
        let number = self.next_bundle();
        let first = number * WIDTH;
        let wrong = |text: String| finding("entries", format!("bundle {number}: {text}"));
        let entries = bundle::decode(bytes).map_err(|error| wrong(error.to_string()))?;
        if entries.len() != usize::from(width) {
            return Err(wrong(format!("it holds {} entries, not {width}", entries.len())));
        }
        let mut anchors = Vec::new();
        let (mut sha256, mut sha3) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
        for (index, bytes) in (first..).zip(entries) {
            let read = self
                .reader
                .read(bytes)
                .map_err(|error| finding("entries", format!("entry {index}: {error}")))?;
            let (leaf, kind, hour, other) = match &read {
                Read::Transfer { leaf, hour } => (*leaf, "transfer", *hour, None),
                Read::Other(entry) => (entry.leaf(), entry.kind().name(), entry.hour(), Some(entry)),
            };
            if let Some(pages) = against.pages {
                pages.entry(index, Some((kind, hour)), &leaf)?;
            }
            against.rules.entry(index, kind, hour)?;
            if let Some(entry) = other {
                anchors.extend(against.rules.body(index, entry, against.known)?);
            }
            sha256.push(entry_leaf(bytes));
            sha3.push(leaf);
        }
        if tile::encode(&sha256) != tile {
            return Err(differs(Coordinates { level: 0, index: number }));
        }
        self.tiles += 1;
        let too_many = || wrong("it holds more than 256 entries".into());
        let sha256 = Block::new(Tree::Sha256, sha256).ok_or_else(too_many)?;
        let sha3 = Block::new(Tree::Sha3, sha3).ok_or_else(too_many)?;
        let bundle = Bundle { first, sha256, sha3 };
        if let Some(pages) = against.pages.filter(|_| self.sha3.is_some()) {
            for index in (first..first + u64::from(width)).filter(|index| pages.show(*index)) {
                let root = self.sha3_root(&bundle, index + 1).unwrap_or_default();
                pages.root_after(index, &root)?;
            }
        }
        self.spent += begun.elapsed();
        Ok((bundle, anchors))
    }

    /// The root of the SHA-256 tree at a size within a bundle that was read and not yet taken.
    pub(super) fn sha256_root(&self, bundle: &Bundle, size: u64) -> Hash {
        self.sha256.root_with(&bundle.sha256.prefix(bundle.count(size)))
    }

    /// The root of the SHA3-256 tree at a size within a bundle that was read and not yet taken.
    pub(super) fn sha3_root(&self, bundle: &Bundle, size: u64) -> Option<Hash> {
        self.sha3.as_ref().map(|range| range.root_with(&bundle.sha3.prefix(bundle.count(size))))
    }

    /// Takes a bundle into the trees. Answers tiles above level 0 that it completed.
    pub(super) fn take(&mut self, bundle: Bundle) -> Result<Vec<Expected>, Finding> {
        let begun = Instant::now();
        let mut full = Vec::new();
        let (Some(sha256), Some(sha3)) = (bundle.sha256.root(), bundle.sha3.root()) else {
            self.tail = Some(bundle);
            return Ok(full);
        };
        let filling = &mut self.filling;
        let mut aligned = self.sha256.append_subtree(HEIGHT, sha256, |node, hash| {
            if !node.level.is_multiple_of(HEIGHT) {
                return;
            }
            let level = usize::from(node.level / HEIGHT);
            if filling.len() <= level {
                filling.resize(level + 1, Vec::new());
            }
            let Some(nodes) = filling.get_mut(level) else { return };
            nodes.push(hash);
            if nodes.len() as u64 == WIDTH {
                let place = Coordinates { level: node.level / HEIGHT, index: node.index / WIDTH };
                full.push((place, tile::encode(nodes)));
                nodes.clear();
            }
        });
        if let Some(range) = &mut self.sha3 {
            aligned &= range.append_subtree(HEIGHT, sha3, |_, _| {});
        }
        self.tiles += full.len() as u64;
        self.spent += begun.elapsed();
        if aligned { Ok(full) } else { Err(finding("entries", "a bundle follows one that is not full")) }
    }

    /// The tiles above level 0 that are not full, as the entries give them.
    pub(super) fn partial_tiles(&mut self) -> Vec<Expected> {
        let size = self.size();
        let levels = (0u8..).zip(&self.filling).skip(1).filter(|(_, nodes)| !nodes.is_empty());
        let tile = |(level, nodes): (u8, &Vec<Hash>)| {
            let index = tile::nodes_at(level, size) / WIDTH;
            (Coordinates { level, index }, tile::encode(nodes))
        };
        let tiles: Vec<Expected> = levels.map(tile).collect();
        self.tiles += tiles.len() as u64;
        tiles
    }

    /// The right edge of the SHA-256 tree, with the bundle that is not full.
    pub(super) fn sha256_edge(&self) -> CompactRange {
        let mut range = self.sha256.clone();
        for leaf in self.tail.iter().flat_map(|tail| tail.sha256.leaves()) {
            range.append(*leaf, |_, _| {});
        }
        range
    }

    /// The right edge of the SHA3-256 tree, with the bundle that is not full.
    pub(super) fn sha3_edge(&self) -> Option<CompactRange> {
        let mut range = self.sha3.clone()?;
        for leaf in self.tail.iter().flat_map(|tail| tail.sha3.leaves()) {
            range.append(*leaf, |_, _| {});
        }
        Some(range)
    }
}

impl Bundle {
    /// The sizes of the log that end in this bundle.
    pub(super) fn sizes(&self) -> std::ops::RangeInclusive<u64> {
        self.first + 1..=self.first + self.sha256.leaves().len() as u64
    }

    fn count(&self, size: u64) -> usize {
        usize::try_from(size.saturating_sub(self.first)).unwrap_or(usize::MAX)
    }
}

/// Roots that were asked for, by size.
#[derive(Debug, Default)]
pub(super) struct Roots {
    pub(super) sha256: BTreeMap<u64, Hash>,
    pub(super) sha3: BTreeMap<u64, Hash>,
}

pub(super) fn differs(place: Coordinates) -> Finding {
    finding("tiles", format!("tile {} of level {} is not what the entries give", place.index, place.level))
}

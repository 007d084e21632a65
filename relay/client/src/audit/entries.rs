//! Walking the entry bundles from the first entry on: both trees grow, and every published tile is compared.
//!
//! Memory does not grow with the log but for roots that were asked for and the tiles above level 0 (one hash per 256
//! entries). Bundles and tiles are fetched a few ahead, in order.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use paramant_protocol::entry::Entry;
use paramant_tlog::tile::{self, Coordinates, WIDTH};
use paramant_tlog::{Checkpoint, CompactRange, Hash, Tree, bundle, entry_leaf};

use super::pages::Pages;
use super::report::{Check, Finding, finding};
use super::{Source, Stop, source};
use crate::relay::Progress;

/// Requests in flight.
const AHEAD: usize = 8;

/// Both trees as far as they were walked.
pub(super) struct Walk<'a> {
    sha256: CompactRange,
    sha3: CompactRange,
    pages: &'a Pages,
    sizes: BTreeSet<u64>,
    roots: BTreeMap<u64, (Option<Hash>, Hash)>,
    /// Per tile level, the nodes of the tile that is being filled.
    filling: Vec<Vec<Hash>>,
    /// Full tiles above level 0, to be compared.
    full: Vec<(Coordinates, Vec<u8>)>,
    tiles: u64,
    kinds: BTreeMap<&'static str, u64>,
}

impl<'a> Walk<'a> {
    /// A walk that will remember the roots at these sizes and compare these pages.
    pub(super) fn new(sizes: BTreeSet<u64>, pages: &'a Pages) -> Self {
        let (sha256, sha3) = (CompactRange::new(Tree::Sha256), CompactRange::new(Tree::Sha3));
        let mut walk = Self {
            sha256,
            sha3,
            pages,
            sizes,
            roots: BTreeMap::new(),
            filling: Vec::new(),
            full: Vec::new(),
            tiles: 0,
            kinds: BTreeMap::new(),
        };
        walk.note_roots(true);
        walk
    }

    /// Walks the bundles of a log of `size` entries, comparing the tiles of level 0 on the way.
    pub(super) async fn bundles<S: Source>(
        &mut self,
        source: &S,
        size: u64,
        progress: &Progress,
    ) -> Result<(), Stop> {
        progress.begin(size);
        let fetch = |number: u64| async move {
            let coordinates = Coordinates { level: 0, index: number };
            let width = coordinates.width_at(size);
            let bundle_path = format!("/log/{}", tile::bundle_path(number, width));
            let tile_path = format!("/log/{}", coordinates.path(width));
            let bundle = source::required(source, &bundle_path).await?;
            let tile = source::required(source, &tile_path).await?;
            Ok::<_, Stop>((number, width, bundle, tile))
        };
        let mut answers = futures::stream::iter(0..size.div_ceil(WIDTH)).map(fetch).buffered(AHEAD);
        while let Some(answer) = answers.next().await {
            let (number, width, bundle, shown) = answer?;
            let leaves = self.bundle(number, width, &bundle)?;
            if tile::encode(&leaves) != shown {
                return Err(differs(Coordinates { level: 0, index: number }).into());
            }
            self.tiles += 1;
            progress.count(u64::from(width));
        }
        Ok(())
    }

    /// Takes one bundle; answers its leaves in the SHA-256 tree.
    fn bundle(&mut self, number: u64, width: u16, bytes: &[u8]) -> Result<Vec<Hash>, Finding> {
        let wrong = |text: String| finding("entries", format!("bundle {number}: {text}"));
        let entries = bundle::decode(bytes).map_err(|error| wrong(error.to_string()))?;
        if entries.len() != usize::from(width) {
            return Err(wrong(format!("it holds {} entries, not {width}", entries.len())));
        }
        let mut leaves = Vec::with_capacity(entries.len());
        for bytes in entries {
            let index = self.sha256.size();
            let entry =
                Entry::parse(bytes).map_err(|error| finding("entries", format!("entry {index}: {error}")))?;
            let leaf = entry_leaf(bytes);
            leaves.push(leaf);
            self.append(leaf, entry.leaf());
            *self.kinds.entry(entry.kind().name()).or_default() += 1;
            self.pages.compare(index, Some(&entry), &entry.leaf(), || self.sha3.root())?;
        }
        Ok(leaves)
    }

    fn append(&mut self, leaf: Hash, legacy_leaf: Hash) {
        let (filling, full) = (&mut self.filling, &mut self.full);
        self.sha256.append(leaf, |node, hash| {
            if !node.level.is_multiple_of(tile::HEIGHT) {
                return;
            }
            let level = node.level / tile::HEIGHT;
            if filling.len() <= usize::from(level) {
                filling.resize(usize::from(level) + 1, Vec::new());
            }
            let Some(nodes) = filling.get_mut(usize::from(level)) else { return };
            nodes.push(hash);
            if nodes.len() as u64 == WIDTH {
                if level > 0 {
                    full.push((Coordinates { level, index: node.index / WIDTH }, tile::encode(nodes)));
                }
                nodes.clear();
            }
        });
        self.sha3.append(legacy_leaf, |_, _| {});
        self.note_roots(true);
    }

    /// Compares the tiles above level 0 (those of level 0 were compared on the way).
    pub(super) async fn tiles<S: Source>(&mut self, source: &S, size: u64) -> Result<Check, Stop> {
        let mut expected = std::mem::take(&mut self.full);
        for (level, nodes) in (1u8..).zip(self.filling.iter().skip(1)).filter(|(_, nodes)| !nodes.is_empty())
        {
            let index = tile::nodes_at(level, size) / WIDTH;
            expected.push((Coordinates { level, index }, tile::encode(nodes)));
        }
        let count = self.tiles + expected.len() as u64;
        let fetch = |(place, bytes): (Coordinates, Vec<u8>)| async move {
            let path = format!("/log/{}", place.path(place.width_at(size)));
            let shown = source::required(source, &path).await?;
            Ok::<_, Stop>((place, bytes == shown))
        };
        let mut answers = futures::stream::iter(expected).map(fetch).buffered(AHEAD);
        while let Some(answer) = answers.next().await {
            let (place, same) = answer?;
            if !same {
                return Err(differs(place).into());
            }
        }
        Ok(Check::passed("tiles", format!("{count} tiles, every byte recomputed from the entries")))
    }

    /// The SHA-256 root against the checkpoint's.
    pub(super) fn sha256_root(&self, checkpoint: &Checkpoint) -> Result<Check, Finding> {
        let root = self.sha256.root();
        if root != checkpoint.root {
            let text = format!(
                "the entries give {}, the checkpoint says {}",
                hex::encode(root),
                hex::encode(checkpoint.root)
            );
            return Err(finding("sha256 root", text));
        }
        Ok(Check::passed("sha256 root", hex::encode(root)))
    }

    /// Goes on in the SHA3-256 tree with entries that only the pages show yet. Answers how many.
    pub(super) fn beyond_the_checkpoint(&mut self) -> Result<u64, Finding> {
        let start = self.sha3.size();
        while let Some(leaf) = self.pages.leaf(self.sha3.size())? {
            let index = self.sha3.size();
            self.sha3.append(leaf, |_, _| {});
            self.note_roots(false);
            self.pages.compare(index, None, &leaf, || self.sha3.root())?;
        }
        Ok(self.sha3.size() - start)
    }

    fn note_roots(&mut self, both: bool) {
        let size = self.sha3.size();
        if self.sizes.contains(&size) {
            let sha256 = both.then(|| self.sha256.root());
            self.roots.insert(size, (sha256, self.sha3.root()));
        }
    }

    /// The SHA3-256 root at a size that was asked for and reached.
    pub(super) fn sha3_root_at(&self, size: u64) -> Option<Hash> {
        self.roots.get(&size).map(|(_, sha3)| *sha3)
    }

    /// The SHA-256 root at a size that was asked for and lies under the checkpoint.
    pub(super) fn sha256_root_at(&self, size: u64) -> Option<Hash> {
        self.roots.get(&size).and_then(|(sha256, _)| *sha256)
    }

    pub(super) fn summary(&self) -> String {
        let kinds: Vec<String> = self.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let all = self.sha256.size();
        format!("{all} entries in canonical form with the leaves they must have: {}", kinds.join(", "))
    }
}

fn differs(place: Coordinates) -> Finding {
    finding("tiles", format!("tile {} of level {} is not what the entries give", place.index, place.level))
}

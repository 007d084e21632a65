//! Damage in files that were written long ago: noticed when they are read, mended where it can be, named otherwise.
//!
//! A full tile hashes to one node of the tile above it, up to nodes that memory holds; a bundle's entries hash to the
//! nodes of its tile. What does not fit its tree is never given out. A damaged or missing tile is computed again from
//! what is below it (tiles, or for the lowest the entries themselves) and written again, if it then fits. Entries have
//! nothing below them: a damaged bundle is named with file and offset, and must be restored from a copy. The
//! log publishes all it holds, so any auditor's or mirror's copy will do, and cannot be a wrong one.

use crate::disk::{Disk, WriteError, create_dirs, write_durably};
use crate::error::ReadError;
use crate::replay::corrupt;
use crate::shared::{Shared, lock};
use crate::{Corruption, tiles};
use paramant_tlog::tile::{self, Coordinates, HEIGHT, WIDTH};
use paramant_tlog::{Hash, Node, Tree, bundle, entry_leaf};
use std::path::Path;

/// How to learn the legacy leaf of an entry from its bytes, for whoever knows what entries look like.
pub(crate) type LegacyLeaf = fn(&[u8]) -> Option<Hash>;

/// Computes tiles again from what is below them.
pub(crate) struct Mender<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) dir: &'a Path,
    pub(crate) legacy_leaf: LegacyLeaf,
}

impl Mender<'_> {
    /// What a tile must hold, as far as the files below it are right; nothing when they cannot say. Files so many levels
    /// below are believed, those between are not looked at.
    pub(crate) fn remake(
        &self,
        tree: Tree,
        tile: Coordinates,
        depth: u8,
    ) -> Result<Option<Vec<Hash>>, ReadError> {
        let Some(below) = tile.level.checked_sub(1) else { return self.leaves(tree, tile.index) };
        let mut nodes = Vec::new();
        for index in tile.index * WIDTH..(tile.index + 1) * WIDTH {
            let child = Coordinates { level: below, index };
            let found = if depth > 1 {
                self.remake(tree, child, depth - 1)?
            } else {
                readable(tiles::read_tile(self.disk, self.dir, tree, child))?
            };
            let Some(found) = found else { return Ok(None) };
            nodes.push(tree.fold(&found));
        }
        Ok(Some(nodes))
    }

    /// A tile made again so that it fits the node above it. A damaged one below it is seen through.
    fn remake_fitting(
        &self,
        tree: Tree,
        tile: Coordinates,
        above: Hash,
    ) -> Result<Option<Vec<Hash>>, ReadError> {
        for depth in 1..=2 {
            let remade = self.remake(tree, tile, depth)?.filter(|nodes| tree.fold(nodes) == above);
            if remade.is_some() || tile.level < depth {
                return Ok(remade);
            }
        }
        Ok(None)
    }

    fn leaves(&self, tree: Tree, group: u64) -> Result<Option<Vec<Hash>>, ReadError> {
        let Some(bytes) = tiles::read_bundle(self.disk, self.dir, group)? else { return Ok(None) };
        let Ok(entries) = bundle::decode(&bytes) else { return Ok(None) };
        let leaf = |entry: &&[u8]| match tree {
            Tree::Sha256 => Some(entry_leaf(entry)),
            Tree::Sha3 => (self.legacy_leaf)(entry),
        };
        let leaves: Option<Vec<Hash>> = entries.iter().map(leaf).collect();
        Ok(leaves.filter(|leaves| leaves.len() as u64 == WIDTH))
    }

    /// Makes the tiles below a node of known hash again; true when files were replaced, so that the node now follows.
    pub(crate) fn mend_below(&self, tree: Tree, node: Node, hash: Hash) -> Result<bool, ReadError> {
        let (tile, run) = Coordinates::holding(node);
        let Some(below) = tile.level.checked_sub(1) else {
            let Some(nodes) = self.remake(tree, tile, 1)? else { return Ok(false) };
            let fits = tree.fold(nodes.get(run).unwrap_or_default()) == hash;
            return if fits { self.replace_different(tree, &[(tile, nodes)]) } else { Ok(false) };
        };
        let mut children = Vec::new();
        for index in run {
            let child = Coordinates { level: below, index: tile.index * WIDTH + index as u64 };
            let Some(nodes) = self.remake(tree, child, 1)? else { return Ok(false) };
            children.push((child, nodes));
        }
        let roots: Vec<Hash> = children.iter().map(|(_, nodes)| tree.fold(nodes)).collect();
        if tree.fold(&roots) == hash { self.replace_different(tree, &children) } else { Ok(false) }
    }

    fn replace_different(&self, tree: Tree, tiles: &[(Coordinates, Vec<Hash>)]) -> Result<bool, ReadError> {
        let mut replaced = false;
        for (tile, nodes) in tiles {
            let found = readable(tiles::read_tile(self.disk, self.dir, tree, *tile))?;
            if found.as_ref() != Some(nodes) {
                let path = tiles::tile_path(self.dir, tree, *tile);
                self.replace(tree, *tile, nodes)
                    .map_err(|error| ReadError::Io { path, source: error.into() })?;
                replaced = true;
            }
        }
        Ok(replaced)
    }

    /// Puts a tile in the place of the damaged one.
    pub(crate) fn replace(&self, tree: Tree, tile: Coordinates, nodes: &[Hash]) -> Result<(), WriteError> {
        let path = tiles::tile_path(self.dir, tree, tile);
        if let Some(dir) = path.parent() {
            create_dirs(self.disk, self.dir, dir)?;
        }
        write_durably(self.disk, &path, &tile::encode(nodes))?;
        tracing::warn!(file = %path.display(), "a damaged tile was computed again from what is below it");
        Ok(())
    }
}

/// A file of the wrong length is as good as none here.
fn readable(read: Result<Option<Vec<Hash>>, ReadError>) -> Result<Option<Vec<Hash>>, ReadError> {
    match read {
        Err(ReadError::Corrupt(_)) => Ok(None),
        other => other,
    }
}

/// Checks a full bundle against the nodes of its tile, which must be right; names the first entry that does not fit.
pub(crate) fn check_bundle(path: &Path, bytes: &[u8], leaves: &[Hash]) -> Result<(), Corruption> {
    let remedy = "; restore it from a copy of the log, whoever made it: only the right bytes fit the tree";
    let (mut rest, mut offset) = (bytes, 0);
    for (number, leaf) in leaves.iter().enumerate() {
        let next = rest
            .split_first_chunk::<2>()
            .and_then(|(length, after)| after.split_at_checked(usize::from(u16::from_be_bytes(*length))));
        let Some((entry, after)) = next.filter(|(entry, _)| entry_leaf(entry) == *leaf) else {
            let what = format!("entry {number} of the bundle is not the one in the tree{remedy}");
            return Err(corrupt(path, offset, what));
        };
        offset += 2 + entry.len() as u64;
        rest = after;
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(corrupt(path, offset, format!("something stands behind the bundle's 256 entries{remedy}")))
    }
}

impl Shared {
    fn mender(&self) -> Mender<'_> {
        let legacy_leaf = self.options.legacy_leaf;
        Mender { disk: self.disk.as_ref(), dir: &self.options.dir, legacy_leaf }
    }

    /// A full tile from its file, checked against the node above it; mended if need and possible.
    pub(crate) fn checked_tile(&self, tree: Tree, tile: Coordinates) -> Result<Vec<Hash>, ReadError> {
        let dir = &self.options.dir;
        let found = readable(tiles::read_tile(self.disk.as_ref(), dir, tree, tile))?;
        let fits = |above: Option<Hash>| {
            found.as_ref().filter(|nodes| above.is_some_and(|above| tree.fold(nodes) == above)).cloned()
        };
        if let Some(nodes) = fits(self.node_above(tree, tile)?) {
            return Ok(nodes);
        }
        // The tile above may be the damaged one.
        let (parent, _) = Coordinates::holding(root_of(tile));
        let is_in_memory = self.run_in_memory(tree, parent.level, tile.index, 1).is_some();
        if !is_in_memory {
            self.checked_tile(tree, parent)?;
        }
        let above = self.node_above(tree, tile)?;
        if let Some(nodes) = fits(above) {
            return Ok(nodes);
        }
        let path = tiles::tile_path(dir, tree, tile);
        let _one_at_a_time = lock(&self.mending);
        let remade = match above {
            Some(above) => self.mender().remake_fitting(tree, tile, above)?,
            None => None,
        };
        let Some(nodes) = remade else {
            let state =
                if found.is_some() { "does not fit the tree" } else { "is missing or has a wrong length" };
            let what = format!(
                "the tile {state} and what is below it cannot replace it; restore it from a copy of the log"
            );
            return Err(corrupt(&path, 0, what).into());
        };
        match self.mender().replace(tree, tile, &nodes) {
            Ok(()) => {}
            // The right nodes are known all the same; the next reader tries again.
            Err(WriteError::Refused(error)) => {
                tracing::warn!(file = %path.display(), %error, "a damaged tile could not be written again");
            }
            Err(WriteError::SyncFailed(error)) => self.fail("writing a damaged tile again", &error),
        }
        Ok(nodes)
    }

    /// The node that a full tile must hash to, from memory or from the tile above it, unchecked.
    fn node_above(&self, tree: Tree, tile: Coordinates) -> Result<Option<Hash>, ReadError> {
        let (parent, run) = Coordinates::holding(root_of(tile));
        if let Some(nodes) = self.run_in_memory(tree, parent.level, tile.index, 1) {
            return Ok(nodes.first().copied());
        }
        let found = readable(tiles::read_tile(self.disk.as_ref(), &self.options.dir, tree, parent))?;
        Ok(found.and_then(|nodes| nodes.get(run.start).copied()))
    }

    /// A full bundle from its file, checked against its tile; nothing when it has no file.
    pub(crate) fn checked_bundle(&self, group: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(bytes) = tiles::read_bundle(self.disk.as_ref(), &self.options.dir, group)? else {
            return Ok(None);
        };
        let leaves = self.tile_nodes(Tree::Sha256, Coordinates { level: 0, index: group }, WIDTH as u16)?;
        check_bundle(&tiles::bundle_path(&self.options.dir, group), &bytes, &leaves)?;
        Ok(Some(bytes))
    }
}

fn root_of(tile: Coordinates) -> Node {
    Node { level: (tile.level + 1) * HEIGHT, index: tile.index }
}

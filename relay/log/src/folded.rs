//! Upper tiles that proofs need again and again, kept with every node above theirs, so that a proof folds two tiles of a tree and
//! not four. They are few whatever the size of the log: one at level 2 stands for 16,777,216 entries.

use crate::shared::lock;
use paramant_tlog::tile::Coordinates;
use paramant_tlog::{Hash, Tree};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;

/// Tiles below this level are read each time: a file that is damaged shall not be hidden by a copy for long.
const FROM_LEVEL: u8 = 2;
/// 16 KB each.
const MOST: usize = 32;

/// A whole tile: its nodes, and every node above them up to the tile's root, level by level.
struct Folded(Vec<Vec<Hash>>);

impl Folded {
    fn new(tree: Tree, nodes: &[Hash]) -> Self {
        let mut levels = vec![nodes.to_vec()];
        while let Some(pairs) =
            levels.last().map(|level| level.as_chunks::<2>().0).filter(|it| !it.is_empty())
        {
            levels.push(tree.parents(pairs));
        }
        Self(levels)
    }

    /// The node over a run of the tile's nodes, if there is one over exactly these.
    fn over(&self, run: &Range<usize>) -> Option<Hash> {
        let is_one = run.len().is_power_of_two() && run.start.is_multiple_of(run.len());
        let level = self.0.get(run.len().trailing_zeros() as usize).filter(|_| is_one)?;
        level.get(run.start / run.len()).copied()
    }
}

/// The tiles that are kept. A tile comes here only from a proof that holds.
#[derive(Default)]
pub(crate) struct UpperTiles(Mutex<BTreeMap<(u8, u64, bool), Folded>>);

impl UpperTiles {
    pub(crate) fn over(&self, tree: Tree, tile: Coordinates, run: &Range<usize>) -> Option<Hash> {
        if tile.level < FROM_LEVEL {
            return None;
        }
        lock(&self.0).get(&key(tree, tile))?.over(run)
    }

    pub(crate) fn keep(&self, tree: Tree, tiles: &[(Coordinates, Vec<Hash>)]) {
        for (tile, nodes) in tiles.iter().filter(|(tile, _)| tile.level >= FROM_LEVEL) {
            let folded = Folded::new(tree, nodes);
            let mut kept = lock(&self.0);
            if kept.len() == MOST {
                kept.clear();
            }
            kept.insert(key(tree, *tile), folded);
        }
    }
}

fn key(tree: Tree, tile: Coordinates) -> (u8, u64, bool) {
    (tile.level, tile.index, tree == Tree::Sha3)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_kept_tile_has_the_node_over_each_aligned_run_and_no_other() {
        let nodes: Vec<Hash> = (0..=255).map(|byte| [byte; 32]).collect();
        let tile = |level| Coordinates { level, index: 3 };
        let kept = UpperTiles::default();
        for tree in Tree::BOTH {
            kept.keep(tree, &[(tile(2), nodes.clone()), (tile(1), nodes.clone())]);
            for run in [0..1, 255..256, 6..8, 128..256, 0..256] {
                assert_eq!(kept.over(tree, tile(2), &run), Some(tree.fold(&nodes[run.clone()])), "{run:?}");
                assert_eq!(kept.over(tree, tile(1), &run), None, "lower tiles are not kept");
            }
            for run in [1..3, 0..3, 5..5, 0..512] {
                assert_eq!(kept.over(tree, tile(2), &run), None, "{run:?}");
            }
        }
    }

    #[test]
    fn few_are_kept() {
        let kept = UpperTiles::default();
        let nodes = vec![[7; 32]; 256];
        for index in 0..100 {
            kept.keep(Tree::Sha256, &[(Coordinates { level: 2, index }, nodes.clone())]);
        }
        assert!(lock(&kept.0).len() <= MOST);
    }
}

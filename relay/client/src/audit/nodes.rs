//! Nodes of the SHA-256 tree, read from the tiles that a source shows. Not to be believed before they lead to a signed root.

use std::collections::HashMap;

use paramant_tlog::proof::{self, ProofError, ReadNode};
use paramant_tlog::range::tiling;
use paramant_tlog::tile::{self, Coordinates};
use paramant_tlog::{CompactRange, Hash, Node, Tree};

use super::Stop;
use super::report::finding;
use super::source::{Source, required};

/// The tiles of a log of one size, as far as they were asked for.
pub(crate) struct Nodes<'s, S> {
    source: &'s S,
    size: u64,
    tiles: HashMap<Coordinates, Vec<Hash>>,
}

impl<'s, S: Source> Nodes<'s, S> {
    /// The tiles of a log of `size` entries.
    pub(crate) fn new(source: &'s S, size: u64) -> Self {
        Self { source, size, tiles: HashMap::new() }
    }

    /// The hashes of a tile.
    pub(super) async fn tile(&mut self, place: Coordinates) -> Result<&[Hash], Stop> {
        if !self.tiles.contains_key(&place) {
            let path = format!("/log/{}", place.path(place.width_at(self.size)));
            let bytes = required(self.source, &path).await?;
            let nodes =
                tile::decode(&bytes).filter(|nodes| nodes.len() == usize::from(place.width_at(self.size)));
            let nodes = nodes.ok_or_else(|| finding("tiles", format!("{path} has {} bytes", bytes.len())))?;
            self.tiles.insert(place, nodes);
        }
        Ok(self.tiles.get(&place).map_or(&[], Vec::as_slice))
    }

    async fn node(&mut self, node: Node) -> Result<Hash, Stop> {
        let (place, run) = Coordinates::holding(node);
        let size = self.size;
        let run = self.tile(place).await?.get(run);
        let beyond = || finding("tiles", format!("a node beyond the {size} entries was asked for"));
        Ok(tile::node_from_run(Tree::Sha256, run.ok_or_else(beyond)?))
    }

    /// The right edge of the tree over the first `end` entries.
    pub(crate) async fn range(&mut self, end: u64) -> Result<CompactRange, Stop> {
        let mut range = CompactRange::new(Tree::Sha256);
        self.extend(&mut range, end).await?;
        Ok(range)
    }

    /// Takes a right edge on to `end` entries.
    pub(super) async fn extend(&mut self, range: &mut CompactRange, end: u64) -> Result<(), Stop> {
        for node in tiling(range.size(), end) {
            let hash = self.node(node).await?;
            if !range.append_subtree(node.level, hash, |_, _| {}) {
                return Err(finding("tiles", "the tree has no such node").into()); // total: tiling aligns
            }
        }
        Ok(())
    }

    /// The proof that the tree over `from` entries is the beginning of the one over `to`.
    pub(super) async fn consistency(&mut self, from: u64, to: u64) -> Result<Vec<Hash>, Stop> {
        let mut known = Known::default();
        loop {
            match proof::consistency(Tree::Sha256, &mut known, from, to) {
                Ok(path) => return Ok(path),
                Err(ProofError::Store(missing)) => {
                    let hash = self.node(missing).await?;
                    known.0.insert(missing, hash);
                }
                Err(error) => return Err(finding("continuity", error_text(&error)).into()),
            }
        }
    }
}

fn error_text(error: &ProofError<Node>) -> String {
    match error {
        ProofError::SizesReversed { from, to } => format!("{from} entries cannot come before {to}"),
        ProofError::IndexBeyondSize { index, size } => format!("entry {index} is not among {size}"),
        ProofError::Store(node) => format!("node {} of level {} is missing", node.index, node.level),
    }
}

/// Nodes at hand; says which one is missing.
#[derive(Default)]
struct Known(HashMap<Node, Hash>);

impl ReadNode for Known {
    type Error = Node;

    fn node(&mut self, node: Node) -> Result<Hash, Node> {
        self.0.get(&node).copied().ok_or(node)
    }
}

//! Tiles: where each node of the tree is published (C2SP tlog-tiles).
//!
//! A tile of level L holds up to 256 neighbouring nodes of height 8·L. A full tile never changes. A partial tile of
//! width w is its first w nodes. Paths are relative to the log's prefix: `tile/0/x001/234`, `tile/0/x001/234.p/5`,
//! `tile/entries/x001/234`.

use crate::hash::{Hash, Tree};
use crate::range::Node;

/// Nodes in a full tile, and entries in a full bundle.
pub const WIDTH: u64 = 256;
/// Height of a tile: a node of a tile is the root of a full tile one level below.
pub const HEIGHT: u8 = 8;
/// The highest tile level of a tree of 2^64 leaves.
pub const MAX_LEVEL: u8 = 7;

/// A tile's place: its level and its number within the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Coordinates {
    /// Tile level; its nodes have height `8 · level`.
    pub level: u8,
    /// Number within the level.
    pub index: u64,
}

impl Coordinates {
    /// The tile from which a node's hash follows, and the run of that tile's nodes that lie below it.
    #[must_use]
    pub fn holding(node: Node) -> (Coordinates, std::ops::Range<usize>) {
        let level = node.level / HEIGHT;
        let height_in_tile = u32::from(node.level % HEIGHT);
        let first = node.index << height_in_tile;
        let start = (first % WIDTH) as usize;
        (Coordinates { level, index: first / WIDTH }, start..start + (1 << height_in_tile))
    }

    /// How many nodes of this tile exist in a tree of `size` leaves: 0 to 256.
    #[must_use]
    pub fn width_at(self, size: u64) -> u16 {
        let nodes = nodes_at(self.level, size);
        let before = self.index.saturating_mul(WIDTH);
        u16::try_from(nodes.saturating_sub(before).min(WIDTH)).unwrap_or(0)
    }

    /// The path under the log's prefix. Width 256 means the full tile.
    #[must_use]
    pub fn path(self, width: u16) -> String {
        format!("tile/{}/{}", self.level, numbered(self.index, width))
    }
}

/// How many nodes of tile level `level` are complete in a tree of `size` leaves.
#[must_use]
pub fn nodes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(level) * u32::from(HEIGHT)).unwrap_or(0)
}

/// The path of entry bundle `index` under the log's prefix. Width 256 means the full bundle.
#[must_use]
pub fn bundle_path(index: u64, width: u16) -> String {
    format!("tile/entries/{}", numbered(index, width))
}

/// The number as path elements of three digits, all but the last with an `x`, and `.p/w` for a partial one.
fn numbered(index: u64, width: u16) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if u64::from(width) < WIDTH {
        path.push_str(&format!(".p/{width}"));
    }
    path
}

/// What a request for a tile asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// A hash tile.
    Tile(Coordinates, u16),
    /// An entry bundle.
    Bundle(u64, u16),
}

/// Reads a path below the log's prefix, `tile/…`. Only the one canonical spelling of each resource is accepted.
#[must_use]
pub fn parse_path(path: &str) -> Option<Resource> {
    let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let (number, width) = match rest.split_once(".p/") {
        Some((number, width)) => (number, width.parse::<u16>().ok().filter(|w| (1..=255).contains(w))?),
        None => (rest, 256),
    };
    let mut index: u64 = 0;
    for element in number.split('/') {
        let digits = element.strip_prefix('x').unwrap_or(element);
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    let resource = if level == "entries" {
        Resource::Bundle(index, width)
    } else {
        let level = level.parse().ok().filter(|level| *level <= MAX_LEVEL)?;
        Resource::Tile(Coordinates { level, index }, width)
    };
    let canonical = match resource {
        Resource::Tile(tile, width) => tile.path(width),
        Resource::Bundle(index, width) => bundle_path(index, width),
    };
    (canonical == path).then_some(resource)
}

/// The bytes of a tile: its nodes one after the other.
#[must_use]
pub fn encode(nodes: &[Hash]) -> Vec<u8> {
    nodes.concat()
}

/// The nodes of a tile, or nothing when the length is not a whole number of hashes between 1 and 256.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (nodes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && !nodes.is_empty() && nodes.len() as u64 <= WIDTH).then(|| nodes.to_vec())
}

/// The hash of a node from the run of its tile's nodes below it, as named by [`Coordinates::holding`].
#[must_use]
pub fn node_from_run(tree: Tree, run: &[Hash]) -> Hash {
    tree.fold(run)
}

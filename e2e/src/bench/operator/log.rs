//! A log that grows, for relays that are not there: the same numbered entries under each name, with true roots and proofs.

use paramant_tlog::{Hash, Node, Tree, entry_leaf, proof};

/// The tree over numbered entries, every complete node of it.
pub(super) struct GrowingLog {
    levels: Vec<Vec<Hash>>,
}

impl GrowingLog {
    /// How large a log is before there is traffic.
    pub(super) const FIRST: u64 = 3;
    /// Larger than any log grows in a run.
    const ENTRIES: u64 = 1 << 14;

    pub(super) fn new() -> Self {
        let mut levels =
            vec![(0..Self::ENTRIES).map(|entry| entry_leaf(&entry.to_be_bytes())).collect::<Vec<_>>()];
        while let Some(below) = levels.last().filter(|below| below.len() > 1) {
            let pairs = below.chunks_exact(2).filter_map(|pair| match pair {
                [left, right] => Some(Tree::Sha256.node(left, right)),
                _ => None,
            });
            let above = pairs.collect();
            levels.push(above);
        }
        Self { levels }
    }

    /// The root in lower-case hex.
    pub(super) fn root(&self, size: u64) -> String {
        proof::root(Tree::Sha256, &mut &*self, size).map(hex::encode).unwrap_or_default()
    }

    /// A proof that the log of one size continues that of another.
    pub(super) fn consistency(&self, from: u64, to: u64) -> Option<Vec<String>> {
        if from == 0 || from == to {
            return Some(Vec::new());
        }
        let nodes = proof::consistency(Tree::Sha256, &mut &*self, from, to).ok()?;
        Some(nodes.iter().map(hex::encode).collect())
    }

    /// As long as a relay's: three lines, and signatures by an Ed25519 and an ML-DSA-44 key.
    pub(super) fn checkpoint(&self, name: &str, size: u64, root: &str) -> String {
        let signature = "A".repeat(3_248);
        format!("{name}.example/log\n{size}\n{root}\n\n— {name} {}\n— {name} {signature}\n", "A".repeat(96))
    }
}

/// The tree has no such node.
#[derive(Debug)]
pub(super) struct Beyond;

impl proof::ReadNode for &GrowingLog {
    type Error = Beyond;

    fn node(&mut self, node: Node) -> Result<Hash, Beyond> {
        let index = usize::try_from(node.index).map_err(|_| Beyond)?;
        self.levels.get(usize::from(node.level)).and_then(|level| level.get(index)).copied().ok_or(Beyond)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use paramant_tlog::verify;

    use super::*;

    #[test]
    fn its_proofs_hold() {
        let log = GrowingLog::new();
        let hash = |text: String| -> Hash { hex::decode(text).unwrap().try_into().unwrap() };
        for (from, to) in [(3, 3), (3, 6), (5, 4097), (4096, 16_000)] {
            let nodes: Vec<Hash> = log.consistency(from, to).unwrap().into_iter().map(hash).collect();
            let (old, new) = (hash(log.root(from)), hash(log.root(to)));
            verify::consistency(Tree::Sha256, from, &old, to, &new, &nodes).unwrap();
        }
        assert_eq!(log.consistency(7, 3), None, "no log continues a larger one");
    }
}

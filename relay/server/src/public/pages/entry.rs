//! One entry, and how it is proven, hash by hash.

use askama::Template;
use paramant_log::ReadError;
use paramant_protocol::entry::{self, Entry};
use paramant_tlog::{Checkpoint, Hash, Tree, entry_leaf};

use super::super::plain_words::{Told, told};
use super::readable;
use crate::log_service::LogService;

#[derive(Template)]
#[template(path = "entry.html")]
pub(super) struct Shown {
    here: &'static str,
    index: u64,
    kind: String,
    title: &'static str,
    sentence: &'static str,
    hour: String,
    shown: String,
    body: Option<String>,
    is_transfer: bool,
    length: usize,
    bytes: String,
    leaf: String,
    size: u64,
    steps: Vec<Step>,
    reached: bool,
    root: String,
    checkpoint: String,
    keys: Vec<Key>,
    before: Option<u64>,
    after: Option<u64>,
}

/// One hash on the way up.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    left: bool,
    sibling: String,
    neighbour: String,
    hash: String,
    covered: String,
}

struct Key {
    algorithm: String,
    id: String,
}

/// The entry under the newest published checkpoint, if it is there.
pub(super) fn read(log: &LogService, index: u64) -> Result<Option<Shown>, ReadError> {
    let Some(published) = log.published().filter(|published| index < published.head.size) else {
        return Ok(None);
    };
    let Some(stored) = log.engine().entry(index)? else { return Ok(None) };
    let (size, root) = (published.head.size, published.head.sha256_root);
    let path = log.engine().inclusion(Tree::Sha256, index, size)?;
    let leaf = entry_leaf(&stored.bytes);
    let (steps, reached) = climb(leaf, index, size, &path);
    let unknown = Told { title: "something that this release does not know", sentence: "" };
    let (kind, hour) = entry::peek(&stored.bytes).unwrap_or(("unknown", ""));
    let parsed = Entry::parse(&stored.bytes).ok();
    let Told { title, sentence } = parsed.as_ref().map_or(unknown, |entry| told(entry.kind()));
    Ok(Some(Shown {
        here: "",
        index,
        kind: kind.to_owned(),
        title,
        sentence,
        shown: readable(hour),
        hour: hour.to_owned(),
        body: body(&stored.bytes),
        is_transfer: kind == "transfer",
        length: stored.bytes.len(),
        bytes: String::from_utf8_lossy(&stored.bytes).into_owned(),
        leaf: hex::encode(leaf),
        size,
        steps,
        reached: reached == root,
        root: hex::encode(root),
        checkpoint: Checkpoint::new(log.origin(), size, root).to_text(),
        keys: log
            .verifiers()
            .iter()
            .map(|key| Key { algorithm: key.algorithm().to_string(), id: format!("{:08x}", key.key_id()) })
            .collect(),
        before: index.checked_sub(1),
        after: (index + 1 < size).then_some(index + 1),
    }))
}

/// The body on lines of its own, as it stands otherwise.
fn body(bytes: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    serde_json::to_string_pretty(value.get("b")?).ok()
}

/// Every step from the leaf to the root, and which entries each hash is over.
fn climb(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> (Vec<Step>, Hash) {
    let mut steps = Vec::with_capacity(path.len());
    let mut siblings = path.iter();
    let (mut hash, mut at, mut last) = (leaf, index, size.saturating_sub(1));
    let (mut from, mut to, mut level) = (index, index, 0);
    while last > 0 {
        let left = at & 1 == 1;
        if left || at < last {
            let Some(sibling) = siblings.next() else { break };
            let neighbour = if left {
                let first = (at - 1) << level;
                let neighbour = entries(first, from.saturating_sub(1));
                from = first;
                neighbour
            } else {
                let end = (((at + 2) << level) - 1).min(size - 1);
                let neighbour = entries(to + 1, end);
                to = end;
                neighbour
            };
            hash = if left { Tree::Sha256.node(sibling, &hash) } else { Tree::Sha256.node(&hash, sibling) };
            steps.push(Step {
                left,
                sibling: hex::encode(sibling),
                neighbour,
                hash: hex::encode(hash),
                covered: entries(from, to),
            });
        }
        at >>= 1;
        last >>= 1;
        level += 1;
    }
    (steps, hash)
}

fn entries(first: u64, last: u64) -> String {
    if first == last { format!("entry {first}") } else { format!("entries {first} to {last}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use paramant_tlog::verify;

    use super::*;

    #[test]
    fn the_steps_are_those_of_the_verifier_and_end_over_all_entries() {
        for size in 1..70 {
            for index in 0..size {
                let sides = verify::sides(index, size);
                let path: Vec<Hash> = (0..sides.len()).map(|n| [n as u8; 32]).collect();
                let leaf = [0xaa; 32];
                let (steps, root) = climb(leaf, index, size, &path);
                assert_eq!(root, verify::inclusion_root(Tree::Sha256, &leaf, index, size, &path).unwrap());
                assert_eq!(steps.len(), path.len(), "{index} of {size}");
                if let Some(step) = steps.last() {
                    assert_eq!(step.covered, entries(0, size - 1), "{index} of {size}");
                }
            }
        }
    }

    #[test]
    fn a_step_says_which_entries_it_joins() {
        // Entry 4 of 7: entry 5 on the right, then entry 6, then entries 0 to 3 on the left.
        let (steps, _) = climb([0; 32], 4, 7, &[[1; 32], [2; 32], [3; 32]]);
        let told: Vec<_> =
            steps.iter().map(|step| (step.left, step.neighbour.as_str(), step.covered.as_str())).collect();
        assert_eq!(
            told,
            [
                (false, "entry 5", "entries 4 to 5"),
                (false, "entry 6", "entries 4 to 6"),
                (true, "entries 0 to 3", "entries 0 to 6"),
            ]
        );
    }
}

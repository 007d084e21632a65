//! Says whether a log that came back keeps what was promised. Shares no code with the engine: roots and tiles are
//! computed from the definitions of RFC 6962 and C2SP tlog-tiles, entries from what the workload handed in.

use super::journal::{Id, Seen};
use super::platter::Platter;
use crate::{Entry, Hash, Head, Log};
use sha2::Digest as _;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

/// Entries of a group, and nodes of a tile.
const WIDTH: usize = 256;

/// A tree of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Sha256,
    Sha3,
}

/// The entry with an identity; `length` is the least number of bytes.
pub(super) fn entry(id: Id, length: usize) -> Entry {
    let mut bytes = format!("{} {} {length} ", id.life, id.serial).into_bytes();
    if bytes.len() < length {
        bytes.resize(length, b'.');
    }
    let mut legacy_leaf = [id.life as u8; 32];
    legacy_leaf[..4].copy_from_slice(&id.serial.to_be_bytes());
    Entry { bytes, legacy_leaf }
}

/// Which entry this is, if it is one that was ever handed in.
fn identify(found: &Entry, seen: &Seen) -> Option<Id> {
    let text = std::str::from_utf8(&found.bytes).ok()?;
    let mut words = text.split(' ');
    let id = Id { life: words.next()?.parse().ok()?, serial: words.next()?.parse().ok()? };
    let length = words.next()?.parse().ok()?;
    let was_submitted = seen.submitted.get(&id.life).is_some_and(|count| id.serial < *count);
    (was_submitted && *found == entry(id, length)).then_some(id)
}

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut hasher = sha2::Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

fn sha3(parts: &[&[u8]]) -> Hash {
    let mut hasher = sha3::Sha3_256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// What a log began with, judged before: only files that were changed since are looked at again.
#[derive(Default)]
pub(super) struct Base {
    /// Entries that are in full groups, with their identities.
    entries: Vec<Entry>,
    ids: Vec<Id>,
    image: Platter,
}

impl Base {
    /// A closed log with these entries.
    pub(super) fn new(ids: Vec<Id>, image: Platter) -> Self {
        let ids: Vec<Id> = ids[..ids.len() / WIDTH * WIDTH].to_vec();
        Self { entries: ids.iter().map(|id| entry(*id, 0)).collect(), ids, image }
    }
}

/// The entries of a log with the identities they turned out to have.
struct Leaves<'a> {
    base: &'a Base,
    /// Those behind the base.
    entries: &'a [Entry],
    /// Of all.
    ids: &'a [Id],
    /// For each entry, where the run of consecutive entries of one life ends that it belongs to.
    run_ends: Vec<usize>,
    /// For each number of entries, a sum that tells runs apart whose entries have other lengths.
    sums: Vec<u64>,
}

impl<'a> Leaves<'a> {
    fn new(base: &'a Base, entries: &'a [Entry], ids: &'a [Id]) -> Self {
        let mut run_ends: Vec<usize> = (1..=ids.len()).collect();
        for index in (1..ids.len()).rev() {
            let (before, after) = (ids[index - 1], ids[index]);
            if before.life == after.life && before.serial + 1 == after.serial {
                run_ends[index - 1] = run_ends[index];
            }
        }
        let mut sums = vec![0u64];
        for (entry, id) in base.entries.iter().chain(entries).zip(ids) {
            let weight = u64::from(id.serial) * 0x9E37_79B9 + 1;
            sums.push(sums[sums.len() - 1].wrapping_add(weight.wrapping_mul(entry.bytes.len() as u64)));
        }
        Self { base, entries, ids, run_ends, sums }
    }

    fn entry(&self, index: usize) -> &Entry {
        self.base.entries.get(index).unwrap_or_else(|| &self.entries[index - self.base.entries.len()])
    }

    fn leaf(&self, kind: Kind, index: usize) -> Hash {
        match kind {
            Kind::Sha256 => sha256(&[&[0], &self.entry(index).bytes]),
            Kind::Sha3 => self.entry(index).legacy_leaf,
        }
    }

    /// MTH of RFC 6962 over a range of entries.
    fn root(&self, kind: Kind, from: usize, to: usize) -> Hash {
        type Known = HashMap<(Kind, Id, usize, u64), Hash>;
        thread_local!(static KNOWN: RefCell<Known> = RefCell::default());
        if from == to {
            return if kind == Kind::Sha256 { sha256(&[]) } else { [0; 32] };
        }
        // Many logs here hold the same runs of entries.
        let is_run = self.run_ends[from] >= to;
        let key = (kind, self.ids[from], to - from, self.sums[to].wrapping_sub(self.sums[from]));
        if is_run && let Some(root) = KNOWN.with_borrow(|known| known.get(&key).copied()) {
            return root;
        }
        let root = if to - from == 1 {
            self.leaf(kind, from)
        } else {
            let middle = from + (to - from).next_power_of_two() / 2;
            let (left, right) = (self.root(kind, from, middle), self.root(kind, middle, to));
            match kind {
                Kind::Sha256 => sha256(&[&[1], &left, &right]),
                Kind::Sha3 => sha3(&[&[1], &left, &right]),
            }
        };
        if is_run {
            KNOWN.with_borrow_mut(|known| known.insert(key, root));
        }
        root
    }

    /// Whether a head states what the first entries lead to.
    fn leads_to(&self, head: &Head) -> bool {
        let Some(size) = usize::try_from(head.size).ok().filter(|size| *size <= self.ids.len()) else {
            return false;
        };
        self.root(Kind::Sha256, 0, size) == head.sha256_root
            && self.root(Kind::Sha3, 0, size) == head.sha3_root
    }

    /// A full tile, or a full bundle.
    fn file(&self, path: &str, number: usize) -> Option<Vec<u8>> {
        let (kind, level) = match path {
            "tile/entries" => (None, 0),
            "tile/0" => (Some(Kind::Sha256), 0),
            "sha3/tile/0" => (Some(Kind::Sha3), 0),
            "tile/1" => (Some(Kind::Sha256), 1),
            "sha3/tile/1" => (Some(Kind::Sha3), 1),
            _ => return None,
        };
        // Entries below one node of the tile.
        let below = WIDTH.pow(level);
        if (number + 1) * WIDTH * below > self.ids.len() {
            return None;
        }
        let mut bytes = Vec::new();
        for node in number * WIDTH..(number + 1) * WIDTH {
            if let Some(kind) = kind {
                bytes.extend(self.root(kind, node * below, (node + 1) * below));
            } else {
                let entry = &self.entry(node).bytes;
                bytes.extend((entry.len() as u16).to_be_bytes());
                bytes.extend(entry);
            }
        }
        Some(bytes)
    }
}

/// Everything that is wrong with an open log, given what the world was told before. `derived` was asked before `disk`
/// was looked at.
pub(super) fn judge(log: &Log, derived: u64, seen: &Seen, disk: &Platter, base: &Base) -> Vec<String> {
    let mut wrong = seen.wrong.clone();
    let head = log.head();
    let first = base.entries.len();
    let entries = match log.entries(first as u64, usize::MAX) {
        Ok(entries) => entries,
        Err(error) => return vec![format!("the entries cannot be read: {error}")],
    };
    if (first + entries.len()) as u64 != head.size {
        wrong.push(format!("{} entries under a head of size {}", first + entries.len(), head.size));
    }
    let mut ids = base.ids.clone();
    for (index, found) in (first..).zip(&entries) {
        let Some(id) = identify(found, seen) else {
            wrong.push(format!("entry {index} was never handed in"));
            return wrong;
        };
        ids.push(id);
    }
    let new = &ids[first..];
    let is_new = |id: &&Id| base.ids.last().is_none_or(|last| *id > last);
    if new.iter().filter(is_new).collect::<BTreeSet<_>>().len() != new.len() {
        wrong.push("an entry is there twice".to_owned());
    }
    for (index, id) in &seen.acknowledged {
        if ids.get(*index as usize) != Some(id) {
            wrong.push(format!("acknowledged entry {index} is gone, the log has {} entries", head.size));
            break;
        }
    }
    let leaves = Leaves::new(base, &entries, &ids);
    if !leaves.leads_to(&head) {
        wrong.push(format!("the head of size {} has other roots than its entries", head.size));
    }
    if let Some(signed) = seen.signed.iter().find(|signed| !leaves.leads_to(signed)) {
        wrong.push(format!("size {} was signed and is no prefix of what is there", signed.size));
    }
    if let Some(stated) = seen.stated.iter().find(|stated| !leaves.leads_to(stated)) {
        wrong.push(format!("size {} was given with an acknowledgement and is no prefix", stated.size));
    }
    wrong.extend(judge_published(log, seen, &leaves));
    wrong.extend(judge_files(derived, &leaves, disk));
    wrong
}

fn judge_published(log: &Log, seen: &Seen, leaves: &Leaves<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let published = log.published();
    let size = published.as_ref().map_or(0, |published| published.head.size);
    if size < seen.published {
        wrong.push(format!("size {} was published, now it is {size}", seen.published));
    }
    let Some(published) = published else { return wrong };
    let stated = published.note.lines().nth(1).and_then(|line| line.parse().ok());
    if stated != Some(size) || !leaves.leads_to(&published.head) {
        wrong.push(format!("the checkpoint of size {size} does not state what the entries lead to"));
    }
    let groups = size as usize / WIDTH;
    for number in 0..groups / WIDTH {
        if log.tile(1, number as u64, 256).ok().flatten() != leaves.file("tile/1", number) {
            wrong.push(format!("tile/1/{number:03} is not served as it should be"));
        }
    }
    for group in leaves.base.entries.len() / WIDTH..groups {
        let expected = leaves.file("tile/0", group);
        if log.tile(0, group as u64, 256).ok().flatten() != expected {
            wrong.push(format!("tile/0/{group:03} is not served as it should be"));
        }
        let expected = leaves.file("tile/entries", group);
        if log.entry_bundle(group as u64, 256).ok().flatten() != expected {
            wrong.push(format!("tile/entries/{group:03} is not served as it should be"));
        }
    }
    wrong
}

/// Every file under a final name is whole and right; those of derived groups are all there.
fn judge_files(derived: u64, leaves: &Leaves<'_>, disk: &Platter) -> Vec<String> {
    let mut wrong = Vec::new();
    let root = std::path::Path::new(super::DIR);
    let mut found = BTreeSet::new();
    for path in disk.paths() {
        let Some(file) = disk.file(path) else { continue };
        let (Ok(inside), Some(name)) = (path.strip_prefix(root), path.file_name()) else { continue };
        let name = name.to_string_lossy();
        let (Some(dir), Ok(group)) = (inside.parent(), name.parse::<usize>()) else { continue };
        let dir = dir.to_string_lossy().into_owned();
        let is_known = disk.is_as_in(path, &leaves.base.image);
        if !is_known && leaves.file(&dir, group).as_ref() != Some(&disk.read(file)) {
            wrong.push(format!("{} is not what the entries lead to", inside.display()));
        }
        found.insert((dir, group));
    }
    let groups = derived as usize / WIDTH;
    let lowest = ["tile/0", "tile/entries", "sha3/tile/0"].map(|dir| (dir, groups));
    let upper = ["tile/1", "sha3/tile/1"].map(|dir| (dir, groups / WIDTH));
    for (dir, count) in lowest.into_iter().chain(upper) {
        for number in 0..count {
            if !found.contains(&(dir.to_owned(), number)) {
                wrong.push(format!("{dir}/{number:03} is missing"));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u32) -> (Vec<Entry>, Vec<Id>) {
        let ids: Vec<Id> = (0..count).map(|serial| Id { life: 3, serial }).collect();
        (ids.iter().map(|id| entry(*id, 0)).collect(), ids)
    }

    #[test]
    fn a_head_with_one_wrong_byte_or_another_order_of_entries_is_noticed() {
        let (entries, ids) = leaves(9);
        let base = Base::default();
        let right = Leaves::new(&base, &entries, &ids);
        let head = |leaves: &Leaves<'_>| Head {
            size: 9,
            sha256_root: leaves.root(Kind::Sha256, 0, 9),
            sha3_root: leaves.root(Kind::Sha3, 0, 9),
        };
        let good = head(&right);
        assert!(right.leads_to(&good));
        let mut other = good;
        other.sha3_root[31] ^= 1;
        assert!(!right.leads_to(&other));
        let (mut swapped, mut swapped_ids) = (entries.clone(), ids.clone());
        swapped.swap(2, 3);
        swapped_ids.swap(2, 3);
        assert!(!Leaves::new(&base, &swapped, &swapped_ids).leads_to(&good));
    }
}

//! Seal keys that must not be left anywhere: learnt from the key slots of a relay's data directory while they are in use, and then
//! looked for in files, bytes and memory.
//!
//! Neither what is kept here nor what is read ever holds a key as it is, so the search never finds itself.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// What everything is combined with.
const MASK: u8 = 0xA5;
/// Bytes of memory searched at a time; a key that lies across two pieces is seen in the overlap.
const PIECE: usize = 4 << 20;
/// Of a slot and of the key in it, behind the mark of one in use.
const SLOT: usize = 64;
const KEY: std::ops::Range<usize> = 8..40;
const USED: &[u8] = b"PKS1";

/// Keys that were in use.
pub struct Keys(Vec<Vec<u8>>);

impl Keys {
    /// Those in the slots of a data directory.
    pub fn in_use(data: &Path) -> io::Result<Self> {
        let slots = masked(fs::read(data.join("keys.slots"))?);
        let used: Vec<u8> = USED.iter().map(|byte| byte ^ MASK).collect();
        let used = slots.chunks_exact(SLOT).filter(|slot| slot.starts_with(&used));
        Ok(Self(used.filter_map(|slot| slot.get(KEY)).map(<[u8]>::to_vec).collect()))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none was in use.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These bytes with one of the keys behind them.
    pub fn planted(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.iter().copied().chain(self.0.iter().take(1).flatten().map(|byte| byte ^ MASK)).collect()
    }

    /// How many of them are in these bytes.
    pub fn count(&self, bytes: Vec<u8>) -> usize {
        let bytes = masked(bytes);
        let is_there =
            |key: &&Vec<u8>| bytes.windows(KEY.len()).any(|part| part.first() == key.first() && part == *key);
        self.0.iter().filter(is_there).count()
    }

    /// How many there are in which file of a directory. A file that goes meanwhile is passed over.
    pub fn on_disk(&self, directory: &Path) -> io::Result<BTreeMap<String, usize>> {
        let mut found = BTreeMap::new();
        each_file(directory, &mut |path, bytes| {
            let count = self.count(bytes);
            if count > 0 {
                found.insert(path.to_string_lossy().into_owned(), count);
            }
        })?;
        Ok(found)
    }

    /// How many there are in which part of a process's memory.
    pub fn in_memory(&self, process: u32) -> io::Result<BTreeMap<String, usize>> {
        let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
        let mut memory = File::open(format!("/proc/{process}/mem"))?;
        let mut found = BTreeMap::new();
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let range = words.next().and_then(|range| range.split_once('-'));
            let readable = words.next().is_some_and(|rights| rights.starts_with('r'));
            let number = |text| u64::from_str_radix(text, 16).map_err(io::Error::other);
            let Some((from, to)) = range.filter(|_| readable) else { continue };
            if line.ends_with("[vvar]") || line.ends_with("[vsyscall]") {
                continue;
            }
            let count = self.in_part(&mut memory, number(from)?, number(to)?)?;
            if count > 0 {
                found.insert(line.to_owned(), count);
            }
        }
        Ok(found)
    }

    fn in_part(&self, memory: &mut File, from: u64, to: u64) -> io::Result<usize> {
        let (mut at, mut found) = (from, 0);
        while at < to {
            let length = PIECE.min(usize::try_from(to - at).unwrap_or(PIECE));
            let mut piece = vec![0; length];
            memory.seek(SeekFrom::Start(at))?;
            // Pages may go while they are read.
            let Ok(read) = memory.read(&mut piece) else { break };
            piece.truncate(read);
            found += self.count(piece);
            if read < KEY.len() || at + read as u64 >= to {
                break;
            }
            at += (read + 1 - KEY.len()) as u64;
        }
        Ok(found)
    }
}

/// Hands over every file below a directory, by its path from there.
pub fn each_file(directory: &Path, tell: &mut impl FnMut(&Path, Vec<u8>)) -> io::Result<()> {
    let mut open = vec![directory.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                tell(path.strip_prefix(directory).unwrap_or(&path), bytes);
            }
        }
    }
    Ok(())
}

/// In place: no copy is left behind.
fn masked(mut bytes: Vec<u8>) -> Vec<u8> {
    for byte in &mut bytes {
        *byte ^= MASK;
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_are_found_where_they_are_and_the_search_does_not_find_itself() {
        let home = tempfile::tempdir().unwrap();
        let slot = |mark: &[u8], fill: u8| {
            let mut slot = [0; SLOT];
            slot[..4].copy_from_slice(mark);
            slot[KEY]
                .iter_mut()
                .zip(0..)
                .for_each(|(byte, at): (&mut u8, u8)| *byte = fill.wrapping_mul(at | 1));
            slot
        };
        fs::write(home.path().join("keys.slots"), [slot(USED, 7), slot(&[0; 4], 9), slot(USED, 11)].concat())
            .unwrap();
        let keys = Keys::in_use(home.path()).unwrap();
        assert_eq!((keys.len(), keys.is_empty()), (2, false));
        assert_eq!(keys.on_disk(home.path()).unwrap(), BTreeMap::from([("keys.slots".to_owned(), 2)]));
        fs::create_dir(home.path().join("deep")).unwrap();
        fs::write(home.path().join("deep/file"), keys.planted(b"some bytes")).unwrap();
        assert_eq!(keys.on_disk(home.path()).unwrap()["deep/file"], 1);
        assert_eq!(keys.count(b"some bytes".to_vec()), 0);
    }
}

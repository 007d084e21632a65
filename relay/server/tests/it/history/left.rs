//! Whether rows and files in a data directory name each other: no file without a row, no row without a file, each row's key
//! in its slot, and no key without a row.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// Bytes of a slot, and where in it the id of its payload is.
const SLOT: usize = 64;
const ID: std::ops::Range<usize> = 40..56;

/// What does not belong together; nothing is being uploaded, read or burned meanwhile.
pub fn mismatches(dir: &Path) -> Vec<String> {
    let data = dir.join("data");
    let meta = Connection::open_with_flags(data.join("meta.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let ids = |sql: &str| -> BTreeSet<String> {
        let mut query = meta.prepare(sql).unwrap();
        let ids = query.query_map([], |row| Ok(hex::encode(row.get::<_, Vec<u8>>(0)?))).unwrap();
        ids.collect::<Result<_, _>>().unwrap()
    };
    let mut named = ids("SELECT id FROM blobs WHERE state < 3 AND chunk_size IS NULL");
    named.extend(ids("SELECT file FROM chunks"));
    let files = files(&data);
    let slots = std::fs::read(data.join("keys.slots")).unwrap();
    let keyed: BTreeSet<String> = slots
        .chunks(SLOT)
        .filter(|slot| slot.iter().any(|byte| *byte != 0))
        .map(|slot| hex::encode(&slot[ID]))
        .collect();
    let owners = ids("SELECT id FROM blobs WHERE state < 3 UNION SELECT id FROM uploads WHERE state = 0");
    let mut wrong = Vec::new();
    let mut differ = |what: &str, these: &BTreeSet<String>, those: &BTreeSet<String>| {
        wrong.extend(these.difference(those).map(|id| format!("{what}: {id}")));
    };
    differ("a file without a row", &files, &named);
    differ("a row without a file", &named, &files);
    differ("a key without a row", &keyed, &owners);
    differ("a row without a key", &owners, &keyed);
    let unfinished = ids("SELECT id FROM blobs WHERE state IN (0, 3)");
    wrong.extend(unfinished.iter().map(|id| format!("a row that is half done: {id}")));
    wrong
}

fn files(data: &Path) -> BTreeSet<String> {
    let directories = std::fs::read_dir(data.join("blobs")).unwrap();
    let files = directories.flat_map(|directory| std::fs::read_dir(directory.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

/// Rows of blobs, whatever their state.
pub fn rows(dir: &Path) -> u64 {
    let meta =
        Connection::open_with_flags(dir.join("data/meta.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    meta.query_row("SELECT count(*) FROM blobs", [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned()
}

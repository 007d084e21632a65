//! Unpacking a backup into an empty data directory.
//!
//! 1. the directory is locked, until the end: no relay and no second restore uses it meanwhile; the marker `restoring` is written:
//!    from here on no relay starts over the directory, whatever it holds;
//! 2. every member is written and hashed; one that does not belong to a backup ends it;
//! 3. the sums, which come last, are compared: every member, and no other;
//! 4. all is synced, and the marker removed.
//!
//! A crash in between leaves the marker; the same command then begins anew. What was on its way when the backup was made is
//! listed: its payloads are not in it, so the relay's next start burns their rows, in its log, as lost.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};

use super::{ABOUT, About, DIRECTORIES, FILES, FORMAT, LOG, META, SUMS};
use crate::data_dir::{self, DataDirError, RESTORING, durable};

/// `backup.json` and the sums are read whole: a log of a hundred million entries has fewer sums than this.
const READ_WHOLE: u64 = 1 << 30;

/// What is in force again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The name of the log.
    pub origin: String,
    /// When the backup was made.
    pub created: String,
    /// Transfers that nobody had read then. They are lost.
    pub unread: Vec<Unread>,
}

/// A transfer on its way when the backup was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// SHA-256 of the payload, or the lookup id of a drop, in hex.
    pub lookup: String,
    /// The account that sent it, in hex.
    pub account: String,
    /// Bytes.
    pub size: u64,
    /// When it would have expired.
    pub expires: String,
}

/// Why nothing is in force.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is something already.
    #[error("{} is not empty: restore into a new directory, and keep what is there until the relay runs", .0.display())]
    NotEmpty(PathBuf),
    /// A relay or another restore is at work there.
    #[error(transparent)]
    InUse(#[from] DataDirError),
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The backup cannot be read, or is no backup.
    #[error(
        "cannot read the backup: {0}; if it was cut off or damaged on its way, fetch it again, or take another one"
    )]
    Read(io::Error),
    /// It was cut off.
    #[error(
        "the backup is not whole: it ends before its sums; nothing is in force, run this again with a whole one"
    )]
    CutOff,
    /// A member is not what it should be.
    #[error("{member} in the backup {what}; nothing is in force, run this again with another one")]
    Damaged {
        /// Which.
        member: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A later release made it.
    #[error(
        "the backup has format {0}, and this release reads format {FORMAT}: use the release that made it"
    )]
    Format(u32),
    /// The database in it.
    #[error("meta.db in the backup cannot be read: {0}")]
    Meta(#[from] rusqlite::Error),
}

fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.to_owned();
    |source| RestoreError::Write { path, source }
}

fn damaged(member: &Path, what: &'static str) -> RestoreError {
    RestoreError::Damaged { member: member.display().to_string(), what }
}

/// Unpacks a backup into `data`, which must be empty or the scene of a restore that was cut off. Blocks.
///
/// # Errors
/// [`RestoreError`]. The marker is left then: no relay starts there.
pub fn restore(data: &Path, from: impl Read) -> Result<Restored, RestoreError> {
    let (marker, lock) = prepare(data)?;
    let mut sums = BTreeMap::new();
    let (mut about, mut expected) = (None, None);
    let mut archive = tar::Archive::new(from);
    for member in archive.entries().map_err(RestoreError::Read)? {
        let mut member = member.map_err(RestoreError::Read)?;
        let path = member.path().map_err(RestoreError::Read)?.into_owned();
        if member.header().entry_type() != tar::EntryType::Regular || !belongs(&path) {
            return Err(damaged(&path, "does not belong there"));
        }
        if path == Path::new(SUMS) {
            expected = Some(text(&mut member)?);
            break;
        }
        let digest = if path == Path::new(ABOUT) {
            let text = text(&mut member)?;
            about = Some(text.clone());
            hex::encode(aws_lc_rs::digest::digest(&SHA256, text.as_bytes()))
        } else {
            unpack(data, &path, &mut member)?
        };
        if sums.insert(path.display().to_string(), digest).is_some() {
            return Err(damaged(&path, "is there twice"));
        }
    }
    compare(&sums, &expected.ok_or(RestoreError::CutOff)?)?;
    let about = about.ok_or(RestoreError::CutOff)?;
    let about: About =
        serde_json::from_str(&about).map_err(|_| damaged(Path::new(ABOUT), "is not JSON of ours"))?;
    if about.format != FORMAT {
        return Err(RestoreError::Format(about.format));
    }
    let meta = Connection::open_with_flags(data.join(META), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let unread = unread(&meta)?;
    call_nobody(&meta)?;
    drop(meta);
    let synced = File::open(data).and_then(|directory| Ok(rustix::fs::syncfs(&directory)?));
    synced.map_err(unwritable(data))?;
    std::fs::remove_file(&marker).map_err(unwritable(&marker))?;
    durable::sync_directory(data).map_err(unwritable(data))?;
    drop(lock);
    Ok(Restored { origin: about.origin, created: about.created, unread })
}

/// An empty directory with the marker in it, and its lock.
fn prepare(data: &Path) -> Result<(PathBuf, File), RestoreError> {
    data_dir::make_directory(data).map_err(unwritable(data))?;
    // Asked before the lock too: a directory of somebody else's is left as it is.
    remains(data)?;
    let lock = data_dir::lock(data)?;
    for path in remains(data)? {
        let removed =
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.map_err(unwritable(&path))?;
    }
    let marker = data.join(RESTORING);
    durable::write(&marker, b"a restore did not come to its end here\n").map_err(unwritable(&marker))?;
    Ok((marker, lock))
}

/// What a restore that was cut off left.
fn remains(data: &Path) -> Result<Vec<PathBuf>, RestoreError> {
    let again = data.join(RESTORING).exists();
    let mut remains = Vec::new();
    for entry in std::fs::read_dir(data).map_err(unwritable(data))? {
        let entry = entry.map_err(unwritable(data))?;
        // A fresh volume has `lost+found`, and a first start that found nothing leaves its lock.
        if ![RESTORING, "lost+found", "lock"].iter().any(|name| entry.file_name() == *name) {
            remains.push(entry.path());
        }
    }
    if !remains.is_empty() && !again {
        return Err(RestoreError::NotEmpty(data.to_owned()));
    }
    Ok(remains)
}

/// Whether a backup may hold this path: plain, and below what a backup is made of.
fn belongs(path: &Path) -> bool {
    let mut parts = path.components();
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let Some(Component::Normal(top)) = parts.next() else { return false };
    let top = top.to_str().unwrap_or_default();
    let deep = parts.next().is_some();
    plain
        && match deep {
            true => top == LOG || DIRECTORIES.contains(&top),
            false => [ABOUT, SUMS, META].contains(&top) || FILES.contains(&top),
        }
}

fn text(member: &mut impl Read) -> Result<String, RestoreError> {
    let mut text = String::new();
    member.take(READ_WHOLE).read_to_string(&mut text).map_err(RestoreError::Read)?;
    Ok(text)
}

/// Writes a member; answers its SHA-256 in hex.
fn unpack(data: &Path, path: &Path, member: &mut impl Read) -> Result<String, RestoreError> {
    let to = data.join(path);
    if let Some(directory) = to.parent() {
        data_dir::make_directory(directory).map_err(unwritable(directory))?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&to);
    let mut file = file.map_err(unwritable(&to))?;
    let (mut hash, mut buffer) = (Context::new(&SHA256), vec![0; 256 * 1024]);
    loop {
        let read = member.read(&mut buffer).map_err(RestoreError::Read)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(hex::encode(hash.finish()));
        }
        hash.update(bytes);
        file.write_all(bytes).map_err(unwritable(&to))?;
    }
}

fn compare(found: &BTreeMap<String, String>, sums: &str) -> Result<(), RestoreError> {
    let expected: BTreeMap<&str, &str> =
        sums.lines().filter_map(|line| line.split_once("  ")).map(|(digest, path)| (path, digest)).collect();
    for (path, digest) in found {
        match expected.get(path.as_str()) {
            Some(expected) if *expected == digest => {}
            Some(_) => return Err(damaged(Path::new(path), "is damaged")),
            None => return Err(damaged(Path::new(path), "is not in its sums")),
        }
    }
    match expected.keys().find(|path| !found.contains_key(**path)) {
        Some(path) => Err(damaged(Path::new(path), "is missing")),
        None => Ok(()),
    }
}

/// Calls that waited then were made since, or speak of transfers that are lost. Backups of older releases have none.
fn call_nobody(meta: &Connection) -> Result<(), rusqlite::Error> {
    let there: bool = meta.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'webhook_outbox')",
        [],
        |row| row.get(0),
    )?;
    if there { meta.execute("DELETE FROM webhook_outbox", []).map(drop) } else { Ok(()) }
}

fn unread(meta: &Connection) -> Result<Vec<Unread>, RestoreError> {
    let mut query = meta.prepare(
        "SELECT lookup, account, size, expires_ms FROM blobs WHERE state IN (1, 2) ORDER BY created_ms",
    )?;
    let rows = query.query_map([], |row| {
        let expires = Timestamp::from_millisecond(row.get(3)?).unwrap_or_default();
        Ok(Unread {
            lookup: hex::encode(row.get::<_, Vec<u8>>(0)?),
            account: hex::encode(row.get::<_, Vec<u8>>(1)?),
            size: row.get::<_, i64>(2)?.cast_unsigned(),
            expires: expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

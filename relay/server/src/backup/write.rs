//! Making a backup of a data directory that a relay may be using.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};

use crate::data_dir::RESTORING;

use super::{ABOUT, About, DIRECTORIES, FILES, FORMAT, LOG, META, SUMS, files_below};

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Files, the sums not counted.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Entries under the checkpoint.
    pub log_size: u64,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// No relay ever ran there.
    #[error("{} holds no relay: name the data directory of a relay that has run", .0.display())]
    NoRelay(PathBuf),
    /// Something there is half done.
    #[error("{what} in {} did not come to its end: finish that first", path.display())]
    HalfDone {
        /// What.
        what: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// The keys of the log changed in between.
    #[error("the keys of the log were rotated while the backup was made; make another")]
    KeysChanged,
    /// A file of the relay.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database.
    #[error("cannot copy meta.db: {0}")]
    Meta(#[from] rusqlite::Error),
    /// The log.
    #[error(transparent)]
    Log(#[from] paramant_log::BackupError),
    /// The backup itself.
    #[error("cannot write the backup: {0}")]
    Write(io::Error),
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    |source| BackupError::Read { path, source }
}

/// Writes a backup of `data` to `out`. Blocks; whoever calls makes `out` durable.
///
/// # Errors
/// [`BackupError`]. What was written so far has no sums and is refused by a restore.
pub fn backup(data: &Path, out: impl Write) -> Result<Written, BackupError> {
    let origin = data.join("log-origin");
    let origin = match std::fs::read_to_string(&origin) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BackupError::NoRelay(data.to_owned()));
        }
        text => text.map_err(unreadable(&origin))?,
    };
    for (file, what) in [(RESTORING, "a restore"), ("adoption.json", "the adoption of a new log")] {
        if data.join(file).exists() {
            return Err(BackupError::HalfDone { what, path: data.to_owned() });
        }
    }
    let about = About {
        format: FORMAT,
        release: crate::VERSION.to_owned(),
        origin: origin.trim_end().to_owned(),
        created: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    };
    let mut tar = Members::new(out);
    let about = serde_json::to_vec_pretty(&about).map_err(|error| BackupError::Write(error.into()))?;
    tar.add(Path::new(ABOUT), about.len() as u64, &mut about.as_slice()).map_err(BackupError::Write)?;
    let keys = contents(data, Path::new("log-keys"))?;
    for file in FILES {
        tar.add_file(data, Path::new(file))?;
    }
    {
        // Rows before the log: each entry that one names is in what is read of the log later.
        let copy = MetaCopy::make(data)?;
        tar.add_open(Path::new(META), copy.file).map_err(BackupError::Write)?;
    }
    for directory in DIRECTORIES {
        // What is remembered of the last anchor may be older than the heads, not newer: `anchor.json` comes before them.
        for path in files_below(data, Path::new(directory)).map_err(unreadable(&data.join(directory)))? {
            tar.add_file(data, &path)?;
        }
    }
    let log_size = paramant_log::backup(&data.join(LOG), &mut |path, length, bytes| {
        tar.add(&Path::new(LOG).join(path), length, bytes)
    })?;
    if contents(data, Path::new("log-keys"))? != keys {
        return Err(BackupError::KeysChanged);
    }
    let (files, bytes) = tar.finish().map_err(BackupError::Write)?;
    Ok(Written { files, bytes, log_size })
}

fn contents(data: &Path, directory: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, BackupError> {
    let paths = files_below(data, directory).map_err(unreadable(&data.join(directory)))?;
    paths
        .into_iter()
        .map(|path| {
            let bytes = std::fs::read(data.join(&path)).map_err(unreadable(&data.join(&path)))?;
            Ok((path, bytes))
        })
        .collect()
}

/// A moment of the database in a file of its own, which is gone when this is.
struct MetaCopy {
    file: File,
}

impl MetaCopy {
    fn make(data: &Path) -> Result<Self, BackupError> {
        let path = data.join(format!("backup-{}.tmp", std::process::id()));
        let failed = || unreadable(&path);
        // Made here for its mode: it holds the admin's second factor.
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(failed())?;
        let copied = vacuum_into(&data.join(META), &path);
        let unlinked = std::fs::remove_file(&path).map_err(failed());
        copied?;
        unlinked?;
        Ok(Self { file })
    }
}

/// Only what is live is copied: nothing that was deleted, and no free page.
fn vacuum_into(from: &Path, to: &Path) -> Result<(), rusqlite::Error> {
    let connection = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(std::time::Duration::from_secs(60))?;
    connection.execute("VACUUM INTO ?", [to.to_string_lossy()])?;
    Ok(())
}

/// The members of a tar, and their sums.
struct Members<W: Write> {
    tar: tar::Builder<W>,
    sums: String,
    files: u64,
    bytes: u64,
}

impl<W: Write> Members<W> {
    fn new(out: W) -> Self {
        Self { tar: tar::Builder::new(out), sums: String::new(), files: 0, bytes: 0 }
    }

    /// A file of the data directory, if it is there, as long as it is now: it may grow meanwhile.
    fn add_file(&mut self, data: &Path, path: &Path) -> Result<(), BackupError> {
        let from = data.join(path);
        match File::open(&from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            file => self.add_open(path, file.map_err(unreadable(&from))?).map_err(BackupError::Write),
        }
    }

    fn add_open(&mut self, path: &Path, mut file: File) -> io::Result<()> {
        let length = file.metadata()?.len();
        self.add(path, length, &mut file)
    }

    fn add(&mut self, path: &Path, length: u64, bytes: &mut dyn Read) -> io::Result<()> {
        let mut hashed = Hashed { bytes: bytes.take(length), hash: Context::new(&SHA256), seen: 0 };
        self.put(path, length, &mut hashed)?;
        if hashed.seen != length {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} shrank", path.display())));
        }
        let digest = hex::encode(hashed.hash.finish());
        self.sums.push_str(&format!("{digest}  {}\n", path.display()));
        self.files += 1;
        self.bytes += length;
        Ok(())
    }

    fn put(&mut self, path: &Path, length: u64, bytes: impl Read) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(length);
        header.set_mode(0o600);
        header.set_mtime(0);
        self.tar.append_data(&mut header, path, bytes)
    }

    fn finish(mut self) -> io::Result<(u64, u64)> {
        let sums = std::mem::take(&mut self.sums);
        self.put(Path::new(SUMS), sums.len() as u64, sums.as_bytes())?;
        self.tar.into_inner()?.flush()?;
        Ok((self.files, self.bytes))
    }
}

struct Hashed<R> {
    bytes: R,
    hash: Context,
    seen: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        self.seen += read as u64;
        Ok(read)
    }
}

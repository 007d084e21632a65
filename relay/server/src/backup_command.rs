//! `paramant-relay backup` and `paramant-relay restore`: the flags, the file, and what a person is told.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::backup::{self, BackupError, RestoreError, Restored, Written};
use crate::data_dir::durable;

/// The words that begin these commands.
pub const BACKUP_COMMANDS: [&str; 2] = ["backup", "restore"];

/// Backups of a data directory.
#[derive(Debug, Clone, Parser)]
#[command(name = "paramant-relay", bin_name = "paramant-relay", version = crate::VERSION)]
pub struct BackupCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Write everything but payloads and their keys into one tar, also while the relay runs. It holds the relay's own private
    /// keys: keep it as you would keep those
    Backup {
        /// The data directory
        #[arg(long, value_name = "DIR", env = "PARAMANT_DATA")]
        data: PathBuf,
        /// A file that is not there yet, or - for standard output
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Unpack a backup into an empty data directory, and list the transfers that are lost with it
    Restore {
        /// The data directory
        #[arg(long, value_name = "DIR", env = "PARAMANT_DATA")]
        data: PathBuf,
        /// The backup, or - for standard input
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BackupCommandError {
    /// No backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// No restore.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The file.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupCommandError {
    let path = path.to_owned();
    |source| BackupCommandError::File { path, source }
}

impl BackupCommand {
    /// Does it, and answers what to tell the person on standard error.
    ///
    /// # Errors
    /// [`BackupCommandError`].
    pub fn run(self) -> Result<String, BackupCommandError> {
        match self.what {
            What::Backup { data, to } => {
                let Written { files, bytes, log_size } = write(&data, &to)?;
                Ok(format!(
                    "{files} files, {bytes} bytes; the log has {log_size} entries under its checkpoint\n"
                ))
            }
            What::Restore { data, from } => {
                let restored = if from == Path::new("-") {
                    backup::restore(&data, io::stdin().lock())?
                } else {
                    backup::restore(&data, File::open(&from).map_err(at(&from))?)?
                };
                Ok(told(&restored, &data))
            }
        }
    }
}

/// The file appears under its name only when it is whole and synced.
fn write(data: &Path, to: &Path) -> Result<Written, BackupCommandError> {
    if to == Path::new("-") {
        let mut out = io::BufWriter::with_capacity(1 << 20, io::stdout().lock());
        let written = backup::backup(data, &mut out)?;
        out.flush().map_err(BackupError::Write)?;
        return Ok(written);
    }
    if to.exists() {
        return Err(at(to)(io::ErrorKind::AlreadyExists.into()));
    }
    let part = to.with_added_extension("part");
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
    let mut out = io::BufWriter::with_capacity(1 << 20, open.map_err(at(&part))?);
    let written = backup::backup(data, &mut out).and_then(|written| {
        out.flush().and_then(|()| out.get_ref().sync_all()).map_err(BackupError::Write)?;
        Ok(written)
    });
    match written {
        Ok(written) => {
            std::fs::rename(&part, to).map_err(at(to))?;
            let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty());
            durable::sync_directory(directory.unwrap_or(Path::new("."))).map_err(at(to))?;
            Ok(written)
        }
        Err(error) => {
            drop(std::fs::remove_file(&part));
            Err(error.into())
        }
    }
}

fn told(restored: &Restored, data: &Path) -> String {
    let Restored { origin, created, unread } = restored;
    let mut text = format!("{} is what it was at {created}; its log is {origin}\n", data.display());
    if !unread.is_empty() {
        let bytes: u64 = unread.iter().map(|lost| lost.size).sum();
        text.push_str(&format!(
            "lost: {} transfers that nobody had read then, {bytes} bytes\n",
            unread.len()
        ));
        for lost in unread {
            let (lookup, account) = (&lost.lookup, &lost.account);
            text.push_str(&format!(
                "  {lookup}  {} bytes  account {account}  until {}\n",
                lost.size, lost.expires
            ));
        }
    }
    text.push_str(
        "next: if the relay signed anything after this backup, retire its log with 'paramant-relay log adopt' before it starts\n",
    );
    text
}

//! The one directory that holds everything that matters, and the one way to write a file in it durably.
//!
//! ```text
//! identity/ log-keys/ control-key   keys, 0600, written once
//! meta.db keys.slots blobs/         the store
//! log/ sth/                         the log, and every tree head ever signed
//! archive/                          lengths and sums that archives of the log are laid out by; may be deleted
//! retired-logs/<n>/                 logs before this one, read-only (`log adopt`)
//! directives.json                   what the operator last asked for
//! lock                              held by the one process that may use all this
//! ```
//! Directories are 0700, files 0600. The lock goes with the process: a crash leaves nothing to clean up.

pub mod durable;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock, statfs};

/// The marker of a restore that was cut off: no relay starts over half a backup.
pub(crate) const RESTORING: &str = "restoring";

/// File systems on which a lock or a sync may not mean what it says, by the magic number of `statfs(2)`.
const NETWORK_FILE_SYSTEMS: [(i64, &str); 5] =
    [(0x6969, "NFS"), (0x517B, "SMB"), (0xFF53_4D42, "CIFS"), (0xFE53_4D42, "SMB2"), (0x0102_1997, "9p")];

/// The data directory, locked for this process.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
    lock: Arc<File>,
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process uses it.
    #[error("another paramant-relay uses the data directory {} (a relay, or a restore into it); stop it first, or choose another directory with --data", .0.display())]
    Locked(PathBuf),
    /// It is on a network file system.
    #[error("the data directory {} is on {kind}; a relay needs a local file system, because locks and syncs over the network do not keep what they promise", path.display())]
    Network {
        /// The directory.
        path: PathBuf,
        /// The file system's name.
        kind: &'static str,
    },
    /// A restore was cut off there.
    #[error("a restore into {} did not come to its end: run 'paramant-relay restore' again", .0.display())]
    Restoring(PathBuf),
    /// The operating system refuses.
    #[error("cannot use {} in the data directory: {source}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl DataDir {
    /// Makes the directory if it does not exist, and locks it.
    ///
    /// # Errors
    /// [`DataDirError::Locked`] when another process holds it; otherwise what the operating system said about which path.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        let refused = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { path, source }
        };
        let changed = changed_by_making(root);
        make_directory(root).map_err(refused(root))?;
        refuse_network(root)?;
        let lock = lock(root)?;
        if root.join(RESTORING).exists() {
            return Err(DataDirError::Restoring(root.to_owned()));
        }
        let data = Self { root: root.to_owned(), lock: Arc::new(lock) };
        for directory in [data.identity(), data.log_keys(), data.blobs(), data.log(), data.tree_heads()] {
            make_directory(&directory).map_err(refused(&directory))?;
        }
        for directory in changed {
            durable::sync_directory(&directory).map_err(refused(&directory))?;
        }
        Ok(data)
    }

    /// Gives the directory to the next process, though handles of this one still live. The last act of all.
    pub fn release(&self) {
        if let Err(error) = flock(&*self.lock, FlockOperation::Unlock) {
            tracing::warn!(%error, "the lock of the data directory was not released; it goes with the process");
        }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `identity/`: the ML-DSA-65 key.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// `log-keys/`: the keys that sign checkpoints.
    pub fn log_keys(&self) -> PathBuf {
        self.root.join("log-keys")
    }

    /// `control-key`: the key of the control listener.
    pub fn control_key(&self) -> PathBuf {
        self.root.join("control-key")
    }

    /// `directives.json`.
    pub fn directives(&self) -> PathBuf {
        self.root.join("directives.json")
    }

    /// `witnesses.json`: what witnesses signed, and the pushes no entry covers yet.
    pub fn witnesses(&self) -> PathBuf {
        self.root.join("witnesses.json")
    }

    /// `log-origin`: the log's name, fixed at first boot.
    pub fn log_origin(&self) -> PathBuf {
        self.root.join("log-origin")
    }

    /// `retired-logs/`: the logs before this one.
    pub fn retired_logs(&self) -> PathBuf {
        self.root.join("retired-logs")
    }

    /// `meta.db`.
    pub fn meta_db(&self) -> PathBuf {
        self.root.join("meta.db")
    }

    /// `keys.slots`.
    pub fn key_slots(&self) -> PathBuf {
        self.root.join("keys.slots")
    }

    /// `blobs/`.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// `log/`.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// `sth/`: every tree head ever signed.
    pub fn tree_heads(&self) -> PathBuf {
        self.root.join("sth")
    }

    /// Whether there is a log already. A relay that has one but lost its identity must not make a new identity silently.
    pub fn holds_a_log(&self) -> bool {
        std::fs::read_dir(self.log()).is_ok_and(|mut entries| entries.next().is_some())
    }
}

/// Locks a directory that is there, until the file is closed: no relay and no restore uses it meanwhile.
///
/// # Errors
/// [`DataDirError::Locked`] when another process holds it; otherwise what the operating system said.
pub(crate) fn lock(root: &Path) -> Result<File, DataDirError> {
    let path = root.join("lock");
    let refused = |source| DataDirError::Io { path: path.clone(), source };
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let lock = open.map_err(refused)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::Locked(root.to_owned())),
        Err(error) => Err(refused(error.into())),
    }
}

/// Makes a directory that only its owner may look into, with what is missing above it.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The directories whose entries change when `path` is made with all that is missing above it, and `path` itself: each must
/// be synced, or a crash takes the new data directory with everything in it.
fn changed_by_making(path: &Path) -> Vec<PathBuf> {
    let mut changed = vec![path.to_owned()];
    let mut made = path;
    while !made.exists() {
        let Some(parent) = made.parent() else { break };
        // The parent of a bare name is the empty path, which names no directory to open.
        made = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        changed.push(made.to_owned());
    }
    changed.reverse();
    changed
}

fn refuse_network(path: &Path) -> Result<(), DataDirError> {
    let Ok(stat) = statfs(path) else { return Ok(()) };
    let magic = stat.f_type;
    match NETWORK_FILE_SYSTEMS.iter().find(|(known, _)| *known == magic) {
        Some((_, kind)) => Err(DataDirError::Network { path: path.to_owned(), kind }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_user_of_the_directory_is_told_which_one_is_taken() {
        let temp = tempfile::tempdir().unwrap();
        let held = DataDir::open(temp.path()).unwrap();
        let refused = DataDir::open(temp.path()).unwrap_err();
        assert!(matches!(refused, DataDirError::Locked(_)));
        assert!(refused.to_string().contains(temp.path().to_str().unwrap()), "{refused}");
        drop(held);
        DataDir::open(temp.path()).unwrap();
    }

    #[test]
    fn only_the_owner_may_look_inside() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("data");
        let data = DataDir::open(&root).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&root), 0o700);
        assert_eq!(mode(&data.identity()), 0o700);
        assert_eq!(mode(&root.join("lock")), 0o600);
        assert!(!data.holds_a_log());
    }

    #[test]
    fn every_directory_above_a_new_one_is_synced_up_to_the_first_that_was_there() {
        let temp = tempfile::tempdir().unwrap();
        let at = |path: &str| temp.path().join(path);
        assert_eq!(changed_by_making(&at("a/b")), [temp.path().to_owned(), at("a"), at("a/b")]);
        std::fs::create_dir(at("a")).unwrap();
        assert_eq!(changed_by_making(&at("a/b")), [at("a"), at("a/b")]);
        assert_eq!(changed_by_making(&at("a")), [at("a")]);
        assert_eq!(
            changed_by_making(Path::new("no-such-directory")),
            [".", "no-such-directory"].map(PathBuf::from)
        );
    }
}

//! One command at a time may change the cluster. The kernel drops the lock when its holder ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};

use super::layout::Layout;
use crate::failure::{Doing, Result, fail};

/// Held while the cluster is being changed.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock or says who holds it.
    pub(crate) fn take(layout: &Layout) -> Result<Self> {
        let path = &layout.lock;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .doing(|| format!("open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return fail(format!(
                    "another cluster command runs already ({}); wait until it has ended, then run again",
                    holder.trim()
                ));
            }
            Err(TryLockError::Error(error)) => {
                return fail(format!("cannot lock {}: {error}", path.display()));
            }
        }
        // Only for the message above; the lock holds without it.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| {
            let command: Vec<String> = std::env::args().skip(1).collect();
            writeln!(file, "process {}: cargo xtask {}", std::process::id(), command.join(" "))
        });
        Ok(Self { _file: file })
    }
}

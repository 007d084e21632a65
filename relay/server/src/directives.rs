//! What the operator last asked for: ordered by (uid, epoch, seq), durable before it is answered, restored at start.
//!
//! A later leader has a higher epoch, so a deposed one cannot undo its orders. The same order again is taken again (an answer
//! may have been lost) but only if it says the same. A new uid is a new resource and starts over.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use paramant_protocol::control::{Directives, DirectivesMark};
use tokio::sync::watch;

use crate::data_dir::{DataDir, durable};
use crate::drain::Drain;
use crate::store::meta::MetaError;

/// The directives in force, and where they are kept.
#[derive(Debug)]
pub struct DirectiveBook {
    path: PathBuf,
    drain: Drain,
    /// Serialises comparing, writing, putting in force and announcing.
    writing: Mutex<()>,
    held: watch::Sender<Option<Directives>>,
    /// What was taken since the process started, the same again included: a word from outside, not from this disk.
    heard: watch::Sender<Option<Directives>>,
}

/// Why directives were not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Older than what is in force.
    #[error(
        "epoch {epoch}, seq {seq} is older than what this relay holds (epoch {held_epoch}, seq {held_seq})"
    )]
    Older {
        /// Asked.
        epoch: u64,
        /// Asked.
        seq: u64,
        /// Held.
        held_epoch: u64,
        /// Held.
        held_seq: u64,
    },
    /// The same number with another content.
    #[error("epoch {epoch}, seq {seq} was used before with another content; use the next seq")]
    Reused {
        /// Asked.
        epoch: u64,
        /// Asked.
        seq: u64,
    },
    /// They could not be made durable, so they are not in force.
    #[error("the directives could not be written: {0}")]
    NotWritten(#[from] io::Error),
    /// What they commit could not be made durable, so they are not in force.
    #[error("the update could not be committed: {0}")]
    NotCommitted(#[from] MetaError),
}

/// Whether `new` may replace `held`. Pure.
///
/// # Errors
/// [`Refusal::Older`] or [`Refusal::Reused`].
pub fn may_replace(held: Option<&Directives>, new: &Directives) -> Result<(), Refusal> {
    let Some(held) = held.filter(|held| held.relay_uid == new.relay_uid) else { return Ok(()) };
    let (epoch, seq) = (new.epoch, new.seq);
    match (epoch, seq).cmp(&(held.epoch, held.seq)) {
        std::cmp::Ordering::Greater => Ok(()),
        std::cmp::Ordering::Equal if held == new => Ok(()),
        std::cmp::Ordering::Equal => Err(Refusal::Reused { epoch, seq }),
        std::cmp::Ordering::Less => {
            Err(Refusal::Older { epoch, seq, held_epoch: held.epoch, held_seq: held.seq })
        }
    }
}

impl DirectiveBook {
    /// Reads what was in force before the restart, and puts it in force again.
    ///
    /// # Errors
    /// When the file exists but cannot be read. A file that cannot be understood is reported and left behind: the operator
    /// sends everything again, and a relay that refuses to start would be the worse end.
    pub fn open(data: &DataDir, drain: Drain) -> io::Result<Self> {
        let path = data.directives();
        let held: Option<Directives> = match std::fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(directives) => Some(directives),
                Err(error) => {
                    tracing::error!(%error, "the stored directives are unreadable; waiting for the operator to send them again");
                    None
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(directives) = &held {
            drain.direct(directives.drain.clone());
        }
        let (held, heard) = (watch::Sender::new(held), watch::Sender::new(None));
        Ok(Self { path, drain, writing: Mutex::new(()), held, heard })
    }

    /// Takes new directives: durable first, then in force. What they commit is committed by `commit` before they are written, and
    /// only when they are heard: directives that come back with a start speak of the release that ran then. Blocks for a sync or two.
    ///
    /// # Errors
    /// [`Refusal`]; then the old ones stay in force.
    pub fn take(
        &self,
        new: Directives,
        commit: impl FnOnce(u32) -> Result<(), MetaError>,
    ) -> Result<(), Refusal> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.held();
        may_replace(held.as_ref(), &new)?;
        if let Some(schema) = new.commit_schema {
            commit(schema)?;
        }
        if held.as_ref() != Some(&new) {
            durable::write(&self.path, &serde_json::to_vec(&new).map_err(io::Error::other)?)?;
            self.drain.direct(new.drain.clone());
            self.held.send_replace(Some(new.clone()));
        }
        self.heard.send_replace(Some(new));
        Ok(())
    }

    /// What is in force.
    pub fn held(&self) -> Option<Directives> {
        self.held.borrow().clone()
    }

    /// Which ones are in force.
    pub fn mark(&self) -> Option<DirectivesMark> {
        self.held.borrow().as_ref().map(|held| DirectivesMark {
            relay_uid: held.relay_uid.clone(),
            epoch: held.epoch,
            seq: held.seq,
        })
    }

    /// What the operator says in this run; nothing until it was heard once.
    pub fn heard(&self) -> watch::Receiver<Option<Directives>> {
        self.heard.subscribe()
    }

    /// News of a change.
    pub fn subscribe(&self) -> watch::Receiver<Option<Directives>> {
        self.held.subscribe()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use paramant_protocol::control::DrainDirective;

    use super::*;

    fn directives(uid: &str, epoch: u64, seq: u64, drain: bool) -> Directives {
        Directives {
            relay_uid: uid.to_owned(),
            epoch,
            seq,
            drain: DrainDirective { spec: Some(drain), ..DrainDirective::default() },
            log_high_water: None,
            log_identity: None,
            log_refused: None,
            commit_schema: None,
            deleting: false,
            couriers: None,
            remote: None,
        }
    }

    fn take(book: &DirectiveBook, new: Directives) -> Result<(), Refusal> {
        book.take(new, |_| panic!("nothing is committed"))
    }

    #[test]
    fn the_order_is_uid_then_epoch_then_seq() {
        let held = directives("a", 5, 10, true);
        for (new, taken) in [
            (directives("a", 5, 11, false), true),
            (directives("a", 6, 0, false), true),
            (directives("a", 5, 10, true), true),
            (directives("a", 5, 10, false), false),
            (directives("a", 5, 9, false), false),
            (directives("a", 4, 99, false), false),
            (directives("b", 0, 0, false), true),
        ] {
            assert_eq!(may_replace(Some(&held), &new).is_ok(), taken, "{new:?}");
        }
        assert!(may_replace(None, &directives("a", 0, 0, false)).is_ok());
    }

    #[test]
    fn what_was_taken_is_in_force_after_a_restart() {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::open(temp.path()).unwrap();
        let book = DirectiveBook::open(&data, Drain::new(false)).unwrap();
        assert_eq!(book.held(), None);
        take(&book, directives("a", 1, 1, true)).unwrap();
        assert!(matches!(take(&book, directives("a", 1, 0, false)), Err(Refusal::Older { .. })));
        drop(book);
        let drain = Drain::new(false);
        let book = DirectiveBook::open(&data, drain.clone()).unwrap();
        assert_eq!(book.held(), Some(directives("a", 1, 1, true)));
        let heard = book.heard();
        assert_eq!(*heard.borrow(), None, "what is on disk was not heard from outside");
        take(&book, directives("a", 1, 1, true)).unwrap();
        assert_eq!(
            *heard.borrow(),
            Some(directives("a", 1, 1, true)),
            "the same again is heard all the same"
        );
        assert!(drain.begin_upload().is_err(), "the drain is in force again");
        assert!(take(&book, directives("a", 1, 0, false)).is_err());
        take(&book, directives("b", 0, 0, false)).unwrap();
        assert_eq!(book.mark().unwrap().relay_uid, "b");
    }

    #[test]
    fn directives_that_cannot_be_written_are_not_in_force() {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::open(temp.path()).unwrap();
        let mut book = DirectiveBook::open(&data, Drain::new(false)).unwrap();
        book.path = temp.path().join("nowhere").join("directives.json");
        assert!(matches!(take(&book, directives("a", 1, 1, true)), Err(Refusal::NotWritten(_))));
        assert_eq!(book.held(), None);
    }

    #[test]
    fn a_damaged_file_does_not_keep_the_relay_from_starting() {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::open(temp.path()).unwrap();
        std::fs::write(data.directives(), b"{half").unwrap();
        assert_eq!(DirectiveBook::open(&data, Drain::new(false)).unwrap().held(), None);
    }
}

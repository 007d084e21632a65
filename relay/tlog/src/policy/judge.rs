//! Opening a checkpoint with a policy: who signed, who cosigned and when, and whether that is a quorum.

use super::{Component, Policy};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::note::{Note, OpenError};
use crate::vkey::VerifierKey;

/// Why a note is not a checkpoint of one of the policy's logs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// The text is no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A line of a key of the policy does not verify, or there is none.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No line is of a log whose name is the checkpoint's origin.
    #[error("no log of the policy named {origin} has signed it")]
    NoLog {
        /// The checkpoint's origin.
        origin: String,
    },
}

/// What a policy says of a checkpoint that one of its logs signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Which of [`Policy::logs`] signed.
    pub logs: Vec<usize>,
    /// Which of [`Policy::witnesses`] cosigned, and when, in seconds since 1970: the newest line of each.
    pub cosigned: Vec<(usize, u64)>,
    /// Whether the cosignatures make a quorum. True when the policy asks for none.
    pub quorum: bool,
    /// The latest time at which the cosignatures not older than it still made a quorum: how old the quorum is. None when
    /// there is no quorum, or none is asked for.
    pub quorum_time: Option<u64>,
}

impl Policy {
    /// Opens a checkpoint. Lines of keys that the policy does not name are ignored; a line of a key that it names and that
    /// does not verify spoils the note.
    ///
    /// # Errors
    /// When the note is not a checkpoint that one of the logs signed. A missing quorum is no error, but a [`Verdict`].
    pub fn judge(&self, note: &Note) -> Result<Verdict, JudgeError> {
        let checkpoint = Checkpoint::parse(&note.text)?;
        let keys: Vec<VerifierKey> = self
            .logs
            .iter()
            .map(|log| log.key.clone())
            .chain(self.witnesses.iter().map(|witness| witness.key.clone()))
            .collect();
        let mut logs = Vec::new();
        let mut times: Vec<Option<u64>> = vec![None; self.witnesses.len()];
        for verified in note.open(&keys)? {
            match verified.key.checked_sub(self.logs.len()) {
                None => logs.push(verified.key),
                Some(witness) => {
                    if let Some(newest) = times.get_mut(witness) {
                        *newest = verified.timestamp.max(*newest);
                    }
                }
            }
        }
        logs.retain(|log| self.logs.get(*log).is_some_and(|log| log.key.name() == checkpoint.origin));
        logs.sort_unstable();
        logs.dedup();
        if logs.is_empty() {
            return Err(JudgeError::NoLog { origin: checkpoint.origin });
        }
        let quorum_time = self.quorum.and_then(|quorum| self.quorum_time(quorum, &times));
        let cosigned = times.iter().enumerate().filter_map(|(witness, time)| Some((witness, (*time)?)));
        Ok(Verdict {
            checkpoint,
            logs,
            cosigned: cosigned.collect(),
            quorum: self.quorum.is_none() || quorum_time.is_some(),
            quorum_time,
        })
    }

    /// Groups name only what was defined before them, so one pass in their order suffices: no recursion that a long
    /// chain of groups could make deep.
    fn quorum_time(&self, quorum: Component, witnesses: &[Option<u64>]) -> Option<u64> {
        let mut groups: Vec<Option<u64>> = Vec::with_capacity(self.groups.len());
        let time = |component: Component, groups: &[Option<u64>]| match component {
            Component::Witness(number) => witnesses.get(number).copied().flatten(),
            Component::Group(number) => groups.get(number).copied().flatten(),
        };
        for group in &self.groups {
            let mut times: Vec<u64> =
                group.members.iter().filter_map(|member| time(*member, &groups)).collect();
            times.sort_unstable_by(|a, b| b.cmp(a));
            groups.push(group.threshold.checked_sub(1).and_then(|last| times.get(last)).copied());
        }
        time(quorum, &groups)
    }
}

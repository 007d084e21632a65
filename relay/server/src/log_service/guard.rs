//! The fence in force: what outsiders remember is compared with the log, and signers are let through or not.
//!
//! Everything that signs a head asks [`Guard::may_sign`] first: checkpoints, tree heads, rotations. A guard begins unarmed,
//! which is as closed as waiting, so that nothing is signed before what the operator said in an earlier run was looked at.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use paramant_log::{Head, ReadError};
use paramant_protocol::control::{Directives, FenceReport, FenceState};
use paramant_protocol::path::parse_hash;
use paramant_tlog::Hash;
use tokio::sync::watch;

use super::fence::{Answer, Fence, Sources, Standing, Witnessed};

/// Before the relay has looked at its own directory.
const STARTING: &str = "the relay is starting";

/// A handle on the fence; cheap to clone.
#[derive(Debug, Clone)]
pub struct Guard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    fence: Mutex<Armed>,
    standing: watch::Sender<Standing>,
}

#[derive(Debug)]
struct Armed {
    fence: Fence,
    armed: bool,
}

/// This log and relay, as directives are held against them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ours<'a> {
    pub(super) identity: &'a str,
    pub(super) origin: &'a str,
    /// Names of the logs before it, newest first.
    pub(super) retired: &'a [String],
    pub(super) head: Head,
}

impl Guard {
    pub(super) fn new(sources: Sources) -> Self {
        let armed = Armed { fence: Fence::new(sources), armed: false };
        let standing = watch::Sender::new(Standing::Waiting(STARTING.to_owned()));
        Self(Arc::new(Inner { fence: Mutex::new(armed), standing }))
    }

    /// Whether a head may be signed now.
    ///
    /// # Errors
    /// The reason why not, one sentence.
    pub fn may_sign(&self) -> Result<(), String> {
        match &*self.0.standing.borrow() {
            Standing::Open => Ok(()),
            Standing::Waiting(why) | Standing::Closed(why) => Err(why.clone()),
        }
    }

    /// The verdict now.
    pub fn standing(&self) -> Standing {
        self.0.standing.borrow().clone()
    }

    /// News of a change.
    pub fn subscribe(&self) -> watch::Receiver<Standing> {
        self.0.standing.subscribe()
    }

    /// As the operator reads it.
    pub fn report(&self) -> FenceReport {
        let (state, reason) = match self.standing() {
            Standing::Open => (FenceState::Signing, None),
            Standing::Waiting(why) => (FenceState::Waiting, Some(why)),
            Standing::Closed(why) => (FenceState::Refused, Some(why)),
        };
        FenceReport { state, reason }
    }

    /// What a witness said to the last stored signed checkpoint; `held` is the size of the log when it was asked.
    pub fn witness_says(&self, name: &str, witnessed: Witnessed, held: u64) {
        self.change(|it, now| it.fence.witness_says(name, witnessed, held, now));
    }

    /// So many witnesses are still waited for at most: when the settings ask fewer than at the start.
    pub fn wait_for_witnesses(&self, at_most: usize) {
        self.change(|it, now| it.fence.wait_for_witnesses(at_most, now));
    }

    pub(super) fn operator_says(&self, answer: Option<Answer>) {
        self.change(|it, now| it.fence.operator_says(answer, now));
    }

    pub(super) fn arm(&self) {
        self.change(|it, _| it.armed = true);
    }

    /// Looks again though nothing was heard; answers when to look next.
    pub fn look(&self) -> Option<Instant> {
        self.change(|it, now| it.fence.due(now))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Armed, Instant) -> T) -> T {
        let mut it = self.0.fence.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let result = change(&mut it, now);
        let standing = if it.armed { it.fence.standing(now) } else { Standing::Waiting(STARTING.to_owned()) };
        // Under the lock, so that an older verdict never replaces a newer one.
        self.0.standing.send_if_modified(|held| {
            let news = *held != standing;
            if news {
                tracing::info!(?standing, "the fence of the log");
                *held = standing;
            }
            news
        });
        result
    }
}

/// What directives say of this log. `None`: nothing yet. `root_at` reads the root at a size up to the head's.
pub(super) fn judge(
    directives: &Directives,
    ours: &Ours<'_>,
    root_at: impl FnOnce(u64) -> Result<Hash, ReadError>,
) -> Option<Answer> {
    if let Some(why) = &directives.log_refused {
        return Some(Answer::Objects(why.clone()));
    }
    if let Some(mark) = &directives.log_high_water {
        match &mark.origin {
            Some(origin) if origin == ours.origin => {}
            // The mark is of the log before this one: the operator has not heard of the adoption yet.
            Some(origin) if ours.retired.contains(origin) => return None,
            Some(origin) => {
                return Some(Answer::Objects(format!(
                    "the operator knows this relay's log as {origin}, and this one is {}: bring back its own volume",
                    ours.origin
                )));
            }
            None => {}
        }
        let (size, held) = (mark.size, ours.head.size);
        if size > held {
            return Some(Answer::Objects(format!(
                "the operator has seen {size} entries of this log and this copy holds {held}: it is an old copy; bring back the newest one, or retire this log with 'paramant-relay log adopt'"
            )));
        }
        match (root_at(size), parse_hash(&mark.root)) {
            (Ok(root), Some(expected)) if root == expected => {}
            (Ok(_), _) => {
                return Some(Answer::Objects(format!(
                    "the operator has seen another log of {size} entries than this copy begins with: bring back the volume with the log it saw, or retire this log with 'paramant-relay log adopt'"
                )));
            }
            (Err(error), _) => {
                return Some(Answer::Objects(format!(
                    "the log cannot be read back to {size} entries: {error}"
                )));
            }
        }
    }
    match &directives.log_identity {
        Some(identity) if identity == ours.identity => Some(Answer::Agrees),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use paramant_protocol::control::{DrainDirective, LogMark};

    use super::*;

    const ORIGIN: &str = "relay.example/log";

    fn directives(mark: Option<LogMark>, identity: Option<&str>) -> Directives {
        Directives {
            relay_uid: "u".to_owned(),
            epoch: 1,
            seq: 1,
            drain: DrainDirective::default(),
            log_high_water: mark,
            log_identity: identity.map(str::to_owned),
            log_refused: None,
            commit_schema: None,
            deleting: false,
            couriers: None,
            remote: None,
        }
    }

    fn mark(origin: Option<&str>, size: u64, root: u8) -> LogMark {
        LogMark { origin: origin.map(str::to_owned), size, root: hex::encode([root; 32]) }
    }

    /// A log of ten entries whose root at every size is `[size; 32]`.
    fn judged(directives: &Directives) -> &'static str {
        let retired = ["older.example/log".to_owned()];
        let head = Head { size: 10, sha256_root: [10; 32], sha3_root: [0; 32] };
        let ours = Ours { identity: "me", origin: ORIGIN, retired: &retired, head };
        match judge(directives, &ours, |size| Ok([u8::try_from(size).unwrap(); 32])) {
            None => "silent",
            Some(Answer::Agrees) => "agrees",
            Some(Answer::Objects(why)) if why.contains("old copy") => "old copy",
            Some(Answer::Objects(why)) if why.contains("another log") => "another log",
            Some(Answer::Objects(why)) if why.contains("knows this relay's log as") => "another name",
            Some(Answer::Objects(why)) if why == "a twin" => "refused",
            Some(Answer::Objects(why)) => panic!("{why}"),
        }
    }

    #[test]
    fn a_mark_counts_only_on_this_log_and_only_once_it_was_judged() {
        let ours = Some(ORIGIN);
        for (mark, identity, expected) in [
            (None, None, "silent"),
            (None, Some("me"), "agrees"),
            (None, Some("somebody"), "silent"),
            (Some(mark(ours, 10, 10)), Some("me"), "agrees"),
            (Some(mark(ours, 7, 7)), Some("me"), "agrees"),
            (Some(mark(None, 7, 7)), Some("me"), "agrees"),
            (Some(mark(ours, 7, 7)), None, "silent"),
            (Some(mark(ours, 11, 11)), Some("me"), "old copy"),
            (Some(mark(ours, 11, 11)), None, "old copy"),
            (Some(mark(ours, 7, 8)), Some("me"), "another log"),
            (Some(mark(Some("older.example/log"), 99, 9)), Some("me"), "silent"),
            (Some(mark(Some("foreign.example/log"), 7, 7)), Some("me"), "another name"),
        ] {
            assert_eq!(judged(&directives(mark.clone(), identity)), expected, "{mark:?} {identity:?}");
        }
        let malformed = LogMark { root: "zz".to_owned(), ..mark(ours, 7, 7) };
        assert_eq!(judged(&directives(Some(malformed), Some("me"))), "another log");
        let twin = Directives { log_refused: Some("a twin".to_owned()), ..directives(None, Some("me")) };
        assert_eq!(judged(&twin), "refused");
    }

    #[test]
    fn nothing_is_signed_before_the_guard_is_armed() {
        let guard = Guard::new(Sources::default());
        assert!(guard.may_sign().is_err());
        guard.arm();
        guard.may_sign().unwrap();
        guard.operator_says(Some(Answer::Objects("an old copy".to_owned())));
        assert_eq!(guard.may_sign().unwrap_err(), "an old copy");
        assert_eq!(guard.report().state, FenceState::Refused);
    }
}

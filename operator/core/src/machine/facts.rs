//! What the machine's next step depends on, gathered by the caller: plain values, no object of the API.

use std::time::Duration;

use jiff::Timestamp;

use super::Target;
use crate::digest::Digest;
use crate::gate::Gates;

/// The relay's pod as seen by the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodFact {
    /// It cannot be said which template a pod has: the StatefulSet does not carry the rolled one yet, or its controller
    /// has not looked at it.
    Unknown,
    /// There is none.
    Absent,
    /// It runs another template than the rolled one.
    Old {
        /// Its UID.
        uid: String,
        /// It takes requests now, so it must be drained first.
        serving: bool,
        /// It has been told to end.
        terminating: bool,
    },
    /// It runs the rolled template.
    New {
        /// Its UID.
        uid: String,
        /// It takes requests now, so it must be drained before another roll.
        serving: bool,
        /// Since when it is not ready, if it is not.
        unready_since: Option<Timestamp>,
        /// Its container has ended at least once.
        restarted: bool,
    },
}

impl Facts {
    /// The spec asks for what was good last, and something else is rolled.
    pub fn wants_back(&self) -> bool {
        let desired = self.desired.as_ref().map(|desired| &desired.template);
        desired.is_some() && desired == self.last_good.as_ref() && self.has_way_back()
    }

    /// Something else than the rolled template was good before.
    pub fn has_way_back(&self) -> bool {
        self.last_good.is_some() && self.last_good != self.rolled
    }

    /// The window in which this roll began has closed, and it had to be over.
    pub fn overran(&self, now: Timestamp) -> bool {
        self.closes.is_some_and(|closes| now >= closes)
    }
}

impl PodFact {
    pub(super) fn uid(&self) -> Option<&str> {
        match self {
            Self::Unknown | Self::Absent => None,
            Self::Old { uid, .. } | Self::New { uid, .. } => Some(uid),
        }
    }

    pub(super) fn serves(&self) -> bool {
        matches!(self, Self::Old { serving: true, .. } | Self::New { serving: true, .. })
    }
}

/// How far the drain has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainProgress {
    /// Something is in flight, or the relay has not taken the directive yet.
    Running,
    /// Nothing is in flight.
    Done,
    /// The deadline has passed and policy says to go on (or the relay cannot be asked: SIGTERM drains it too).
    GoOn,
}

/// Whether the new pod is healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Ready, reachable with its pinned key, and its log continues.
    Pass,
    /// Not yet.
    Wait,
    /// The pod is ready, and nobody has asked the relay yet (a new leader): evidence of nothing, however late it is.
    Unasked,
    /// It will not become healthy by waiting: the log lost entries, or the key changed.
    Fail(String),
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From a new pod to a healthy one.
    pub health: Duration,
    /// How long it must stay healthy.
    pub settle: Duration,
    /// The pod's termination grace.
    pub grace: Duration,
    /// How long a drain waits for what is in flight.
    pub drain: Duration,
}

/// Everything the machine looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The template last rolled (in `<relay>-state`).
    pub rolled: Option<Digest>,
    /// The template the spec wants; `None` while it cannot be known.
    pub desired: Option<Target>,
    /// The template that was healthy last.
    pub last_good: Option<Digest>,
    /// The desired template has failed before and nobody asked for a retry.
    pub rejected: bool,
    /// The image that the pod runs has failed before.
    pub pod_rejected: bool,
    /// What may hold back a step.
    pub gates: Gates,
    /// The pod.
    pub pod: PodFact,
    /// The drain asked for by this machine.
    pub drain: DrainProgress,
    /// The health of a new pod.
    pub probe: Probe,
    /// The API server refuses the StatefulSet with the rolled template, and says why.
    pub refused: Option<String>,
    /// When the window closes in which this roll began, if it must be over by then.
    pub closes: Option<Timestamp>,
    /// How long things may take.
    pub timing: Timing,
}

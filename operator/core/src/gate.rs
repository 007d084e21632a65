//! Gates: what may hold back a disruptive step.
//!
//! The machine asks three gates (verification, approval, window) and knows nothing of how they are computed; signature
//! checks, approval documents and schedules supply them. Pure values.

use jiff::Timestamp;

/// Whether a step may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// Go on.
    Open,
    /// Not now.
    Closed {
        /// For the condition `UpdateBlocked`.
        reason: &'static str,
        /// One sentence: what it waits for.
        message: String,
        /// Nothing changes before, if that is known.
        until: Option<Timestamp>,
    },
    /// Waiting cannot help; only an edit can.
    Never {
        /// For the condition `UpdateBlocked`.
        reason: &'static str,
        /// One sentence: what to edit.
        message: String,
    },
}

impl Gate {
    /// Whether the step may start.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Reason and message, unless open.
    pub fn blocked(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Open => None,
            Self::Closed { reason, message, .. } | Self::Never { reason, message } => Some((reason, message)),
        }
    }
}

/// The gates between a wanted template and a replaced pod, in the order they are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gates {
    /// The image is what its makers signed.
    pub verification: Gate,
    /// A person, or a policy in their name, agreed.
    pub approval: Gate,
    /// Now is a time at which a step may start.
    pub window: Gate,
}

impl Gates {
    /// Nothing holds back.
    pub const OPEN: Self = Self { verification: Gate::Open, approval: Gate::Open, window: Gate::Open };
}

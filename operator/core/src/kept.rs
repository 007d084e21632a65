//! What was said of a relay before, for as long as it has not been asked again.
//!
//! A new leader has heard no relay yet. What only the relay itself can tell (its log, its key, its drain, its token) is then
//! repeated from the stored status, or every restart of the operator would call each relay healthy for a moment and take it
//! back. Pure; called by [`crate::decide`] and [`crate::situation`].

use paramant_crds::ParamantRelayStatus;
use paramant_crds::condition::{DEGRADED, READY, STALLED};
use paramant_crds::relay;
use paramant_protocol::control::DrainState;

use crate::conditions::find;
use crate::situation::Said;

/// The stored status of a relay whose pod is ready and that was not asked yet.
#[derive(Debug, Clone, Copy)]
pub struct Kept<'a>(&'a ParamantRelayStatus);

impl<'a> Kept<'a> {
    /// Only for a pod that is ready and not asked yet.
    pub fn of(status: &'a ParamantRelayStatus) -> Self {
        Self(status)
    }

    /// Why only a person could help.
    pub fn stuck(self) -> Option<Said> {
        self.said(STALLED, "True", &["ControlKeyChanged", "LogBroken", "LogFenced"])
    }

    /// Why it was refused for another relay's sake.
    pub fn rival(self) -> Option<String> {
        self.said(STALLED, "True", &["IdentityConflict"]).map(|(_, why)| why)
    }

    /// What was wrong though it served.
    pub fn degraded(self) -> Option<Said> {
        self.said(DEGRADED, "True", &["ControlUnreachable", "AdminTokenMissing"])
    }

    /// Why it did not count as serving though its pod was ready.
    pub fn unready(self) -> Option<Said> {
        self.said(READY, "False", &["ControlUnreachable"])
    }

    /// How far a drain had come.
    pub fn drain(self) -> Option<DrainState> {
        Some(match self.0.drain.as_ref()?.state? {
            relay::DrainState::Serving => DrainState::Serving,
            relay::DrainState::Draining => DrainState::Draining,
            relay::DrainState::Drained => DrainState::Drained,
        })
    }

    fn said(self, type_: &str, status: &str, reasons: &[&'static str]) -> Option<Said> {
        let said = find(&self.0.conditions, type_).filter(|it| it.status == status)?;
        let reason = reasons.iter().find(|reason| **reason == said.reason)?;
        Some((reason, said.message.clone()))
    }
}

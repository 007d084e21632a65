//! The rules in force for one relay: the policy it names, or the built-in one.
//!
//! A policy that contradicts itself keeps the last accepted spec in force; one that is missing, or was never accepted,
//! admits no disruptive step, and drains work all the same. Pure; called by [`crate::decide`].

mod approval;
mod trust;
mod windows;

use std::time::Duration;

use jiff::Timestamp;
use paramant_crds::policy::{Mode, OnDeadline, Overrun, Verification};
use paramant_crds::{ParamantPolicy, ParamantPolicySpec, Span};
use paramant_protocol::control::{RemoteAnswer, RemoteDirective};

pub use self::approval::{AWAITING, Asked};
use self::windows::Windows;
use crate::acceptance;
use crate::gate::Gate;
use crate::observation::Referenced;
use crate::remote::answers;

/// Effective values, each with the default api.md gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Drain every relay under this policy.
    pub drain: bool,
    /// How long a drain waits for what is in flight.
    pub deadline: Duration,
    /// How long nothing must be in flight.
    pub drain_settle: Duration,
    /// What happens at the deadline.
    pub on_deadline: OnDeadline,
    /// From a new pod to a healthy one.
    pub health: Duration,
    /// How long a new pod must stay healthy.
    pub settle: Duration,
    /// When changes may be rolled.
    windows: Windows,
    /// Who decides that a release is rolled.
    pub mode: Mode,
    /// No policy is named: nobody said when an offer may be applied.
    pub built_in: bool,
    /// What happens to a step that is still running when its window closes.
    pub overrun: Overrun,
    /// How often one template is tried.
    pub max_attempts: u32,
    /// An older release may be rolled.
    pub allow_downgrade: bool,
    /// A release whose data the running one cannot read again may be rolled.
    pub allow_no_rollback: bool,
    /// Unclaimed files in memory may be lost at the drain's deadline.
    pub accept_loss: bool,
    /// Whose signatures an image needs, where the policy says so.
    pub verification: Verification,
    /// How a vendor's requests are answered.
    pub remote: RemoteDirective,
    /// Why no disruptive step may start, if none may.
    pub suspended: Option<Suspended>,
}

/// Why no disruptive step may start under these rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suspended {
    /// The policy does not exist.
    Missing {
        /// Its name.
        name: String,
    },
    /// It contradicts itself, and no earlier version of it was accepted.
    NeverAccepted {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Rules {
    /// The rules that follow from a reference.
    pub fn of(policy: &Referenced<ParamantPolicy>, now: Timestamp) -> Self {
        match policy {
            Referenced::Unreferenced => {
                Self { built_in: true, ..Self::from_spec(&ParamantPolicySpec::default()) }
            }
            Referenced::Missing { name } => Self {
                suspended: Some(Suspended::Missing { name: name.clone() }),
                ..Self::from_spec(&ParamantPolicySpec::default())
            },
            Referenced::Found(policy) => Self::of_policy(policy, now),
        }
    }

    fn of_policy(policy: &ParamantPolicy, now: Timestamp) -> Self {
        let objection = match acceptance::judge(policy, now) {
            Ok(rules) => return rules,
            Err(objection) => objection,
        };
        let accepted = policy.status.as_ref().and_then(|status| status.accepted.as_ref()?.parse().ok());
        match accepted {
            Some(spec) => {
                let rules = Self::from_spec(&spec);
                Self { remote: answers::with_denied(rules.remote, &policy.spec), ..rules }
            }
            None => Self {
                remote: answers::with_denied(answers::of(&ParamantPolicySpec::default()), &policy.spec),
                suspended: Some(Suspended::NeverAccepted {
                    name: policy.metadata.name.clone().unwrap_or_default(),
                    problem: objection.message,
                }),
                // A drain it asks for is still honoured: refusing uploads is never the dangerous side.
                ..Self::from_spec(&ParamantPolicySpec {
                    drain: policy.spec.drain.clone(),
                    ..Default::default()
                })
            },
        }
    }

    /// The rules of this spec, whatever its policy's standing.
    pub(crate) fn from_spec(spec: &ParamantPolicySpec) -> Self {
        let drain = spec.drain.clone().unwrap_or_default();
        let updates = spec.updates.clone().unwrap_or_default();
        let or = |span: &Option<Span>, default: u64| {
            span.as_ref().and_then(Span::duration).unwrap_or(Duration::from_secs(default))
        };
        Self {
            drain: drain.active.unwrap_or_default(),
            deadline: or(&drain.deadline, 30 * 60),
            drain_settle: or(&drain.settle, 10),
            on_deadline: drain.on_deadline.unwrap_or_default(),
            health: or(&updates.health_timeout, 60),
            settle: or(&updates.settle, 5 * 60),
            windows: Windows::of(&updates),
            mode: updates.mode.unwrap_or_default(),
            built_in: false,
            overrun: updates.overrun.unwrap_or_default(),
            max_attempts: updates.max_attempts.unwrap_or(1).max(1),
            allow_downgrade: updates.allow_downgrade.unwrap_or_default(),
            allow_no_rollback: updates.allow_no_rollback.unwrap_or_default(),
            accept_loss: updates.accept_loss.unwrap_or_default(),
            verification: spec.verification.clone().unwrap_or_default(),
            remote: answers::of(spec),
            suspended: None,
        }
    }

    /// Whether an offer may become what is wanted, under a licence of this tier. It then goes through the same gates as any image.
    pub fn follow_offers(&self, tier: Option<&str>) -> bool {
        let by_mode = match self.mode {
            Mode::Manual => false,
            Mode::Window | Mode::Approval => true,
            Mode::ByTier => matches!(tier, Some("Pro" | "Enterprise")),
        };
        let refused = self.remote.answers.update_offer == RemoteAnswer::Refuse;
        by_mode && !refused && !self.built_in && self.suspended.is_none()
    }

    /// The gate of a policy that is not in force; open if it is.
    pub fn suspension(&self) -> Gate {
        match &self.suspended {
            None => Gate::Open,
            Some(Suspended::Missing { name }) => Gate::Closed {
                reason: "PolicyMissing",
                message: format!(
                    "the ParamantPolicy {name} does not exist, so nothing may be replaced: create it"
                ),
                until: None,
            },
            Some(Suspended::NeverAccepted { name, problem }) => Gate::Closed {
                reason: "PolicyNotAccepted",
                message: format!(
                    "the ParamantPolicy {name} was never accepted, so nothing may be replaced: {problem}"
                ),
                until: None,
            },
        }
    }
}

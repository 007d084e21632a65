//! Whether a policy can be in force: what the schema says, what only the operator knows (zones, the calendar), and whether
//! it ever lets anything happen.
//!
//! A policy with an objection leaves the last accepted one in force, so an objection is a sentence about what to edit, with a
//! word of its own for machines. Pure; called by [`crate::rules`] and [`crate::standing`].

use jiff::Timestamp;
use paramant_crds::ParamantPolicy;

use crate::rules::Rules;
use crate::validation;

/// Why a policy is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// For the condition `Accepted`.
    pub reason: &'static str,
    /// What to edit, in one sentence.
    pub message: String,
}

/// The rules of a policy that can be in force, or what a person must change in it.
pub fn judge(policy: &ParamantPolicy, now: Timestamp) -> Result<Rules, Objection> {
    let rules = Rules::from_spec(&policy.spec);
    if let Err(unreadable) = rules.schedule() {
        return Err(Objection { reason: unreadable.reason(), message: unreadable.to_string() });
    }
    if let Some(message) = validation::policy_problem(policy) {
        return Err(Objection { reason: "Contradiction", message });
    }
    // Under which no update would ever start is a mistake, not a wish: that is what `mode: Manual` is for.
    match rules.never_opens(now) {
        Some(message) => Err(Objection { reason: "NeverOpen", message }),
        None => Ok(rules),
    }
}

#[cfg(test)]
mod tests;

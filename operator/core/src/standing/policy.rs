//! The whole next status of a policy, and when it will be another one.
//!
//! What it says of the time ahead stands still between two edges: see [`crate::window::Outlook`].

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use paramant_crds::condition::{ACCEPTED, REACHABLE};
use paramant_crds::policy::AcceptedPolicy;
use paramant_crds::{ParamantPolicy, ParamantPolicySpec, ParamantPolicyStatus};
use serde_json::Value;

use super::say_stalled;
use crate::acceptance;
use crate::conditions::{Conditions, Truth};
use crate::rules::Rules;
use crate::status::whole_seconds;
use crate::window::Outlook;

/// The next status of a policy that this many relays name, and when to look at it again if nothing else happens.
pub fn policy_status(
    policy: &ParamantPolicy,
    relays: u32,
    now: Timestamp,
) -> (ParamantPolicyStatus, Option<Timestamp>) {
    let before = policy.status.clone().unwrap_or_default();
    let generation = policy.metadata.generation;
    let mut conditions = Conditions::after(&before.conditions, generation, whole_seconds(now));
    let (accepted, rules) = match acceptance::judge(policy, now) {
        Ok(rules) => {
            conditions.say(ACCEPTED, true, "Accepted", "the policy is in force");
            say_stalled(&mut conditions, None);
            (in_force(&policy.spec, generation).or(before.accepted), Some(rules))
        }
        Err(objection) => {
            let former = match &before.accepted {
                Some(accepted) => format!("generation {} stays in force", accepted.generation),
                None => "no policy is in force, so nothing may be replaced".to_owned(),
            };
            let message = format!("{}; {former}", objection.message);
            conditions.say(ACCEPTED, false, objection.reason, message.clone());
            say_stalled(&mut conditions, Some((objection.reason, message)));
            let rules = before.accepted.as_ref().and_then(|it| it.parse().ok());
            (before.accepted, rules.as_ref().map(Rules::from_spec))
        }
    };
    let outlook = rules.as_ref().and_then(|rules| Some(rules.schedule().ok()?.outlook(now, rules.step())));
    say_reachable(&mut conditions, outlook.as_ref());
    let status = ParamantPolicyStatus {
        observed_generation: generation,
        accepted,
        relays: Some(relays),
        conditions: conditions.finish(),
        next_window: outlook.and_then(|outlook| outlook.next_window).map(Time),
        reachable_minutes_32d: outlook.map(|outlook| outlook.reachable_minutes),
    };
    (status, outlook.and_then(|outlook| outlook.edge))
}

fn in_force(spec: &ParamantPolicySpec, generation: Option<i64>) -> Option<AcceptedPolicy> {
    match (serde_json::to_value(spec), generation) {
        (Ok(Value::Object(spec)), Some(generation)) => Some(AcceptedPolicy { generation, spec }),
        _ => None,
    }
}

/// Whether the rules in force let anything start in the time ahead. No sentence here names how much of it is left.
fn say_reachable(conditions: &mut Conditions<'_>, outlook: Option<&Outlook>) {
    let Some(outlook) = outlook else {
        conditions.say(REACHABLE, Truth::Unknown, "NotAccepted", "no policy is in force");
        return;
    };
    let next = outlook.next_window.map_or_else(
        || "none will ever do: edit spec.updates.windows or spec.updates.exclusions".to_owned(),
        |next| format!("the next one that does opens at {next}"),
    );
    match (outlook.admits, outlook.reachable_minutes) {
        (true, _) => conditions.say(REACHABLE, true, "Reachable", "an update can start within 32 days"),
        (false, 0) => conditions.say(
            REACHABLE,
            false,
            "NoReachableMinutes",
            format!("no minute of the next 32 days is inside a window and outside every exclusion; {next}"),
        ),
        (false, _) => conditions.say(
            REACHABLE,
            false,
            "TooLittleRoom",
            format!("the exclusions leave no window of the next 32 days long enough for an update; {next}"),
        ),
    }
}

#[cfg(test)]
mod tests;

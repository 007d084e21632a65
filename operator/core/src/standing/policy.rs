//! The whole next status of a policy, and when it will be another one.
//!
//! What it says of the time ahead stands still between two edges: see [`crate::window::Outlook`]. A relay that no window suits
//! is told of here and does not unseat the policy, which is in force for others too.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use paramant_crds::condition::{ACCEPTED, REACHABLE};
use paramant_crds::policy::AcceptedPolicy;
use paramant_crds::relay::Payload;
use paramant_crds::{ParamantPolicy, ParamantPolicySpec, ParamantPolicyStatus, ParamantRelay};
use serde_json::Value;

use super::say_stalled;
use crate::acceptance;
use crate::change::Change;
use crate::conditions::{Conditions, Truth};
use crate::drain;
use crate::gate::Gate;
use crate::rules::Rules;
use crate::status::whole_seconds;
use crate::window::Outlook;

/// The next status of a policy that these relays name, and when to look at it again if nothing else happens.
pub fn policy_status(
    policy: &ParamantPolicy,
    relays: &[&ParamantRelay],
    now: Timestamp,
) -> (ParamantPolicyStatus, Option<Timestamp>) {
    let before = policy.status.clone().unwrap_or_default();
    let generation = policy.metadata.generation;
    let mut conditions = Conditions::after(&before.conditions, generation, whole_seconds(now));
    let (accepted, rules) = match acceptance::judge(policy, now) {
        Ok(rules) => {
            conditions.say(ACCEPTED, true, "Accepted", "the policy is in force");
            say_stalled(&mut conditions, None);
            (recorded(&policy.spec, generation).or(before.accepted), Some(rules))
        }
        Err(objection) => {
            let former = match &before.accepted {
                Some(accepted) => format!("generation {} stays in force", accepted.generation),
                None => "no policy is in force, so nothing may be replaced".to_owned(),
            };
            let message = format!("{}; {former}", objection.message);
            conditions.say(ACCEPTED, false, objection.reason, message.clone());
            say_stalled(&mut conditions, Some((objection.reason, message)));
            let spec = before.accepted.as_ref().and_then(|it| it.parse().ok());
            let rules = spec.map(|spec| Rules::from_spec(&spec));
            (before.accepted, rules)
        }
    };
    let outlook = rules.as_ref().and_then(|rules| Some(rules.schedule().ok()?.outlook(now, rules.step())));
    let unsuited = rules.as_ref().and_then(|rules| unsuited(rules, relays, now));
    say_reachable(&mut conditions, outlook.as_ref(), unsuited);
    let status = ParamantPolicyStatus {
        observed_generation: generation,
        accepted,
        relays: Some(u32::try_from(relays.len()).unwrap_or(u32::MAX)),
        conditions: conditions.finish(),
        next_window: outlook.and_then(|outlook| outlook.next_window).map(Time),
        reachable_minutes_32d: outlook.map(|outlook| outlook.reachable_minutes),
    };
    (status, outlook.and_then(|outlook| outlook.edge))
}

fn recorded(spec: &ParamantPolicySpec, generation: Option<i64>) -> Option<AcceptedPolicy> {
    match (serde_json::to_value(spec), generation) {
        (Ok(Value::Object(spec)), Some(generation)) => Some(AcceptedPolicy { generation, spec }),
        _ => None,
    }
}

/// The first relay whose files in memory may wait for their receivers longer than any window is: none would ever do.
fn unsuited(rules: &Rules, relays: &[&ParamantRelay], now: Timestamp) -> Option<String> {
    let in_memory = relays.iter().filter(|relay| {
        relay.spec.storage.as_ref().and_then(|storage| storage.payload) == Some(Payload::Memory)
    });
    let unsuited = in_memory.filter_map(|relay| {
        let wait = drain::longest_wait(&relay.spec);
        let step = rules.step_in_memory(wait);
        let never = matches!(rules.window_gate(Change::Image, now, step), Gate::Never { .. });
        never.then_some((relay.metadata.name.as_deref()?, wait.as_secs() / 60))
    });
    unsuited.min().map(|(name, minutes)| {
        format!(
            "the relay {name} keeps files in memory that wait up to {minutes} minutes for their receivers, longer than any window: lengthen a window, shorten that relay's spec.limits.maxTtl, or let them be lost by spec.drain.onDeadline: Proceed and spec.updates.acceptLoss: true"
        )
    })
}

/// Whether the rules in force let anything start in the time ahead. No sentence here names how much of it is left.
fn say_reachable(conditions: &mut Conditions<'_>, outlook: Option<&Outlook>, unsuited: Option<String>) {
    let Some(outlook) = outlook else {
        conditions.say(REACHABLE, Truth::Unknown, "NotAccepted", "no policy is in force");
        return;
    };
    let next = outlook.next_window.map_or_else(
        || "none will ever do: edit spec.updates.windows or spec.updates.exclusions".to_owned(),
        |next| format!("the next one that does opens at {next}"),
    );
    match (outlook.admits, outlook.reachable_minutes) {
        (true, _) if unsuited.is_some() => {
            conditions.say(REACHABLE, false, "TooShortForMemory", unsuited.unwrap_or_default())
        }
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

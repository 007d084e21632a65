//! How a vendor's requests are answered: from the policy in force to the words the relay is told.
//!
//! Saying no is never the dangerous side, so ids that a policy denies or revokes count also while the policy is not accepted,
//! and while nothing else new reaches a relay. No beats yes. Sets are told in one order: writing one anew in another order is
//! no change. Pure; called by [`crate::rules`] and [`crate::decide`].

use std::collections::BTreeSet;

use paramant_crds::policy::{Answer, RemoteActions};
use paramant_crds::text::RequestId;
use paramant_crds::{ParamantPolicySpec, Span};
use paramant_protocol::control::{RemoteAnswer, RemoteAnswers, RemoteDirective, SUPPORT_SECONDS};

/// The directive that follows from a policy's spec; from an empty one, that of the built-in policy.
pub(crate) fn of(spec: &ParamantPolicySpec) -> RemoteDirective {
    let actions = spec.remote_actions.clone().unwrap_or_default();
    let longest = spec.support_access.as_ref().and_then(|access| access.max_duration.as_ref());
    let longest = longest.and_then(Span::duration).map_or(SUPPORT_SECONDS, |longest| longest.as_secs());
    let denied = denied(spec);
    let mut approved: BTreeSet<String> = ids(actions.approved.iter().map(RequestId::as_str));
    if let Some(access) = &spec.support_access {
        approved.extend(ids(access.approved.iter().map(|id| id.as_str())));
    }
    approved.retain(|id| !denied.contains(id));
    RemoteDirective {
        answers: answers(&actions),
        support_seconds: Some(longest),
        approved: approved.into_iter().collect(),
        denied: denied.into_iter().collect(),
    }
}

/// A directive with what another spec of the same policy refuses besides.
pub(crate) fn with_denied(directive: RemoteDirective, spec: &ParamantPolicySpec) -> RemoteDirective {
    let mut all = denied(spec);
    all.extend(directive.denied);
    let approved = directive.approved.into_iter().filter(|id| !all.contains(id)).collect();
    RemoteDirective { approved, denied: all.into_iter().collect(), ..directive }
}

/// The directive while nothing new may reach the relay: of what is wanted only what is stricter than what it was told, or than
/// the built-in policy if it was told nothing.
pub(crate) fn withheld(wanted: &RemoteDirective, told: Option<&RemoteDirective>) -> RemoteDirective {
    let built_in = of(&ParamantPolicySpec::default());
    let told = told.unwrap_or(&built_in);
    let (was, is) = (&told.answers, &wanted.answers);
    let approved = |id: &&String| told.approved.contains(id);
    RemoteDirective {
        answers: RemoteAnswers {
            support_key: stricter(was.support_key, is.support_key),
            update_offer: stricter(was.update_offer, is.update_offer),
            drain: stricter(was.drain, is.drain),
            capability: stricter(was.capability, is.capability),
        },
        support_seconds: match (told.support_seconds, wanted.support_seconds) {
            (Some(was), Some(is)) => Some(was.min(is)),
            (was, is) => was.or(is),
        },
        approved: wanted.approved.iter().filter(approved).cloned().collect(),
        denied: wanted.denied.clone(),
    }
}

fn answers(actions: &RemoteActions) -> RemoteAnswers {
    let default = RemoteAnswers::default();
    let or = |said: Option<Answer>, default| match said {
        None => default,
        Some(Answer::Allow) => RemoteAnswer::Allow,
        Some(Answer::Ask) => RemoteAnswer::Ask,
        Some(Answer::Refuse) => RemoteAnswer::Refuse,
    };
    RemoteAnswers {
        support_key: or(actions.support_key, default.support_key),
        update_offer: or(actions.update_offer, default.update_offer),
        drain: or(actions.drain, default.drain),
        capability: or(actions.capability, default.capability),
    }
}

fn denied(spec: &ParamantPolicySpec) -> BTreeSet<String> {
    let requests = spec.remote_actions.iter().flat_map(|actions| &actions.denied).map(RequestId::as_str);
    let keys = spec.support_access.iter().flat_map(|access| &access.revoked).map(|id| id.as_str());
    ids(requests.chain(keys))
}

/// Those that can name a request: the ids of support keys are looser in the schema than any request is.
fn ids<'a>(texts: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    texts.filter(|text| RequestId::from(*text).is_valid()).map(str::to_owned).collect()
}

fn stricter(one: RemoteAnswer, other: RemoteAnswer) -> RemoteAnswer {
    let rank = |answer| match answer {
        RemoteAnswer::Allow => 0,
        RemoteAnswer::Ask => 1,
        RemoteAnswer::Refuse => 2,
    };
    if rank(one) >= rank(other) { one } else { other }
}

#[cfg(test)]
mod tests;

//! What a person reads of a change of the pod: how far it has come, or why it does not begin.

use paramant_crds::relay::{Phase, Step};

use super::{Evidence, Said, Situation, progressing, ready_now, refusal};
use crate::decide::VERIFYING;
use crate::target::{Desired, Unresolved};

/// A step of the machine that people should see as progress.
pub(super) fn rolling(it: &Evidence<'_>) -> Option<Situation> {
    let never_good = it.facts.last_good.is_none();
    let to = it.roll.target.as_ref().map_or("", |target| target.image.short());
    let step = it.roll.step;
    let message = match step {
        Step::Idle | Step::WaitingForApproval | Step::WaitingForWindow => return None,
        // With its gate closed it waits like the others, but for an answer that is on its way.
        Step::Verifying if it.facts.gates.verification.blocked().is_some_and(|(why, _)| why != VERIFYING) => {
            return None;
        }
        Step::Verifying => format!("checking {to} before it may run"),
        Step::Draining => {
            let also =
                if it.in_memory { ", and for files in memory to be fetched or to expire," } else { "" };
            format!(
                "waiting for uploads and claims in progress to end{also} before the pod is replaced by {to}"
            )
        }
        Step::Replacing => format!("replacing the pod by one that runs {to}"),
        Step::Probing => format!(
            "waiting up to {} s for the new pod with {to} to be healthy{}",
            it.facts.timing.health.as_secs(),
            it.pod.trouble.as_ref().map(|trouble| format!(": {}", trouble.message)).unwrap_or_default()
        ),
        Step::Settling => {
            let serves = it.pod.trouble.as_ref().map_or("serves", |trouble| trouble.message.as_str());
            format!(
                "{to}: {serves}; watching it for {} s before it counts as good",
                it.facts.timing.settle.as_secs()
            )
        }
        Step::RollingBack => {
            format!("putting the last good release back: {}", why_back(it))
        }
    };
    let phase = match step {
        Step::RollingBack => Phase::RollingBack,
        _ if never_good => Phase::Installing,
        _ => Phase::Updating,
    };
    let mut situation = progressing(phase, ready_now(it), (step_reason(step), message));
    if step == Step::RollingBack {
        situation.degraded = Some(("RollingBack", situation.message.clone()));
    }
    if let Some(refused) = it.refused {
        // The roll goes on without it, and a person can mend it meanwhile.
        situation.message = format!("{}; {}", situation.message, refusal(refused));
        situation.degraded.get_or_insert(("ChildRefused", refusal(refused)));
    }
    Some(situation)
}

/// Why it is rolled back. What names no failure was given up.
fn why_back(it: &Evidence<'_>) -> String {
    let target = it.roll.target.as_ref();
    let remembered = target.and_then(|target| it.durable.rejection(&target.template, &target.image));
    let goes_back = it.facts.last_good.as_ref() != target.map(|target| &target.template);
    // An offer that failed is wanted no more, so that what was good is wanted again; that is not why.
    if let Some(rejection) = remembered.filter(|_| goes_back) {
        return rejection.reason.clone();
    }
    if it.facts.desired.as_ref().map(|it| &it.template) == it.facts.last_good.as_ref() {
        return "the spec asks for it again".to_owned();
    }
    if let (true, Some(wanted)) = (it.facts.rejected, &it.facts.desired)
        && let Some(rejection) = it.durable.rejection(&wanted.template, &wanted.image)
    {
        return rejection.reason.clone();
    }
    if target.map(|target| &target.template) == it.facts.last_good.as_ref() {
        return "the window closed before the new one was healthy; the next window tries again".to_owned();
    }
    it.roll.failure.as_deref().unwrap_or("the new pod failed").to_owned()
}

fn step_reason(step: Step) -> &'static str {
    step.as_str()
}

/// Why what the spec wants does not run yet, though nothing is in progress.
pub(super) fn update_blocked(it: &Evidence<'_>) -> Option<Said> {
    it.durable.template.as_ref()?;
    match it.desired {
        Desired::Unresolved(Unresolved::Asked) => {
            return Some((
                "ResolvingImage",
                "waiting for the registry to say which digest spec.image means".into(),
            ));
        }
        Desired::Unresolved(Unresolved::Unavailable(why)) => {
            return Some((
                "RegistryUnavailable",
                format!("waiting for the registry to say which digest spec.image means: {why}"),
            ));
        }
        Desired::Unresolved(Unresolved::Refused(why)) => {
            return Some(("ImageNotFound", format!("spec.image names no image that can be had: {why}")));
        }
        Desired::Known { target, .. } if it.facts.rejected => {
            let rejection = it.durable.rejection(&target.template, &target.image)?;
            let name = rejection.image.as_ref().unwrap_or(&rejection.template);
            let how = match it.durable.retried.as_ref() == Some(name) {
                true => "remove spec.update.retry and set it again",
                false => "set spec.update.retry",
            };
            return Some((
                "RejectedDigest",
                format!(
                    "what the spec wants failed before ({}); edit it, or {how} to {name} to try again",
                    rejection.reason
                ),
            ));
        }
        Desired::Known { .. } => {}
    }
    let gates = &it.facts.gates;
    let waiting = match it.roll.step {
        Step::Verifying => gates.verification.blocked().filter(|(why, _)| *why != VERIFYING),
        Step::WaitingForApproval => gates.approval.blocked(),
        Step::WaitingForWindow => gates.window.blocked(),
        Step::Idle => None,
        _ => return None,
    };
    waiting.map(|(reason, message)| (reason, message.to_owned()))
}

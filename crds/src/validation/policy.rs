//! The rules of one ParamantPolicy, as far as they need no clock and no list of zones.

use std::time::Duration;

use super::{Findings, Violation, hours, minutes, seconds};
use crate::{
    clause,
    policy::{DrainPolicy, Mode, ParamantPolicy, RemoteActions, SupportAccess, Updates, Verification},
};

/// What must be written differently in a policy.
pub fn policy(policy: &ParamantPolicy) -> Vec<Violation> {
    let mut findings = Findings::default();
    let spec = &policy.spec;
    findings.name(clause::POLICY_NAME, policy.metadata.name.as_ref(), 63);
    if let Some(drain) = &spec.drain {
        check_drain(&mut findings, drain);
    }
    if let Some(updates) = &spec.updates {
        check_updates(&mut findings, updates);
    }
    if let Some(verification) = &spec.verification {
        check_verification(&mut findings, verification);
    }
    if let Some(actions) = &spec.remote_actions {
        check_remote(&mut findings, actions);
    }
    if let Some(access) = &spec.support_access {
        check_support(&mut findings, access);
    }
    findings.0
}

fn check_drain(findings: &mut Findings, drain: &DrainPolicy) {
    let path = "spec.drain.deadline";
    let (least, most) = (seconds(10), hours(168));
    findings.span_in(path, clause::DEADLINE_RANGE, drain.deadline.as_ref(), least, most);
    let deadline = drain.deadline.as_ref().map_or(Some(minutes(30)), |span| span.duration());
    let settle = match &drain.settle {
        Some(span) => findings.span("spec.drain.settle", Some(span)),
        None => Some(seconds(10)),
    };
    if let (Some(settle), Some(deadline)) = (settle, deadline) {
        findings.require("spec.drain", clause::SETTLE_WITHIN_DEADLINE, settle <= deadline);
    }
}

fn check_updates(findings: &mut Findings, updates: &Updates) {
    let has_windows = updates.mode != Some(Mode::Window) || !updates.windows.is_empty();
    findings.require("spec.updates", clause::WINDOW_MODE_HAS_WINDOWS, has_windows);
    for (index, window) in updates.windows.iter().enumerate() {
        let path = format!("spec.updates.windows[{index}].duration");
        findings.span_in(&path, clause::WINDOW_RANGE, Some(&window.duration), minutes(5), hours(168));
    }
    for (index, exclusion) in updates.exclusions.iter().enumerate() {
        let path = format!("spec.updates.exclusions[{index}]");
        // All are as long and in UTC, so the order of the texts is that of time, also where the calendar has no such day.
        let ordered = exclusion.from < exclusion.to;
        findings.require(&path, clause::EXCLUSION_ENDS_AFTER_START, ordered);
    }
    let timeout = updates.health_timeout.as_ref();
    let path = "spec.updates.healthTimeout";
    findings.span_in(path, clause::HEALTH_TIMEOUT_RANGE, timeout, seconds(10), hours(1));
    let settle = updates.settle.as_ref();
    findings.span_in("spec.updates.settle", clause::SETTLE_RANGE, settle, Duration::ZERO, hours(24));
}

fn check_verification(findings: &mut Findings, verification: &Verification) {
    let unsigned = verification.allow_unsigned.unwrap_or(false);
    let attested = verification.min_attestations.unwrap_or(0) > 0;
    findings.require("spec.verification", clause::UNSIGNED_OR_ATTESTED, !(unsigned && attested));
    for (index, key) in verification.keys.iter().enumerate() {
        let pem = key.pem.as_str();
        let public = pem.starts_with("-----BEGIN PUBLIC KEY-----") && !pem.contains("PRIVATE KEY");
        let path = format!("spec.verification.keys[{index}].pem");
        findings.require(&path, clause::KEY_IS_PUBLIC_PEM, public);
    }
}

fn check_remote(findings: &mut Findings, actions: &RemoteActions) {
    let disjoint = actions.approved.iter().all(|id| !actions.denied.contains(id));
    findings.require("spec.remoteActions", clause::APPROVED_NOT_DENIED, disjoint);
}

fn check_support(findings: &mut Findings, access: &SupportAccess) {
    let disjoint = access.approved.iter().all(|id| !access.revoked.contains(id));
    findings.require("spec.supportAccess", clause::APPROVED_NOT_REVOKED, disjoint);
    let longest = access.max_duration.as_ref();
    let path = "spec.supportAccess.maxDuration";
    findings.span_in(path, clause::SUPPORT_RANGE, longest, minutes(5), hours(24));
}

//! What may not change in a ParamantRelay once it exists.

use super::{Findings, Violation};
use crate::{clause, relay::ParamantRelay};

/// What must be written differently in `new`, because it differs from `old` where it may not.
pub fn relay_change(old: &ParamantRelay, new: &ParamantRelay) -> Vec<Violation> {
    let mut findings = Findings::default();
    let origin_of = |relay: &ParamantRelay| relay.spec.log.as_ref().and_then(|log| log.origin.clone());
    let (old_origin, new_origin) = (origin_of(old), origin_of(new));
    let reported = new.status.as_ref().and_then(|status| status.log.as_ref()?.origin.as_deref());
    let adopted = new_origin.as_ref().is_some_and(|origin| Some(origin.as_str()) == reported);
    findings.require("spec.log.origin", clause::LOG_ORIGIN_STAYS, old_origin == new_origin || adopted);

    let presence = old.spec.storage.is_some() == new.spec.storage.is_some();
    findings.require("spec.storage", clause::STORAGE_PRESENCE_STAYS, presence);
    if let (Some(before), Some(after)) = (&old.spec.storage, &new.spec.storage) {
        findings.require(
            "spec.storage.className",
            clause::STORAGE_CLASS_STAYS,
            before.class_name == after.class_name,
        );
        findings.require(
            "spec.storage.accessMode",
            clause::STORAGE_ACCESS_STAYS,
            before.access_mode == after.access_mode,
        );
        if let (Some(was), Some(is)) = (before.size_or_default().bytes(), after.size_or_default().bytes()) {
            findings.require("spec.storage.size", clause::STORAGE_GROWS, is >= was);
        }
    }
    findings.0
}

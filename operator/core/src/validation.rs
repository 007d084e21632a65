//! The rules of the schema, once more: an object may be older than a rule, or an API server may not have it yet.
//!
//! The table itself lives with the types, in `paramant_crds::validation`; here is what the operator makes of a violation, and
//! what no schema can say: a relay refuses settings with a witness or a host it cannot read, so none is ever
//! written; a key that cannot be read verifies nothing.

mod ca_bundle;
mod keys;
mod webhooks;
mod witnesses;

use paramant_crds::validation::{self, Violation};
use paramant_crds::{ParamantLicense, ParamantPolicy, ParamantRelay};

/// What a person must change in a relay before anything is done about it, in one sentence.
pub fn relay_problem(relay: &ParamantRelay) -> Option<String> {
    let witnesses = relay.spec.log.as_ref().and_then(|log| log.witnesses.as_ref());
    let webhooks = relay.spec.webhooks.as_ref();
    sentence(&validation::relay(relay))
        .or_else(|| witnesses.and_then(witnesses::problem))
        .or_else(|| webhooks.and_then(webhooks::problem))
}

/// What a person must change in a policy before it can be in force, in one sentence.
pub fn policy_problem(policy: &ParamantPolicy) -> Option<String> {
    let verification = policy.spec.verification.as_ref();
    sentence(&validation::policy(policy)).or_else(|| verification.and_then(keys::problem))
}

/// What a person must change in a licence, in one sentence. What runs keeps what its Secret grants.
pub fn license_problem(license: &ParamantLicense) -> Option<String> {
    sentence(&validation::license(license))
}

fn sentence(violations: &[Violation]) -> Option<String> {
    let said: Vec<String> = violations.iter().map(Violation::to_string).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

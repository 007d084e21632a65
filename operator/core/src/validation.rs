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
use paramant_crds::{ParamantLicense, ParamantLicenseSpec, ParamantPolicy, ParamantRelay};
use paramant_licensing::online::ENDPOINT;

use crate::children;
use crate::observation::Referenced;

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
pub fn license_problem(license: &ParamantLicense, endpoints: &[String]) -> Option<String> {
    sentence(&validation::license(license)).or_else(|| {
        let online = license.spec.online.as_ref()?;
        if let Some(problem) = ca_bundle::problem("spec.online.caBundle", online.ca_bundle.as_ref()) {
            return Some(problem);
        }
        let endpoint = children::endpoint(online);
        let known = endpoint == ENDPOINT || endpoints.iter().any(|it| it == endpoint);
        (!known).then(|| {
            format!(
                "spec.online.endpoint {endpoint} is not a licence server that this operator may name to relays: add it to the \
                 chart's license.endpoints, or leave the field out for the vendor's"
            )
        })
    })
}

/// The licence that a relay's reference names, if it breaks no rule.
pub fn followed<'a>(
    license: &'a Referenced<ParamantLicense>,
    endpoints: &[String],
) -> Option<&'a ParamantLicenseSpec> {
    match license {
        Referenced::Found(license) if license_problem(license, endpoints).is_none() => Some(&license.spec),
        _ => None,
    }
}

fn sentence(violations: &[Violation]) -> Option<String> {
    let said: Vec<String> = violations.iter().map(Violation::to_string).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

//! The rules of the schema, once more: an object may be older than a rule, or an API server may not have it yet.
//!
//! The table itself lives with the types, in `paramant_crds::validation`; here is what the operator makes of a violation, and
//! what no schema can say: a relay refuses settings with a witness or a host it cannot read, so none is ever
//! written; a key that cannot be read verifies nothing.

mod ca_bundle;
mod keys;
mod webhooks;
mod witnesses;

pub use self::ca_bundle::unreadable as unreadable_bundle;
use paramant_crds::validation::{self, Violation};
use paramant_crds::{ParamantLicense, ParamantPolicy, ParamantRelay};
use paramant_licensing::online::ENDPOINT;

use crate::children;
use crate::destination::Destination;
use crate::observation::{LicenseServers, Referenced};

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
pub fn license_problem(license: &ParamantLicense, servers: &LicenseServers) -> Option<String> {
    sentence(&validation::license(license)).or_else(|| {
        let online = license.spec.online.as_ref()?;
        let endpoint = children::endpoint(online);
        if endpoint != ENDPOINT && !servers.endpoints.iter().any(|it| it == endpoint) {
            return Some(format!(
                "spec.online.endpoint {endpoint} is not a licence server that this operator may name to relays: add it to the \
                 chart's license.endpoints, or leave the field out for the vendor's"
            ));
        }
        // A relay refuses its whole settings for an address that it cannot read.
        if Destination::of_url(endpoint).is_none() {
            return Some(format!("spec.online.endpoint {endpoint} is no address: write it as https://host[:port]/path"));
        }
        let path = endpoint.strip_prefix("https://").and_then(|rest| rest.split_once('/'));
        if path.is_none_or(|(_, path)| path.trim_end_matches('/').is_empty()) {
            return Some(format!("spec.online.endpoint {endpoint} has no path: write it as https://host[:port]/v1/license/check"));
        }
        let proxy = online.egress.proxy.as_ref().map(|proxy| proxy.as_str());
        let unread = proxy.filter(|proxy| Destination::of_url(proxy).is_none());
        unread.map(|proxy| format!("spec.online.egress.proxy {proxy} is no address: write it as http://host:port"))
    })
}

/// The licence that a relay's reference names, if it breaks no rule. `known`: the release that runs knows what it may ask for.
pub fn followed<'a>(
    license: &'a Referenced<ParamantLicense>,
    servers: &'a LicenseServers,
    known: bool,
) -> Option<children::License<'a>> {
    let Referenced::Found(license) = license else { return None };
    license_problem(license, servers).is_none().then(|| children::License {
        spec: &license.spec,
        online: license.spec.online.as_ref(),
        ca_bundle: servers.ca_bundle.as_deref(),
        known,
    })
}

fn sentence(violations: &[Violation]) -> Option<String> {
    let said: Vec<String> = violations.iter().map(Violation::to_string).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

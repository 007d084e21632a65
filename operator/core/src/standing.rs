//! What policies and licences say of themselves: their whole next status.
//!
//! A policy without a contradiction is accepted as it stands; one with keeps the last accepted spec in force. A licence shows
//! what the relays under it report, for the operator never reads its Secret. Both hold nothing that changes by the second.
//! Pure; called by the controller for each object when it, or a relay that names it, changed.

mod policy;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use paramant_crds::condition::{STALLED, VALID};
use paramant_crds::license::{LicensedRelay, LicensedState};
use paramant_crds::relay::LicenseSource;
use paramant_crds::{ParamantLicense, ParamantLicenseStatus, ParamantRelay};

pub use self::policy::policy_status;
use crate::conditions::Conditions;
use crate::situation::Said;
use crate::status::whole_seconds;
use crate::validation;

/// What kstatus reads as failed: only a person can help.
fn say_stalled(conditions: &mut Conditions<'_>, said: Option<Said>) {
    match said {
        Some((reason, message)) => conditions.say(STALLED, true, reason, message),
        None => conditions.say(STALLED, false, "NotStalled", "nothing waits for a person"),
    }
}

/// The next status of a licence, from the statuses of the relays that name it.
pub fn license_status(
    license: &ParamantLicense,
    relays: &[&ParamantRelay],
    now: Timestamp,
) -> ParamantLicenseStatus {
    let before = license.status.clone().unwrap_or_default();
    let generation = license.metadata.generation;
    let mut conditions = Conditions::after(&before.conditions, generation, whole_seconds(now));
    let reports: Vec<_> = relays.iter().filter_map(|relay| relay.status.as_ref()?.license.as_ref()).collect();
    // All relays mount one Secret; where they differ, one of them has not read it yet.
    let best =
        reports.iter().find(|report| report.source.is_some_and(|source| source != LicenseSource::None));
    match (best, reports.is_empty(), relays.is_empty()) {
        (Some(report), ..) => {
            let tier = report.tier.as_deref().unwrap_or("a licence");
            conditions.say(VALID, true, "Valid", format!("{tier} counts on the relays that report"));
        }
        (None, _, true) => conditions.keep(VALID, "NoRelay", "no relay names this licence, so none reports on it"),
        (None, true, false) => conditions.keep(VALID, "NotReported", "waiting for a relay that names this licence to report"),
        (None, false, false) => conditions.say(
            VALID,
            false,
            "NoValidLicense",
            format!(
                "no licence in the Secret {} counts on any relay; the condition LicenseValid of each relay says why",
                license.spec.secret_ref.name
            ),
        ),
    }
    let problem = validation::license_problem(license);
    let problem = problem.map(|problem| ("InvalidSpec", format!("the spec breaks a rule: {problem}")));
    say_stalled(&mut conditions, problem);
    let mut named: Vec<LicensedRelay> = relays
        .iter()
        .filter_map(|relay| {
            let report = relay.status.as_ref().and_then(|status| status.license.as_ref());
            let state = match report.and_then(|report| report.source) {
                None => LicensedState::Unknown,
                Some(LicenseSource::None) => LicensedState::Community,
                Some(LicenseSource::Cache) => LicensedState::Grace,
                Some(_) => LicensedState::Active,
            };
            Some(LicensedRelay {
                name: relay.metadata.name.clone()?,
                state: Some(state),
                ..LicensedRelay::default()
            })
        })
        .collect();
    named.sort_by(|a, b| a.name.cmp(&b.name));
    named.truncate(1000);
    ParamantLicenseStatus {
        observed_generation: generation,
        tier: best.and_then(|report| report.tier.clone()),
        max_users: best.and_then(|report| report.max_users),
        expires_at: best.and_then(|report| report.valid_until.clone()).map(|at| Time(whole_seconds(at.0))),
        source: best.and_then(|report| report.source),
        issued_to: before.issued_to,
        relays: named,
        conditions: conditions.finish(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use paramant_crds::condition::Condition;
    use serde_json::{Value, json};

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn said<'c>(conditions: &'c [Condition], type_: &str) -> (&'c str, &'c str) {
        let it = crate::conditions::find(conditions, type_).unwrap();
        (&it.status, &it.reason)
    }

    #[test]
    fn a_licence_that_breaks_a_rule_says_which_and_reads_as_failed() {
        let license = |spec: Value| -> ParamantLicense {
            serde_json::from_value(json!({
                "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantLicense",
                "metadata": {"name": "acme", "namespace": "n", "generation": 1}, "spec": spec,
            }))
            .unwrap()
        };
        let bad = license(json!({"secretRef": {"name": "s"}, "telemetry": {"enabled": true}}));
        let status = license_status(&bad, &[], NOW);
        assert_eq!(said(&status.conditions, "Stalled"), ("True", "InvalidSpec"));
        let stalled = crate::conditions::find(&status.conditions, "Stalled").unwrap();
        assert!(stalled.message.contains("spec.telemetry"), "{}", stalled.message);
        let good = license(json!({"secretRef": {"name": "s"}}));
        assert_eq!(said(&license_status(&good, &[], NOW).conditions, "Stalled"), ("False", "NotStalled"));
    }

    #[test]
    fn a_licence_shows_what_its_relays_report() {
        let license: ParamantLicense = serde_json::from_value(json!({
            "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantLicense",
            "metadata": {"name": "acme", "namespace": "n", "generation": 1},
            "spec": {"secretRef": {"name": "acme-license"}},
        }))
        .unwrap();
        let relay = |name: &str, status: Value| -> ParamantRelay {
            serde_json::from_value(json!({
                "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantRelay",
                "metadata": {"name": name, "namespace": "n"}, "spec": {"image": "r.example/a/b:1"}, "status": status,
            }))
            .unwrap()
        };
        let silent = relay("b", json!({}));
        let status = license_status(&license, &[&silent], NOW);
        assert_eq!((status.conditions[0].status.as_str(), status.tier), ("Unknown", None));
        let pro = relay("a", json!({"license": {"tier": "Pro", "source": "Offline", "maxUsers": 50}}));
        let status = license_status(&license, &[&silent, &pro], NOW);
        assert_eq!((status.tier.as_deref(), status.max_users), (Some("Pro"), Some(50)));
        assert_eq!(status.conditions[0].status, "True");
        let names: Vec<&str> = status.relays.iter().map(|relay| relay.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let community = relay("c", json!({"license": {"tier": "Community", "source": "None"}}));
        assert_eq!(license_status(&license, &[&community], NOW).conditions[0].reason, "NoValidLicense");
    }
}

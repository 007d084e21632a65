//! What policies and licences say of themselves: their whole next status.
//!
//! A policy without a contradiction is accepted as it stands; one with keeps the last accepted spec in force. A licence shows
//! what the relays under it report, for the operator never reads its Secret. Both hold nothing that changes by the second.
//! Pure; called by the controller for each object when it, or a relay that names it, changed.

mod policy;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use paramant_crds::condition::{EXPIRING_SOON, REACHABLE, STALLED, TELEMETRY_CONSENTED, VALID};
use paramant_crds::license::{LicensedRelay, LicensedState};
use paramant_crds::relay::{LicenseRefusal, LicenseSource, LicenseStatus};
use paramant_crds::{ParamantLicense, ParamantLicenseStatus, ParamantRelay};
use paramant_licensing::state::WARNING_DAYS;

pub use self::policy::policy_status;
use crate::conditions::Conditions;
use crate::observation::LicenseServers;
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
    servers: &LicenseServers,
    now: Timestamp,
) -> ParamantLicenseStatus {
    // In the order of their names, so that what is said does not follow the order of a store.
    let mut relays = relays.to_vec();
    relays.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let relays = relays.as_slice();
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
    let problem = validation::license_problem(license, servers);
    let problem = problem.map(|problem| ("InvalidSpec", format!("the spec breaks a rule: {problem}")));
    say_stalled(&mut conditions, problem);
    say_reachable(&mut conditions, license, relays);
    say_expiring(&mut conditions, &reports, now);
    say_telemetry(&mut conditions, license, &reports);
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
            let check_in = report.and_then(|report| report.check_in.as_ref());
            Some(LicensedRelay {
                name: relay.metadata.name.clone()?,
                state: Some(state),
                last_check_in: check_in.and_then(|it| it.at.clone()),
                reachable: check_in.and_then(|it| it.reachable),
                next_request_sha256: check_in.and_then(|it| it.next_request_sha256.clone()),
            })
        })
        .collect();
    named.sort_by(|a, b| a.name.cmp(&b.name));
    named.truncate(1000);
    ParamantLicenseStatus {
        observed_generation: generation,
        tier: best.and_then(|report| report.tier.clone()),
        max_users: best.and_then(|report| report.max_users),
        expires_at: reports
            .iter()
            .filter_map(|report| license_end(report))
            .min()
            .map(|at| Time(whole_seconds(at))),
        source: best.and_then(|report| report.source),
        issued_to: best.map_or(before.issued_to, |report| report.issued_to.clone()),
        relays: named,
        conditions: conditions.finish(),
    }
}

/// When what a relay reports ends by itself. A set that check-ins renew every few hours does not; of it only grace has an end, and what
/// a refusal left.
pub fn license_end(report: &LicenseStatus) -> Option<Timestamp> {
    let refused = report.check_in.as_ref().is_some_and(|it| it.refused.is_some());
    let end = match report.source? {
        LicenseSource::Online if refused => report.grace_until.as_ref(),
        LicenseSource::Offline => report.valid_until.as_ref(),
        LicenseSource::AirGap | LicenseSource::Cache => report.grace_until.as_ref(),
        LicenseSource::Online | LicenseSource::None => None,
    };
    end.map(|end| end.0)
}

/// Whether the relays' check-ins are answered. An outage changes nothing for a week, so it is no reason to be invalid.
fn say_reachable(conditions: &mut Conditions<'_>, license: &ParamantLicense, relays: &[&ParamantRelay]) {
    if license.spec.online.is_none() {
        return conditions.say(
            REACHABLE,
            true,
            "Offline",
            "the online check is not switched on, so nobody is asked",
        );
    }
    let all = relays.iter().filter_map(|relay| {
        let check_in = relay.status.as_ref()?.license.as_ref()?.check_in.as_ref()?;
        Some((relay.metadata.name.as_deref()?, check_in))
    });
    let all: Vec<_> = all.collect();
    let reports = all.iter().filter_map(|(name, it)| Some((*name, it.reachable?, it.problem.as_deref())));
    let reports: Vec<_> = reports.collect();
    let before =
        license.status.as_ref().and_then(|status| crate::conditions::find(&status.conditions, REACHABLE));
    let said_before = before.map(|it| it.reason.clone()).unwrap_or_default();
    let away = reports.iter().any(|(_, reachable, _)| !reachable);
    if let Some((name, refused)) = all.iter().find_map(|(name, it)| Some((name, it.refused?)))
        && !away
    {
        let why = match refused {
            LicenseRefusal::PaymentFailed => "a payment is missing",
            LicenseRefusal::UnknownKey => {
                "it does not know the licence key; compare it with the one that was sold"
            }
            LicenseRefusal::Revoked => "it has revoked the licence key",
        };
        return conditions.say(
            REACHABLE,
            true,
            "Refused",
            format!("the licence server answered {name}, and refuses: {why}; what it gave before goes on to its own end"),
        );
    }
    match reports.iter().find(|(_, reachable, _)| !reachable) {
        Some((name, _, problem)) => {
            let problem = problem.unwrap_or("it does not say why");
            conditions.say(
                REACHABLE,
                false,
                "CheckInFailed",
                format!("the last check-in of {name} brought no reply: {problem}"),
            );
        }
        // A relay that started anew has asked nobody yet: what was said of it before still holds, unless it says that something is wrong.
        None if reports.is_empty()
            && ["CheckedIn", "CheckInFailed"].contains(&said_before.as_str())
            && all.iter().all(|(_, it)| it.problem.is_none()) =>
        {
            conditions.keep(
                REACHABLE,
                "NotReported",
                "no relay under this licence has checked in since it started",
            );
        }
        // What was said before the online check was switched on is about nobody.
        None if reports.is_empty() => {
            let problem = all.iter().find_map(|(_, it)| it.problem.as_deref());
            let problem = problem.map(|problem| format!(": {problem}")).unwrap_or_default();
            conditions.unknown(
                REACHABLE,
                "NotReported",
                &format!("no relay under this licence has checked in yet{problem}"),
            );
        }
        None => conditions.say(REACHABLE, true, "CheckedIn", "every relay that has checked in was answered"),
    }
}

/// Whether what relays send is what was agreed to. A relay sends nothing extra for a consent to another schema, or to bytes that it
/// never showed.
fn say_telemetry(conditions: &mut Conditions<'_>, license: &ParamantLicense, reports: &[&LicenseStatus]) {
    let wanted = license.spec.telemetry.as_ref().is_some_and(|telemetry| telemetry.enabled);
    let sends = |report: &&&LicenseStatus| report.check_in.as_ref().and_then(|it| it.telemetry) == Some(true);
    let (sending, silent) =
        (reports.iter().filter(sends).count(), reports.iter().filter(|it| !sends(it)).count());
    match (wanted, silent) {
        // Where this resource says nothing, a relay's own switch decides.
        (false, _) if sending > 0 => conditions.say(
            TELEMETRY_CONSENTED,
            true,
            "ConsentedAtRelay",
            "a relay sends telemetry because its own admin agreed to a preview; spec.telemetry with enabled: false forbids it",
        ),
        (false, _) => conditions.say(TELEMETRY_CONSENTED, false, "Off", "no telemetry is sent"),
        (true, 0) if sending > 0 => {
            conditions.say(TELEMETRY_CONSENTED, true, "Consented", "every relay that reports sends what was agreed to");
        }
        (true, _) => conditions.say(
            TELEMETRY_CONSENTED,
            false,
            "NotConsented",
            "not every relay sends telemetry: a consent counts only on the relay that showed its preview, for the schema it has; the \
             condition LicenseValid and 'paramant license status' of the relay say more",
        ),
    }
}

/// The nearest end, told at 30, 14, 7 and 1 days: each a reason of its own, so each an Event. A set that check-ins renew is not
/// told of before its last days of grace.
fn say_expiring(conditions: &mut Conditions<'_>, reports: &[&LicenseStatus], now: Timestamp) {
    let Some(end) = reports.iter().filter_map(|report| license_end(report)).min() else {
        return conditions.say(
            EXPIRING_SOON,
            false,
            "NothingEnds",
            "nothing is in force that ends by itself",
        );
    };
    let left = end.duration_since(now);
    let within = |days: &i64| left <= SignedDuration::from_hours(24 * days);
    match WARNING_DAYS.into_iter().rev().find(within) {
        Some(days) => {
            let reason = match days {
                1 => "WithinOneDay",
                7 => "WithinSevenDays",
                14 => "WithinFourteenDays",
                _ => "WithinThirtyDays",
            };
            conditions.say(
                EXPIRING_SOON,
                true,
                reason,
                format!("what is in force ends at {end}; nobody is cut off then"),
            );
        }
        None => conditions.say(EXPIRING_SOON, false, "NotSoon", format!("what is in force ends at {end}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use paramant_crds::condition::Condition;
    use serde_json::{Value, json};

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn none() -> LicenseServers {
        LicenseServers::default()
    }

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
        let status = license_status(&bad, &[], &none(), NOW);
        assert_eq!(said(&status.conditions, "Stalled"), ("True", "InvalidSpec"));
        let stalled = crate::conditions::find(&status.conditions, "Stalled").unwrap();
        assert!(stalled.message.contains("spec.telemetry"), "{}", stalled.message);
        let good = license(json!({"secretRef": {"name": "s"}}));
        assert_eq!(
            said(&license_status(&good, &[], &none(), NOW).conditions, "Stalled"),
            ("False", "NotStalled")
        );
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
        let status = license_status(&license, &[&silent], &none(), NOW);
        assert_eq!((status.conditions[0].status.as_str(), status.tier), ("Unknown", None));
        let pro = relay("a", json!({"license": {"tier": "Pro", "source": "Offline", "maxUsers": 50}}));
        let status = license_status(&license, &[&silent, &pro], &none(), NOW);
        assert_eq!((status.tier.as_deref(), status.max_users), (Some("Pro"), Some(50)));
        assert_eq!(status.conditions[0].status, "True");
        let names: Vec<&str> = status.relays.iter().map(|relay| relay.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let community = relay("c", json!({"license": {"tier": "Community", "source": "None"}}));
        assert_eq!(
            license_status(&license, &[&community], &none(), NOW).conditions[0].reason,
            "NoValidLicense"
        );
    }

    fn online() -> ParamantLicense {
        serde_json::from_value(json!({
            "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantLicense",
            "metadata": {"name": "acme", "namespace": "n", "generation": 1},
            "spec": {
                "secretRef": {"name": "acme-license"},
                "online": {"endpoint": "https://ours.example/check", "egress": {"cidrs": ["192.0.2.0/24"]}},
            },
        }))
        .unwrap()
    }

    fn reporting(license: Value) -> ParamantRelay {
        serde_json::from_value(json!({
            "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantRelay",
            "metadata": {"name": "a", "namespace": "n"}, "spec": {"image": "r.example/a/b:1"}, "status": {"license": license},
        }))
        .unwrap()
    }

    #[test]
    fn a_licence_server_that_nobody_allowed_is_not_followed() {
        let license = online();
        let status = license_status(&license, &[], &none(), NOW);
        assert_eq!(said(&status.conditions, "Stalled"), ("True", "InvalidSpec"));
        let stalled = crate::conditions::find(&status.conditions, "Stalled").unwrap();
        assert!(stalled.message.contains("license.endpoints"), "{}", stalled.message);
        let allowed =
            LicenseServers { endpoints: vec!["https://ours.example/check".to_owned()], ca_bundle: None };
        assert_eq!(said(&license_status(&license, &[], &allowed, NOW).conditions, "Stalled").0, "False");
    }

    #[test]
    fn check_ins_are_shown_by_relay_and_an_outage_is_no_end() {
        let license = online();
        let status = license_status(&license, &[], &none(), NOW);
        assert_eq!(said(&status.conditions, "Reachable"), ("Unknown", "NotReported"));
        let digest = "a".repeat(64);
        let well = reporting(json!({
            "tier": "Pro", "source": "Online", "checkIn": {"at": "2026-01-01T00:00:00Z", "reachable": true, "nextRequestSha256": digest},
        }));
        let status = license_status(&license, &[&well], &none(), NOW);
        assert_eq!(said(&status.conditions, "Reachable"), ("True", "CheckedIn"));
        assert_eq!(status.relays[0].reachable, Some(true));
        assert_eq!(status.relays[0].next_request_sha256.as_ref().map(|it| it.as_str().len()), Some(64));
        let away = reporting(json!({
            "tier": "Pro", "source": "Cache", "graceUntil": "1970-01-06T00:00:00Z",
            "checkIn": {"reachable": false, "problem": "it is away"},
        }));
        let status = license_status(&license, &[&away], &none(), NOW);
        assert_eq!(said(&status.conditions, "Reachable"), ("False", "CheckInFailed"));
        assert_eq!(said(&status.conditions, "Valid").0, "True", "an outage ends nothing");
        assert_eq!(said(&status.conditions, "ExpiringSoon"), ("True", "WithinSevenDays"));
        assert_eq!(status.relays[0].state, Some(LicensedState::Grace));
    }

    #[test]
    fn a_refusal_is_told_at_once_and_what_is_left_has_an_end() {
        let refused = reporting(json!({
            "tier": "Pro", "source": "Online", "validUntil": "1970-01-01T06:00:00Z", "graceUntil": "1970-01-01T06:00:00Z",
            "checkIn": {"reachable": true, "refused": "PaymentFailed"},
        }));
        let status = license_status(&online(), &[&refused], &none(), NOW);
        assert_eq!(said(&status.conditions, "Reachable"), ("True", "Refused"));
        assert_eq!(said(&status.conditions, "ExpiringSoon"), ("True", "WithinOneDay"));
        assert_eq!(said(&status.conditions, "Valid").0, "True", "no surprise");
        let events = crate::events::license_events(&[], &status.conditions);
        assert!(events.iter().any(|event| event.reason == "Refused"), "{events:?}");
    }

    #[test]
    fn a_relay_that_started_anew_takes_back_nothing_that_was_said_of_it() {
        let away = |at: Value| {
            reporting(
                json!({ "tier": "Pro", "source": "Online", "checkIn": {"at": "1970-01-01T00:00:00Z", "reachable": at} }),
            )
        };
        let mut license = online();
        license.status = Some(license_status(&license, &[&away(json!(false))], &none(), NOW));
        let status = license_status(&license, &[&away(Value::Null)], &none(), NOW);
        assert_eq!(said(&status.conditions, "Reachable"), ("False", "CheckInFailed"));
    }

    #[test]
    fn telemetry_that_a_relays_own_admin_switched_on_is_not_said_to_be_off() {
        let sends = reporting(json!({ "tier": "Pro", "source": "Online", "checkIn": {"telemetry": true} }));
        let status = license_status(&online(), &[&sends], &none(), NOW);
        assert_eq!(said(&status.conditions, "TelemetryConsented"), ("True", "ConsentedAtRelay"));
    }

    #[test]
    fn each_warning_has_a_reason_of_its_own_so_that_each_is_an_event() {
        let mut license = online();
        license.spec.online = None;
        let ends =
            reporting(json!({"tier": "Licensed", "source": "Offline", "validUntil": "1970-03-01T00:00:00Z"}));
        let end: Timestamp = "1970-03-01T00:00:00Z".parse().unwrap();
        for (days, expected) in [
            (31, ("False", "NotSoon")),
            (30, ("True", "WithinThirtyDays")),
            (14, ("True", "WithinFourteenDays")),
            (7, ("True", "WithinSevenDays")),
            (1, ("True", "WithinOneDay")),
        ] {
            let now = end - SignedDuration::from_hours(24 * days);
            let status = license_status(&license, &[&ends], &none(), now);
            assert_eq!(said(&status.conditions, "ExpiringSoon"), expected, "{days} days before");
        }
        let status = license_status(&license, &[], &none(), NOW);
        assert_eq!(said(&status.conditions, "ExpiringSoon"), ("False", "NothingEnds"));
        assert_eq!(said(&status.conditions, "Reachable"), ("True", "Offline"));
    }
}

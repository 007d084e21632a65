//! Licences in words: one in full with the relays under it, many as a table.

use std::fmt::Write as _;

use jiff::Timestamp;
use kube::ResourceExt as _;
use paramant_crds::relay::LicenseStatus;
use paramant_crds::{ParamantLicense, ParamantRelay};

use super::table::age;
use super::{Table, conditions, lines_of, shown};

/// One licence in full.
pub(crate) fn license(license: &ParamantLicense, relays: &[ParamantRelay]) -> String {
    let status = license.status.clone().unwrap_or_default();
    let spec = &license.spec;
    let online = spec.online.as_ref().map(|online| {
        let endpoint = online.endpoint.as_ref().map_or("the vendor's server", |it| it.as_str());
        format!("with {endpoint}, every {}", online.interval.as_ref().map_or("6h", |it| it.as_str()))
    });
    let carried = spec.air_gap.as_ref().map(|it| format!("from the Secret {}", it.capability_set_ref.name));
    let telemetry = spec.telemetry.as_ref().filter(|it| it.enabled).map(|it| {
        it.consent.as_ref().map_or_else(
            || "wanted, without a consent".to_owned(),
            |consent| format!("schema {}, preview {}", consent.schema, consent.preview_sha256),
        )
    });
    let mut text = lines_of(&[
        ("Licence", format!("{}/{}", license.namespace().unwrap_or_default(), license.name_any())),
        ("Secret", spec.secret_ref.name.to_string()),
        ("Tier", status.tier.unwrap_or_default()),
        ("Source", shown(status.source.as_ref())),
        ("Issued to", status.issued_to.unwrap_or_default()),
        ("Users", status.max_users.map(|users| users.to_string()).unwrap_or_default()),
        ("Ends", when(status.expires_at.as_ref().map(|at| at.0))),
        ("Check-in", online.unwrap_or_else(|| "off: nothing leaves for this licence".to_owned())),
        ("Carried in", carried.unwrap_or_default()),
        ("Telemetry", telemetry.unwrap_or_else(|| "not switched on here".to_owned())),
    ]);
    text.push_str(&conditions(&status.conditions));
    if status.relays.is_empty() {
        text.push_str("Relays: none names this licence\n");
        return text;
    }
    let mut table =
        Table::new(&["RELAY", "STATE", "TIER", "USERS", "UNTIL", "LAST CHECK-IN", "ANSWERED", "SENDS NEXT"]);
    let mut said = String::new();
    for under in &status.relays {
        let relay = relays.iter().find(|relay| relay.name_any() == under.name);
        let report = relay.and_then(|relay| relay.status.clone()?.license);
        let report = report.as_ref();
        let next = under.next_request_sha256.as_ref().map(|digest| digest.to_string());
        let sends = report.and_then(|report| report.check_in.as_ref()?.telemetry).unwrap_or(false);
        let users = report.filter(|it| it.source.is_some()).map(|report| {
            report.max_users.map_or_else(|| "any number".to_owned(), |users| users.to_string())
        });
        table.row(vec![
            under.name.clone(),
            shown(under.state.as_ref()),
            report.and_then(|report| report.tier.clone()).unwrap_or_default(),
            users.unwrap_or_default(),
            report.map(until).unwrap_or_default(),
            when(under.last_check_in.as_ref().map(|at| at.0)),
            under.reachable.map(|it| if it { "yes" } else { "no" }.to_owned()).unwrap_or_default(),
            next.map(|next| if sends { format!("{next} with telemetry") } else { next }).unwrap_or_default(),
        ]);
        if let Some(problem) = report.and_then(|report| report.check_in.as_ref()?.problem.as_ref()) {
            let _ = writeln!(said, "{}: {problem}", under.name);
        }
    }
    text.push_str(&table.text());
    text.push_str(&said);
    text
}

/// Until when what a relay reports holds without newer word.
fn until(report: &LicenseStatus) -> String {
    when(report.grace_until.as_ref().or(report.valid_until.as_ref()).map(|at| at.0))
}

fn when(at: Option<Timestamp>) -> String {
    at.map(|at| at.to_string()).unwrap_or_default()
}

/// Many licences.
pub(crate) fn licenses(licenses: &[ParamantLicense], now: Timestamp) -> String {
    if licenses.is_empty() {
        return "No licences found: relays without one are Community Edition.\n".to_owned();
    }
    let mut table = Table::new(&[
        "NAMESPACE",
        "NAME",
        "TIER",
        "ISSUED-TO",
        "USERS",
        "SOURCE",
        "VALID",
        "ENDS",
        "REACHABLE",
        "RELAYS",
        "AGE",
    ]);
    for license in licenses {
        let status = license.status.clone().unwrap_or_default();
        let condition = |type_: &str| {
            let found = status.conditions.iter().find(|it| it.type_ == type_);
            found.map(|it| it.status.clone()).unwrap_or_default()
        };
        table.row(vec![
            license.namespace().unwrap_or_default(),
            license.name_any(),
            status.tier.clone().unwrap_or_default(),
            status.issued_to.clone().unwrap_or_default(),
            status.max_users.map(|users| users.to_string()).unwrap_or_default(),
            shown(status.source.as_ref()),
            condition("Valid"),
            when(status.expires_at.as_ref().map(|at| at.0)),
            condition("Reachable"),
            status.relays.len().to_string(),
            license.metadata.creation_timestamp.as_ref().map(|made| age(made.0, now)).unwrap_or_default(),
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn acme() -> ParamantLicense {
        serde_json::from_value(json!({
            "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantLicense",
            "metadata": { "name": "acme", "namespace": "transfers" },
            "spec": { "secretRef": { "name": "acme-license" }, "online": { "interval": "1h", "egress": { "cidrs": ["192.0.2.0/24"] } } },
            "status": {
                "tier": "Pro", "source": "Cache", "maxUsers": 25, "expiresAt": "2027-01-08T12:00:00Z",
                "relays": [
                    { "name": "health", "state": "Grace", "lastCheckIn": "2027-01-01T12:00:00Z", "reachable": false, "nextRequestSha256": "ab".repeat(32) },
                    { "name": "legal", "state": "Unknown" },
                ],
                "conditions": [{ "type": "Reachable", "status": "False", "reason": "CheckInFailed", "message": "it is away", "lastTransitionTime": "2027-01-01T00:00:00Z" }],
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_licence_shows_what_counts_until_when_and_what_is_sent_next() {
        let relay: ParamantRelay = serde_json::from_value(json!({
            "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantRelay", "metadata": { "name": "health" },
            "spec": { "image": "r.example/relay:1", "licenseRef": { "name": "acme" } },
            "status": { "license": {
                "tier": "Pro", "source": "Cache", "maxUsers": 25, "graceUntil": "2027-01-08T12:00:00Z",
                "checkIn": { "reachable": false, "problem": "nobody answers", "telemetry": true },
            } },
        }))
        .unwrap();
        let text = license(&acme(), &[relay]);
        for expected in [
            "Licence   transfers/acme\n",
            "Check-in  with the vendor's server, every 1h\n",
            "Telemetry not switched on here\n",
            "CheckInFailed",
            "health: nobody answers\n",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
        let row = text.lines().find(|line| line.starts_with("health ")).unwrap();
        for expected in [
            "Grace",
            "Pro",
            "25",
            "2027-01-08T12:00:00Z",
            "no",
            &format!("{} with telemetry", "ab".repeat(32)),
        ] {
            assert!(row.contains(expected), "{expected} is not in {row}");
        }
        assert!(text.lines().any(|line| line.trim_end() == "legal    Unknown"), "{text}");
    }

    #[test]
    fn without_the_online_check_it_says_that_nothing_leaves() {
        let mut offline = acme();
        offline.spec.online = None;
        assert!(license(&offline, &[]).contains("off: nothing leaves for this licence\n"));
        assert!(licenses(&[], Timestamp::UNIX_EPOCH).contains("Community Edition"));
        let table = licenses(&[offline], Timestamp::UNIX_EPOCH);
        assert!(table.contains("acme") && table.contains("2027-01-08T12:00:00Z"), "{table}");
    }
}

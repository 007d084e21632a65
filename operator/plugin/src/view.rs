//! A relay in words: one in full, many as a table, and what a change leads to.
//!
//! Everything shown is in the resource; nothing is computed that `kubectl describe` would not show too.

mod license;
mod requests;
mod table;

use std::fmt::Write as _;

use kube::ResourceExt as _;
use paramant_crds::ParamantRelay;
use paramant_crds::condition::Condition;
use paramant_crds::relay::{DrainSource, DrainState, PendingRequest, SupportKeyState};

pub(crate) use self::license::{license, licenses};
pub(crate) use self::requests::requests;
pub(crate) use self::table::{Table, relays};
use crate::change::Change;

/// One relay in full.
pub(crate) fn one(relay: &ParamantRelay) -> String {
    let status = relay.status.clone().unwrap_or_default();
    let mut lines = vec![
        ("Relay", format!("{}/{}", relay.namespace().unwrap_or_default(), relay.name_any())),
        ("Phase", shown(status.phase.as_ref())),
        ("Message", status.message.unwrap_or_default()),
    ];
    if let Some(image) = &status.image {
        lines.push(("Version", image.version.clone().unwrap_or_default()));
        lines.push(("Image", image.current.as_ref().map(ToString::to_string).unwrap_or_default()));
        let verified = image.verified.as_ref().map(|by| format!("by key {} at {}", by.key, by.at.0));
        lines.push(("Verified", verified.unwrap_or_default()));
    }
    if let Some(drain) = &status.drain {
        let asks: Vec<String> = drain.requested_by.iter().map(|source| format!("{source:?}")).collect();
        let asked =
            if asks.is_empty() { String::new() } else { format!(", asked for by {}", asks.join(" and ")) };
        lines.push(("Drain", format!("{}{asked}", shown(drain.state.as_ref()))));
    }
    if let Some(update) = &status.update {
        let waits =
            update.blocked_by.as_ref().map(|reason| format!(", blocked by {reason}")).unwrap_or_default();
        lines.push(("Update", format!("{}{waits}", update.step.map_or("", |step| step.as_str()))));
        let target = update.target.as_ref().and_then(|target| target.digest.as_ref());
        lines.push(("Target", target.map(ToString::to_string).unwrap_or_default()));
        let offer = update.available.as_ref().filter(|it| it.sequence.is_some());
        let offer = offer.and_then(|it| Some(release(relay, it.digest.as_ref()?, it.sequence)));
        lines.push(("Offered", offer.unwrap_or_default()));
        let window = update.next_window.as_ref().map(|at| at.0.to_string());
        lines.push(("Window", window.unwrap_or_default()));
    }
    if let Some(license) = &status.license {
        let users = license.max_users.map_or_else(|| "any number of".to_owned(), |users| users.to_string());
        lines.push(("Licence", format!("{}, {users} users", license.tier.clone().unwrap_or_default())));
    }
    if let Some(endpoints) = &status.endpoints {
        lines.push(("Service", endpoints.service.clone().unwrap_or_default()));
        lines.push(("Log", endpoints.log.clone().unwrap_or_default()));
    }
    for request in status.remote_actions.iter().flat_map(|actions| &actions.pending) {
        let PendingRequest { id, kind, role, asks, ends_at, .. } = request;
        lines.push(("Request", format!("{id} {kind} ({role}, until {}): {asks}", ends_at.0)));
    }
    let problem = status.remote_actions.as_ref().and_then(|actions| actions.problem.clone());
    lines.push(("Problem", problem.unwrap_or_default()));
    // A key that waits is a request.
    for key in status.support.iter().filter(|key| key.state != SupportKeyState::Pending) {
        let line = format!("{} ({}, {:?}, until {})", key.key_id, key.role, key.state, key.expires_at.0);
        lines.push(("Support", line));
    }
    let mut text = lines_of(&lines);
    text.push_str(&conditions(&status.conditions));
    text
}

/// A line for each name that has a value.
fn lines_of(lines: &[(&str, String)]) -> String {
    let lines: Vec<_> = lines.iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(9);
    lines.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name:<width$} {value}");
        text
    })
}

fn conditions(conditions: &[Condition]) -> String {
    let mut text = "Conditions\n".to_owned();
    for condition in conditions {
        let _ = writeln!(
            text,
            "  {:<20} {:<8} {:<22} {}",
            condition.type_, condition.status, condition.reason, condition.message
        );
    }
    text
}

/// What a change leads to.
pub(crate) fn after(relay: &ParamantRelay, change: &Change) -> String {
    let name = relay.name_any();
    let drain = relay.status.clone().unwrap_or_default().drain.unwrap_or_default();
    match change {
        Change::Drain(Some(true)) => format!(
            "{name} refuses new uploads and finishes what is in flight; `kubectl paramant status {name}` shows when it is drained"
        ),
        Change::Drain(asked @ (Some(false) | None)) => {
            let overridden = |source: &DrainSource| asked.is_some() && *source == DrainSource::Vendor;
            let others: Vec<String> = drain
                .requested_by
                .iter()
                .filter(|source| **source != DrainSource::Spec && !overridden(source))
                .map(|source| format!("{source:?}"))
                .collect();
            let vendor = drain.requested_by.contains(&DrainSource::Vendor) && asked.is_none();
            let hint = if vendor { "; `undrain --refuse` overrides the vendor" } else { "" };
            match (drain.state, others.is_empty()) {
                (Some(DrainState::Serving), _) | (_, true) if asked.is_some() => {
                    format!("{name} takes uploads, whatever the vendor asks for")
                }
                (Some(DrainState::Serving), _) | (_, true) => format!("{name} takes uploads again"),
                _ => format!("{name} is still drained by {}{hint}", others.join(" and ")),
            }
        }
        Change::Paused(true) => format!("{name} is observed and reported on, and otherwise left alone"),
        Change::Paused(false) => format!("{name} is looked after again"),
        Change::Approve(digest, offer) => {
            format!("approved for {name}: {}", release(relay, digest, *offer))
        }
        Change::Pin(Some(digest)) => format!(
            "{name} is held at {}, whatever spec.image and offers say; `kubectl paramant rollback {name} --release` ends that",
            release(relay, digest, None)
        ),
        Change::Pin(None) => format!("{name} is held at nothing: spec.image and offers count again"),
        Change::Retry(digest) => format!("{name} may try {} once more", release(relay, digest, None)),
        Change::UpdateNow(digest) => {
            format!("{name} may roll {} now, whatever the window says", release(relay, digest, None))
        }
    }
}

/// A digest with what else is known of it.
pub(crate) fn release(relay: &ParamantRelay, digest: &paramant_crds::Digest, offer: Option<u64>) -> String {
    let status = relay.status.clone().unwrap_or_default();
    let available = status.update.and_then(|update| update.available);
    let offered = available.filter(|it| it.digest.as_ref() == Some(digest)).and_then(|it| it.version);
    let running = status.image.filter(|it| it.current.as_ref() == Some(digest)).and_then(|it| it.version);
    let version = offered.or(running).map(|version| format!("version {version}"));
    let known: Vec<String> = version.into_iter().chain(offer.map(|offer| format!("offer {offer}"))).collect();
    if known.is_empty() { digest.to_string() } else { format!("{digest} ({})", known.join(", ")) }
}

fn shown<T: std::fmt::Debug>(value: Option<&T>) -> String {
    value.map(|value| format!("{value:?}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    fn relay() -> ParamantRelay {
        serde_json::from_value(json!({
            "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantRelay",
            "metadata": { "name": "health", "namespace": "transfers" },
            "spec": { "image": "r.example/relay:1" },
            "status": {
                "phase": "Drained", "message": "drained: nothing is in flight",
                "drain": { "state": "Drained", "requestedBy": ["Spec", "Policy"] },
                "license": { "tier": "Community", "maxUsers": 5 },
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_relay_is_told_in_words_and_empty_fields_are_left_out() {
        let text = one(&relay());
        assert!(text.contains("Drain     Drained, asked for by Spec and Policy\n"), "{text}");
        assert!(text.contains("Licence   Community, 5 users\n"), "{text}");
        assert!(!text.contains("Version"), "{text}");
    }

    #[test]
    fn what_waits_for_an_admin_and_what_is_offered_is_told() {
        let mut asked = relay();
        let digest = format!("sha256:{}", "1".repeat(64));
        let key = |id: &str, state: &str| json!({ "keyId": id.repeat(32), "role": "Support", "state": state, "expiresAt": "2026-06-04T00:00:00Z" });
        asked.status = serde_json::from_value(json!({
            "update": { "available": { "version": "1.1.0", "digest": digest, "sequence": 7 } },
            "remoteActions": {
                "pending": [{
                    "id": "a".repeat(32), "kind": "support_key", "role": "Support", "reason": "incident",
                    "asks": "read diagnostics", "endsAt": "2026-06-04T00:00:00Z",
                }],
                "problem": "one did not come",
            },
            "support": [key("a", "Pending"), key("b", "Active")],
        }))
        .unwrap();
        let text = one(&asked);
        for line in [
            format!(
                "Request   {} support_key (Support, until 2026-06-04T00:00:00Z): read diagnostics",
                "a".repeat(32)
            ),
            format!("Support   {} (Support, Active, until 2026-06-04T00:00:00Z)", "b".repeat(32)),
            format!("Offered   {digest} (version 1.1.0, offer 7)"),
            "Problem   one did not come".to_owned(),
        ] {
            assert!(text.contains(&line), "{line}\n{text}");
        }
        assert_eq!(text.matches(&"a".repeat(32)).count(), 1, "once: {text}");
    }

    #[test]
    fn a_table_lines_up() {
        let text = relays(&[relay()], false, jiff::Timestamp::UNIX_EPOCH);
        let columns: Vec<usize> =
            text.lines().map(|line| line.find("Drained").or_else(|| line.find("PHASE")).unwrap()).collect();
        assert_eq!(columns[0], columns[1], "{text}");
    }

    #[test]
    fn taking_back_a_drain_says_who_still_asks() {
        assert_eq!(after(&relay(), &Change::Drain(None)), "health is still drained by Policy");
        assert_eq!(after(&relay(), &Change::Drain(Some(false))), "health is still drained by Policy");
        let mut by_vendor = relay();
        let drain = by_vendor.status.as_mut().unwrap().drain.as_mut().unwrap();
        drain.requested_by = vec![DrainSource::Vendor];
        assert_eq!(
            after(&by_vendor, &Change::Drain(None)),
            "health is still drained by Vendor; `undrain --refuse` overrides the vendor"
        );
        assert_eq!(
            after(&by_vendor, &Change::Drain(Some(false))),
            "health takes uploads, whatever the vendor asks for"
        );
    }
}

//! A relay in words: one in full, many as a table, and what a change leads to.
//!
//! Everything shown is in the resource; nothing is computed that `kubectl describe` would not show too.

use std::fmt::Write as _;

use kube::ResourceExt as _;
use paramant_crds::ParamantRelay;
use paramant_crds::relay::{DrainSource, DrainState};

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
    }
    if let Some(license) = &status.license {
        let users = license.max_users.map_or_else(|| "any number of".to_owned(), |users| users.to_string());
        lines.push(("Licence", format!("{}, {users} users", license.tier.clone().unwrap_or_default())));
    }
    if let Some(endpoints) = &status.endpoints {
        lines.push(("Service", endpoints.service.clone().unwrap_or_default()));
        lines.push(("Log", endpoints.log.clone().unwrap_or_default()));
    }
    let mut text = String::new();
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(text, "{name:<9} {value}");
    }
    text.push_str("Conditions\n");
    for condition in &status.conditions {
        let _ = writeln!(
            text,
            "  {:<20} {:<8} {:<22} {}",
            condition.type_, condition.status, condition.reason, condition.message
        );
    }
    text
}

/// Many relays.
pub(crate) fn table(relays: &[ParamantRelay]) -> String {
    if relays.is_empty() {
        return "No relays found.\n".to_owned();
    }
    let mut rows =
        vec![["NAMESPACE", "NAME", "READY", "PHASE", "DRAIN", "UPDATE", "WAITS FOR"].map(str::to_owned)];
    for relay in relays {
        let status = relay.status.clone().unwrap_or_default();
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
        rows.push([
            relay.namespace().unwrap_or_default(),
            relay.name_any(),
            ready.map(|condition| condition.status.clone()).unwrap_or_default(),
            shown(status.phase.as_ref()),
            shown(status.drain.and_then(|drain| drain.state).as_ref()),
            status
                .update
                .and_then(|update| update.step)
                .map(|step| step.as_str().to_owned())
                .unwrap_or_default(),
            status.message.unwrap_or_default(),
        ]);
    }
    let widths: Vec<usize> =
        (0..7).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let line: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// What a change leads to.
pub(crate) fn after(relay: &ParamantRelay, change: Change) -> String {
    let name = relay.name_any();
    let drain = relay.status.clone().unwrap_or_default().drain.unwrap_or_default();
    match change {
        Change::Drain(Some(true)) => format!(
            "{name} refuses new uploads and finishes what is in flight; `kubectl paramant status {name}` shows when it is drained"
        ),
        Change::Drain(Some(false)) => format!("{name} takes uploads, whoever else asks for a drain"),
        Change::Drain(None) => {
            let others: Vec<String> = drain
                .requested_by
                .iter()
                .filter(|source| **source != DrainSource::Spec)
                .map(|source| format!("{source:?}"))
                .collect();
            match (drain.state, others.is_empty()) {
                (Some(DrainState::Serving), _) | (_, true) => format!("{name} takes uploads again"),
                _ => format!(
                    "{name} is still drained by {}; `undrain --refuse` overrides that",
                    others.join(" and ")
                ),
            }
        }
        Change::Paused(true) => format!("{name} is observed and reported on, and otherwise left alone"),
        Change::Paused(false) => format!("{name} is looked after again"),
    }
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
    fn a_table_lines_up() {
        let text = table(&[relay()]);
        let columns: Vec<usize> =
            text.lines().map(|line| line.find("Drained").or_else(|| line.find("PHASE")).unwrap()).collect();
        assert_eq!(columns[0], columns[1], "{text}");
    }

    #[test]
    fn taking_back_a_drain_says_who_still_asks() {
        assert_eq!(
            after(&relay(), Change::Drain(None)),
            "health is still drained by Policy; `undrain --refuse` overrides that"
        );
    }
}

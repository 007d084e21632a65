//! What an audit tells of remote actions, for people.

use paramant_client::audit::actions::{Effect, GivenKey, Of, Outcome, RemoteActions, Row, What};
use serde_json::{Value, json};

/// What stands above the requests, a word a column.
const HEAD: [&str; 8] = ["seq", "id", "kind", "role", "reason", "entry", "hour", "what became of it"];
/// Digits of a hash that are enough to find it in the list of keys given.
const BRIEF: usize = 16;

/// Everything: the requests, the silence statements, what they rest on, what they do not prove.
pub(super) fn text(told: &RemoteActions) -> String {
    let mut lines = vec![String::new(), "REMOTE ACTIONS".to_owned()];
    lines.extend(told.none.clone());
    if !told.requests.is_empty() {
        lines.extend(table(&told.requests));
    }
    if !told.untied.is_empty() {
        lines.push("Not tied to one request:".to_owned());
        lines.extend(told.untied.iter().flat_map(of_effect));
    }
    lines.push(format!("Silence: {}", told.silence.verdict));
    lines.push("This rests on:".to_owned());
    lines.extend(basis(told).iter().map(|line| format!("  {line}")));
    lines.push("It does not prove:".to_owned());
    lines.extend(told.does_not_prove.iter().map(|limit| format!("  {limit}")));
    lines.join("\n")
}

/// A line for each request, with what signed it and its effects below.
fn table(rows: &[Row]) -> Vec<String> {
    let cells: Vec<[String; 8]> = rows.iter().map(columns).collect();
    let mut widths = HEAD.map(str::len);
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let line = |cells: &[String; 8]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&HEAD.map(str::to_owned))];
    for (row, cells) in rows.iter().zip(&cells) {
        lines.push(line(cells));
        lines.push(match &row.asked.signed_by {
            Some(key) => format!("    signed by licensing key {}", key.get(..BRIEF).unwrap_or(key)),
            None => "    signature not checked".to_owned(),
        });
        lines.extend(row.effects.iter().flat_map(of_effect));
    }
    lines
}

fn columns(row: &Row) -> [String; 8] {
    let asked = &row.asked;
    [
        asked.seq.to_string(),
        asked.id.clone(),
        asked.kind.clone(),
        word(json!(asked.role)),
        word(json!(asked.reason)),
        asked.entry.to_string(),
        asked.hour.clone(),
        of_outcome(&row.outcome),
    ]
}

fn of_outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::AcceptedByPolicy { entry, .. } => {
            format!("accepted by policy: entry {entry} carries it out, no entry says that anybody was asked")
        }
        Outcome::Decided { decision, entry, .. } => format!("{}: entry {entry}", word(json!(decision))),
        Outcome::Refused { reason, entry, .. } => format!("refused, {}: entry {entry}", word(json!(reason))),
        Outcome::Waiting => "waiting: the log ties neither answer nor effect to it".to_owned(),
    }
}

fn of_effect(effect: &Effect) -> Vec<String> {
    let what = match &effect.what {
        What::VendorRequestDecided { decision } => format!(", {}", word(json!(decision))),
        What::RemoteActionRefused { reason, role } => {
            format!(", {}, {}", word(json!(reason)), word(json!(role)))
        }
        What::SupportKeyIssued { role, until, .. } => {
            format!(" for {}, until {until} at the longest", word(json!(role)))
        }
        What::UpdateOffered { version, role } => format!(" by {}, {version}", word(json!(role))),
        What::DrainChanged { by_vendor: true, .. } => ", the vendor's drain begins".to_owned(),
        What::DrainChanged { by_vendor: false, .. } => ", the vendor's drain is over".to_owned(),
        What::CapabilityChanged { before, after } => {
            format!(" from {:.BRIEF$} to {:.BRIEF$}", word(json!(before)), word(json!(after)))
        }
    };
    let mut lines = vec![format!(
        "    entry {}, {}: {}{what}{}",
        effect.entry,
        effect.hour,
        effect.what.kind(),
        tie(&effect.of)
    )];
    if let What::SupportKeyIssued { used, ended, .. } = &effect.what {
        lines.push(match used {
            Some(used) => {
                format!(
                    "      support_key_used: {} times, entries {} to {}",
                    used.count, used.first, used.last
                )
            }
            None => "      support_key_used: no entry".to_owned(),
        });
        lines.push(match ended {
            Some(ended) => {
                let how = if ended.revoked { "revoked" } else { "expired" };
                format!("      entry {}, {}: support_key_{how}", ended.entry, ended.hour)
            }
            None => "      support_key_revoked, support_key_expired: no entry".to_owned(),
        });
    }
    lines
}

fn tie(of: &Of) -> String {
    match of {
        Of::Named { .. } => String::new(),
        Of::Next { .. } => "; by order: the next entry".to_owned(),
        Of::Only { .. } => "; by order: no other request can be meant".to_owned(),
        Of::OneOf { count, seqs } => {
            let named: Vec<String> = seqs.iter().map(u64::to_string).collect();
            let more = if *count > seqs.len() as u64 { ", …" } else { "" };
            format!("; of one of {count} requests ({}{more}), the log does not tell which", named.join(", "))
        }
        Of::None => "; of no request that the log holds before it".to_owned(),
    }
}

fn basis(told: &RemoteActions) -> Vec<String> {
    let basis = &told.rests_on;
    let entries = match basis.to.checked_sub(1).filter(|last| *last >= basis.from) {
        Some(last) => format!("entries {} to {last}", basis.from),
        None => "no entry".to_owned(),
    };
    let mut lines = vec![
        format!("{entries} of {}", basis.origin),
        format!("its checkpoint of {} entries, root {}", basis.size, basis.sha256_root),
        format!("signed by {}, {}", basis.signed_by.join(", "), basis.believed),
        match basis.cosigned_by.as_slice() {
            [] => basis.witnesses.clone(),
            names => format!("cosigned by {} {}", names.join(", "), basis.witnesses),
        },
    ];
    lines.extend(basis.relay_identity.iter().map(|relay| format!("relay {relay}")));
    lines.extend(basis.licensing_keys.iter().map(of_key));
    if basis.licensing_keys.is_empty() {
        lines.push("no licensing key".to_owned());
    }
    lines
}

fn of_key(key: &GivenKey) -> String {
    let end = key.not_after.map(|end| format!(", until {end}")).unwrap_or_default();
    format!("licensing key {}{end}", key.sha3_256)
}

/// A word as the log spells it.
fn word(of: Value) -> String {
    of.as_str().unwrap_or_default().to_owned()
}

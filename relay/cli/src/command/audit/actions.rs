//! What an audit tells of remote actions, for people.

use paramant_client::audit::actions::{Effect, Of, Outcome, RemoteActions, Row};
use serde_json::{Value, json};

/// Everything, in paragraphs.
pub(super) fn text(told: &RemoteActions) -> String {
    let mut lines = vec![String::new(), "REMOTE ACTIONS".to_owned()];
    lines.extend(told.none.clone());
    for row in &told.requests {
        lines.extend(of_row(row));
    }
    if !told.untied.is_empty() {
        lines.push("not tied to one request:".to_owned());
        lines.extend(told.untied.iter().map(of_effect));
    }
    lines.push(format!("silence: {}", told.silence.verdict));
    let basis = &told.rests_on;
    lines.push("This rests on:".to_owned());
    lines.push(format!(
        "  entries {} to {} of {}, under its checkpoint over {} entries, root {}",
        basis.from, basis.to, basis.origin, basis.size, basis.sha256_root
    ));
    lines.push(format!("  signed by {}; {}", basis.signed_by.join(", "), basis.believed));
    lines.push(match basis.cosigned_by.as_slice() {
        [] => format!("  {}", basis.witnesses),
        names => format!("  cosigned by {} {}", names.join(", "), basis.witnesses),
    });
    if let Some(relay) = &basis.relay_identity {
        lines.push(format!("  relay {relay}"));
    }
    for key in &basis.licensing_keys {
        lines.push(format!("  licensing key with SHA3-256 {}", key.sha3_256));
    }
    lines.push("It does not prove:".to_owned());
    lines.extend(told.does_not_prove.iter().map(|limit| format!("  {limit}")));
    lines.join("\n")
}

fn of_row(row: &Row) -> Vec<String> {
    let asked = &row.asked;
    let mut lines = vec![
        format!(
            "{:>4}  {}  {}  by {}, because of {}  entry {}, {}",
            asked.seq,
            asked.id,
            asked.kind,
            word(json!(asked.role)),
            word(json!(asked.reason)),
            asked.entry,
            asked.hour
        ),
        format!("      {}", of_outcome(&row.outcome)),
    ];
    lines.extend(row.effects.iter().map(of_effect));
    lines
}

fn of_outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::AcceptedByPolicy { entry, .. } => format!("accepted by policy: effect in entry {entry}"),
        Outcome::Decided { decision, entry, .. } => format!("{} in entry {entry}", word(json!(decision))),
        Outcome::Refused { reason, entry, .. } => {
            format!("refused, {}, in entry {entry}", word(json!(reason)))
        }
        Outcome::Waiting => "waiting, or of an effect that the log does not tie to it".to_owned(),
    }
}

fn of_effect(effect: &Effect) -> String {
    let tie = match &effect.of {
        Of::Next { .. } => " (by order: the entry right after)",
        Of::Only { .. } => " (by order: no other request can be meant)",
        _ => "",
    };
    format!("      entry {}, {}: {}{tie}", effect.entry, effect.hour, effect.what.kind())
}

/// A word as the log spells it.
fn word(of: Value) -> String {
    of.as_str().unwrap_or_default().to_owned()
}

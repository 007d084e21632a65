//! A vendor's requests in words.

use kube::ResourceExt as _;
use paramant_crds::ParamantRelay;
use paramant_crds::relay::{SupportKeyState, SupportKeyStatus};

use super::Table;

/// What was asked of a relay, what became of it, and the support keys.
pub(crate) fn requests(relay: &ParamantRelay) -> String {
    let name = relay.name_any();
    let status = relay.status.clone().unwrap_or_default();
    let Some(actions) = status.remote_actions else {
        return format!(
            "Relay {name} has reported no requests: its release, or the operator's, may know none.\n"
        );
    };
    let mut text = String::new();
    if actions.pending.is_empty() && actions.recent.is_empty() {
        text.push_str(&format!("The vendor has asked nothing of relay {name} lately.\n"));
    } else {
        let mut table = Table::new(&["STATE", "ID", "KIND", "ROLE", "REASON", "UNTIL/CAME", "WHAT"]);
        for it in actions.pending {
            let (until, asks) = (it.ends_at.0.to_string(), it.asks);
            table.row(vec!["Waiting".to_owned(), it.id.0, it.kind, it.role, it.reason, until, asks]);
        }
        for it in actions.recent {
            let entry = it.log_index.map(|index| format!("log entry {index}")).unwrap_or_default();
            let (outcome, came) = (format!("{:?}", it.outcome), it.received_at.0.to_string());
            table.row(vec![outcome, it.id.0, it.kind, it.role, it.reason, came, entry]);
        }
        text.push_str(&table.text());
    }
    let keys: Vec<&SupportKeyStatus> =
        status.support.iter().filter(|key| key.state != SupportKeyState::Pending).collect();
    if !keys.is_empty() {
        let mut table = Table::new(&["KEY", "ID", "ROLE", "UNTIL"]);
        for key in keys {
            let state = format!("{:?}", key.state);
            table.row(vec![state, key.key_id.clone(), key.role.clone(), key.expires_at.0.to_string()]);
        }
        text.push_str(&format!("\n{}", table.text()));
    }
    if let Some(problem) = actions.problem {
        text.push_str(&format!("\nProblem: {problem}\n"));
    }
    text
}

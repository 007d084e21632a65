//! `requests`, `allow`, `deny`: what a vendor asks of a relay, and an admin's answer, given through the relay's policy.
//!
//! Only a request that status shows as waiting can be answered: its kind says where the word belongs, and a mistyped id is noticed.

use anyhow::bail;
use paramant_crds::relay::{PendingRequest, RemoteActionsStatus};

use super::answers::{self, Answer, Section};
use crate::cluster::Cluster;
use crate::verb::Seen;
use crate::view;

/// What was asked of a relay, and what became of it.
pub(crate) async fn show(cluster: &Cluster, name: &str) -> anyhow::Result<String> {
    Ok(view::requests(&Seen::read(cluster, name).await?.relay))
}

/// Answers one request.
pub(crate) async fn answer(cluster: &Cluster, name: &str, id: &str, answer: Answer) -> anyhow::Result<()> {
    let seen = Seen::read(cluster, name).await?;
    let actions = seen.relay.status.clone().unwrap_or_default().remote_actions.unwrap_or_default();
    let Some(request) = actions.pending.iter().find(|it| it.id.as_str() == id) else {
        bail!("{}", unknown(name, id, &actions))
    };
    let section = Section::of(&request.kind);
    let (policy, new) = answers::write(cluster, &seen, section, answer, id).await?;
    let said = match answer {
        Answer::Yes => "allowed",
        Answer::No => "denied",
    };
    if !new {
        println!("{id} is {said} already in policy {policy}; the relay settles it within seconds");
        return Ok(());
    }
    let tried = if cluster.dry_run { "(dry run, nothing is kept) " } else { "" };
    let PendingRequest { kind, role, asks, .. } = request;
    println!(
        "{tried}{said} {kind} request {id} ({role}) in policy {policy}: {asks}; `kubectl paramant requests {name}` shows what becomes of it"
    );
    Ok(())
}

/// Why there is nothing to answer, with what could be.
fn unknown(name: &str, id: &str, actions: &RemoteActionsStatus) -> String {
    let settled = actions.recent.iter().find(|it| it.id.as_str() == id);
    let what = match settled {
        Some(it) if it.kind == "support_key" => format!(
            "request {id} of {name} was settled before: {:?}; `kubectl paramant revoke-support-key {name} {id}` ends a key that is in force",
            it.outcome
        ),
        Some(it) => format!("request {id} of {name} was settled before: {:?}", it.outcome),
        None => format!("no request {id} waits at {name}"),
    };
    let pending: Vec<String> = actions
        .pending
        .iter()
        .map(|it| format!("\n  {} {} ({}): {}", it.id, it.kind, it.role, it.asks))
        .collect();
    match pending.is_empty() {
        true => format!("{what}; nothing else waits"),
        false => format!("{what}; these wait:{}", pending.concat()),
    }
}

#[cfg(test)]
mod tests;

//! Offline proofs: an entry, its path, and the checkpoint it lies under, in one file.

use std::path::Path;

use anyhow::{Context as _, Result};
use paramant_client::logged::{self, LoggedEntry, Trust};
use paramant_protocol::receipt::{Document, Opened};
use paramant_tlog::tlog_proof::HEADER;
use serde_json::{Value, json};

use crate::arguments::Verify;
use crate::exit::{DoesNotHold, Usage};
use crate::output::Output;

/// Whether a text is a `.tlog-proof`, and not a receipt.
pub(super) fn is_one(text: &str) -> bool {
    text.starts_with(HEADER)
}

/// Verifies a proof that stands alone.
pub(super) async fn run(arguments: &Verify, text: &str, output: &Output) -> Result<()> {
    let logged = checked(arguments, text, None).await?;
    let LoggedEntry { entry, index, checkpoint, signers } = &logged;
    let value: Value = serde_json::from_slice(entry.bytes()).unwrap_or_default(); // total: it was parsed before
    let checks = [
        format!(
            "the checkpoint of {} entries of {} is signed by {signers}",
            checkpoint.size, checkpoint.origin
        ),
        format!("entry {index} lies under it: a {} of {}", entry.kind().name(), entry.hour()),
    ];
    output.result(
        &json!({
            "ok": true, "index": index, "entry": value, "origin": checkpoint.origin, "tree_size": checkpoint.size,
            "root": hex::encode(checkpoint.root), "signers": signers, "checks": checks,
        }),
        &checks.iter().map(|check| format!("ok  {check}")).collect::<Vec<_>>().join("\n"),
    )?;
    Ok(())
}

/// Verifies a proof of the entry that a receipt speaks of.
pub(super) async fn of_receipt(
    arguments: &Verify,
    path: &Path,
    document: &Document,
    opened: &Opened,
) -> Result<String> {
    let text = String::from_utf8(crate::command::input(path)?).context("the proof is not text")?;
    if !is_one(&text) {
        return Err(DoesNotHold(format!("{} is no .tlog-proof", path.display())).into());
    }
    let logged = checked(arguments, &text, Some(opened.index)).await?;
    super::is_the_transfer(&logged.entry, document, opened)?;
    let checkpoint = &logged.checkpoint;
    Ok(format!(
        "entry {} of {} is this transfer, under the checkpoint of {} entries, signed by {}",
        opened.index, checkpoint.origin, checkpoint.size, logged.signers
    ))
}

async fn checked(arguments: &Verify, text: &str, index: Option<u64>) -> Result<LoggedEntry> {
    Ok(logged::check_by(text.as_bytes(), index, &trust(arguments).await?)?)
}

/// By what the checkpoint is believed: a policy, keys given, or with a relay the keys first seen of it.
async fn trust(arguments: &Verify) -> Result<Trust> {
    if let Some(path) = &arguments.trust.policy {
        return Ok(Trust::Policy(Box::new(crate::command::policy(path)?)));
    }
    let pinned = &arguments.trust.vkey;
    if let (true, Some(url)) = (pinned.is_empty(), &arguments.relay) {
        let relay = crate::command::connect(url, &arguments.connection, None)?;
        let state = crate::command::state_dir(&arguments.state)?;
        return Ok(Trust::Keys(logged::keys(&relay, &[], &state).await?));
    }
    if pinned.is_empty() {
        let how = "name a key of the log with --vkey, or a trust policy with --policy";
        return Err(Usage(how.into()).into());
    }
    Ok(Trust::Keys(pinned.clone()))
}

//! `paramant log`: entries and their proofs, and copies of the log.

mod archive;
mod get;
mod proof;
mod tail;

use anyhow::Result;
use paramant_client::logged::{self, Locator, LoggedEntry, Trust};
use paramant_client::{ClientError, Relay};
use paramant_protocol::entry::Entry;
use serde_json::{Value, json};

use crate::arguments::{LogAt, LogCommand};
use crate::output::Output;

pub(super) async fn run(command: LogCommand, output: &Output) -> Result<()> {
    match command {
        LogCommand::Tail(arguments) => tail::run(arguments, output).await,
        LogCommand::Get(arguments) => get::run(arguments, output).await,
        LogCommand::Proof(arguments) => proof::run(arguments, output).await,
        LogCommand::Archive(arguments) => archive::run(arguments, output).await,
    }
}

/// The relay, and by what its log is believed: a policy, keys given, or those first seen.
async fn open(log: &LogAt) -> Result<(Relay, Trust)> {
    let relay = super::connect(&log.relay.relay, &log.relay.connection, None)?;
    if let Some(path) = &log.trust.policy {
        return Ok((relay, Trust::Policy(Box::new(super::policy(path)?))));
    }
    let state = super::state_dir(&log.state)?;
    let keys = logged::keys(&relay, &log.trust.vkey, &state).await?;
    Ok((relay, Trust::Keys(keys)))
}

/// An entry's proof, and what it proves.
async fn proven(
    relay: &Relay,
    locator: &Locator,
    trust: &Trust,
) -> Result<(Vec<u8>, LoggedEntry), ClientError> {
    let proof = logged::proof(relay, locator).await?;
    let index = match locator {
        Locator::Index(index) => Some(*index),
        Locator::Receipt(_) => None,
    };
    let logged = logged::check_by(&proof, index, trust)?;
    Ok((proof, logged))
}

/// An entry for programs: as it stands in the log, with its index.
fn as_json(index: u64, entry: &Entry) -> Value {
    let entry: Value = serde_json::from_slice(entry.bytes()).unwrap_or_default(); // total: it was parsed before
    json!({"index": index, "entry": entry})
}

/// An entry for people: index, hour, kind, body.
fn as_text(index: u64, entry: &Entry) -> String {
    let value: Value = serde_json::from_slice(entry.bytes()).unwrap_or_default(); // total: it was parsed before
    let body = value.get("b").map(|body| format!("  {body}")).unwrap_or_default();
    let line = format!("{index:>9}  {}  {:<22}{body}", entry.hour(), entry.kind().name());
    line.trim_end().to_owned()
}

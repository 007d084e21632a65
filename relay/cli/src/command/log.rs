//! `paramant log`: entries and their proofs, and copies of the log.

mod archive;
mod get;
mod proof;
mod tail;

use anyhow::Result;
use paramant_client::logged::{self, Locator, LoggedEntry, Trust};
use paramant_client::{ClientError, Relay};
use paramant_protocol::entry::Entry;
use paramant_tlog::Checkpoint;
use paramant_tlog::note::Note;
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
    let proof = match logged::proof(relay, locator).await? {
        Some(proof) => proof,
        None => return Err(absent(relay, locator).await),
    };
    let index = match locator {
        Locator::Index(index) => Some(*index),
        Locator::Receipt(_) => None,
    };
    let logged = logged::check_by(&proof, index, trust)?;
    Ok((proof, logged))
}

/// Why there is no proof: what a person asked for is no promise of the relay, so nothing is held against it.
async fn absent(relay: &Relay, locator: &Locator) -> ClientError {
    let text = match locator {
        Locator::Receipt(_) => format!(
            "{locator} is not known here, or its entry is not published yet: that takes about a second after the transfer"
        ),
        Locator::Index(_) => {
            let note = relay.public("/log/checkpoint").await.ok().flatten();
            let note = note.and_then(|bytes| Note::parse(&bytes).ok());
            match note.and_then(|note| Checkpoint::parse(&note.text).ok()) {
                Some(checkpoint) => {
                    format!("{locator} is not there: the newest checkpoint has {} entries", checkpoint.size)
                }
                None => format!("{locator} is not there, nor is a checkpoint"),
            }
        }
    };
    ClientError::NotThere(text)
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

//! Looking an entry up in a relay's log, trusting nothing but the log's keys.
//!
//! One request: the `.tlog-proof` of an index holds the entry, its path in the SHA-256 tree and the signed checkpoint. The
//! path's length and sides come from (index, size). The keys are those given, or those first seen of this relay.

use std::time::Duration;

use paramant_protocol::entry::Entry;
use paramant_tlog::note::Note;
use paramant_tlog::tlog_proof::TlogProof;
use paramant_tlog::vkey::VerifierKey;
use paramant_tlog::{Checkpoint, Tree, entry_leaf, verify};

use crate::error::ClientError;
use crate::relay::Relay;
use crate::state::{Seen, StateDir};

/// How often to look again for an entry that is not under a checkpoint yet, and how long to wait in between: checkpoints
/// are published every second.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);

/// An entry under a signed checkpoint.
#[derive(Debug)]
pub struct LoggedEntry {
    /// The entry.
    pub entry: Entry,
    /// Its index.
    pub index: u64,
    /// The checkpoint it lies under.
    pub checkpoint: Checkpoint,
}

/// The log's keys: those given, else those first seen, else those the relay shows now, which are then remembered.
pub async fn keys(
    relay: &Relay,
    pinned: &[VerifierKey],
    state: &StateDir,
) -> Result<Vec<VerifierKey>, ClientError> {
    if !pinned.is_empty() {
        return Ok(pinned.to_vec());
    }
    let address = relay.address().as_str();
    let seen: Vec<String> =
        state.seen()?.relays.get(address).map(|relay| relay.log_keys.clone()).unwrap_or_default();
    if !seen.is_empty() {
        return parse_keys(&seen.join("\n"));
    }
    let shown = relay.public("/log/vkeys").await?;
    let shown =
        shown.ok_or_else(|| ClientError::NotLogged("the relay shows no log keys at /log/vkeys".into()))?;
    let keys = parse_keys(&String::from_utf8_lossy(&shown))?;
    let remember = |seen: &mut Seen| {
        seen.relay(address).log_keys = keys.iter().map(ToString::to_string).collect();
        Ok(())
    };
    state.update_seen(remember)?;
    Ok(keys)
}

/// Reads verifier keys, one a line.
pub fn parse_keys(text: &str) -> Result<Vec<VerifierKey>, ClientError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Result<Vec<_>, _> = lines.map(VerifierKey::parse).collect();
    let keys = keys.map_err(|error| ClientError::NotLogged(format!("a log key cannot be read: {error}")))?;
    if keys.is_empty() { Err(ClientError::NotLogged("there is no log key".into())) } else { Ok(keys) }
}

/// Fetches an entry with its proof and checks it; waits a little for an entry that is new.
pub async fn entry(relay: &Relay, index: u64, keys: &[VerifierKey]) -> Result<LoggedEntry, ClientError> {
    for attempt in 1.. {
        if let Some(text) = relay.public(&format!("/log/proof/{index}")).await? {
            return check(&text, index, keys);
        }
        if attempt >= TRIES {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(ClientError::NotLogged(format!("entry {index} is under no published checkpoint")))
}

/// Checks a proof for an index.
pub fn check(proof: &[u8], index: u64, keys: &[VerifierKey]) -> Result<LoggedEntry, ClientError> {
    let wrong = |reason: String| {
        ClientError::NotLogged(format!("the proof of entry {index} does not hold: {reason}"))
    };
    let text = std::str::from_utf8(proof).map_err(|error| wrong(error.to_string()))?;
    let proof = TlogProof::parse(text).map_err(|error| wrong(error.to_string()))?;
    if proof.index != index {
        return Err(wrong(format!("it is for entry {}", proof.index)));
    }
    let checkpoint = open(proof.checkpoint.as_bytes(), keys).map_err(wrong)?;
    let bytes = proof.extra.ok_or_else(|| wrong("it does not hold the entry".into()))?;
    let (size, root) = (checkpoint.size, checkpoint.root);
    verify::inclusion(Tree::Sha256, &entry_leaf(&bytes), index, size, &proof.path, &root)
        .map_err(|error| wrong(error.to_string()))?;
    let entry = Entry::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
    Ok(LoggedEntry { entry, index, checkpoint })
}

/// Opens a checkpoint: every key must have a line that verifies, other lines do not matter, and note and text must be in
/// their one form.
pub fn open(bytes: &[u8], keys: &[VerifierKey]) -> Result<Checkpoint, String> {
    let note = Note::parse(bytes).map_err(|error| error.to_string())?;
    let verified = note.open(keys).map_err(|error| error.to_string())?;
    let unsigned =
        keys.iter().enumerate().find(|(number, _)| verified.iter().all(|line| line.key != *number));
    if let Some((_, key)) = unsigned {
        return Err(format!("the {} line of {} is missing", key.algorithm(), key.name()));
    }
    let checkpoint = Checkpoint::parse(&note.text).map_err(|error| error.to_string())?;
    if !checkpoint.extensions.is_empty() {
        // Not every line signs them, and no log of ours writes any.
        return Err("the checkpoint has extension lines".to_owned());
    }
    if checkpoint.to_text() != note.text || note.to_text().as_bytes() != bytes {
        return Err("the checkpoint is not in its one form".into());
    }
    Ok(checkpoint)
}

//! Looking an entry up in a relay's log, trusting nothing but the log's keys, or a policy.
//!
//! One request: the `.tlog-proof` of an index or a receipt id holds the entry, its path in the SHA-256 tree and the signed
//! checkpoint, and is checked the same way when it comes from a file. The path's length and sides come from (index, size). The
//! keys are those given, or those first seen of this relay.

use std::time::Duration;

use paramant_protocol::entry::Entry;
use paramant_tlog::note::{Note, OpenError};
use paramant_tlog::policy::Policy;
use paramant_tlog::tlog_proof::TlogProof;
use paramant_tlog::vkey::VerifierKey;
use paramant_tlog::{Checkpoint, Tree, entry_leaf, verify};

use crate::error::ClientError;
use crate::relay::Relay;
use crate::rotation;
use crate::state::{Seen, StateDir};

/// How often to look again for an entry that is not under a checkpoint yet, and how long to wait in between: checkpoints
/// are published every second.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);

/// What a person may do about keys that do not sign any more.
const ROTATED: &str = "; if the log's keys were rotated, learn the new ones from the relay's operator";

/// Which entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locator {
    /// The one with this index.
    Index(u64),
    /// The one of a receipt: 64 lower-case hex digits that only uploader and claimant were given.
    Receipt(String),
}

/// By what a checkpoint is believed.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Every one of these keys has signed it.
    Keys(Vec<VerifierKey>),
    /// One of the policy's logs has signed it, and a quorum of its witnesses has cosigned it.
    Policy(Box<Policy>),
}

/// An entry under a signed checkpoint.
#[derive(Debug)]
pub struct LoggedEntry {
    /// The entry.
    pub entry: Entry,
    /// Its index.
    pub index: u64,
    /// The checkpoint it lies under.
    pub checkpoint: Checkpoint,
    /// Who signed and cosigned that.
    pub signers: String,
}

impl std::str::FromStr for Locator {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() == 64 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self::Receipt(text.to_owned()));
        }
        let index = text.parse::<u64>().ok().filter(|index| index.to_string() == text);
        index
            .map(Self::Index)
            .ok_or_else(|| "expected an index, or a receipt id of 64 lower-case hex digits".into())
    }
}

impl std::fmt::Display for Locator {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Index(index) => write!(formatter, "entry {index}"),
            Self::Receipt(id) => write!(formatter, "receipt {id:.8}…"),
        }
    }
}

impl Trust {
    /// Opens a checkpoint. Answers who signed it.
    pub fn open(&self, bytes: &[u8]) -> Result<(Checkpoint, String), String> {
        match self {
            Self::Keys(keys) => {
                let checkpoint = open(bytes, keys)?;
                let names: Vec<String> = keys.iter().map(|key| key.algorithm().to_string()).collect();
                Ok((checkpoint, names.join(", ")))
            }
            Self::Policy(policy) => {
                let note = Note::parse(bytes).map_err(|error| error.to_string())?;
                let verdict = policy.judge(&note).map_err(|error| error.to_string())?;
                let cosigned =
                    verdict.cosigned.iter().filter_map(|(number, _)| policy.witnesses().get(*number));
                let names: Vec<&str> = cosigned.map(|witness| witness.name.as_str()).collect();
                if !verdict.quorum {
                    let (count, all) = (names.len(), policy.witnesses().len());
                    return Err(format!(
                        "{count} of {all} witnesses have cosigned the checkpoint, which is no quorum"
                    ));
                }
                let signers = match names.as_slice() {
                    [] => "the log; the policy asks for no witness".to_owned(),
                    names => format!("the log, and a quorum of witnesses: {}", names.join(", ")),
                };
                Ok((verdict.checkpoint, signers))
            }
        }
    }
}

/// The log's keys: those given, else those first seen and what the log itself has made of them since, else those the relay shows
/// now. What was seen is remembered.
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
    let shown = relay.public("/log/vkeys").await?;
    let shown =
        shown.ok_or_else(|| ClientError::NotLogged("the relay shows no log keys at /log/vkeys".into()))?;
    let mut keys = parse_keys(&String::from_utf8_lossy(&shown))?;
    if !seen.is_empty() {
        let seen = parse_keys(&seen.join("\n"))?;
        if seen == keys {
            return Ok(seen);
        }
        keys = rotation::follow(relay, &seen, keys).await?;
    }
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
    let locator = Locator::Index(index);
    let proof = proof(relay, &locator).await?;
    let absent = || ClientError::NotLogged(format!("{locator} is under no published checkpoint"));
    check(&proof.ok_or_else(absent)?, index, keys)
}

/// Fetches the proof of an entry, unchecked; waits a little for an entry that is new. `None` if it did not come.
pub async fn proof(relay: &Relay, locator: &Locator) -> Result<Option<Vec<u8>>, ClientError> {
    let path = match locator {
        Locator::Index(index) => format!("/log/proof/{index}"),
        Locator::Receipt(id) => format!("/log/receipt/{id}"),
    };
    for attempt in 1.. {
        if let Some(text) = relay.public(&path).await? {
            return Ok(Some(text));
        }
        if attempt >= TRIES {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(None)
}

/// Checks a proof for an index.
pub fn check(proof: &[u8], index: u64, keys: &[VerifierKey]) -> Result<LoggedEntry, ClientError> {
    check_by(proof, Some(index), &Trust::Keys(keys.to_vec()))
}

/// Checks a proof, for an index if one is expected.
pub fn check_by(proof: &[u8], index: Option<u64>, trust: &Trust) -> Result<LoggedEntry, ClientError> {
    let wrong = |reason: String| {
        let which = index.map(|index| format!(" of entry {index}")).unwrap_or_default();
        ClientError::NotLogged(format!("the proof{which} does not hold: {reason}"))
    };
    let text = std::str::from_utf8(proof).map_err(|error| wrong(error.to_string()))?;
    let proof = TlogProof::parse(text).map_err(|error| wrong(error.to_string()))?;
    if index.is_some_and(|index| proof.index != index) {
        return Err(wrong(format!("it is for entry {}", proof.index)));
    }
    let (checkpoint, signers) = trust.open(proof.checkpoint.as_bytes()).map_err(wrong)?;
    let bytes = proof.extra.ok_or_else(|| wrong("it does not hold the entry".into()))?;
    let (index, size, root) = (proof.index, checkpoint.size, checkpoint.root);
    verify::inclusion(Tree::Sha256, &entry_leaf(&bytes), index, size, &proof.path, &root)
        .map_err(|error| wrong(error.to_string()))?;
    let entry = Entry::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
    Ok(LoggedEntry { entry, index, checkpoint, signers })
}

/// Opens a checkpoint: every key must have a line that verifies, other lines do not matter, and note and text must be in
/// their one form.
pub fn open(bytes: &[u8], keys: &[VerifierKey]) -> Result<Checkpoint, String> {
    let note = Note::parse(bytes).map_err(|error| error.to_string())?;
    let verified = note.open(keys).map_err(|error| match error {
        OpenError::Unsigned => format!("{error}{ROTATED}"),
        error => error.to_string(),
    })?;
    let unsigned =
        keys.iter().enumerate().find(|(number, _)| verified.iter().all(|line| line.key != *number));
    if let Some((_, key)) = unsigned {
        return Err(format!("the {} line of {} is missing{ROTATED}", key.algorithm(), key.name()));
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

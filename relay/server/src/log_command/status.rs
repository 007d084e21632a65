//! What the files of a data directory say about its log. Reads only, and takes no lock: a relay may be running.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use paramant_protocol::control::Directives;
use paramant_protocol::path::parse_hash;
use paramant_tlog::Checkpoint;
use paramant_tlog::note::Note;

use crate::identity::KeyError;
use crate::log_service::key_book::{self, KeyRecord};
use crate::log_service::tree_heads_on_disk;

/// Why there is nothing to tell.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// No relay ever ran there.
    #[error("{} holds no relay's log: name the data directory of a relay that has run", .0.display())]
    NoLog(PathBuf),
    /// A file.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The record of the keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file that is not what a relay writes.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// A few lines for a person.
pub(super) fn status(root: &Path) -> Result<String, StatusError> {
    let name = root.join("log-origin");
    let origin = text(&name)?.ok_or_else(|| StatusError::NoLog(root.to_owned()))?;
    let origin = origin.trim_end();
    let mut out = String::new();
    let mut line = |what: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{what:<12} {value}");
    };
    line("log", origin);
    for number in 0.. {
        let place = root.join("retired-logs").join(number.to_string());
        let Some(before) = text(&place.join("log-origin"))? else { break };
        line("retired", &format!("{} in {}", before.trim_end(), place.display()));
    }
    if root.join("adoption.json").exists() {
        line(
            "adoption",
            "under way: run 'paramant-relay log adopt' again; until then the relay does not start",
        );
    }

    let checkpoint = checkpoint(&root.join("log/checkpoint"))?;
    match &checkpoint {
        Some((checkpoint, lines)) => {
            let root = hex::encode(checkpoint.root);
            line("checkpoint", &format!("{} entries, root {root}, {lines} signatures", checkpoint.size));
        }
        None => line("checkpoint", "none was published"),
    }
    line("tree heads", &format!("{} signed", tree_heads_on_disk(&root.join("sth"))));

    let keys = key_book::recorded(&root.join("log-keys"))?;
    if keys.is_empty() {
        line("keys", "the first ones, never rotated");
    }
    for KeyRecord { vkey, first_size, last_size, .. } in keys {
        let sizes = match last_size {
            Some(last) => format!("signed sizes {first_size} to {last}"),
            None => format!("signs from size {first_size} on"),
        };
        let short: String = vkey.rsplit_once('+').map_or(vkey.as_str(), |(short, _)| short).to_owned();
        line("key", &format!("{short}, {sizes}"));
    }
    line("operator", &operator(root, origin, checkpoint.as_ref().map(|(checkpoint, _)| checkpoint))?);
    Ok(out)
}

/// What the operator last knew, held against the checkpoint here.
fn operator(root: &Path, origin: &str, checkpoint: Option<&Checkpoint>) -> Result<String, StatusError> {
    let path = root.join("directives.json");
    let Some(text) = text(&path)? else { return Ok("never heard".to_owned()) };
    let directives: Directives = serde_json::from_str(&text)
        .map_err(|error| StatusError::Damaged { path, what: error.to_string() })?;
    if let Some(why) = directives.log_refused {
        return Ok(format!("forbids signing: {why}"));
    }
    let Some(mark) = directives.log_high_water else { return Ok("knows no mark".to_owned()) };
    let (size, held) = (mark.size, checkpoint.map_or(0, |checkpoint| checkpoint.size));
    let verdict = match mark.origin.as_deref() {
        Some(other) if other != origin => format!("of {other}, another log"),
        _ if size > held => format!("above the checkpoint here ({held}): this is an old copy"),
        _ if size == held
            && parse_hash(&mark.root) != checkpoint.map(|checkpoint| checkpoint.root)
            && size > 0 =>
        {
            "with another root than the checkpoint here: this is another log".to_owned()
        }
        _ => "at or below the checkpoint here".to_owned(),
    };
    Ok(format!("last knew {size} entries, {verdict}"))
}

fn checkpoint(path: &Path) -> Result<Option<(Checkpoint, usize)>, StatusError> {
    let Some(text) = text(path)? else { return Ok(None) };
    let damaged = |what: String| StatusError::Damaged { path: path.to_owned(), what };
    let note = Note::parse(text.as_bytes()).map_err(|error| damaged(error.to_string()))?;
    let checkpoint = Checkpoint::parse(&note.text).map_err(|error| damaged(error.to_string()))?;
    Ok(Some((checkpoint, note.signatures.len())))
}

fn text(path: &Path) -> Result<Option<String>, StatusError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StatusError::Io { path: path.to_owned(), source }),
    }
}

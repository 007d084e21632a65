//! `adoption.json`: what is being adopted, and how far it came.

use std::io;
use std::path::PathBuf;

use paramant_protocol::control::Directives;
use paramant_protocol::entry::body::Digest;
use paramant_protocol::path::parse_hash;
use paramant_tlog::note::Note;
use paramant_tlog::{Checkpoint, Hash, Tree};
use serde::{Deserialize, Serialize};

use super::{AdoptError, Step, adopting, io_at};
use crate::data_dir::{DataDir, durable};
use crate::log_service::Names;
use crate::settings::checked_origin;

/// The plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Plan {
    pub(super) old_origin: String,
    pub(super) new_origin: String,
    /// The old log is kept in `retired-logs/<number>`.
    pub(super) number: usize,
    /// The last known checkpoint of the old log: here, or the operator's mark.
    pub(super) size: u64,
    pub(super) root: Digest,
    /// The new log and the rows are written: only moving is left.
    pub(super) built: bool,
    /// A start began it, after `log_closed`; otherwise a person.
    #[serde(default)]
    pub(super) after_close: bool,
}

/// An adoption that did not come to its end.
#[derive(Debug, thiserror::Error)]
#[error(
    "the adoption of a new log in place of {0} did not come to its end: run 'paramant-relay log adopt' again, which goes on where it stopped"
)]
pub struct Unfinished(pub(super) String);

impl Plan {
    pub(super) fn new(data: &DataDir, names: &Names, wanted: Option<&str>) -> Result<Self, AdoptError> {
        let number = names.retired.len();
        let first = names.retired.last().unwrap_or(&names.origin);
        let name = wanted.map_or_else(|| format!("{first}/{}", number + 2), str::to_owned);
        let refused = |why: String| AdoptError::Name { name: name.clone(), why };
        checked_origin(name.clone()).map_err(refused)?;
        if name == names.origin || names.retired.contains(&name) {
            return Err(refused(
                "a log of that name has ended, and auditors hold signatures over it".to_owned(),
            ));
        }
        let (size, root) = last_known(data, &names.origin);
        Ok(Self {
            old_origin: names.origin.clone(),
            new_origin: name,
            number,
            size,
            root: root.into(),
            built: false,
            after_close: false,
        })
    }

    pub(super) fn read(data: &DataDir) -> Result<Option<Self>, AdoptError> {
        let path = file(data);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| io_at(&path)(io::Error::other(error))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_at(&path)(error)),
        }
    }

    pub(super) fn write(&self, data: &DataDir) -> Result<(), AdoptError> {
        let path = file(data);
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| io_at(&path)(io::Error::other(error)))?;
        durable::write(&path, &bytes).map_err(io_at(&path))
    }

    pub(super) fn built(&self) -> Self {
        Self { built: true, ..self.clone() }
    }

    /// The step to go on with.
    pub(super) fn next(&self) -> Step {
        if self.built { Step::Retire } else { Step::Build }
    }

    pub(super) fn retired_to(&self, data: &DataDir) -> PathBuf {
        data.retired_logs().join(self.number.to_string())
    }
}

/// The end of it all.
pub(super) fn end(data: &DataDir) -> Result<(), AdoptError> {
    let leftovers = adopting(data);
    match std::fs::remove_dir_all(&leftovers) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_at(&leftovers)(error)),
        _ => {}
    }
    let path = file(data);
    std::fs::remove_file(&path).map_err(io_at(&path))?;
    durable::sync_directory(data.root()).map_err(io_at(data.root()))
}

fn file(data: &DataDir) -> PathBuf {
    data.root().join("adoption.json")
}

/// The larger of what this directory published and what the operator has seen.
fn last_known(data: &DataDir, origin: &str) -> (u64, Hash) {
    let published = std::fs::read(data.log().join("checkpoint")).ok().and_then(|bytes| {
        let note = Note::parse(&bytes).ok()?;
        let checkpoint = Checkpoint::parse(&note.text).ok()?;
        Some((checkpoint.size, checkpoint.root))
    });
    let directed = std::fs::read(data.directives()).ok().and_then(|bytes| {
        let mark = serde_json::from_slice::<Directives>(&bytes).ok()?.log_high_water?;
        let ours = mark.origin.as_deref().is_none_or(|named| named == origin);
        ours.then_some((mark.size, parse_hash(&mark.root)?))
    });
    let known = published.into_iter().chain(directed).max_by_key(|(size, _)| *size);
    known.unwrap_or((0, Tree::Sha256.empty_root()))
}

//! The new log, built beside the old one: its keys, its first entry, and the entries of what is still unread.

use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use jiff::Timestamp;
use paramant_log::{AppendError, CheckpointSigner, Entry, Head, Log, Options, SignError};
use paramant_protocol::entry::body::LogAdopted;
use paramant_protocol::entry::{self, Body};

use super::plan::Plan;
use super::{AdoptError, adopting, io_at, rows};
use crate::data_dir::{DataDir, durable, make_directory};
use crate::identity::LogKeys;

/// Entries on their way to the log at a time.
const AHEAD: usize = 4096;

/// The relay signs, when it starts; not this command.
struct NoSigner;

impl CheckpointSigner for NoSigner {
    fn sign(&self, _: &Head) -> Result<String, SignError> {
        Err(SignError("the log is being adopted".to_owned()))
    }
}

/// Builds keys and log under `adopting/`, from nothing.
pub(super) fn build(data: &DataDir, plan: &Plan) -> Result<(), AdoptError> {
    let place = adopting(data);
    match std::fs::remove_dir_all(&place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io_at(&place)(error)),
        _ => {}
    }
    let keys = place.join("log-keys");
    make_directory(&keys).map_err(io_at(&keys))?;
    LogKeys::make(&keys)?;

    let failed = |error: &dyn std::fmt::Display| AdoptError::NewLog(error.to_string());
    let unread = rows::unread(data)?;
    let options = Options { checkpoint_every: Duration::from_secs(3600), ..Options::new(place.join("log")) };
    let log = Log::open(options, Arc::new(NoSigner)).map_err(|error| failed(&error))?;
    let body = LogAdopted { origin: plan.old_origin.clone(), size: plan.size, root: plan.root };
    let first =
        entry::Entry::with_body(Body::LogAdopted(body), Timestamp::now()).map_err(|error| failed(&error))?;
    let first = Entry { legacy_leaf: first.leaf(), bytes: first.into_bytes() };
    log.append_blocking(first).map_err(|error| failed(&error))?;
    for part in unread.chunks(AHEAD) {
        let (done, results) = mpsc::channel();
        for blob in part {
            append(&log, blob, &done);
        }
        drop(done);
        for result in results {
            result.map_err(|error| failed(&error))?;
        }
    }
    let expected = rows::FIRST + unread.len() as u64;
    let found = log.head().size;
    // Dropping ends its threads; closing would ask for a signature.
    drop(log);
    if found != expected {
        return Err(failed(&format!("it has {found} entries instead of {expected}")));
    }
    durable::sync_directory(&place).and_then(|()| durable::sync_directory(data.root())).map_err(io_at(&place))
}

/// The entry of a transfer, as it stood in the old log.
fn append(log: &Log, blob: &rows::Unread, done: &Sender<Result<(), AppendError>>) {
    let at = Timestamp::from_millisecond(blob.created_ms).unwrap_or_default();
    let entry = entry::Entry::transfer(blob.leaf.0, at);
    let done = done.clone();
    log.append(Entry { legacy_leaf: entry.leaf(), bytes: entry.into_bytes() }, move |result| {
        // The receiver waits for every one of them.
        let _ = done.send(result.map(drop));
    });
}

//! The new log, built beside the old one: its keys, its first entry, and the entries that are carried over.

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
    let carried = rows::carried(data)?;
    let options = Options { checkpoint_every: Duration::from_secs(3600), ..Options::new(place.join("log")) };
    let log = Log::open(options, Arc::new(NoSigner)).map_err(|error| failed(&error))?;
    let body = LogAdopted { origin: plan.old_origin.clone(), size: plan.size, root: plan.root };
    let first =
        entry::Entry::with_body(Body::LogAdopted(body), Timestamp::now()).map_err(|error| failed(&error))?;
    let first = Entry { legacy_leaf: first.leaf(), bytes: first.into_bytes() };
    log.append_blocking(first).map_err(|error| failed(&error))?;
    for part in carried.chunks(AHEAD) {
        let (done, results) = mpsc::channel();
        for carried in part {
            append(&log, carried, &done);
        }
        drop(done);
        for result in results {
            result.map_err(|error| failed(&error))?;
        }
    }
    let expected = rows::FIRST + carried.len() as u64;
    let found = log.head().size;
    // Dropping ends its threads; closing would ask for a signature.
    drop(log);
    if found != expected {
        return Err(failed(&format!("it has {found} entries instead of {expected}")));
    }
    durable::sync_directory(&place).and_then(|()| durable::sync_directory(data.root())).map_err(io_at(&place))
}

/// An entry as it stood in the old log.
fn append(log: &Log, carried: &rows::Carried, done: &Sender<Result<(), AppendError>>) {
    let done = done.clone();
    log.append(carried.entry.clone(), move |result| {
        // The receiver waits for every one of them.
        let _ = done.send(result.map(drop));
    });
}

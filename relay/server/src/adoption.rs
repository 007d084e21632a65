//! Retires a log that cannot be continued and begins a new one in its place: at the next start after `log_closed`, and by
//! `paramant-relay log adopt`.
//!
//! After `log_closed` nothing may follow, and a relay that is created again over its old volume has such a log. The command is
//! for a log whose newest copy is lost: what was signed beyond this copy can never be honoured again, so origin and log keys
//! are retired and the new log's first entry names the old log and its last known checkpoint. The identity, accounts and
//! devices stay; each unread transfer gets its entry, byte for byte, in the new log, so receipts go on being proven.
//!
//! Offline: it holds the lock of the data directory. Order of steps; each may be taken again, and each is durable before
//! the next. `adoption.json` says how far it came. While it is there a relay goes on with what a start began, and does not
//! start over what the command began; running the command again goes on:
//!
//! | step | a crash after it leaves |
//! |---|---|
//! | plan: `adoption.json` is written | the old log in force, the relay refusing to start; building begins anew |
//! | build: new keys and the new log in `adopting/` | the same |
//! | rows: `meta.db` speaks of the new log, in one transaction | the same; the rows are written again |
//! | commit: `adoption.json` says that everything is built | moving goes on from here |
//! | retire: `log`, `log-keys`, `sth` move to `retired-logs/<n>/`, with the old name and public keys | directories that are moved already are left alone |
//! | install: `adopting/log` and `adopting/log-keys` take their places | the same |
//! | name: `log-origin` is the new name | |
//! | seal: the old private keys are destroyed, the old log becomes read-only | |
//! | done: `adopting/` and `adoption.json` are removed | a relay with a new log |

mod moves;
mod new_log;
mod plan;
mod rows;

use std::io;
use std::path::{Path, PathBuf};

use self::plan::Plan;
pub use self::plan::Unfinished;
use crate::data_dir::{DataDir, DataDirError};
use crate::identity::KeyError;
use crate::log_service::Names;

/// What the person asks for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The name of the log to retire, typed out: it is gone for good.
    pub retire: &'a str,
    /// The new log's name; without it the old one with a number after it.
    pub origin: Option<&'a str>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The log that ended.
    pub retired: String,
    /// The log that began.
    pub origin: String,
    /// Where the old one lies now.
    pub kept_in: PathBuf,
    /// The last known checkpoint of the old one.
    pub size: u64,
}

/// Why nothing was adopted, or not to the end.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// No relay ever ran there.
    #[error("{} holds no relay's log: name the data directory of a relay that has run", .0.display())]
    NoLog(PathBuf),
    /// The directory is in use, or cannot be used.
    #[error(transparent)]
    Data(#[from] DataDirError),
    /// Another log is named than the one that is there.
    #[error("the log in this directory is {found}, not {named}: retire it by its own name")]
    AnotherLog {
        /// On disk.
        found: String,
        /// By the person.
        named: String,
    },
    /// An earlier run had another name in mind.
    #[error(
        "an adoption under the name {planned} is under way: run the command again with that name, or without one"
    )]
    AnotherName {
        /// In the plan.
        planned: String,
    },
    /// The new name cannot be used.
    #[error("the new log cannot be called {name}: {why}")]
    Name {
        /// Asked for.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A person began one.
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The new log could not be written.
    #[error("the new log could not be written: {0}; nothing was retired, run the command again")]
    NewLog(String),
    /// The rows could not be read or written.
    #[error("meta.db could not be used: {0}; nothing was retired, run the command again")]
    Rows(String),
    /// The operating system refuses.
    #[error("{}: {source}; run the command again to go on", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// One step; the head of this file tells what a crash after each leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Build,
    Rows,
    Commit,
    Retire,
    Install,
    Name,
    Seal,
    Done,
}

impl Step {
    const ALL: [Self; 8] = [
        Self::Build,
        Self::Rows,
        Self::Commit,
        Self::Retire,
        Self::Install,
        Self::Name,
        Self::Seal,
        Self::Done,
    ];
}

/// Retires the log in a data directory that no relay uses now, and begins another.
///
/// # Errors
/// [`AdoptError`]; running it again goes on where it stopped.
pub fn adopt(root: &Path, request: Request<'_>) -> Result<Adopted, AdoptError> {
    let (data, plan) = begin(root, request)?;
    finish(&data, plan)
}

/// Begins another log after one that ended with `log_closed`, in a directory that no relay uses yet.
///
/// # Errors
/// [`AdoptError`]; the next start goes on where it stopped.
pub fn follow_closed(data: &DataDir) -> Result<Adopted, AdoptError> {
    let names = Names::read(data).map_err(io_at(&data.log_origin()))?;
    let names = names.ok_or_else(|| AdoptError::NoLog(data.root().to_owned()))?;
    let plan = Plan { after_close: true, ..Plan::new(data, &names, None)? };
    plan.write(data)?;
    finish(data, plan)
}

/// Goes on with what an earlier start began.
///
/// # Errors
/// [`AdoptError`]; [`AdoptError::Unfinished`] when it was a person who began.
pub fn go_on(data: &DataDir) -> Result<(), AdoptError> {
    match Plan::read(data)? {
        None => Ok(()),
        Some(plan) if plan.after_close => finish(data, plan).map(drop),
        Some(plan) => Err(Unfinished(plan.old_origin).into()),
    }
}

fn finish(data: &DataDir, plan: Plan) -> Result<Adopted, AdoptError> {
    for step in Step::ALL.into_iter().filter(|step| *step >= plan.next()) {
        take(step, data, &plan)?;
    }
    Ok(Adopted {
        kept_in: plan.retired_to(data),
        retired: plan.old_origin,
        origin: plan.new_origin,
        size: plan.size,
    })
}

/// Locks the directory and makes a plan, or takes up the one that is there.
fn begin(root: &Path, request: Request<'_>) -> Result<(DataDir, Plan), AdoptError> {
    // Looked at before the directory is opened, which would make one.
    if !root.join("log-origin").is_file() {
        return Err(AdoptError::NoLog(root.to_owned()));
    }
    let data = DataDir::open(root)?;
    if let Some(plan) = Plan::read(&data)? {
        if plan.old_origin != request.retire {
            return Err(AdoptError::AnotherLog { found: plan.old_origin, named: request.retire.to_owned() });
        }
        if request.origin.is_some_and(|origin| origin != plan.new_origin) {
            return Err(AdoptError::AnotherName { planned: plan.new_origin });
        }
        return Ok((data, plan));
    }
    let names = Names::read(&data).map_err(io_at(&data.log_origin()))?;
    let names = names.ok_or_else(|| AdoptError::NoLog(root.to_owned()))?;
    if names.origin != request.retire {
        return Err(AdoptError::AnotherLog { found: names.origin, named: request.retire.to_owned() });
    }
    let plan = Plan::new(&data, &names, request.origin)?;
    plan.write(&data)?;
    Ok((data, plan))
}

fn take(step: Step, data: &DataDir, plan: &Plan) -> Result<(), AdoptError> {
    match step {
        Step::Build => new_log::build(data, plan),
        Step::Rows => rows::rewrite(data),
        Step::Commit => plan.built().write(data),
        Step::Retire => moves::retire(data, plan),
        Step::Install => moves::install(data),
        Step::Name => moves::name(data, plan),
        Step::Seal => moves::seal(data, plan),
        Step::Done => plan::end(data),
    }
}

/// Where the new log is built.
fn adopting(data: &DataDir) -> PathBuf {
    data.root().join("adopting")
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> AdoptError {
    let path = path.to_owned();
    move |source| AdoptError::Io { path, source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests;

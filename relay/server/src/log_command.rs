//! `paramant-relay log …`: what a person may ask or do about the log of a data directory, without a running relay.

mod status;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::adoption::{self, AdoptError, Request};

/// The word that begins these commands.
pub const LOG_COMMAND: &str = "log";

/// The log of a data directory, offline.
#[derive(Debug, Clone, Parser)]
#[command(name = "paramant-relay log", bin_name = "paramant-relay log", version = crate::VERSION)]
pub struct LogCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Say what is there: name, size, keys, tree heads, what the operator last knew. Changes nothing, also beside a relay
    Status {
        /// The data directory
        #[arg(long, value_name = "DIR", env = "PARAMANT_DATA")]
        data: PathBuf,
    },
    /// Retire a log whose newest copy is lost and begin a new one; the relay must not be running. Unread transfers,
    /// accounts and devices stay. What the old log promised beyond this copy cannot be honoured any more
    Adopt {
        /// The data directory
        #[arg(long, value_name = "DIR", env = "PARAMANT_DATA")]
        data: PathBuf,
        /// The new log's name; without it the old one with a number after it
        #[arg(long, value_name = "NAME")]
        origin: Option<String>,
        /// The name of the log to retire, typed out: it ends for good, and auditors will see that it did
        #[arg(long, value_name = "OLD_NAME")]
        i_understand_that_this_retires: String,
    },
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The log was not adopted.
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    /// There is nothing to tell of.
    #[error(transparent)]
    Status(#[from] status::StatusError),
}

impl LogCommand {
    /// Does it, and answers what to print.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn run(self) -> Result<String, CommandError> {
        match self.what {
            What::Status { data } => Ok(status::status(&data)?),
            What::Adopt { data, origin, i_understand_that_this_retires: retire } => {
                let done = adoption::adopt(&data, Request { retire: &retire, origin: origin.as_deref() })?;
                Ok(format!(
                    "{} ended; its last known checkpoint has {} entries, and it is kept in {}\nthe log is now {}: write this name into log.origin (spec.log.origin in a cluster) if a name is set there\n",
                    done.retired,
                    done.size,
                    done.kept_in.display(),
                    done.origin
                ))
            }
        }
    }
}

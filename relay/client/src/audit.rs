//! The auditor: fetches a relay's log, recomputes both trees from the entries, and believes only signatures of known keys.
//!
//! Every byte of every bundle and tile under the checkpoint is compared; every signature line of a known key must be there
//! and verify; every tree head and every root that the JSON interface shows must be the one the entries give. A finding is a
//! check that does not hold, never an error: errors are for answers that did not come, refusals among them. Pages of the JSON interface are
//! compared whole up to `pages::WHOLE` entries, beyond that at both ends.

mod entries;
mod heads;
mod keys;
pub mod memory;
mod pages;
mod proofs;
pub mod report;
pub mod source;

use std::collections::BTreeSet;
use std::time::Duration;

use paramant_tlog::Checkpoint;
use paramant_tlog::vkey::VerifierKey;

pub use memory::Remembered;
pub use report::{Check, Report};
pub use source::Source;

use crate::error::ClientError;
use crate::logged;
use crate::relay::Progress;
use entries::Walk;
use keys::Keys;
use report::{Finding, finding};

/// How often to look for a checkpoint that covers what the JSON interface showed, and how long to wait in between:
/// checkpoints are published every second.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(500);

/// What an auditor brings along.
#[derive(Debug, Default)]
pub struct Baggage {
    /// Keys the log must be signed with, besides those it shows.
    pub pinned: Vec<VerifierKey>,
    /// What was seen last time.
    pub remembered: Option<Remembered>,
}

/// Audits a log. Answers the report, and what to remember when everything holds.
pub async fn audit<S: Source>(
    source: &S,
    baggage: &Baggage,
    progress: &Progress,
) -> Result<(Report, Option<Remembered>), ClientError> {
    let mut report = Report::default();
    let remembered = match examine(source, baggage, progress, &mut report).await {
        Ok(remembered) => Some(remembered),
        Err(Stop::Finding(finding)) => {
            report.add(Check::failed(finding));
            None
        }
        Err(Stop::Error(error)) => return Err(error),
    };
    let remembered = remembered.filter(|_| report.holds());
    Ok((report, remembered))
}

/// Why an examination ends early.
enum Stop {
    /// A check does not hold, and the following ones need it.
    Finding(Finding),
    /// No answer.
    Error(ClientError),
}

impl From<Finding> for Stop {
    fn from(finding: Finding) -> Self {
        Self::Finding(finding)
    }
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        match error {
            // The relay answered, and the answer is not what a log serves.
            ClientError::Answer { .. } | ClientError::NotLogged(_) => {
                Self::Finding(finding("answers", error.to_string()))
            }
            // A gateway in front of a relay that restarts says this too, and says nothing about the log.
            ClientError::Refused { .. } => Self::Error(ClientError::Unchecked(Box::new(error))),
            error => Self::Error(error),
        }
    }
}

async fn examine<S: Source>(
    source: &S,
    baggage: &Baggage,
    progress: &Progress,
    report: &mut Report,
) -> Result<Remembered, Stop> {
    let keys = Keys::collect(source, baggage).await?;
    report.add(keys.check());

    // First what the JSON interface shows, then the checkpoint: so the checkpoint covers it, or soon does.
    let heads = heads::fetch(source).await?;
    let pages = pages::fetch(source).await?;
    let shown = heads.iter().map(|head| head.tree_size).chain([pages.size]).max().unwrap_or(0);
    let (checkpoint, note) = checkpoint(source, &keys, shown).await?;
    report.add(Check::passed(
        "checkpoint",
        format!("{}: {} entries, signed by {}", checkpoint.origin, checkpoint.size, keys.algorithms()),
    ));
    if checkpoint.origin != keys.origin {
        let text = format!("the checkpoint is of {}, the keys are of {}", checkpoint.origin, keys.origin);
        return Err(finding("checkpoint", text).into());
    }

    let mut sizes: BTreeSet<u64> = heads.iter().map(|head| head.tree_size).collect();
    sizes.extend([pages.size, checkpoint.size]);
    sizes.extend(baggage.remembered.iter().map(|remembered| remembered.size));
    let mut walk = Walk::new(sizes, &pages);
    walk.bundles(source, checkpoint.size, progress).await?;
    report.add(Check::passed("entries", walk.summary()));
    report.add(walk.tiles(source, checkpoint.size).await?);
    report.add(walk.sha256_root(&checkpoint)?);
    let beyond = walk.beyond_the_checkpoint()?;
    report.add(Check::passed("json log", pages.summary(beyond)));
    report.add(pages::root(&pages, &walk)?);
    report.add(heads::check(&heads, &keys.identity, &walk)?);
    report.add(proofs::newest(source, &checkpoint, &keys, &walk).await?);

    let remembered = Remembered::of(&keys, &checkpoint, &walk, note);
    if let Some(before) = &baggage.remembered {
        report.add(before.continues(&walk, &checkpoint)?);
    }
    report.conclude(&checkpoint, walk.sha3_root_at(checkpoint.size));
    Ok(remembered)
}

/// The newest checkpoint, opened; waits a little until it covers `shown` entries.
async fn checkpoint<S: Source>(source: &S, keys: &Keys, shown: u64) -> Result<(Checkpoint, String), Stop> {
    let mut attempt = 1;
    loop {
        let bytes = source::required(source, "/log/checkpoint").await?;
        let checkpoint = logged::open(&bytes, &keys.all).map_err(|error| finding("checkpoint", error))?;
        if checkpoint.size >= shown || attempt >= TRIES || !source.is_live() {
            let note = String::from_utf8_lossy(&bytes).into_owned();
            return Ok((checkpoint, note));
        }
        attempt += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests;

//! `paramant log archive`

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use paramant_client::archive::{self, Archive};
use paramant_client::audit::{self, Baggage, Remembered};

use crate::arguments;
use crate::command::audit::conclude;
use crate::output::{Output, Unit};

pub(super) async fn run(arguments: arguments::Archive, output: &Output) -> Result<()> {
    let relay = crate::command::connect(&arguments.relay.relay, &arguments.relay.connection, None)?;
    let policy = arguments.trust.policy.as_deref().map(crate::command::policy).transpose()?;
    let remembered = crate::command::remembered(arguments.state.as_deref())?;
    // What is in the copy already is read from there and checked again, so that the copy as a whole was seen to hold.
    let remembered = remembered.map(Remembered::from_the_start);
    let baggage = Baggage { pinned: arguments.trust.vkey, policy, remembered, ..Baggage::default() };

    let place = Place::of(&arguments.out);
    let archive = Archive::open(&relay, &place.directory)?;
    archive.same_log().await?;
    let bar = output.bar("archiving", Unit::Entries);
    let (report, remembered) = audit::audit(&archive, &baggage, &bar.progress()).await?;
    drop(bar);
    conclude(&report, output)?;
    let remembered = remembered.context("the whole log was not read")?;
    archive.finish(&remembered)?;
    if let Some(zip) = &place.zip {
        archive::pack(&place.directory, zip)?;
        fs::remove_dir_all(&place.directory).with_context(|| {
            format!("{} is complete, but {} cannot be removed", zip.display(), place.directory.display())
        })?;
    }
    output.notice(format_args!("the copy is complete: {}", arguments.out.display()));
    crate::command::remember(arguments.state.as_deref(), Some(&remembered))
}

/// Where the copy grows, and what is made of it.
struct Place {
    directory: PathBuf,
    zip: Option<PathBuf>,
}

impl Place {
    /// A zip grows as a directory beside it, so that an interrupted copy can go on.
    fn of(out: &Path) -> Self {
        if out.extension().is_some_and(|extension| extension == "zip") && !out.is_dir() {
            return Self { directory: out.with_added_extension("part"), zip: Some(out.to_owned()) };
        }
        Self { directory: out.to_owned(), zip: None }
    }
}

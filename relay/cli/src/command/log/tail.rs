//! `paramant log tail`

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Result;
use paramant_client::audit::Source;
use paramant_client::tail::{Numbered, Tail};

use crate::arguments;
use crate::output::Output;

/// Checkpoints are published every second.
const EVERY: Duration = Duration::from_secs(1);
/// Bundles read at once when entries of a kind are looked for.
const BACK: u64 = 16;
/// Entries that are looked through for entries of a kind before the search is given up.
const FAR: u64 = 1 << 17;

pub(super) async fn run(arguments: arguments::Tail, output: &Output) -> Result<()> {
    let (relay, trust) = super::open(&arguments.log).await?;
    let wanted = if arguments.since.is_some() { 0 } else { arguments.lines };
    let (mut tail, entries) = Tail::open(&relay, trust, wanted).await?;
    let found = match &arguments.since {
        Some(hour) => since(&mut tail, entries, hour).await?,
        None => last(&mut tail, entries, &arguments, output).await?,
    };
    let found: Vec<_> = found.iter().filter(|numbered| matches(&arguments, numbered)).collect();
    if found.is_empty() {
        output.notice(format_args!(
            "no such entry; the log has {} under its checkpoint",
            tail.checkpoint().size
        ));
    }
    show(found.into_iter(), output)?;
    if !arguments.follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(EVERY).await;
        let entries = match tail.newer().await {
            Ok(entries) => entries,
            // A relay that restarts is asked again.
            Err(error) if error.may_pass() => {
                output.notice(format_args!("{error}; trying again"));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        show(entries.iter().filter(|numbered| matches(&arguments, numbered)), output)?;
    }
}

fn matches(arguments: &arguments::Tail, (_, entry): &Numbered) -> bool {
    arguments.kind.is_none_or(|kind| entry.kind() == kind)
        && arguments.since.as_ref().is_none_or(|hour| entry.hour() >= hour.as_str())
}

/// The last so many that match.
async fn last<S: Source>(
    tail: &mut Tail<'_, S>,
    entries: Vec<Numbered>,
    arguments: &arguments::Tail,
    output: &Output,
) -> Result<Vec<Numbered>> {
    let lines = usize::try_from(arguments.lines).unwrap_or(usize::MAX);
    let mut found: VecDeque<Numbered> =
        entries.into_iter().filter(|entry| matches(arguments, entry)).collect();
    let stop = tail.checkpoint().size.saturating_sub(FAR);
    while found.len() < lines && tail.first() > 0 {
        if tail.first() <= stop {
            output.notice(format_args!("entries before {} were not looked through", tail.first()));
            break;
        }
        let earlier = tail.earlier(BACK).await?;
        for entry in earlier.into_iter().rev().filter(|entry| matches(arguments, entry)) {
            found.push_front(entry);
        }
    }
    Ok(found.split_off(found.len().saturating_sub(lines)).into())
}

/// Everything from an hour on. Hours may go back by one, so the search begins an hour's worth earlier than the first hit.
async fn since<S: Source>(
    tail: &mut Tail<'_, S>,
    entries: Vec<Numbered>,
    hour: &str,
) -> Result<Vec<Numbered>> {
    let from = tail.find(hour).await?;
    let mut found = VecDeque::from(entries);
    while tail.first() > from {
        let bundles = (tail.first() - from).div_ceil(256).min(BACK);
        for entry in tail.earlier(bundles).await?.into_iter().rev() {
            found.push_front(entry);
        }
    }
    Ok(found.into())
}

fn show<'e>(entries: impl Iterator<Item = &'e Numbered>, output: &Output) -> Result<()> {
    for (index, entry) in entries {
        output.result(&super::as_json(*index, entry), &super::as_text(*index, entry))?;
    }
    Ok(())
}

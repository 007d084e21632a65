//! `paramant audit`

mod actions;
mod licensing;

use std::path::PathBuf;

use anyhow::{Result, bail};
use paramant_client::audit::{self, Baggage, Copy, Remembered, Report};
use paramant_client::relay::Progress;
use serde_json::json;

use crate::arguments::Audit;
use crate::exit::{DoesNotHold, Usage};
use crate::output::{Output, Unit};

pub(super) async fn run(arguments: Audit, output: &Output) -> Result<()> {
    let policy = arguments.trust.policy.as_deref().map(super::policy).transpose()?;
    let remembered = super::remembered(arguments.state.as_deref())?;
    let baggage = Baggage {
        pinned: arguments.trust.vkey.clone(),
        policy,
        require_pq: arguments.require_pq,
        max_witness_age: arguments.max_witness_age.map(|age| age.as_duration()),
        remembered,
        at: None,
        actions: arguments.actions.then(|| licensing::keys(&arguments.licensing_key)).transpose()?,
    };
    let bar = output.bar("auditing", Unit::Entries);
    let (report, remembered) = examine(&arguments, &baggage, &bar.progress()).await?;
    drop(bar);

    conclude(&report, output)?;
    if arguments.state.is_some() && remembered.is_none() {
        output.notice("nothing was remembered: only a part of the log was here");
    }
    super::remember(arguments.state.as_deref(), remembered.as_ref())
}

async fn examine(
    arguments: &Audit,
    baggage: &Baggage,
    progress: &Progress,
) -> Result<(Report, Option<Remembered>)> {
    let is_url = |text: &String| text.contains("://");
    match arguments.what.as_slice() {
        [url] if is_url(url) => {
            let relay = super::connect(url, &arguments.connection, None)?;
            Ok(audit::audit(&relay, baggage, progress).await?)
        }
        paths if paths.iter().any(is_url) => {
            Err(Usage("name one relay, or copies of one log, not both".into()).into())
        }
        paths => {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            if let Some(path) = paths.iter().find(|path| !path.exists()) {
                bail!("there is no {} here; the address of a relay begins with https://", path.display());
            }
            let copy = Copy::open(&paths)?;
            Ok(audit::audit(&copy, baggage, progress).await?)
        }
    }
}

/// Shows what an audit found; what does not hold ends the command.
pub(super) fn conclude(report: &Report, output: &Output) -> Result<()> {
    let mut told =
        json!({"ok": report.holds(), "checks": report.checks, "head": report.head, "timing": report.timing});
    if let (Some(actions), Some(fields)) = (&report.actions, told.as_object_mut()) {
        fields.insert("actions".to_owned(), serde_json::to_value(actions)?);
    }
    output.result(&told, &text(report))?;
    if let Some(failure) = report.failure() {
        return Err(DoesNotHold(format!("{}: {}", failure.name, failure.evidence)).into());
    }
    if !report.holds() {
        return Err(DoesNotHold("not every check was reached".into()).into());
    }
    Ok(())
}

fn text(report: &Report) -> String {
    let mut lines: Vec<String> = report
        .checks
        .iter()
        .map(|check| {
            let verdict = match (check.holds, check.checked) {
                (false, _) => "FAIL",
                (true, true) => "ok  ",
                (true, false) => "--  ",
            };
            format!("{verdict}  {:<12} {}", check.name, check.evidence)
        })
        .collect();
    if let Some(head) = report.head.as_ref().filter(|_| report.holds()) {
        let unchecked = match report.checks.iter().filter(|check| !check.checked).count() {
            0 => String::new(),
            count => format!(", {count} not possible (--)"),
        };
        lines.push(format!(
            "{} holds: {} entries, {} checks{unchecked}, root {}",
            head.origin,
            head.size,
            report.checks.len(),
            head.sha256_root
        ));
    }
    lines.extend(report.actions.as_ref().map(actions::text));
    lines.join("\n")
}

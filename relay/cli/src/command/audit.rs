//! `paramant audit`

use anyhow::{Context as _, Result};
use paramant_client::audit::{self, Baggage, Remembered, Report};
use paramant_client::durable::{self, ORDINARY};
use serde_json::json;

use crate::arguments::Audit;
use crate::exit::{DoesNotHold, Usage};
use crate::output::{Output, Unit};

pub(super) async fn run(arguments: Audit, output: &Output) -> Result<()> {
    let relay = super::connect(&arguments.url, &arguments.connection, None)?;
    let remembered = match &arguments.state {
        Some(path) => {
            durable::read(path)?.map(|bytes| Remembered::parse(&bytes)).transpose().map_err(|error| {
                Usage(format!("{} cannot be read as an audit's state: {error}", path.display()))
            })?
        }
        None => None,
    };
    let baggage = Baggage { pinned: arguments.vkey, remembered };
    let bar = output.bar("auditing", Unit::Entries);
    let (report, remembered) = audit::audit(&relay, &baggage, &bar.progress()).await?;
    drop(bar);

    output.result(
        &json!({"ok": report.holds(), "checks": report.checks, "head": report.head}),
        &text(&report),
    )?;
    if let Some(failure) = report.failure() {
        return Err(DoesNotHold(format!("{}: {}", failure.name, failure.evidence)).into());
    }
    if !report.holds() {
        return Err(DoesNotHold("not every check was reached".into()).into());
    }
    if let (Some(path), Some(remembered)) = (&arguments.state, remembered) {
        durable::write(path, &remembered.to_bytes(), ORDINARY)
            .context("the audit holds, but cannot be remembered")?;
    }
    Ok(())
}

fn text(report: &Report) -> String {
    let mut lines: Vec<String> = report
        .checks
        .iter()
        .map(|check| {
            format!("{}  {:<12} {}", if check.holds { "ok  " } else { "FAIL" }, check.name, check.evidence)
        })
        .collect();
    if let Some(head) = &report.head {
        lines.push(format!(
            "{} holds: {} entries, {} checks, root {}",
            head.origin,
            head.size,
            report.checks.len(),
            head.sha256_root
        ));
    }
    lines.join("\n")
}

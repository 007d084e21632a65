//! What the log says of a request: its entry lies under a checkpoint that was published before the effect's own entry was made.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    bed::Bed,
    process::{self, wait_for},
    relay::Relay,
    scenario::{
        auditors,
        fixture::Fixture,
        license::{admin, lists},
    },
};

const AUDIT: Duration = Duration::from_secs(120);
/// An effect's own entry is published with the next checkpoint.
const PUBLISHED: Duration = Duration::from_secs(30);

/// Where in the log a request stands, the tree size that covered it, and where its effect stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    request: u64,
    covered: u64,
    effect: u64,
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "entry {} under size {} before {}", self.request, self.covered, self.effect)
    }
}

/// Sees the order kept for a request whose effect is an entry of this kind.
pub(super) fn order(fixture: &Fixture<'_>, relay: &Relay, id: &str, effect: &str) -> Result<Order> {
    let told = told(fixture, relay, id)?;
    let (request, covered) = (number(&told, "logIndex")?, number(&told, "checkpointSize")?);
    let entry = lists::entry(relay, request)?;
    ensure!(of_kind(&entry, "vendor_request") && entry.contains(id), "entry {request} is another: {entry}");
    wait_for(&format!("{effect} of {id} in a published tree"), PUBLISHED, || {
        let published = published(relay)?;
        for index in request + 1..published {
            if of_kind(&lists::entry(relay, index)?, effect) {
                return Ok(Ok(index));
            }
        }
        Ok(Err(format!("none between entry {request} and size {published}")))
    })
    .and_then(|index| {
        let order = Order { request, covered, effect: index };
        let kept = request < covered && covered <= index;
        ensure!(kept, "{effect} came before its request was published: {order}");
        Ok(order)
    })
}

/// What the admin is told of a request.
pub(super) fn told(fixture: &Fixture<'_>, relay: &Relay, id: &str) -> Result<Value> {
    let answer = admin(fixture, relay, "/v2/admin/actions")?;
    let rows = answer["requests"].as_array().cloned().unwrap_or_default();
    rows.into_iter().find(|row| row["id"] == id).with_context(|| format!("no request {id}: {answer}"))
}

fn number(row: &Value, field: &str) -> Result<u64> {
    row[field].as_u64().with_context(|| format!("no {field} in {row}"))
}

fn of_kind(entry: &str, kind: &str) -> bool {
    serde_json::from_str::<Value>(entry).is_ok_and(|entry| entry["k"] == kind)
}

fn published(relay: &Relay) -> Result<u64> {
    let checkpoint = relay.public("/log/checkpoint")?;
    checkpoint.lines().nth(1).and_then(|line| line.parse().ok()).context("a checkpoint without a size")
}

/// An auditor is given the vendor's keys and finds each of these requests, signed by one of them; with another key the audit is red.
pub(super) fn audited(bed: &Bed, relay: &Relay, keys: &str, ids: &[&str]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("vendor.keys");
    let audit = |keys: &str| {
        std::fs::write(&file, keys)?;
        let mut command = Command::new(bed.binary("paramant"));
        command.args(["audit", "--actions", &relay.url, "--licensing-key"]).arg(&file);
        process::run(&mut command, None, AUDIT)
    };
    let red = audit(&another(keys)?)?;
    ensure!(red.code != Some(0), "an audit with another key than the vendor's was content:\n{}", red.stdout);
    let text = audit(keys)?.success("paramant audit --actions")?;
    for id in ids {
        ensure!(text.contains(id), "the audit does not tell of {id}:\n{text}");
    }
    let unsigned = text.matches("signed by licensing key").count() < ids.len();
    ensure!(
        !unsigned && text.contains("Silence:"),
        "the audit misses signatures or the silence statement:\n{text}"
    );
    auditors::every_judge(bed, &relay.url)
}

/// The keys with one digit changed.
fn another(keys: &str) -> Result<String> {
    let place = keys.char_indices().nth(200).context("no key of the vendor's")?.0;
    let (before, rest) = keys.split_at(place);
    let digit = if rest.starts_with('0') { '1' } else { '0' };
    Ok(format!("{before}{digit}{}", rest.get(1..).unwrap_or_default()))
}

//! The runbook of docs/backup.md, taken out of the page and run: a relay whose volume is lost comes back from a backup.

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::fixture::Fixture;
use crate::{
    bed::Bed,
    process,
    relay::{Relay, random_blob},
    steps::{Seen, seen},
};

/// Deleting pods and volumes, and starting three pods, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(900);
/// Marks the blocks of the page that are run.
const MARK: &str = "<!-- runbook: restore -->\n```console\n";

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "restore")?;
    let before = fixture.relay("health")?;
    before.roundtrip(5000)?;
    let (waiting, digest) = random_blob(5000)?;
    ensure!(before.upload(&waiting, &digest)?.0 == 200, "the relay refused an upload");
    let entries = log_size(&before)?;

    let work = tempfile::tempdir()?;
    let backup = fs::File::create(work.path().join("health.tar"))?;
    let mut exec = bed.kubectl_command();
    exec.args(["-n", &fixture.namespace, "exec", "health-0", "--"]);
    exec.args(["/paramant-relay", "backup", "--data", "/data", "--to", "-"]);
    let status = exec.stdout(backup).stderr(Stdio::null()).status()?;
    ensure!(status.success(), "the backup ended with {status}");

    // What comes after the backup is what a restore cannot bring back, and what the log must not deny.
    before.roundtrip(5000)?;
    let origin = fixture.field("prelay/health", "/status/log/origin")?;
    let script = runbook(bed, &fixture.namespace)?;
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &script]).current_dir(work.path());
    bash.envs(bed.shell_environment()?);
    let told = process::run(&mut bash, None, PATIENCE)?.success("the runbook of docs/backup.md")?;
    ensure!(told.contains("Ready") || told.contains("condition met"), "the runbook's last word: {told}");

    let url = bed.service_url(&fixture.namespace, "health")?;
    let after = before.at(&url);
    // The relay is ready before every Service leads to it.
    process::wait_for("the Service to reach the relay", Duration::from_secs(30), || {
        Ok(after.public("/health").map_err(|error| format!("{error:#}")))
    })?;
    after.roundtrip(5000).context("the key from before the backup")?;
    let (status, _) = after.download(&digest)?;
    ensure!(status == 404, "what waited at the time of the backup answers {status}, expected 404");
    let now = fixture.field("prelay/health", "/status/log/origin")?;
    if now == origin {
        bail!("the log is still named {origin}: it must have been retired");
    }
    super::auditors::every_judge(bed, &url)?;
    let text = format!(
        "a backup of {entries} entries beside traffic; volume lost, restored by the page's own commands; keys work, the file on its way is 404, five judges accept the new log"
    );
    seen((), &text)
}

fn log_size(relay: &Relay) -> Result<u64> {
    let answer: serde_json::Value = serde_json::from_str(&relay.public("/v2/ct/log?limit=1")?)?;
    answer["tree_size"].as_u64().context("no tree_size")
}

/// The marked blocks of the page, for this namespace.
fn runbook(bed: &Bed, namespace: &str) -> Result<String> {
    let page = bed.checkout.join("docs/backup.md");
    let text = fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    let blocks: Vec<&str> = text.split(MARK).skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    ensure!(blocks.len() == 4, "{} has {} marked blocks, expected 4", page.display(), blocks.len());
    let script = blocks.join("\n");
    ensure!(script.contains("NAMESPACE=transfers RELAY=health"), "{} names other values", page.display());
    Ok(script.replace("NAMESPACE=transfers", &format!("NAMESPACE={namespace}")))
}

//! `e2e/sdk/tour.py` against a relay in the cluster: every public method of the published client, unmodified, each called and its
//! answer checked. A method that the tour does not know is planted first, and must end it.

use std::{process::Command, time::Duration};

use anyhow::{Result, bail};

use super::{auditors, fixture::Fixture};
use crate::{bed::Bed, process, relay::Relay, steps::Seen, steps::seen};

/// A host that can be registered and never be reached: names below `.example` do not exist, and no upload is told to it.
const HOOK: &str = "https://hooks.example/tour";
const WEBHOOKS: &str = "  webhooks:\n    hosts: [hooks.example]\n    egress: { cidrs: [192.0.2.0/24] }\n";
const LIMIT: Duration = Duration::from_secs(300);

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "sdk")?;
    fixture.apply("health", WEBHOOKS)?;
    fixture.ready("health")?;
    let relay = fixture.connect("health")?;
    let planted = tour(bed, &relay, &["--plant", "GhostPipe.teleport"])?;
    if planted.code != Some(3) || !planted.stderr.contains("GhostPipe.teleport") {
        bail!("a public method that no stop shows was not missed: {planted:?}");
    }
    let said = tour(bed, &relay, &[])?.success("the tour")?;
    auditors::every_judge(bed, &relay.url)?;
    let shown = said.lines().last().unwrap_or_default();
    seen((), format!("{shown}, a planted one was missed; five judges accept the log"))
}

fn tour(bed: &Bed, relay: &Relay, arguments: &[&str]) -> Result<process::Output> {
    let home = tempfile::tempdir()?;
    let mut command = Command::new(&bed.sdk_python);
    command
        .arg(bed.checkout.join("e2e/sdk/tour.py"))
        .args(arguments)
        .env("HOME", home.path())
        .env("PARAMANT_RELAY", &relay.url)
        .env("PARAMANT_API_KEY", &relay.key)
        .env("PARAMANT_HOOK", HOOK);
    process::run(&mut command, None, LIMIT)
}

//! The operator is killed whenever it has written a step of an update down: no step is done twice, and none is lost.
//!
//! Each step is in status before it is taken, so a kill right after that write is the moment at which one could be taken
//! by nobody, or by two. The StatefulSet's generation and the API server's audit log tell how often each was taken.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{fixture::Fixture, machine_steps::MachineSteps, rights::OPERATOR};
use crate::{
    audit_log,
    bed::Bed,
    host::{operator_pid, signal},
    process::wait_for,
    relay::random_blob,
    steps::{Seen, seen},
};

/// Nine steps, each with a kill, a start and at worst a whole Lease in between.
const LIMIT: Duration = Duration::from_secs(400);

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let log = bed.audit_log.clone().context("this scenario reads the test bed's audit log")?;
    let fixture = Fixture::new(bed, "killed-between-steps")?;
    fixture.policy(
        "quick",
        "{ updates: { mode: Manual, settle: 10s, healthTimeout: 120s }, drain: { settle: 2s } }",
    )?;
    fixture.apply("health", "  policyRef: { name: quick }\n")?;
    fixture.ready("health")?;
    let relay = fixture.connect("health")?;
    let (bytes, digest) = random_blob(4096)?;
    let (status, body) = relay.upload(&bytes, &digest)?;
    if status != 200 {
        bail!("an upload before the update answered {status}: {body}");
    }
    let (mark, generation) = (audit_log::mark(&log)?, generation(&fixture)?);

    wait_for("the first installation to be over", LIMIT, || {
        let step = fixture.field("prelay/health", "/status/update/step")?;
        Ok(if step == "Idle" { Ok(()) } else { Err(step.to_string()) })
    })?;
    let steps = MachineSteps::watch(&fixture, "health")?;
    let next = bed.image("paramant-relay-next")?.to_owned();
    let patch = format!("{{\"spec\":{{\"image\":\"{next}\"}}}}");
    bed.kubectl(&["-n", &fixture.namespace, "patch", "prelay", "health", "--type", "merge", "-p", &patch])?;
    let mut killed_after = Vec::new();
    steps.until_at_rest(LIMIT, |step| {
        signal(&operator_pid()?, "KILL")?;
        killed_after.push(step.to_owned());
        Ok(())
    })?;

    if killed_after != ["Verifying", "Draining", "Replacing", "Probing", "Settling"] {
        bail!("the operator was killed after {killed_after:?}, expected each of the five steps once");
    }
    let image = super::template::pod(&fixture)?.image;
    if !next.ends_with(image.rsplit('@').next().unwrap_or(&image)) {
        bail!("the update ended with {image}, expected {next}");
    }
    let deletions = audit_log::since(&log, mark)?
        .into_iter()
        .filter(|it| it.user == OPERATOR && it.verb == "delete" && it.resource == "pods")
        .filter(|it| it.namespace == fixture.namespace && it.code < 300)
        .count();
    let rolled = self::generation(&fixture)? - generation;
    if deletions != 1 || rolled != 1 {
        bail!("{deletions} deletions of the pod and {rolled} changes of its template, expected one of each");
    }
    let (status, got) = relay.download(&digest)?;
    if status != 200 || got != bytes {
        bail!("after the update a blob from before answers {status}");
    }
    relay.roundtrip(4096)?;
    seen((), format!("killed after {}; one template written, one pod deleted", killed_after.join(", ")))
}

/// How often the StatefulSet was changed.
fn generation(fixture: &Fixture<'_>) -> Result<i64> {
    let generation = fixture.field("statefulset/health", "/metadata/generation")?;
    generation.as_i64().with_context(|| format!("no generation: {generation}"))
}

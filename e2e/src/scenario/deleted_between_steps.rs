//! A relay is deleted in each step of an update, by turns in the background and in the foreground: nothing of it stays but its
//! data, nothing is made again, and over the same volume it serves what it had acknowledged.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{fixture::Fixture, machine_steps::MachineSteps, rights::OPERATOR};
use crate::{
    audit_log,
    bed::Bed,
    process::wait_for,
    relay::random_blob,
    steps::{Seen, seen},
};

/// A step, and an image on whose way it lies.
const STEPS: [(&str, &str); 6] = [
    ("Verifying", "paramant-relay-next"),
    ("Draining", "paramant-relay-next"),
    ("Replacing", "paramant-relay-next"),
    ("Probing", "paramant-relay-next"),
    ("Settling", "paramant-relay-next"),
    ("RollingBack", "crash"),
];
/// From naming an image to the last of these steps, several relays at once.
const LIMIT: Duration = Duration::from_secs(180);

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let log = bed.audit_log.clone().context("this scenario reads the test bed's audit log")?;
    let fixture = Fixture::new(bed, "deleted-between-steps")?;
    fixture.policy(
        "quick",
        "{ updates: { mode: Manual, settle: 20s, healthTimeout: 30s }, drain: { settle: 2s } }",
    )?;
    for (step, _) in STEPS {
        fixture.apply(&named(step), POLICY)?;
    }
    let mark = audit_log::mark(&log)?;
    let outcomes: Vec<(&str, Result<()>)> = thread::scope(|scope| {
        let deleted = STEPS.iter().enumerate().map(|(number, (step, image))| {
            let fixture = &fixture;
            (*step, scope.spawn(move || deleted_in(fixture, step, image, number % 2 == 1)))
        });
        let deleted: Vec<_> = deleted.collect();
        let ended = deleted.into_iter().map(|(step, one)| {
            (step, one.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the thread panicked"))))
        });
        ended.collect()
    });
    let failed: Vec<String> = outcomes
        .iter()
        .filter_map(|(step, outcome)| Some(format!("{step}: {:#}", outcome.as_ref().err()?)))
        .collect();
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    let refused: Vec<String> = audit_log::since(&log, mark)?
        .into_iter()
        .filter(|it| it.user == OPERATOR && it.namespace == fixture.namespace && it.code == 403)
        .map(|it| format!("{} {}/{}", it.verb, it.resource, it.name))
        .collect();
    ensure!(refused.is_empty(), "the operator was refused: {refused:?}");
    let steps: Vec<&str> = STEPS.iter().map(|(step, _)| *step).collect();
    seen((), format!("deleted in {}; each came back over its volume with what it had", steps.join(", ")))
}

const POLICY: &str = "  policyRef: { name: quick }\n";

fn named(step: &str) -> String {
    step.to_ascii_lowercase()
}

fn deleted_in(fixture: &Fixture<'_>, step: &str, image: &str, foreground: bool) -> Result<()> {
    let (bed, namespace, name) = (fixture.bed, fixture.namespace.as_str(), named(step));
    fixture.ready(&name)?;
    let relay = fixture.connect(&name)?;
    let (bytes, digest) = random_blob(4096)?;
    let (status, body) = relay.upload(&bytes, &digest)?;
    ensure!(status == 200, "an upload before the update answered {status}: {body}");
    wait_for("the first installation to be over", LIMIT, || {
        let step = fixture.field(&format!("prelay/{name}"), "/status/update/step")?;
        Ok(if step == "Idle" { Ok(()) } else { Err(step.to_string()) })
    })?;

    let steps = MachineSteps::watch(fixture, &name)?;
    let patch = format!("{{\"spec\":{{\"image\":\"{}\"}}}}", bed.image(image)?);
    bed.kubectl(&["-n", namespace, "patch", "prelay", &name, "--type=merge", "-p", &patch])?;
    steps.until(step, LIMIT)?;
    let log = bed.audit_log.clone().context("this scenario reads the test bed's audit log")?;
    let mark = audit_log::mark(&log)?;
    let cascade = if foreground { "--cascade=foreground" } else { "--cascade=background" };
    bed.kubectl(&["-n", namespace, "delete", "prelay", &name, cascade, "--timeout=120s"])?;
    let gone = ["sts/NAME", "pod/NAME-0", "svc/NAME", "svc/NAME-pods", "cm/NAME-config", "sa/NAME"];
    let gone: Vec<String> = gone.iter().map(|one| one.replace("NAME", &name)).collect();
    fixture.wait_gone(&gone.iter().map(String::as_str).collect::<Vec<_>>())?;
    for kept in [format!("pvc/data-{name}-0"), format!("cm/{name}-state")] {
        ensure!(fixture.exists(&kept)?, "{kept} went along");
    }

    let since = audit_log::since(&log, mark)?;
    let deleted =
        since.iter().find(|it| it.verb == "delete" && it.resource == "paramantrelays" && it.name == name);
    let deleted = deleted.context("the audit log does not show the deletion")?.at;
    let made: Vec<String> = since
        .iter()
        .filter(|it| it.at > deleted)
        .filter(|it| it.user == OPERATOR && it.namespace == namespace && it.name.starts_with(&name))
        .filter(|it| it.resource != "events" && (it.verb == "create" || it.code == 201))
        .map(|it| format!("{} {}/{}", it.verb, it.resource, it.name))
        .collect();
    ensure!(made.is_empty(), "after it was deleted the operator made {made:?}");

    fixture.apply(&name, POLICY)?;
    fixture.ready(&name)?;
    // The Service is another one, with another address.
    let relay = relay.at(&bed.service_url(namespace, &name)?);
    wait_for("the Service to reach the relay", LIMIT, || {
        Ok(relay.public("/health").map_err(|error| format!("{error:#}")))
    })?;
    let (status, got) = relay.download(&digest)?;
    ensure!(status == 200 && got == bytes, "what was acknowledged answers {status} with {} bytes", got.len());
    relay.roundtrip(1000)
}

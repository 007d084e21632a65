//! The operator of this release meets definitions of the release before, as after an upgrade that left the CRDs to somebody else:
//! it says which field is missing and touches nothing, the relay serves on, and the chart's own definitions heal it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{fixture::Fixture, operator, rights::OPERATOR, template};
use crate::{
    audit_log,
    bed::Bed,
    demo::{self, SYSTEM, patch_drain},
    process::wait_for,
    steps::{Seen, seen},
};

/// Fields that a release before may not have had.
const MISSING: [&str; 2] = ["spec/properties/transfers", "status/properties/remoteActions"];

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let outcome = meet(bed);
    if outcome.is_err() {
        // The others need whole definitions and an operator.
        demo::install(bed).context("putting the chart's definitions back")?;
    }
    outcome
}

fn meet(bed: &Bed) -> Result<Seen<()>> {
    let log = bed.audit_log.clone().context("this scenario reads the test bed's audit log")?;
    let fixture = Fixture::new(bed, "older-crds")?;
    let relay = fixture.relay("health")?;
    let before = template::pod(&fixture)?;

    operator::scale(bed, 0)?;
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties";
    for field in MISSING {
        let patch = format!("[{{\"op\":\"remove\",\"path\":\"{schema}/{field}\"}}]");
        bed.kubectl(&["patch", "crd", "paramantrelays.paramant.app", "--type=json", "-p", &patch])?;
    }
    let mark = audit_log::mark(&log)?;
    bed.kubectl(&["-n", SYSTEM, "scale", "deployment/paramant-operator", "--replicas=1"])?;
    wait_for("/readyz to name what is missing", Duration::from_secs(90), || {
        let Some(pod) = operator::pods(bed)?.into_iter().next() else { return Ok(Err("no pod".into())) };
        let (status, text) = operator::page(&pod, "/readyz")?;
        let named = ["spec.transfers", "status.remoteActions", "install the CRDs"];
        let names = status == 503 && named.iter().all(|part| text.contains(part));
        Ok(if names { Ok(()) } else { Err(format!("{status}: {text}")) })
    })?;
    // Nothing is done by half a schema, and the relay needs nobody to serve.
    patch_drain(bed, &fixture.namespace, "health", "true")?;
    for _ in 0..5 {
        std::thread::sleep(Duration::from_secs(1));
        relay.roundtrip(1000)?;
    }
    let wrote: Vec<String> = audit_log::since(&log, mark)?
        .into_iter()
        .filter(|it| it.user == OPERATOR && it.writes() && it.namespace == fixture.namespace)
        .map(|it| format!("{} {}/{}", it.verb, it.resource, it.name))
        .collect();
    ensure!(wrote.is_empty(), "by half a schema the operator wrote {wrote:?}");

    demo::install(bed)?;
    bed.wait_condition(&fixture.namespace, "prelay/health", "Drained", Duration::from_secs(60))?;
    patch_drain(bed, &fixture.namespace, "health", "null")?;
    wait_for("uploads to be taken", Duration::from_secs(60), || {
        Ok(relay.roundtrip(1000).map_err(|error| format!("{error:#}")))
    })?;
    ensure!(template::pod(&fixture)?.uid == before.uid, "the pod was replaced");
    seen((), "two missing fields named in /readyz and nothing done; healed by helm upgrade, the same pod")
}

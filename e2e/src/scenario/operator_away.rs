//! The operator dies, and the API server goes away for a minute: relays go on, and everything heals by itself.

use std::{time::Duration, time::Instant};

use anyhow::{Result, bail};

use super::fixture::Fixture;
use crate::{
    bed::Bed,
    demo::patch_drain,
    host::{component_pid, operator_pid, signal},
    process::wait_for,
    relay::Relay,
    steps::Seen,
    steps::seen,
};

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "away")?;
    let relay = fixture.relay("health")?;
    let before = super::template::pod(&fixture)?;

    // kill -9 in the middle of reconciling: a burst of changes keeps it busy.
    for round in 0..3 {
        patch_drain(bed, &fixture.namespace, "health", if round % 2 == 0 { "true" } else { "null" })?;
        signal(&operator_pid()?, "KILL")?;
        std::thread::sleep(Duration::from_secs(2));
    }
    patch_drain(bed, &fixture.namespace, "health", "null")?;
    let began = Instant::now();
    serves(&relay, Duration::from_secs(90))?;
    // The relay may not have heard of the last drain when it was lifted: an operator that read it before it died would bring it
    // while the API server is frozen, and could not know that it was lifted.
    caught_up(&fixture)?;
    let healed = began.elapsed();

    // The API server is stopped for a minute, not ended: connections hang, which is the harder case.
    let server = component_pid("kube-apiserver")?;
    signal(&server, "STOP")?;
    let frozen = Instant::now();
    while frozen.elapsed() < Duration::from_secs(60) {
        relay.roundtrip(3000).inspect_err(|_| {
            signal(&server, "CONT").ok();
        })?;
        std::thread::sleep(Duration::from_millis(500));
    }
    signal(&server, "CONT")?;
    let began = Instant::now();
    wait_for("the API server", Duration::from_secs(60), || {
        Ok(bed.kubectl(&["get", "--raw", "/readyz"]).map_err(|error| format!("{error:#}")))
    })?;
    patch_drain(bed, &fixture.namespace, "health", "true")?;
    relay.wait_refusing(Duration::from_secs(60))?;
    let recovered = began.elapsed();
    patch_drain(bed, &fixture.namespace, "health", "null")?;
    serves(&relay, Duration::from_secs(60))?;
    let after = super::template::pod(&fixture)?;
    if before.uid != after.uid {
        bail!("the relay's pod was replaced");
    }
    seen(
        (),
        format!(
            "healed {} s after three kills and {} s after a frozen API server; the relay served throughout",
            healed.as_secs(),
            recovered.as_secs()
        ),
    )
}

fn serves(relay: &Relay, limit: Duration) -> Result<()> {
    wait_for("uploads to be taken", limit, || Ok(relay.roundtrip(500).map_err(|error| format!("{error:#}"))))
}

/// The operator has seen the last change, and the relay serves.
fn caught_up(fixture: &Fixture<'_>) -> Result<()> {
    wait_for("the operator to have seen the last change", Duration::from_secs(90), || {
        let object = fixture.bed.get(&fixture.namespace, "prelay/health")?;
        let (wanted, seen) = (&object["metadata"]["generation"], &object["status"]["observedGeneration"]);
        let drain = &object["status"]["drain"]["state"];
        Ok(if wanted == seen && drain == "Serving" {
            Ok(())
        } else {
            Err(format!("generation {wanted}, observed {seen}, drain {drain}"))
        })
    })
}

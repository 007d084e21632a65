//! Two replicas of the operator: one leads, the other waits. The leader ends, then freezes: somebody leads within the promised time,
//! and what the frozen one still wants to say counts for nothing.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{fixture::Fixture, operator};
use crate::{
    bed::Bed, demo::SYSTEM, demo::patch_drain, host::Frozen, host::operator_in, process::wait_for,
    relay::Relay, steps::Seen, steps::seen,
};

/// From a crash to the first directive of the next leader; operator.md's number.
const AFTER_CRASH: Duration = Duration::from_secs(30);
/// After a clean exit: the Lease is free at once, and the next leader has everything but its connections.
const AFTER_EXIT: Duration = Duration::from_secs(5);

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "failover")?;
    let relay = fixture.relay("health")?;
    let before = super::template::pod(&fixture)?;
    operator::scale(bed, 2)?;
    let outcome = fail_over(&fixture, &relay);
    operator::scale(bed, 1)?;
    let (exit, crash) = outcome?;
    let after = super::template::pod(&fixture)?;
    ensure!(before.uid == after.uid, "the relay's pod was replaced");
    relay.roundtrip(1000)?;
    seen(
        (),
        format!(
            "a drain reached the relay {:.1} s after the leader was told to end, {:.1} s after it froze; thawed, it said nothing that counted",
            exit.as_secs_f64(),
            crash.as_secs_f64()
        ),
    )
}

fn fail_over(fixture: &Fixture<'_>, relay: &Relay) -> Result<(Duration, Duration)> {
    let bed = fixture.bed;
    let (first, epoch) = operator::leader(bed)?;
    let began = Instant::now();
    bed.kubectl(&["-n", SYSTEM, "delete", "pod", &first, "--wait=false"])?;
    patch_drain(bed, &fixture.namespace, "health", "true")?;
    relay.wait_refusing(AFTER_EXIT + Duration::from_secs(25))?;
    let exit = began.elapsed();
    wait_for("two replicas to be ready again", Duration::from_secs(90), || {
        let ready = bed.get(SYSTEM, "deployment/paramant-operator")?["status"]["readyReplicas"].as_u64();
        Ok(if ready == Some(2) { Ok(()) } else { Err(format!("{ready:?}")) })
    })?;
    let (second, next) = operator::leader(bed)?;
    ensure!(second != first && next > epoch, "{first} led with epoch {epoch}, now {second} with {next}");
    patch_drain(bed, &fixture.namespace, "health", "null")?;
    serves(relay, Duration::from_secs(20))?;

    // Frozen, not ended: it believes that it leads when it thaws, with a drain of its own on its way.
    let frozen = Frozen::new(operator_in(&second)?)?;
    let began = Instant::now();
    patch_drain(bed, &fixture.namespace, "health", "true")?;
    relay.wait_refusing(AFTER_CRASH + Duration::from_secs(30))?;
    let crash = began.elapsed();
    let (third, later) = operator::leader(bed)?;
    ensure!(third != second && later > next, "{second} led with epoch {next}, now {third} with {later}");
    let restarts = restarts(bed, &second)?;
    drop(frozen);
    let watched = Instant::now();
    wait_for("the thawed process to end by itself", Duration::from_secs(60), || {
        let now = self::restarts(bed, &second)?;
        Ok(if now > restarts { Ok(()) } else { Err(format!("{now} restarts")) })
    })?;
    while watched.elapsed() < Duration::from_secs(5) {
        let (bytes, digest) = crate::relay::random_blob(64)?;
        let status = relay.upload(&bytes, &digest)?.0;
        ensure!(status == 503, "the drain of the leader was undone by the one before: {status}");
    }
    ensure!(operator::leader(bed)?.0 == third, "the thawed process took the Lease back");
    patch_drain(bed, &fixture.namespace, "health", "null")?;
    serves(relay, Duration::from_secs(20))?;
    ensure!(
        exit <= AFTER_EXIT,
        "{:.1} s after a clean exit, expected {} s",
        exit.as_secs_f64(),
        AFTER_EXIT.as_secs()
    );
    ensure!(
        crash <= AFTER_CRASH,
        "{:.1} s after a crash, expected {} s",
        crash.as_secs_f64(),
        AFTER_CRASH.as_secs()
    );
    Ok((exit, crash))
}

fn serves(relay: &Relay, limit: Duration) -> Result<()> {
    wait_for("uploads to be taken", limit, || Ok(relay.roundtrip(500).map_err(|error| format!("{error:#}"))))
}

fn restarts(bed: &Bed, pod: &str) -> Result<u64> {
    let pod = bed.get(SYSTEM, &format!("pod/{pod}"))?;
    Ok(pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default())
}

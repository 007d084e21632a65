//! Drain by `spec.drain`: uploads are refused at once, downloads and running uploads go on, and it can be undone.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::fixture::Fixture;
use crate::{bed::Bed, demo::patch_drain, relay::random_blob, steps::Seen, steps::seen};

/// How often drain is switched on; the 99th percentile of so many is the slowest but one.
pub(crate) const TOGGLES: usize = 100;

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let delays = toggle(bed, "drain", TOGGLES)?;
    let at = |share: usize| {
        delays.get((delays.len() * share / 100).min(delays.len() - 1)).copied().unwrap_or_default()
    };
    seen(
        (),
        format!(
            "{TOGGLES} toggles, patch response to first 503: median {} ms, p99 {} ms",
            at(50).as_millis(),
            at(99).as_millis()
        ),
    )
}

/// Switches the drain of a relay on and off; answers the delays from the answer to the first 503, sorted.
pub(crate) fn toggle(bed: &Bed, namespace: &str, toggles: usize) -> Result<Vec<Duration>> {
    let fixture = Fixture::new(bed, namespace)?;
    // Asking in a tight loop is the measurement; the usual rate would refuse it.
    fixture.apply("health", "  limits: { requestsPerMinute: 100000 }\n")?;
    fixture.ready("health")?;
    let relay = fixture.connect("health")?;
    let mut delays = Vec::with_capacity(toggles);
    for toggle in 0..toggles {
        let (bytes, digest) = random_blob(512)?;
        let (status, body) = relay.upload(&bytes, &digest)?;
        if status != 200 {
            bail!("toggle {toggle}: an upload before the drain answered {status}: {body}");
        }
        patch_drain(bed, &fixture.namespace, "health", "true")?;
        delays.push(until(&relay, 503)?);
        let (status, got) = relay.download(&digest)?;
        if status != 200 || got != bytes {
            bail!("toggle {toggle}: a download during the drain answered {status}");
        }
        patch_drain(bed, &fixture.namespace, "health", "null")?;
        until(&relay, 200)?;
    }
    delays.sort();
    Ok(delays)
}

/// Uploads until the answer has this status; answers how long that took.
fn until(relay: &crate::relay::Relay, wanted: u16) -> Result<Duration> {
    let began = Instant::now();
    loop {
        let (bytes, digest) = random_blob(64)?;
        let (status, body) = relay.upload(&bytes, &digest)?;
        if status == wanted {
            return Ok(began.elapsed());
        }
        if status != 200 && status != 503 {
            bail!("an upload answered {status}: {body}");
        }
        std::thread::sleep(Duration::from_millis(2));
        if began.elapsed() > Duration::from_secs(30) {
            bail!("uploads still answer {status} 30 s after the toggle, expected {wanted}");
        }
    }
}

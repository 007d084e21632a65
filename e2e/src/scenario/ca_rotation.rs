//! The operator's certificate authority is replaced on request: relays accept old and new for a while, paused ones too, nothing
//! restarts, and every directive in between is taken at the first attempt.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use super::{fixture::Fixture, operator};
use crate::{
    bed::Bed, demo::SYSTEM, demo::patch_drain, host::Frozen, host::relay_in, process::wait_for, relay::Relay,
    steps::Seen, steps::seen,
};

const SECRET: &str = "secret/paramant-operator-ca";
/// Deliveries that did not come through.
const FAILED: &str = "paramant_operator_directives_total{outcome=\"failed\"}";

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "ca")?;
    fixture.apply("paused", "")?;
    let kept = fixture.relay("kept")?;
    fixture.ready("paused")?;
    counts_failures(&fixture)?;
    bed.kubectl(&["-n", &fixture.namespace, "annotate", "prelay", "paused", "paramant.app/paused=true"])?;
    let before = [state(&fixture, "kept")?, state(&fixture, "paused")?];
    let old = certificate(bed)?;

    let failed = operator::metric(bed, FAILED)?;
    let toggles = Toggles::start(bed, &fixture.namespace, &kept)?;
    let began = Instant::now();
    let wish = format!("paramant.app/rotate-ca=e2e-{}", jiff::Timestamp::now());
    bed.kubectl(&["-n", SYSTEM, "annotate", SECRET, "--overwrite", &wish])?;
    let result = rotated(&fixture, &old);
    let toggled = toggles.stop()?;
    let (both, new) = result?;
    let took = began.elapsed();

    let now_failed = operator::metric(bed, FAILED)?;
    ensure!(now_failed == failed, "{} deliveries failed during the replacement", now_failed - failed);
    ensure!(both, "the two were never published together");
    ensure!(toggled > 5, "only {toggled} toggles: too few to tell");
    for (name, before) in ["kept", "paused"].into_iter().zip(before) {
        let after = state(&fixture, name)?;
        ensure!(after == before, "the pod of {name} was {before:?} and is {after:?}");
    }
    ensure!(new != old, "the same authority signs");
    kept.roundtrip(2000)?;
    seen(
        (),
        format!(
            "{} s from the wish to the new one alone; {toggled} drain toggles meanwhile, none failed; no pod restarted, the paused relay took part",
            took.as_secs()
        ),
    )
}

/// The counter that must stand still later counts when there is something to count: a relay that stands still.
fn counts_failures(fixture: &Fixture<'_>) -> Result<()> {
    let before = operator::metric(fixture.bed, FAILED)?;
    let frozen = Frozen::new(relay_in(&super::template::pod_of(fixture, "kept")?.uid)?)?;
    patch_drain(fixture.bed, &fixture.namespace, "kept", "true")?;
    wait_for("a delivery to a relay that stands still to fail", Duration::from_secs(60), || {
        let now = operator::metric(fixture.bed, FAILED)?;
        Ok(if now > before { Ok(()) } else { Err(format!("{now} failed so far")) })
    })?;
    drop(frozen);
    patch_drain(fixture.bed, &fixture.namespace, "kept", "null")?;
    fixture.ready("kept")
}

/// Waits until the new authority is alone, everywhere; says whether both were published in between, and which it is.
fn rotated(fixture: &Fixture<'_>, old: &str) -> Result<(bool, String)> {
    let mut both = false;
    let new = wait_for("the new authority to be published alone", Duration::from_secs(180), || {
        let published = published(fixture, "paused")?;
        both |= published.matches("BEGIN CERTIFICATE").count() == 2 && published.contains(old.trim());
        let signs = certificate(fixture.bed)?;
        let alone = |name| Ok::<_, anyhow::Error>(self::published(fixture, name)? == signs);
        Ok(if signs != old && alone("kept")? && alone("paused")? {
            Ok(signs)
        } else {
            Err(format!("signing: {}, published: {published}", if signs == old { "old" } else { "new" }))
        })
    })?;
    let digest = hex::encode(Sha256::digest(&new));
    for name in ["kept-0", "paused-0"] {
        wait_for("the relay to accept nobody else", Duration::from_secs(60), || {
            let log = fixture.bed.kubectl(&["-n", &fixture.namespace, "logs", name])?;
            Ok(if log.contains(&digest) { Ok(()) } else { Err(format!("{name} did not log {digest}")) })
        })?;
    }
    Ok((both, new))
}

fn certificate(bed: &Bed) -> Result<String> {
    let secret = bed.get(SYSTEM, SECRET)?;
    let text = secret["data"]["tls.crt"].as_str().context("the Secret holds no certificate")?;
    Ok(String::from_utf8(STANDARD.decode(text)?)?)
}

fn published(fixture: &Fixture<'_>, relay: &str) -> Result<String> {
    let value = fixture.field(&format!("cm/{relay}-config"), "/data/operator-ca.pem")?;
    Ok(value.as_str().unwrap_or_default().to_owned())
}

/// UID and restarts of a relay's pod.
fn state(fixture: &Fixture<'_>, relay: &str) -> Result<(String, String)> {
    let what = format!("pod/{relay}-0");
    let restarts = fixture.field(&what, "/status/containerStatuses/0/restartCount")?;
    Ok((fixture.field(&what, "/metadata/uid")?.to_string(), restarts.to_string()))
}

/// Drains and lifts, one after the other, each a connection of its own, until told to stop.
struct Toggles {
    stop: Arc<AtomicBool>,
    worker: thread::JoinHandle<Result<usize>>,
}

impl Toggles {
    fn start(bed: &Bed, namespace: &str, relay: &Relay) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, relay, namespace) = (stop.clone(), relay.clone(), namespace.to_owned());
        let environment = bed.shell_environment()?;
        let worker = thread::spawn(move || {
            let mut toggled = 0;
            while !told.load(Ordering::SeqCst) {
                for (value, wanted) in [("true", 503), ("null", 200)] {
                    let patch = format!("{{\"spec\":{{\"drain\":{value}}}}}");
                    let mut kubectl = std::process::Command::new("kubectl");
                    kubectl.envs(environment.clone()).args(["-n", &namespace, "patch", "prelay", "kept"]);
                    kubectl.args(["--type", "merge", "--field-manager=paramant-admin", "-p", &patch]);
                    crate::process::run(&mut kubectl, None, Duration::from_secs(30))?
                        .success("the toggle")?;
                    answers(&relay, wanted)?;
                }
                toggled += 1;
                thread::sleep(Duration::from_millis(500));
            }
            Ok(toggled)
        });
        Ok(Toggles { stop, worker })
    }

    fn stop(self) -> Result<usize> {
        self.stop.store(true, Ordering::SeqCst);
        match self.worker.join() {
            Ok(toggled) => toggled.context("a drain toggle during the replacement"),
            Err(_) => bail!("the thread that toggles panicked"),
        }
    }
}

fn answers(relay: &Relay, wanted: u16) -> Result<()> {
    wait_for(&format!("uploads to answer {wanted}"), Duration::from_secs(10), || {
        let (bytes, digest) = crate::relay::random_blob(64)?;
        let (status, _) = relay.upload(&bytes, &digest)?;
        Ok(if status == wanted { Ok(()) } else { Err(format!("{status}")) })
    })
}

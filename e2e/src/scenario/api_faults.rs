//! An API server that errs, throttles, forgets or hangs: the operator says so, does what still can be done, and heals by itself.
//!
//! The operator in the cluster steps aside; one runs on this machine over a line that spoils answers. Each fault is met at least
//! once, or the scenario fails: a fault that nobody met proves nothing. A process that ends is started again, as a kubelet would.

mod faulty;

use std::{
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use hyper::Method;

use self::faulty::{Fault, Line};
use super::{fixture::Fixture, operator};
use crate::{
    bed::Bed,
    demo::{SYSTEM, patch_drain},
    process::wait_for,
    relay::Relay,
    steps::{Seen, seen},
};

/// How long a fault lasts.
const LASTS: Duration = Duration::from_secs(8);
/// Longer than any single wait of the operator: a Lease that was lost, and its backoff.
const HEALS: Duration = Duration::from_secs(60);

/// What goes wrong, and whether a drain must get through all the same.
const FAULTS: &[(&str, Fault, bool)] = &[
    ("500 to everything", Fault::Answers { code: 500, fits: |_, _| true }, false),
    (
        "429 to writes and lists",
        Fault::Answers { code: 429, fits: |_, path| !path.contains("/leases/") },
        false,
    ),
    ("409 to each change of a status", Fault::Answers { code: 409, fits: changes_status }, false),
    ("410 to each watch", Fault::Answers { code: 410, fits: |_, path| path.contains("watch=true") }, false),
    (
        "403 to network policies",
        Fault::Answers { code: 403, fits: |_, path| path.contains("/networkpolicies") },
        true,
    ),
    ("silence", Fault::Hangs, false),
];

fn changes_status(method: &Method, path: &str) -> bool {
    *method == Method::PATCH && path.contains("/status")
}

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "api-faults")?;
    let relay = fixture.relay("health")?;
    let before = super::template::pod(&fixture)?;
    operator::scale(bed, 0)?;
    let healed = with_faults(&fixture, &relay);
    operator::scale(bed, 1)?;
    let healed = healed?;
    if before.uid != super::template::pod(&fixture)?.uid {
        bail!("the relay's pod was replaced");
    }
    seen((), format!("healed after {}; the relay served throughout", healed.join(", ")))
}

fn with_faults(fixture: &Fixture<'_>, relay: &Relay) -> Result<Vec<String>> {
    let line = Line::open(fixture.bed)?;
    let mut operator = Operator::start(fixture, &line)?;
    let mut healed = Vec::new();
    drained(fixture, relay, &mut operator, HEALS).context("before any fault")?;
    for (name, fault, passes) in FAULTS {
        line.begin(*fault);
        let began = Instant::now();
        if *passes {
            thread::sleep(LASTS);
            drained(fixture, relay, &mut operator, HEALS).with_context(|| format!("during {name}"))?;
        } else {
            patch_drain(fixture.bed, &fixture.namespace, "health", "true")?;
            while began.elapsed() < LASTS {
                operator.keep_running()?;
                relay.public("/health").with_context(|| format!("during {name}"))?;
                thread::sleep(Duration::from_millis(200));
            }
        }
        if line.end() == 0 {
            bail!("{name}: the fault was never met");
        }
        let ended = Instant::now();
        drained(fixture, relay, &mut operator, HEALS).with_context(|| format!("after {name}"))?;
        healed.push(format!("{name} in {} s", ended.elapsed().as_secs()));
    }
    Ok(healed)
}

/// A drain reaches the relay, and so does its end.
fn drained(fixture: &Fixture<'_>, relay: &Relay, operator: &mut Operator, limit: Duration) -> Result<()> {
    patch_drain(fixture.bed, &fixture.namespace, "health", "true")?;
    wait_for("the drain to reach the relay", limit, || {
        operator.keep_running()?;
        Ok(match relay.upload(b"\x02probe", &probe())?.0 {
            503 => Ok(()),
            other => Err(format!("an upload answered {other}")),
        })
    })?;
    patch_drain(fixture.bed, &fixture.namespace, "health", "null")?;
    wait_for("the end of the drain to reach the relay", limit, || {
        operator.keep_running()?;
        Ok(relay.roundtrip(700).map_err(|error| format!("{error:#}")))
    })
}

fn probe() -> String {
    use sha2::{Digest as _, Sha256};
    hex::encode(Sha256::digest(b"\x02probe"))
}

/// An operator on this machine that looks after the scenario's namespace alone.
struct Operator {
    command: Command,
    process: Child,
    _files: [tempfile::NamedTempFile; 2],
}

impl Operator {
    fn start(fixture: &Fixture<'_>, line: &Line) -> Result<Self> {
        let kubeconfig = tempfile::NamedTempFile::new()?;
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: line\nclusters: [{{ name: line, cluster: {{ server: '{}' }} }}]\ncontexts: [{{ name: line, context: {{ cluster: line, user: nobody }} }}]\nusers: [{{ name: nobody, user: {{}} }}]\n",
            line.url
        );
        std::fs::write(kubeconfig.path(), text)?;
        let registry = fixture.bed.image("paramant-relay")?.split('/').next().unwrap_or_default().to_owned();
        let keys = tempfile::NamedTempFile::new()?;
        let key = std::fs::read_to_string(&fixture.bed.release_key)?;
        std::fs::write(keys.path(), format!("# test-bed\n{key}"))?;
        let mut command = Command::new(fixture.bed.binary("paramant-operator"));
        command
            .env_remove("KUBERNETES_SERVICE_HOST")
            .env("KUBECONFIG", kubeconfig.path())
            .env("PARAMANT_NAMESPACES", &fixture.namespace)
            .env("POD_NAMESPACE", SYSTEM)
            .env("POD_NAME", "api-faults")
            .env("PARAMANT_HTTP_ADDR", "127.0.0.1:0")
            .env("PARAMANT_PLAIN_HTTP_REGISTRIES", registry)
            .env("PARAMANT_RELEASE_KEYS_FILE", keys.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = command.spawn().context("cannot start paramant-operator")?;
        Ok(Operator { command, process, _files: [kubeconfig, keys] })
    }

    /// Starts it again if it ended: an operator that lost its Lease ends on purpose.
    fn keep_running(&mut self) -> Result<()> {
        if self.process.try_wait()?.is_some() {
            self.process = self.command.spawn().context("cannot start paramant-operator again")?;
        }
        Ok(())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

//! Witnesses: two litewitnesses on the node, outside the cluster, cosign what the relay logs. The courier carries it: the relay pod
//! originates no packet, before, while and after. Witnesses come and go without a restart of the relay.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{auditors, fixture::Fixture, network::Counter};
use crate::{bed::Bed, process::wait_for, relay::Relay, relay::random_blob, steps::Seen, steps::seen};

/// The kubelet brings a changed ConfigMap within a minute and a half; then come a push and a report.
const TAKEN_UP: Duration = Duration::from_secs(240);
/// What belongs to the courier.
const COURIER: &[&str] = &[
    "deployment/health-courier-witness",
    "networkpolicy/health-courier-witness",
    "serviceaccount/health-courier-witness",
    "service/health-control",
];

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "witnesses")?;
    let relay = fixture.relay("health")?;
    let pod = fixture.field("pod/health-0", "/metadata/uid")?;
    let address = fixture.field("pod/health-0", "/status/podIP")?;
    let address = address.as_str().context("the pod has no address")?.to_owned();
    alone(&fixture, &relay)?;

    let directory = tempfile::tempdir()?;
    let node = bed.node_address()?;
    let log = Log::of(&relay)?;
    let one = Lite::start(bed, directory.path(), &node, 1, &log)?;
    let mut two = Lite::start(bed, directory.path(), &node, 2, &log)?;
    let counter = Counter::new(&address)?;
    let planted = counter.plant(&address)?;

    fixture.apply("health", &spec(&node, &[&one, &two])?)?;
    said(&fixture, "True", "Quorum", "")?;
    let size = upload(&relay)?;
    witnessed(&relay, size, 2)?;
    judge_policy(bed, &fixture, &relay, &node)?;

    two.stop()?;
    let lost = upload(&relay)?;
    said(&fixture, "False", "QuorumMissing", "two")?;
    two = Lite::start(bed, directory.path(), &node, 2, &log)?;
    said(&fixture, "True", "Quorum", "")?;
    witnessed(&relay, lost, 2)?;

    fixture.apply("health", "")?;
    fixture.wait_gone(COURIER)?;
    said(&fixture, "False", "NoWitnesses", "two different logs")?;
    relay.roundtrip(20_000)?;
    auditors::paramant_audit(bed, &relay.url)?;
    if fixture.field("pod/health-0", "/metadata/uid")? != pod {
        bail!("the relay was restarted for its witnesses");
    }
    let counted = counter.read()?;
    if counted != planted {
        bail!("the relay pod originated {} new flows", counted - planted);
    }
    drop((one, two));
    seen(
        (),
        format!(
            "2 of 2 cosigned, one left and came back; planted datagram counted ({planted}), then 0 new flows"
        ),
    )
}

/// Without witnesses it is said plainly what that means.
fn alone(fixture: &Fixture<'_>, relay: &Relay) -> Result<()> {
    said(fixture, "False", "NoWitnesses", "two different logs")?;
    let policy = relay.public("/log/policy")?;
    if !policy.contains("two different logs") || !policy.ends_with("quorum none\n") {
        bail!("/log/policy does not say that no witness watches:\n{policy}");
    }
    for what in COURIER {
        if fixture.exists(what)? {
            bail!("there is {what}, though nothing was switched on");
        }
    }
    Ok(())
}

/// The log, as witnesses are told of it.
pub(super) struct Log {
    origin: String,
    vkey: String,
}

impl Log {
    pub(super) fn of(relay: &Relay) -> Result<Self> {
        let checkpoint = relay.public("/log/checkpoint")?;
        let origin = checkpoint.lines().next().context("the checkpoint is empty")?.to_owned();
        Ok(Self { origin, vkey: auditors::ed25519(&auditors::vkeys(&relay.url)?)? })
    }
}

/// A litewitness on this machine, behind TLS.
pub(super) struct Lite {
    child: Child,
    vkey: String,
    url: String,
    ca: String,
    name: &'static str,
}

impl Lite {
    pub(super) fn start(bed: &Bed, directory: &Path, node: &str, number: usize, log: &Log) -> Result<Self> {
        let name = if number == 1 { "one" } else { "two" };
        let own = directory.join(name);
        std::fs::create_dir_all(&own)?;
        // It comes back where it was.
        let port_file = own.join("port");
        let port = match std::fs::read_to_string(&port_file) {
            Ok(port) => port,
            Err(_) => TcpListener::bind((node, 0))?.local_addr()?.port().to_string(),
        };
        std::fs::write(&port_file, &port)?;
        let front = format!("{node}:{port}");
        let back = format!("127.0.0.1:{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
        let mut command = Command::new(bed.programs.join("judge-witness"));
        command.arg("-litewitness").arg(bed.programs.join("litewitness")).arg("-dir").arg(&own);
        command.args(["-name", &format!("witness.example/{name}"), "-listen", &back, "-tls", &front]);
        command.args(["-origin", &log.origin, "-vkey", &log.vkey]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start judge-witness")?;
        let output = child.stdout.take().context("judge-witness has no output")?;
        let mut lines = BufReader::new(output).lines();
        let mut line = || -> Result<String> { Ok(lines.next().context("judge-witness ended")??) };
        let vkey = line()?.strip_prefix("vkey ").context("judge-witness names no key")?.to_owned();
        if line()? != "ready" {
            bail!("judge-witness is not ready");
        }
        let ca = std::fs::read_to_string(own.join("ca.pem"))?;
        Ok(Self { child, vkey, url: format!("https://{front}"), ca, name })
    }

    fn stop(&mut self) -> Result<()> {
        drop(self.child.stdin.take());
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Lite {
    fn drop(&mut self) {
        self.stop().ok();
    }
}

/// The lines of the relay's spec that name these witnesses.
pub(super) fn spec(node: &str, witnesses: &[&Lite]) -> Result<String> {
    let bundle: String = witnesses.iter().map(|witness| witness.ca.as_str()).collect();
    let members: Vec<Value> = witnesses
        .iter()
        .map(|it| serde_json::json!({ "name": it.name, "publicKey": it.vkey, "url": it.url }))
        .collect();
    let witnesses = serde_json::json!({
        "quorum": witnesses.len(),
        "members": members,
        "caBundle": bundle,
        "egress": { "cidrs": [format!("{node}/32")] },
    });
    // JSON is YAML.
    Ok(format!("  log: {}\n", serde_json::to_string(&serde_json::json!({ "witnesses": witnesses }))?))
}

/// Waits for what the condition LogWitnessed says.
pub(super) fn said(fixture: &Fixture<'_>, status: &str, reason: &str, words: &str) -> Result<()> {
    wait_for(&format!("LogWitnessed to be {status} ({reason})"), TAKEN_UP, || {
        let found = fixture.condition("health", "LogWitnessed")?;
        let (is, why, message) = found.unwrap_or_default();
        let fits = is == status && why == reason && message.contains(words);
        Ok(if fits { Ok(()) } else { Err(format!("{is} {why}: {message}")) })
    })
}

/// One upload; answers a size of the log that covers it.
pub(super) fn upload(relay: &Relay) -> Result<u64> {
    let before = size_of(&relay.public("/log/checkpoint")?)?;
    let (bytes, digest) = random_blob(2000)?;
    let (status, body) = relay.upload(&bytes, &digest)?;
    if status != 200 {
        bail!("upload answered {status}: {body}");
    }
    wait_for("a checkpoint after the upload", Duration::from_secs(20), || {
        let size = size_of(&relay.public("/log/checkpoint")?)?;
        Ok(if size > before { Ok(size) } else { Err(format!("still {size} entries")) })
    })
}

fn size_of(note: &str) -> Result<u64> {
    note.lines().nth(1).and_then(|line| line.parse().ok()).context("no size in the checkpoint")
}

/// Waits until a checkpoint of at least this size carries so many lines of witnesses.
pub(super) fn witnessed(relay: &Relay, size: u64, lines: usize) -> Result<()> {
    wait_for("the quorum to cosign", TAKEN_UP, || {
        let note = relay.public("/log/checkpoint.witnessed")?;
        let found = note.matches("— witness.example/").count();
        let reached = size_of(&note)?;
        let enough = found == lines && reached >= size;
        Ok(if enough {
            Ok(())
        } else {
            Err(format!("{found} lines at size {reached}, wanted {lines} at {size}"))
        })
    })
}

/// The policy names both witnesses; the courier's NetworkPolicy opens the node and no more.
fn judge_policy(bed: &Bed, fixture: &Fixture<'_>, relay: &Relay, node: &str) -> Result<()> {
    let policy = relay.public("/log/policy")?;
    if policy.lines().filter(|line| line.starts_with("witness ")).count() != 2
        || policy.contains("quorum none")
    {
        bail!("/log/policy does not name the witnesses:\n{policy}");
    }
    let egress = fixture.field("networkpolicy/health-courier-witness", "/spec/egress")?;
    let blocks: Vec<_> = egress
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|rule| rule["to"].as_array().cloned().unwrap_or_default())
        .filter_map(|peer| peer["ipBlock"]["cidr"].as_str().map(str::to_owned))
        .collect();
    if blocks != [format!("{node}/32")] {
        bail!("the courier's policy opens {blocks:?}");
    }
    let none = fixture.field("networkpolicy/health", "/spec/egress")?;
    if !none.is_null() {
        bail!("the relay's own policy opens {none}");
    }
    let ready = bed.kubectl(&["-n", &fixture.namespace, "rollout", "status", COURIER[0], "--timeout=60s"]);
    ready.map(drop)
}

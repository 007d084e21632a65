//! Webhooks: somebody's server behind a forward proxy, outside the cluster, is told of uploads. The courier carries the calls: the
//! relay pod originates no packet. What is told while the courier is away waits for the next one.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{auditors, fixture::Fixture, network::Counter};
use crate::{bed::Bed, process::wait_for, relay::Relay, relay::random_blob, steps::Seen, steps::seen};

const HOST: &str = "hooks.example";
pub(super) const SECRET: &str = "known to the sender and to the receiver";
/// The kubelet brings a changed ConfigMap within a minute and a half; then the courier starts.
const TAKEN_UP: Duration = Duration::from_secs(240);
const COURIER: &[&str] = &[
    "deployment/health-courier-webhook",
    "networkpolicy/health-courier-webhook",
    "serviceaccount/health-courier-webhook",
    "service/health-control-webhook",
];

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "webhooks")?;
    let relay = fixture.relay("health")?;
    let pod = fixture.field("pod/health-0", "/metadata/uid")?;
    let address = fixture.field("pod/health-0", "/status/podIP")?;
    let address = address.as_str().context("the pod has no address")?.to_owned();
    let (status, answer) = register(&relay, "phone", "/told", SECRET)?;
    ensure!(status == 403, "without a list of hosts a webhook was answered with {status}: {answer}");

    let directory = tempfile::tempdir()?;
    let mut receiver = Receiver::start(bed, directory.path())?;
    let counter = Counter::new(&address)?;
    let planted = counter.plant(&address)?;
    fixture.apply("health", &receiver.spec()?)?;
    wait_for("webhooks to be taken", TAKEN_UP, || {
        let (status, answer) = register(&relay, "phone", "/told", SECRET)?;
        Ok(if status == 200 { Ok(()) } else { Err(format!("{status}: {answer}")) })
    })?;
    // The receiver is first shown a call that it cannot believe.
    let (status, answer) = register(&relay, "stranger", "/forged", "another secret")?;
    ensure!(status == 200, "the second webhook was answered with {status}: {answer}");
    let hash = upload(&relay, "stranger")?;
    let forged = receiver.told(&hash)?;
    ensure!(forged["signed"] == false, "a call under another secret was believed: {forged}");

    let hash = upload(&relay, "phone")?;
    let told = receiver.told(&hash)?;
    let fits = told["signed"] == true
        && told["path"] == "/told"
        && told["event"] == "blob_ready"
        && told["told"]["device_id"] == "phone"
        && told["told"]["size"] == 2000;
    ensure!(fits, "the call was {told}");

    for what in COURIER {
        ensure!(fixture.exists(what)?, "there is no {what}");
    }
    without_courier(&fixture, &relay, &mut receiver)?;

    fixture.apply("health", "")?;
    fixture.wait_gone(COURIER)?;
    wait_for("webhooks to be refused", TAKEN_UP, || {
        let (status, answer) = register(&relay, "phone", "/told", SECRET)?;
        Ok(if status == 403 { Ok(()) } else { Err(format!("{status}: {answer}")) })
    })?;
    relay.roundtrip(20_000)?;
    auditors::paramant_audit(bed, &relay.url)?;
    ensure!(fixture.field("pod/health-0", "/metadata/uid")? == pod, "the relay was restarted for webhooks");
    let counted = counter.read()?;
    ensure!(counted == planted, "the relay pod originated {} new flows", counted - planted);
    seen(
        (),
        format!(
            "4 calls verified by the documented check, one under another secret refused; 3 waited while there was no courier; planted datagram counted ({planted}), then 0 new flows"
        ),
    )
}

/// What is told while there is no courier waits for the next one. The operator, which would make one at once, is paused meanwhile.
fn without_courier(fixture: &Fixture<'_>, relay: &Relay, receiver: &mut Receiver) -> Result<()> {
    let namespace = ["-n", fixture.namespace.as_str()];
    let kubectl = |arguments: &[&str]| fixture.bed.kubectl(&[&namespace, arguments].concat());
    kubectl(&["annotate", "prelay/health", "paramant.app/paused=true"])?;
    wait_for("the pause", Duration::from_secs(30), || {
        let paused = fixture.condition("health", "Paused")?;
        Ok(if paused.is_some_and(|(status, ..)| status == "True") {
            Ok(())
        } else {
            Err("not yet".to_owned())
        })
    })?;
    kubectl(&["scale", COURIER[0], "--replicas=0"])?;
    let pods = "app.kubernetes.io/name=paramant-courier";
    kubectl(&["wait", "--for=delete", "pod", "-l", pods, "--timeout=60s"])?;

    let hashes: Vec<String> = (0..3).map(|_| upload(relay, "phone")).collect::<Result<_>>()?;
    let listed = relay.get("/v2/webhook")?;
    let waiting: u64 =
        listed["webhooks"].as_array().into_iter().flatten().filter_map(|hook| hook["waiting"].as_u64()).sum();
    ensure!(waiting == 3, "{waiting} events wait while there is no courier: {listed}");

    kubectl(&["scale", COURIER[0], "--replicas=1"])?;
    kubectl(&["annotate", "prelay/health", "paramant.app/paused-"])?;
    for hash in &hashes {
        let told = receiver.told(hash)?;
        ensure!(told["signed"] == true, "the call was {told}");
    }
    Ok(())
}

pub(super) fn register(relay: &Relay, device: &str, path: &str, secret: &str) -> Result<(u16, Value)> {
    let url = format!("https://{HOST}{path}");
    relay.post("/v2/webhook", &json!({ "device_id": device, "url": url, "secret": secret }))
}

/// One upload for a device; answers its hash.
pub(super) fn upload(relay: &Relay, device: &str) -> Result<String> {
    let (bytes, digest) = random_blob(2000)?;
    let (status, body) = relay.upload_for(device, &bytes, &digest)?;
    ensure!(status == 200, "upload answered {status}: {body}");
    Ok(digest)
}

/// `e2e/webhooks/receiver.py` on this machine.
pub(super) struct Receiver {
    child: Child,
    lines: mpsc::Receiver<Value>,
    proxy: String,
    ca: String,
    /// What it was told last.
    last: Value,
}

impl Receiver {
    pub(super) fn start(bed: &Bed, directory: &Path) -> Result<Self> {
        let identity = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
        let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
        std::fs::write(&certificate, identity.cert.pem())?;
        std::fs::write(&key, identity.signing_key.serialize_pem())?;
        let node = bed.node_address()?;
        let mut command = Command::new(&bed.sdk_python);
        command.arg(bed.checkout.join("e2e/webhooks/receiver.py"));
        command.args(["--proxy-address", &node, "--host", HOST, "--secret", SECRET]);
        command.arg("--certificate").arg(&certificate).arg("--key").arg(&key);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the receiver")?;
        let output = child.stdout.take().context("the receiver has no output")?;
        let (say, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                drop(say.send(serde_json::from_str(&line).unwrap_or(Value::String(line))));
            }
        });
        let mut this =
            Self { child, lines, proxy: String::new(), ca: identity.cert.pem(), last: Value::Null };
        let first = this.lines.recv_timeout(Duration::from_secs(20)).context("the receiver did not start")?;
        this.proxy = format!("http://{node}:{}", first["proxy"]);
        Ok(this)
    }

    /// The lines of the relay's spec that let webhooks lead here.
    pub(super) fn spec(&self) -> Result<String> {
        let webhooks = json!({ "hosts": [HOST], "caBundle": self.ca, "egress": { "proxy": self.proxy } });
        // JSON is YAML.
        Ok(format!("  webhooks: {}\n", serde_json::to_string(&webhooks)?))
    }

    /// The next call that is no repetition; it must be of this upload.
    pub(super) fn told(&mut self, hash: &str) -> Result<Value> {
        loop {
            let call = self.lines.recv_timeout(TAKEN_UP);
            let call = call.with_context(|| format!("no call for {hash} in {} s", TAKEN_UP.as_secs()))?;
            let repeated = call["delivery"].is_string() && call["delivery"] == self.last;
            self.last = call["delivery"].clone();
            if !repeated {
                ensure!(call["told"]["hash"] == hash, "expected a call for {hash}, the next was {call}");
                return Ok(call);
            }
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().ok();
    }
}

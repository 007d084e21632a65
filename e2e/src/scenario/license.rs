//! A licence from its first day to an outage of a week and back: Community, offline, online through the courier, grace, Community
//! again, recovery. Each is mirrored in status, the relay works in all of them, and the relay pod originates no packet. The authority
//! is the reference one, a process on the node outside the cluster; the relay believes test keys, and its licence clock can be moved.

use std::{
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{auditors, fixture::Fixture, network::Counter};
use crate::{
    bed::Bed,
    demo::{self, LICENSE_PORT},
    process::{self, wait_for},
    relay::{self, Relay},
    steps::{Seen, seen},
};

/// The kubelet brings a changed Secret or ConfigMap within a minute and a half; then come a check-in and a report.
const TAKEN_UP: Duration = Duration::from_secs(240);
/// What a change in the relay needs to be seen in status, and some for a busy machine.
const MIRRORED: Duration = Duration::from_secs(15);
/// What belongs to the courier.
const COURIER: &[&str] = &[
    "deployment/health-courier-license",
    "networkpolicy/health-courier-license",
    "serviceaccount/health-courier-license",
    "service/health-control-license",
];
/// The seeds of the keys that `paramant-relay-testworld` believes.
const OFFLINE_SEED: &str = "0000000000000000000000000000000000000000000000000000000000000001";
const ONLINE_SEED: &str = "2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a";
const ONLINE_KEY: &str = "0-4102444800.seed";
const DAY: f64 = 24.0 * 3600.0;

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "license")?;
    let directory = tempfile::tempdir()?;
    let mut vendor = Vendor::prepare(bed, directory.path())?;
    let image = bed.image("paramant-relay-testworld")?.to_owned();
    license(&fixture, "")?;
    bed.apply(&fixture.manifest("health", &image, "  licenseRef: { name: acme }\n"))?;
    fixture.ready("health")?;
    let relay = fixture.connect("health")?;
    let pod = fixture.field("pod/health-0", "/metadata/uid")?;
    let address = fixture.field("pod/health-0", "/status/podIP")?;
    let address = address.as_str().context("the pod has no address")?.to_owned();
    let counter = Counter::new(&address)?;
    let planted = counter.plant(&address)?;
    let all = Everything { fixture: &fixture, relay: &relay };

    all.mirrored("None", "Community", TAKEN_UP)?;
    secret(&fixture, &vendor.offline()?)?;
    all.mirrored("Offline", "Licensed", TAKEN_UP)?;
    for what in COURIER {
        if fixture.exists(what)? {
            bail!("there is {what}, though nothing was switched on");
        }
    }

    let key = vendor.sell()?;
    vendor.serve()?;
    secret(&fixture, &key)?;
    license(&fixture, &vendor.online()?)?;
    all.mirrored("Online", "Pro", TAKEN_UP)?;
    agree(&fixture, &relay, &vendor)?;

    vendor.fault("status-503")?;
    let clock = fixture.data_folder("health")?.join("testworld-clock");
    for (days, source, tier) in [(0.0, "Online", "Pro"), (6.99, "Cache", "Pro"), (7.01, "None", "Community")]
    {
        std::fs::write(&clock, ((days * DAY) as i64).to_string())?;
        all.mirrored(source, tier, MIRRORED)?;
    }
    std::fs::write(&clock, "0")?;
    vendor.fault("none")?;
    check_in(&fixture, &relay)?;
    all.mirrored("Online", "Pro", TAKEN_UP)?;
    let answered = agree(&fixture, &relay, &vendor)?;

    license(&fixture, "")?;
    fixture.wait_gone(COURIER)?;
    wait_for("the relay to have taken it up", TAKEN_UP, || {
        let report = admin(&fixture, &relay, "/v2/admin/license")?;
        Ok(if report["checkIn"].is_null() { Ok(()) } else { Err(report.to_string()) })
    })?;
    let before = vendor.record()?.len();
    std::thread::sleep(Duration::from_secs(10));
    if vendor.record()?.len() != before {
        bail!("the relay checked in, though the online check was switched off");
    }
    relay.roundtrip(20_000)?;
    auditors::paramant_audit(bed, &relay.url)?;
    if fixture.field("pod/health-0", "/metadata/uid")? != pod {
        bail!("the relay was restarted for its licence");
    }
    let counted = counter.read()?;
    if counted != planted {
        bail!("the relay pod originated {} new flows", counted - planted);
    }
    seen(
        (),
        format!(
            "Community, offline, online, grace at 6.99 days, Community at 7.01, online again; {answered} check-ins in all four lists; \
         planted datagram counted ({planted}), then 0 new flows"
        ),
    )
}

/// The relay, and what its resource says of it.
struct Everything<'a> {
    fixture: &'a Fixture<'a>,
    relay: &'a Relay,
}

impl Everything<'_> {
    /// Waits until relay and licence show a state, and sees that transfers, the log and drain work in it.
    fn mirrored(&self, source: &str, tier: &str, patience: Duration) -> Result<()> {
        wait_for(&format!("status to say {source} {tier}"), patience, || {
            let seen = self.fixture.field("prelay/health", "/status/license")?;
            let fits = seen["source"] == source && seen["tier"] == tier;
            Ok(if fits { Ok(()) } else { Err(seen.to_string()) })
        })?;
        let state = if source == "None" {
            "Community"
        } else if source == "Cache" {
            "Grace"
        } else {
            "Active"
        };
        wait_for(&format!("the licence to say {state}"), MIRRORED, || {
            let seen = self.fixture.field("plic/acme", "/status/relays/0/state")?;
            Ok(if seen == state { Ok(()) } else { Err(seen.to_string()) })
        })?;
        self.relay.roundtrip(20_000)?;
        let ready = self.fixture.condition("health", "Ready")?.unwrap_or_default();
        if ready.0 != "True" {
            bail!("in {source} the relay is not ready: {ready:?}");
        }
        self.relay.public("/log/checkpoint").map(drop)
    }
}

/// What the authority recorded, what the admin is shown, what the log commits to, and what status says is next, agree. Answers how
/// many check-ins that were.
fn agree(fixture: &Fixture<'_>, relay: &Relay, vendor: &Vendor<'_>) -> Result<usize> {
    let history = wait_for("the check-in to be over", MIRRORED, || {
        let history = admin(fixture, relay, "/v2/admin/license/history?limit=100")?;
        let over = history["check_ins"].as_array().cloned().unwrap_or_default();
        Ok(if over.is_empty() { Err("no check-in is over".to_owned()) } else { Ok(over) })
    })?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut shown: Vec<(String, String)> =
        history.iter().map(|it| (text(&it["request_sha256"]), text(&it["reply_sha256"]))).collect();
    let mut answered: Vec<(String, String)> = vendor
        .record()?
        .into_iter()
        .filter(|line| line.status == "200" && !line.request.is_empty())
        .map(|line| (line.request, line.reply))
        .collect();
    // While the authority failed on purpose it recorded answers that never left it; of those the last was repeated and counts.
    answered.retain(|it| shown.contains(it) || !shown.iter().any(|(request, _)| *request == it.0));
    shown.sort();
    answered.sort();
    answered.dedup();
    if shown.is_empty() || shown != answered {
        bail!("the relay shows check-ins {shown:?}, the authority recorded {answered:?}");
    }
    for it in &history {
        for (index, purpose, salt, bytes) in [
            ("request_index", "license-request", "request_salt", "request"),
            ("reply_index", "license-reply", "reply_salt", "reply"),
        ] {
            let entry = entry(relay, it[index].as_u64().context("a check-in without its place in the log")?)?;
            let commitment = commitment(purpose, &text(&it[salt]), text(&it[bytes]).as_bytes())?;
            if !entry.contains(&commitment) || !entry.contains("\"k\":\"license_checkin\"") {
                bail!("the log's entry does not commit to the {purpose}: {entry}");
            }
        }
    }
    let next = wait_for("status to name the next request", MIRRORED, || {
        let status = fixture.field("plic/acme", "/status/relays/0/nextRequestSha256")?;
        let frozen = admin_bytes(fixture, relay, "/v2/admin/license/request")?;
        let digest = sha256(&frozen);
        Ok(if status == digest.as_str() { Ok(digest) } else { Err(format!("{status}, not {digest}")) })
    })?;
    if shown.iter().any(|(request, _)| *request == next) {
        bail!("the next request is one that was sent already");
    }
    Ok(shown.len())
}

/// The entry of an index, as its proof holds it.
fn entry(relay: &Relay, index: u64) -> Result<String> {
    let proof = relay.public(&format!("/log/proof/{index}"))?;
    let extra =
        proof.lines().find_map(|line| line.strip_prefix("extra ")).context("a proof without its entry")?;
    Ok(String::from_utf8(BASE64_STANDARD.decode(extra)?)?)
}

/// SHA-256(label ‖ salt ‖ value) as docs/spec/log.md has it.
fn commitment(purpose: &str, salt: &str, value: &[u8]) -> Result<String> {
    let label = format!("paramant/{purpose}/v1\0");
    Ok(sha256(&[label.as_bytes(), &hex::decode(salt)?, value].concat()))
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}

fn admin(fixture: &Fixture<'_>, relay: &Relay, path: &str) -> Result<Value> {
    Ok(serde_json::from_slice(&admin_bytes(fixture, relay, path)?)?)
}

fn admin_bytes(fixture: &Fixture<'_>, relay: &Relay, path: &str) -> Result<Vec<u8>> {
    let asked = relay::client()?.get(format!("{}{path}", relay.url)).header("X-Admin-Token", &fixture.token);
    Ok(asked.send()?.error_for_status()?.bytes()?.to_vec())
}

fn check_in(fixture: &Fixture<'_>, relay: &Relay) -> Result<()> {
    let url = format!("{}/v2/admin/license/check-in", relay.url);
    relay::client()?.post(url).header("X-Admin-Token", &fixture.token).send()?.error_for_status()?;
    Ok(())
}

fn license(fixture: &Fixture<'_>, online: &str) -> Result<()> {
    fixture.bed.apply(&format!(
        "apiVersion: paramant.app/v1alpha1\nkind: ParamantLicense\nmetadata: {{ name: acme, namespace: {} }}\nspec:\n  secretRef: {{ name: acme-license }}\n{online}",
        fixture.namespace
    ))?;
    Ok(())
}

fn secret(fixture: &Fixture<'_>, licence: &str) -> Result<()> {
    fixture.bed.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{ name: acme-license, namespace: {} }}\nstringData: {{ licence: {licence} }}\n",
        fixture.namespace
    ))?;
    Ok(())
}

/// The reference authority, as a process on the node.
struct Vendor<'a> {
    bed: &'a Bed,
    data: PathBuf,
    node: String,
    certificate: PathBuf,
    private: PathBuf,
    server: Option<Child>,
}

/// One check-in of its record.
struct Recorded {
    status: String,
    request: String,
    reply: String,
}

impl<'a> Vendor<'a> {
    fn prepare(bed: &'a Bed, directory: &Path) -> Result<Self> {
        let node = bed.node_address()?;
        // The chart was installed with it: whoever edits a licence cannot say by whom its server is believed.
        let (certificate, private) = demo::license_server(bed)?;
        let data = directory.join("authority");
        std::fs::create_dir_all(data.join("licensing-keys"))?;
        let vendor = Self { bed, data, node, certificate, private, server: None };
        own(&vendor.data.join("licensing-keys").join(ONLINE_KEY), ONLINE_SEED)?;
        own(&vendor.data.join("offline.seed"), OFFLINE_SEED)?;
        Ok(vendor)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.bed.binary("paramant-authority"));
        command.args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        process::run(&mut self.command(arguments), None, Duration::from_secs(30))?
            .success("paramant-authority")
    }

    /// An offline licence for the next weeks.
    fn offline(&self) -> Result<String> {
        let seed = self.data.join("offline.seed").display().to_string();
        let expires = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 60)).to_string();
        let arguments = [
            "issue",
            "--seed-file",
            &seed,
            "--max-users",
            "25",
            "--expires",
            &expires,
            "--issued-to",
            "Acme",
        ];
        Ok(self.run(&arguments)?.trim().to_owned())
    }

    /// A key for the online check.
    fn sell(&self) -> Result<String> {
        let data = self.data.display().to_string();
        let arguments = ["license", "sell", "--data", &data, "--customer", "Acme", "--tier", "pro"];
        Ok(self.run(&arguments)?.trim().to_owned())
    }

    fn fault(&self, fault: &str) -> Result<()> {
        self.run(&["fault", "--data", &self.data.display().to_string(), fault]).map(drop)
    }

    fn serve(&mut self) -> Result<()> {
        let listen = format!("{}:{LICENSE_PORT}", self.node);
        let mut command = self.command(&["serve", "--listen", &listen, "--data"]);
        command.arg(&self.data).arg("--tls-cert").arg(&self.certificate).arg("--tls-key").arg(&self.private);
        self.server = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        wait_for("the authority to listen", Duration::from_secs(20), || {
            Ok(TcpStream::connect(&listen).map(drop).map_err(|error| error.to_string()))
        })
    }

    /// `spec.online` of the licence.
    fn online(&self) -> Result<String> {
        let online = serde_json::json!({
            "endpoint": format!("https://{}:{LICENSE_PORT}/v1/license/check", self.node),
            "interval": "15m",
            "egress": { "cidrs": [format!("{}/32", self.node)] },
        });
        Ok(format!("  online: {online}\n"))
    }

    fn record(&self) -> Result<Vec<Recorded>> {
        let text = self.run(&["record", "--data", &self.data.display().to_string()])?;
        let checks = text.lines().filter(|line| line.contains(" check_in "));
        Ok(checks
            .map(|line| {
                let after = |word: &str| {
                    let mut words = line.split(' ').skip_while(|it| *it != word);
                    words.nth(1).unwrap_or_default().to_owned()
                };
                Recorded { status: after("status"), request: after("request"), reply: after("reply") }
            })
            .collect())
    }
}

impl Drop for Vendor<'_> {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            server.kill().ok();
            server.wait().ok();
        }
    }
}

/// A file that only its owner reads.
fn own(path: &Path, text: &str) -> Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

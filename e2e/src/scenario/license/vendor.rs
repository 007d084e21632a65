//! The reference authority, installed from `config/authority` in a namespace of its own, and steered as docs/authority.md says. Relays
//! reach it by the node's address, so that their couriers' NetworkPolicies can name where it is.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    bed::Bed,
    demo::{self, LICENSE_PORT},
    process,
};

/// Its namespace, left behind by no scenario.
pub(crate) const NAMESPACE: &str = "e2e-licensor";
/// The seeds of the keys that `paramant-relay-testworld` believes.
const OFFLINE_SEED: &str = "0000000000000000000000000000000000000000000000000000000000000001";
const ONLINE_SEED: &str = "2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a";

pub(crate) struct Vendor<'a> {
    bed: &'a Bed,
    node: String,
    directory: tempfile::TempDir,
}

/// One check-in of its record.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// It went wrong on purpose: whatever was recorded as its answer may never have left.
    pub(crate) fault: bool,
    pub(crate) status: String,
    pub(crate) version: String,
    pub(crate) request: String,
    pub(crate) reply: String,
    pub(crate) telemetry: String,
}

impl<'a> Vendor<'a> {
    /// Installed, with the key that the test world believes.
    pub(crate) fn install(bed: &'a Bed) -> Result<Self> {
        let vendor = Self { bed, node: bed.node_address()?, directory: tempfile::tempdir()? };
        bed.delete_namespace(NAMESPACE)?;
        bed.namespace(NAMESPACE)?;
        // The chart was installed with it: whoever edits a licence cannot say by whom its server is believed.
        let (certificate, private) = demo::license_server(bed)?;
        let pair = [format!("--cert={}", certificate.display()), format!("--key={}", private.display())];
        vendor.kubectl(&["create", "secret", "tls", "authority-tls", &pair[0], &pair[1]], None)?;
        let manifest = std::fs::read_to_string(bed.checkout.join("config/authority/authority.yaml"))?;
        let named = "registry.example/paramant/paramant-authority:0.1.0";
        ensure!(manifest.contains(named), "config/authority names another image");
        let manifest = manifest.replace(named, bed.image("paramant-authority")?);
        vendor.kubectl(&["apply", "--server-side", "-f", "-"], Some(&manifest))?;
        let ports = serde_json::json!([{ "name": "https", "port": 443, "targetPort": "https", "nodePort": LICENSE_PORT }]);
        let patch = serde_json::json!({ "spec": { "type": "NodePort", "ports": ports } }).to_string();
        vendor.kubectl(&["patch", "service/authority", "--type=merge", "-p", &patch], None)?;
        vendor.kubectl(&["rollout", "status", "deployment/authority", "--timeout=180s"], None)?;
        vendor.run(&["key", "add", "--data", "/data", "--seed-file", "/dev/stdin"], Some(ONLINE_SEED))?;
        Ok(vendor)
    }

    fn kubectl(&self, arguments: &[&str], input: Option<&str>) -> Result<String> {
        let all = [&["-n", NAMESPACE], arguments].concat();
        self.bed.kubectl_raw(&all, input)?.success(&format!("kubectl {}", all.join(" ")))
    }

    /// Its command line, where it runs.
    fn run(&self, arguments: &[&str], input: Option<&str>) -> Result<String> {
        let mut all = vec!["exec"];
        if input.is_some() {
            all.push("-i");
        }
        all.extend(["deployment/authority", "--", "/paramant-authority"]);
        all.extend(arguments);
        self.kubectl(&all, input)
    }

    /// An offline licence that ends so long from now. Its seed is in no cluster: it is issued on somebody's desk.
    pub(crate) fn offline(&self, lasts: jiff::SignedDuration) -> Result<String> {
        let seed = self.directory.path().join("offline.seed");
        if !seed.exists() {
            own(&seed, OFFLINE_SEED)?;
        }
        let mut command = Command::new(self.bed.binary("paramant-authority"));
        command.arg("issue").arg("--seed-file").arg(seed);
        command.args(["--max-users", "25", "--issued-to", "Acme", "--expires"]);
        command.arg((jiff::Timestamp::now() + lasts).to_string());
        let licence = process::run(&mut command, None, Duration::from_secs(30))?;
        Ok(licence.success("paramant-authority issue")?.trim().to_owned())
    }

    /// Asks something of a relay, as `paramant-authority action` does; answers what it printed of it.
    pub(crate) fn ask(&self, relay: &str, what: &[&str]) -> Result<Value> {
        let (kind, more) = what.split_first().context("nothing to ask")?;
        let to = ["action", kind, "--data", "/data", "--relay", relay, "--actor", "Mia of the vendor"];
        let printed = self.run(&[&to[..], more].concat(), None)?;
        serde_json::from_str(&printed).with_context(|| format!("{what:?} printed {printed}"))
    }

    /// The keys that sign for it, as an auditor is given them.
    pub(crate) fn keys(&self) -> Result<String> {
        self.run(&["key", "list", "--data", "/data"], None)
    }

    /// Is there, or is not.
    pub(crate) fn present(&self, present: bool) -> Result<()> {
        let replicas = format!("--replicas={}", u8::from(present));
        self.kubectl(&["scale", "deployment/authority", &replicas], None)?;
        if present {
            self.kubectl(&["rollout", "status", "deployment/authority", "--timeout=180s"], None)?;
            // The node leads to it some moments after its pod is ready.
            return process::wait_for("the authority at the node", Duration::from_secs(60), || {
                let reached = std::net::TcpStream::connect((self.node.as_str(), LICENSE_PORT));
                Ok(reached.map(drop).map_err(|error| error.to_string()))
            });
        }
        process::wait_for("the authority to be gone", Duration::from_secs(60), || {
            let pods = self.kubectl(&["get", "pods", "-o", "name"], None)?;
            Ok(if pods.trim().is_empty() { Ok(()) } else { Err(pods) })
        })
    }

    /// A key for the online check.
    pub(crate) fn sell(&self) -> Result<String> {
        let sold = ["license", "sell", "--data", "/data", "--customer", "Acme", "--tier", "pro"];
        Ok(self.run(&sold, None)?.trim().to_owned())
    }

    /// Sells another number of users under a key.
    pub(crate) fn resell(&self, key: &str, users: u64) -> Result<()> {
        self.resell_as(key, "pro", users)
    }

    /// The same in any tier.
    pub(crate) fn resell_as(&self, key: &str, tier: &str, users: u64) -> Result<()> {
        let users = users.to_string();
        let changed = ["license", "tier", "--data", "/data", "--key-file", "/dev/stdin", "--tier", tier];
        self.run(&[&changed[..], &["--max-users", &users]].concat(), Some(key)).map(drop)
    }

    /// Answers a request that somebody carried here.
    pub(crate) fn answer(&self, request: &str) -> Result<String> {
        let answer = ["answer", "--data", "/data", "--request", "/dev/stdin", "--out", "/dev/stdout"];
        self.run(&answer, Some(request))
    }

    /// A payment is missing, or came.
    pub(crate) fn paid(&self, key: &str, paid: bool) -> Result<()> {
        let word = if paid { "renew" } else { "unpaid" };
        self.run(&["license", word, "--data", "/data", "--key-file", "/dev/stdin"], Some(key)).map(drop)
    }

    pub(crate) fn fault(&self, fault: &str) -> Result<()> {
        self.run(&["fault", "--data", "/data", fault], None).map(drop)
    }

    /// `spec.online` of the licence, as YAML.
    pub(crate) fn online(&self) -> String {
        let online = serde_json::json!({
            "endpoint": format!("https://{}:{LICENSE_PORT}/v1/license/check", self.node),
            "interval": "15m",
            "egress": { "cidrs": [format!("{}/32", self.node)] },
        });
        format!("  online: {online}\n")
    }

    /// The check-ins of its record.
    pub(crate) fn record(&self) -> Result<Vec<Recorded>> {
        let text = self.run(&["record", "--data", "/data"], None)?;
        let checks = text.lines().filter(|line| line.contains(" check_in ") || line.contains(" fault "));
        let mut all = Vec::new();
        for line in checks {
            let after = |word: &str| {
                let mut words = line.split(' ').skip_while(|it| *it != word);
                words.nth(1).map(str::to_owned).with_context(|| format!("no {word} in {line}"))
            };
            all.push(Recorded {
                fault: line.contains(" fault "),
                status: after("status")?,
                version: after("version")?,
                request: after("request")?,
                reply: after("reply")?,
                telemetry: after("telemetry")?,
            });
        }
        Ok(all)
    }

    /// Everything it keeps and has said, for a search.
    pub(crate) fn kept(&self) -> Result<Vec<u8>> {
        let mut all = self.run(&["record", "--data", "/data"], None)?.into_bytes();
        all.extend(self.kubectl(&["logs", "deployment/authority"], None)?.into_bytes());
        let claim = self.bed.get(NAMESPACE, "pvc/authority")?;
        let volume = format!("pv/{}", claim["spec"]["volumeName"].as_str().unwrap_or_default());
        let volume = self.bed.get("", &volume)?;
        let path = volume["spec"]["local"]["path"].as_str().context("no volume on this machine")?;
        for entry in std::fs::read_dir(PathBuf::from(path))? {
            let path = entry?.path();
            if path.is_file() {
                all.extend(std::fs::read(path)?);
            }
        }
        Ok(all)
    }
}

impl Drop for Vendor<'_> {
    fn drop(&mut self) {
        self.bed.kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false"]).ok();
    }
}

/// A file that only its owner reads.
fn own(path: &std::path::Path, text: &str) -> Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

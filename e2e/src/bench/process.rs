//! A relay of its own for one benchmark, ended with it.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

const TOKEN: &str = "bench-admin-token-that-guards-nothing";

/// A running relay with one account.
pub(crate) struct Relay {
    child: Child,
    pub(crate) url: String,
    pub(crate) key: String,
    pub(crate) http: reqwest::Client,
}

impl Relay {
    pub(crate) async fn start(binary: &Path, directory: &Path) -> Result<Relay> {
        let data = directory.join("relay");
        fs::create_dir_all(&data)?;
        let (public, probes) = (free_port()?, free_port()?);
        let token = directory.join("token");
        fs::write(&token, TOKEN)?;
        let config = directory.join("relay.yaml");
        fs::write(
            &config,
            format!(
                "listen: {{ public: \"127.0.0.1:{public}\", probes: \"127.0.0.1:{probes}\" }}\nadmin: {{ tokenFile: {} }}\nlimits: {{ maxBlob: 16Mi, requestsPerMinute: 1000000000, connectionsPerAddress: 4096, minFreeDisk: 1Gi }}\n",
                token.display()
            ),
        )?;
        let child = Command::new(binary)
            .args(["--data".as_ref(), data.as_os_str(), "--config".as_ref(), config.as_os_str()])
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.join("relay.log"))?)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let url = format!("http://127.0.0.1:{public}");
        let http = reqwest::Client::builder().no_proxy().build()?;
        let mut relay = Relay { child, url, key: String::new(), http };
        relay.ready().await?;
        let answer: Value = relay
            .http
            .post(format!("{}/v2/admin/keys", relay.url))
            .header("X-Admin-Token", TOKEN)
            .json(&json!({ "label": "bench", "plan": "enterprise" }))
            .send()
            .await?
            .json()
            .await?;
        relay.key = answer["key"].as_str().with_context(|| format!("no key in {answer}"))?.to_owned();
        Ok(relay)
    }

    async fn ready(&mut self) -> Result<()> {
        for _ in 0..300 {
            if self
                .http
                .get(format!("{}/health", self.url))
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the relay ended with {status}; its log is relay.log beside its data");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the relay did not answer within 15 s")
    }

    /// Resident memory in MiB.
    pub(crate) fn memory(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.split_whitespace().nth(1).context("no VmRSS value")?.parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A port nobody listens on now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Random bytes that no relay reads as a PQHB header, with their SHA-256.
pub(crate) fn blob(length: usize) -> Result<(Vec<u8>, String)> {
    use sha2::{Digest, Sha256};
    let mut bytes = vec![0_u8; length];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    if let Some(first) = bytes.first_mut() {
        *first = 2;
    }
    let digest = hex::encode(Sha256::digest(&bytes));
    Ok((bytes, digest))
}

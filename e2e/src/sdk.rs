//! The two clients side by side: the published SDK and our command line, each with a home of its own.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{bed::Bed, process, relay::Relay};

const LIMIT: Duration = Duration::from_secs(120);

/// Who sends or receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Client {
    /// `paramant-sdk` 3.0.0, unmodified.
    Sdk,
    /// The `paramant` command.
    Cli,
}

/// One person's machine: a home directory, a device name, an account on a relay.
pub(crate) struct Person<'a> {
    bed: &'a Bed,
    relay: &'a Relay,
    home: PathBuf,
    device: String,
}

/// What a receiver got.
pub(crate) struct Received {
    /// The plaintext.
    pub(crate) bytes: Vec<u8>,
    /// The receipt as JSON text.
    pub(crate) receipt: PathBuf,
}

impl<'a> Person<'a> {
    /// A fresh home below `directory`.
    pub(crate) fn new(bed: &'a Bed, relay: &'a Relay, directory: &Path, device: String) -> Result<Self> {
        let home = directory.join(&device);
        std::fs::create_dir_all(&home)?;
        std::fs::write(home.join("key"), &relay.key)?;
        Ok(Person { bed, relay, home, device })
    }

    /// The device's name.
    pub(crate) fn device(&self) -> &str {
        &self.device
    }

    /// Publishes this device's keys, so that others can send to it.
    pub(crate) fn register(&self, client: Client) -> Result<()> {
        let output = match client {
            Client::Sdk => self.sdk(&["register".as_ref()])?,
            Client::Cli => self.cli(&["register".to_owned()])?,
        };
        output.success(&format!("{client:?} register")).map(drop)
    }

    /// Sends a file to a registered device of the same account; answers the blob hash.
    pub(crate) fn send(
        &self,
        client: Client,
        file: &Path,
        recipient: &str,
        extra: &[&str],
    ) -> Result<String> {
        let output = match client {
            Client::Sdk => self.sdk(&["send".as_ref(), file.as_os_str(), recipient.as_ref()])?,
            Client::Cli => {
                let mut arguments = vec![
                    "send".to_owned(),
                    file.display().to_string(),
                    "--recipient".to_owned(),
                    recipient.to_owned(),
                ];
                arguments.extend(extra.iter().map(|text| (*text).to_owned()));
                self.cli(&arguments)?
            }
        };
        let text = output.success(&format!("{client:?} send"))?;
        let sent: Value = last_json(&text)?;
        sent["hash"].as_str().map(str::to_owned).with_context(|| format!("no hash in: {text}"))
    }

    /// Receives a blob; `None` when the relay says that it is gone.
    pub(crate) fn receive(&self, client: Client, hash: &str) -> Result<Option<Received>> {
        let out = self.home.join(format!("{hash}.out"));
        let receipt = self.home.join(format!("{hash}.receipt.json"));
        let output = match client {
            Client::Sdk => {
                self.sdk(&["receive".as_ref(), hash.as_ref(), out.as_os_str(), receipt.as_os_str()])?
            }
            Client::Cli => self.cli(&[
                "receive".to_owned(),
                hash.to_owned(),
                "--out".to_owned(),
                out.display().to_string(),
                "--receipt".to_owned(),
                receipt.display().to_string(),
            ])?,
        };
        if output.code == Some(4) {
            return Ok(None);
        }
        let text = output.success(&format!("{client:?} receive"))?;
        if client == Client::Sdk {
            let told: Value = last_json(&text)?;
            if told["check"]["valid"] != Value::Bool(true) {
                bail!("the published client's receipt check says {}", told["check"]);
            }
        }
        Ok(Some(Received { bytes: std::fs::read(&out)?, receipt }))
    }

    fn sdk(&self, arguments: &[&std::ffi::OsStr]) -> Result<process::Output> {
        let mut command = Command::new(&self.bed.sdk_python);
        command
            .arg(self.bed.checkout.join("e2e/sdk/roundtrip.py"))
            .args(arguments)
            .env("HOME", &self.home)
            .env("PARAMANT_RELAY", &self.relay.url)
            .env("PARAMANT_API_KEY", &self.relay.key)
            .env("PARAMANT_DEVICE", &self.device);
        process::run(&mut command, None, LIMIT)
    }

    fn cli(&self, arguments: &[String]) -> Result<process::Output> {
        let mut command = Command::new(self.bed.binary("paramant"));
        command
            .args(arguments)
            .args(["--json", "--relay", &self.relay.url, "--device", &self.device])
            .arg("--key-file")
            .arg(self.home.join("key"))
            .env("HOME", &self.home);
        process::run(&mut command, None, LIMIT)
    }
}

fn last_json(text: &str) -> Result<Value> {
    let line = text.lines().rev().find(|line| line.trim_start().starts_with('{'));
    let line = line.with_context(|| format!("no JSON line in: {text}"))?;
    serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))
}

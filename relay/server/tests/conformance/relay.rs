//! Relays to run cases against: real processes behind real sockets, set up as `relays.yaml` says.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::language;

pub(crate) const ADMIN: &str = "the-admin-token-of-the-conformance-run";

/// A kind of set-up.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Setup {
    /// For people who set up another relay the same way.
    #[allow(dead_code)]
    pub(crate) says: String,
    /// What `relay.yaml` holds beside what every run needs.
    #[serde(default)]
    pub(crate) settings: Json,
}

pub(crate) fn setups() -> BTreeMap<String, Setup> {
    language::read(&language::directory().join("relays.yaml"))
}

pub(crate) struct Relay {
    child: Child,
    pub(crate) address: SocketAddr,
    _dir: TempDir,
}

impl Relay {
    /// Starts one, or says why it did not.
    pub(crate) fn start(setup: &Setup) -> Result<Self, String> {
        let dir = TempDir::new().unwrap();
        let (data, log) = (dir.path().join("data"), dir.path().join("log"));
        let (config, token) = (dir.path().join("relay.yaml"), dir.path().join("admin-token"));
        std::fs::write(&token, ADMIN).unwrap();
        let mut settings = json!({
            "listen": { "public": "127.0.0.1:0", "probes": "127.0.0.1:0" },
            "admin": { "tokenFile": token },
            "limits": { "requestsPerMinute": 1_000_000, "connectionsPerAddress": 5000, "minFreeDisk": "1Mi" },
        });
        merge(&mut settings, &setup.settings);
        // JSON is YAML.
        std::fs::write(&config, settings.to_string()).unwrap();
        // Another build of the relay is held against the same cases by naming it.
        let program = std::env::var_os("PARAMANT_RELAY_BINARY");
        let mut child = Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_paramant-relay").into()))
            .arg("--data")
            .arg(&data)
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while stdout.read_line(&mut line).unwrap_or_default() > 0 {
            if let Some(url) = line.trim().strip_prefix("clients") {
                let address = url.trim().trim_start_matches("http://").parse().unwrap();
                // What the relay still prints must go somewhere.
                std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
                return Ok(Self { child, address, _dir: dir });
            }
            line.clear();
        }
        let _ = child.wait();
        Err(format!("the relay did not start: {}", std::fs::read_to_string(&log).unwrap_or_default()))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn merge(into: &mut Json, from: &Json) {
    match (into, from) {
        (Json::Object(fields), Json::Object(more)) => {
            for (name, value) in more {
                merge(fields.entry(name.clone()).or_insert(Json::Null), value);
            }
        }
        (_, Json::Null) => {}
        (place, value) => *place = value.clone(),
    }
}

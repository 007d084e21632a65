//! A way to a Service from outside its cluster: `kubectl port-forward`, ended with its owner.
//!
//! The test bed's node is this machine, which reaches cluster addresses itself; for any other cluster this stands between.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

/// A running `kubectl port-forward`.
pub(crate) struct Forward {
    child: Child,
    url: String,
}

impl Forward {
    /// Starts `command`, which is kubectl as it reaches the cluster, and waits for the port it chose.
    pub(crate) fn start(mut command: Command, namespace: &str, service: &str, port: u64) -> Result<Self> {
        command
            .args(["-n", namespace, "port-forward", "--address", "127.0.0.1"])
            .args([format!("service/{service}"), format!(":{port}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start kubectl port-forward")?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            let mut lines = BufReader::new(stdout);
            lines.read_line(&mut line)?;
            // It says a line for each connection and must find a reader.
            std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        }
        let mut this = Forward { child, url: String::new() };
        // "Forwarding from 127.0.0.1:40123 -> 3000"
        let address = line.split_whitespace().find(|word| word.starts_with("127.0.0.1:"));
        let address = address.with_context(|| format!("kubectl port-forward to {service} said “{line}”"))?;
        this.url = format!("http://{address}");
        Ok(this)
    }

    /// Where the Service answers now.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

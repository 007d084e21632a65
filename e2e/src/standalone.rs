//! A relay as a plain process on this machine: the program of the image, a data folder and no Kubernetes.
//!
//! Ends with its owner. Listens on loopback only, on ports that were free a moment before.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::process::wait_for;

/// Its admin token.
pub(crate) const TOKEN: &str = "standalone-admin-token-that-guards-nothing";

/// A running relay.
pub(crate) struct Standalone {
    child: Child,
    url: String,
    binary: PathBuf,
    directory: PathBuf,
    limits: String,
}

impl Standalone {
    /// Starts a relay below `directory`, with these `limits` of its configuration file, and waits until it answers.
    pub(crate) fn start(binary: &Path, directory: &Path, limits: &str) -> Result<Self> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("token"), TOKEN)?;
        let (child, url) = spawn(binary, directory, limits)?;
        let mut this = Standalone {
            child,
            url,
            binary: binary.to_owned(),
            directory: directory.to_owned(),
            limits: limits.to_owned(),
        };
        this.answers()?;
        Ok(this)
    }

    /// Base URL; another one after each restart.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut would: no signal handler runs.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again over the same data.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.respawn()?;
        self.answers()
    }

    /// Starts it again without waiting for its first answer.
    pub(crate) fn respawn(&mut self) -> Result<()> {
        (self.child, self.url) = spawn(&self.binary, &self.directory, &self.limits)?;
        Ok(())
    }

    /// Whether it answers.
    pub(crate) fn is_healthy(&self) -> bool {
        self.url.trim_start_matches("http://").parse().is_ok_and(|address| healthy(address).is_ok())
    }

    /// Resident memory in MiB.
    pub(crate) fn memory(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.split_whitespace().nth(1).context("no VmRSS value")?.parse()?;
        Ok(kib / 1024.0)
    }

    fn answers(&mut self) -> Result<()> {
        let log = self.directory.join("relay.log");
        let address: SocketAddr = self.url.trim_start_matches("http://").parse()?;
        wait_for("the relay to answer", Duration::from_secs(20), || {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}; its log is {}", log.display());
            }
            Ok(healthy(address).map_err(|error| error.to_string()))
        })
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        self.kill().ok();
    }
}

fn spawn(binary: &Path, directory: &Path, limits: &str) -> Result<(Child, String)> {
    let (public, probes) = (free_port()?, free_port()?);
    let config = directory.join("relay.yaml");
    fs::write(
        &config,
        format!(
            "listen: {{ public: \"127.0.0.1:{public}\", probes: \"127.0.0.1:{probes}\" }}\nadmin: {{ tokenFile: {} }}\nlimits: {{ {limits} }}\n",
            directory.join("token").display()
        ),
    )?;
    let log = fs::File::options().create(true).append(true).open(directory.join("relay.log"))?;
    let child = Command::new(binary)
        .arg("--data")
        .arg(directory.join("data"))
        .arg("--config")
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    Ok((child, format!("http://127.0.0.1:{public}")))
}

/// Asks without an HTTP client, so that callers inside a runtime may wait here too.
fn healthy(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /health HTTP/1.0\r\nHost: relay\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.lines().next() {
        Some(line) if line.contains(" 200 ") => Ok(()),
        other => bail!("/health answered {other:?}"),
    }
}

/// A port nobody listens on now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

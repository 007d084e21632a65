//! A relay in a process of its own, to be killed, and traced if need be.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use crate::relay::ADMIN;

pub struct Process {
    child: Child,
    pub url: String,
    /// Kept open: what the relay still prints must go somewhere.
    stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts with an admin token, over whatever is in `dir`.
    pub fn start(dir: &Path) -> Self {
        Self::with(dir, &admin(dir))
    }

    /// As [`Process::start`]; how the relay ended, if it did before it listened.
    pub fn try_start(dir: &Path) -> Result<Self, ExitStatus> {
        Self::spawn(dir, &admin(dir), "", Command::new(env!("CARGO_BIN_EXE_paramant-relay")))
    }

    pub fn with(dir: &Path, more: &str) -> Self {
        Self::configured(dir, more, "")
    }

    /// As [`Process::start`], with more limits.
    pub fn with_limits(dir: &Path, limits: &str) -> Self {
        Self::configured(dir, &admin(dir), limits)
    }

    fn configured(dir: &Path, more: &str, limits: &str) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_paramant-relay"));
        Self::spawn(dir, more, limits, command).unwrap_or_else(|_| panic!("it did not start: {}", said(dir)))
    }

    /// The same under a tracer that becomes the relay; how the relay ended, if it did before it listened.
    pub fn traced(dir: &Path, tracer: Command) -> Result<Self, ExitStatus> {
        Self::traced_with(dir, "", tracer)
    }

    /// As [`Process::traced`], with more settings.
    pub fn traced_with(dir: &Path, more: &str, mut tracer: Command) -> Result<Self, ExitStatus> {
        tracer.arg(env!("CARGO_BIN_EXE_paramant-relay"));
        Self::spawn(dir, &format!("{}{more}", admin(dir)), "", tracer)
    }

    /// The relay chooses its ports and says which: one chosen here could be another test's by the time it is used.
    fn spawn(dir: &Path, more: &str, limits: &str, mut command: Command) -> Result<Self, ExitStatus> {
        let config = format!(
            "listen: {{ public: \"127.0.0.1:0\", probes: \"127.0.0.1:0\" }}\n{more}\
             limits: {{ requestsPerMinute: 1000000, connectionsPerAddress: 5000, minFreeDisk: 1Mi, {limits} }}\n"
        );
        std::fs::write(dir.join("relay.yaml"), config).unwrap();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        command.arg("--data").arg(dir.join("data")).arg("--config").arg(dir.join("relay.yaml"));
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self { child, url: String::new(), stdout };
        while process.url.is_empty() {
            let mut line = String::new();
            if process.stdout.read_line(&mut line).unwrap() == 0 {
                return Err(process.child.wait().unwrap());
            }
            if let Some(url) = line.trim().strip_prefix("clients") {
                url.trim().clone_into(&mut process.url);
            }
        }
        Ok(process)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// As the power cut would: no signal handler runs. Returns when a tracer has written all it saw.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.stdout.read_to_end(&mut Vec::new()).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the relay over this directory wrote into its own log.
pub fn said(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("log")).unwrap()
}

/// The set-up code in that log.
pub fn setup_code(dir: &Path) -> String {
    let log = said(dir);
    let code = log.split("\"setup_code\":\"").nth(1).expect("the code is in the log");
    code.split('"').next().unwrap().to_owned()
}

fn admin(dir: &Path) -> String {
    std::fs::write(dir.join("admin-token"), ADMIN).unwrap();
    format!("admin: {{ tokenFile: {}/admin-token }}\n", dir.display())
}

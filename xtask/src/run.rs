//! Running other programs: what they print goes to a log file, and a failure shows the end of it.
//! Every program this one starts and waits for goes through here; daemons are started by `cluster::process`.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::{Doing, Failure, Result};

/// Enough to see an error with its context, few enough to stay on one screen.
const TAIL_LINES: usize = 25;

/// A program about to be run.
#[derive(Debug)]
pub(crate) struct Run {
    command: Command,
    shown: String,
    log: Option<PathBuf>,
    input: Option<String>,
}

impl Run {
    /// A program by name or path, without standard input.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        let shown = Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        Self { command, shown, log: None, input: None }
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.shown.push(' ');
        self.shown.push_str(&argument.as_ref().to_string_lossy());
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes a variable from the environment.
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs in this directory.
    pub(crate) fn dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Appends what the program prints to this file.
    pub(crate) fn log(mut self, log: impl Into<PathBuf>) -> Self {
        self.log = Some(log.into());
        self
    }

    /// Gives this text as standard input.
    pub(crate) fn input(mut self, text: impl Into<String>) -> Self {
        self.input = Some(text.into());
        self
    }

    /// Runs to the end; fails unless the program ends with 0.
    pub(crate) fn done(self) -> Result<()> {
        self.output().map(drop)
    }

    /// Whether the program ends with 0. A program that cannot be started does not.
    pub(crate) fn succeeds(self) -> bool {
        self.done().is_ok()
    }

    /// Runs to the end and returns what it printed on standard output, trimmed.
    pub(crate) fn output(mut self) -> Result<String> {
        let shown = self.shown.clone();
        let logged = self.log.take();
        let (stdout, stderr) = match &logged {
            None => (Stdio::piped(), Stdio::piped()),
            // Errors go straight to the log, so that it can be followed while the program runs.
            Some(path) => {
                let mut log = append(path)?;
                let _ = writeln!(log, "$ {shown}");
                (Stdio::piped(), Stdio::from(log))
            }
        };
        self.command.stdout(stdout).stderr(stderr);
        if self.input.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let mut child = self.command.spawn().doing(|| format!("start `{shown}`"))?;
        if let (Some(text), Some(mut stdin)) = (self.input.take(), child.stdin.take()) {
            // A program that ends without reading its input reports its own failure below.
            let _ = stdin.write_all(text.as_bytes());
        }
        let output = child.wait_with_output().doing(|| format!("wait for `{shown}`"))?;
        let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if let Some(path) = &logged {
            let mut log = append(path)?;
            let _ = log.write_all(&output.stdout);
        }
        if output.status.success() {
            return Ok(printed);
        }
        let (said, place) = match &logged {
            Some(path) => (tail(path), format!("\nwhole output: {}", path.display())),
            None => (
                last_lines(&format!("{printed}\n{}", String::from_utf8_lossy(&output.stderr))),
                String::new(),
            ),
        };
        Err(Failure(format!("`{shown}` ended with {}:\n{said}{place}", output.status)))
    }

    /// Runs with the terminal as its own; fails unless the program ends with 0.
    pub(crate) fn attached(mut self) -> Result<()> {
        let shown = self.shown;
        self.command.stdin(Stdio::inherit());
        let status = self.command.status().doing(|| format!("start `{shown}`"))?;
        if status.success() { Ok(()) } else { Err(Failure(format!("`{shown}` ended with {status}"))) }
    }
}

/// Whether a program of this name is on the path or in the folders for administration.
pub(crate) fn is_installed(program: &str) -> bool {
    find_program(program).is_some()
}

/// Where a program lies. `/usr/sbin` counts even when the path leaves it out.
pub(crate) fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// The end of a text file, indented; says so when there is none.
pub(crate) fn tail(path: &Path) -> String {
    match fs::read(path) {
        Ok(bytes) => last_lines(&String::from_utf8_lossy(&bytes)),
        Err(error) => format!("    (no log at {}: {error})", path.display()),
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let skipped = lines.len().saturating_sub(TAIL_LINES);
    lines.into_iter().skip(skipped).map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

fn append(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(path).doing(|| format!("open {}", path.display()))
}

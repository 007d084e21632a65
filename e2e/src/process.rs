//! Runs outside programs with a time limit and keeps what they said.
//!
//! Every call ends: a program that outlives its limit is ended by its own handle. Output is read by threads, so a chatty program
//! cannot block.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// What a program said and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    /// Exit code; none when a signal ended it.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Output {
    /// Standard output, or an error that quotes what went wrong.
    pub(crate) fn success(self, what: &str) -> Result<String> {
        if self.code == Some(0) {
            return Ok(self.stdout);
        }
        let said = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let tail: Vec<&str> = said.trim().lines().rev().take(12).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        bail!("{what} ended with {:?}:\n{}", self.code, tail.join("\n"))
    }
}

/// Runs `command`, feeding `input`, for at most `limit`.
pub(crate) fn run(command: &mut Command, input: Option<&str>, limit: Duration) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(text.as_bytes()).with_context(|| format!("cannot write to {program}"))?;
    }
    let stdout = child.stdout.take().map(read_in_background);
    let stderr = child.stderr.take().map(read_in_background);
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().ok();
            child.wait().ok();
            bail!("{program} did not end within {} s", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(10));
    };
    let collect = |reader: Option<thread::JoinHandle<String>>| {
        reader.map(|handle| handle.join().unwrap_or_default()).unwrap_or_default()
    };
    Ok(Output { code: status.code(), stdout: collect(stdout), stderr: collect(stderr) })
}

fn read_in_background(mut source: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).ok();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Polls `probe` every 200 ms until it answers something, for at most `limit`; the last reason for "not yet" is in the error.
pub(crate) fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<std::result::Result<T, String>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let last = match probe() {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(reason)) => reason,
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() > deadline {
            bail!("waited {} s for {what}; last seen: {last}", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(200));
    }
}

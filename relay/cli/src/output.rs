//! What the person, or the program that called us, gets to see.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use paramant_client::relay::{Progress, Step};
use serde_json::{Value, json};

/// Where results and notices go.
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// The result: one JSON line, or lines for people.
    pub(crate) fn result(&self, json: &Value, text: &str) -> io::Result<()> {
        let line = if self.json { format!("{json}\n") } else { format!("{text}\n") };
        say(io::stdout(), line.as_bytes())
    }

    /// Text that is the whole result, whatever the form asked for.
    pub(crate) fn plain(&self, text: &[u8]) -> io::Result<()> {
        say(io::stdout(), text)
    }

    /// Something worth knowing on the way. Not part of the result.
    pub(crate) fn notice(&self, text: impl Display) {
        let _ = say(io::stderr(), format!("{text}\n").as_bytes()); // there is nowhere else to say it
    }

    /// The end of a command that failed.
    pub(crate) fn failure(&self, error: &anyhow::Error, code: u8) {
        let sentence = sentence(error);
        if self.json {
            self.notice(json!({"ok": false, "error": sentence, "exit": code}));
        } else {
            self.notice(format_args!("error: {sentence}"));
        }
    }

    /// A bar on terminals; elsewhere a line now and then, and nothing with `--json`.
    pub(crate) fn bar(&self, what: &'static str, unit: Unit) -> Bar {
        let terminal = std::io::stderr().is_terminal() && !self.json;
        if !terminal && !self.json {
            self.notice(format_args!("{what} …"));
        }
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        let template = match unit {
            Unit::Bytes => "{msg:>10} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            Unit::Entries => "{msg:>10} {bar:30} {pos}/{len} {per_sec} {eta}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(100));
        let lines = (!terminal && !self.json).then(|| Lines {
            what,
            next: Instant::now() + EVERY,
            done: 0,
            total: 0,
            run: (Instant::now(), 0),
        });
        Bar { bar, lines: lines.map(|lines| Arc::new(Mutex::new(lines))) }
    }
}

/// An error and its causes. What an error's own text tells of its cause already is not told again.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Writes and flushes. A reader that has gone, as with `| head`, is no failure: what the command did is done.
fn say(mut stream: impl Write, text: &[u8]) -> io::Result<()> {
    match stream.write_all(text).and_then(|()| stream.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// What a bar counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Bytes,
    Entries,
}

/// How often a line tells how far it is where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);

/// A bar. It vanishes when dropped.
pub(crate) struct Bar {
    bar: ProgressBar,
    lines: Option<Arc<Mutex<Lines>>>,
}

/// Progress for a file that is read later, as of a CI job.
struct Lines {
    what: &'static str,
    next: Instant,
    done: u64,
    total: u64,
    /// When this run began to count, and what was done by then.
    run: (Instant, u64),
}

impl Lines {
    fn note(&mut self, step: Step) {
        if let Step::Before(count) = step {
            self.run = (Instant::now(), self.done + count);
        }
        match step {
            Step::Total(total) => self.total = total,
            Step::Advance(count) | Step::Before(count) => self.done += count,
        }
        if Instant::now() >= self.next {
            self.next = Instant::now() + EVERY;
            let line = format!("{} … {} of {}{}\n", self.what, self.done, self.total, self.pace());
            let _ = say(io::stderr(), line.as_bytes()); // as notices
        }
    }
}

impl Lines {
    /// How fast it goes, and how long it will take, once anything is known.
    fn pace(&self) -> String {
        let (since, before) = self.run;
        let (seconds, done) = (since.elapsed().as_secs_f64(), self.done.saturating_sub(before));
        if done == 0 || seconds <= 0.0 {
            return String::new();
        }
        let rate = done as f64 / seconds;
        let left = self.total.saturating_sub(self.done) as f64 / rate;
        format!(", {rate:.0}/s, {left:.0} s left")
    }
}

impl Bar {
    /// For the client to report to.
    pub(crate) fn progress(&self) -> Progress {
        let (bar, lines) = (self.bar.clone(), self.lines.clone());
        Progress::to(move |step| {
            if let Some(lines) = &lines {
                lines.lock().unwrap_or_else(PoisonError::into_inner).note(step);
            }
            match step {
                Step::Total(total) => bar.set_length(total),
                Step::Advance(count) => bar.inc(count),
                Step::Before(count) => {
                    bar.inc(count);
                    bar.reset_eta();
                }
            }
        })
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

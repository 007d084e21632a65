//! Progress as the person at the terminal sees it: one line per step with its outcome, its time and its evidence.
//! A step that takes long says so every half minute, so that silence always means something is wrong.

use std::cell::RefCell;
use std::io::{IsTerminal, Write, stdout};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::failure::Result;

/// Long enough that a warm run prints one line per step only.
const STILL_RUNNING: Duration = Duration::from_secs(30);

/// What a step found, printed behind its name.
#[derive(Debug, Default)]
pub(crate) struct Evidence(RefCell<String>);

impl Evidence {
    /// Sets what is printed behind the step's name; the last call wins.
    pub(crate) fn say(&self, found: impl Into<String>) {
        self.0.replace(found.into());
    }
}

/// Runs one step and prints its line. A failure is printed as such and handed on; its message is the caller's to print.
pub(crate) fn step<T>(name: &str, work: impl FnOnce(&Evidence) -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let terminal = stdout().is_terminal();
    if terminal {
        print!("  …             {name}");
        flush();
    }
    let watch = watch(name.to_owned(), started, terminal);
    let evidence = Evidence::default();
    let outcome = work(&evidence);
    watch.end();
    if terminal {
        print!("\r\x1b[K");
    }
    let mark = if outcome.is_ok() { "ok  " } else { "FAIL" };
    let found = evidence.0.into_inner();
    let found = if found.is_empty() { found } else { format!(": {found}") };
    println!("  {mark} {:>7.1}s  {name}{found}", started.elapsed().as_secs_f64());
    flush();
    outcome
}

/// A thread that reports a long step; ends when told or dropped.
struct Watch {
    done: Sender<()>,
    thread: JoinHandle<()>,
}

impl Watch {
    fn end(self) {
        drop(self.done);
        // The thread only prints and waits: joining cannot fail in a way that matters.
        let _ = self.thread.join();
    }
}

fn watch(name: String, started: Instant, terminal: bool) -> Watch {
    let (done, wait) = mpsc::channel();
    let thread = thread::spawn(move || {
        let interval = if terminal { Duration::from_secs(1) } else { STILL_RUNNING };
        while matches!(wait.recv_timeout(interval), Err(RecvTimeoutError::Timeout)) {
            let seconds = started.elapsed().as_secs();
            if terminal {
                print!("\r\x1b[K  …    {seconds:>7}s  {name}");
                flush();
            } else {
                println!("  …    {seconds:>7}s  {name} (still running)");
            }
        }
    });
    Watch { done, thread }
}

fn flush() {
    // A closed terminal is no reason to stop a build.
    let _ = stdout().flush();
}

//! One line per step, with its time and its evidence, on a terminal and in CI alike.

use std::{
    io::{IsTerminal, Write},
    time::Instant,
};

use anyhow::{Context, Result};

/// A run of numbered steps.
pub(crate) struct Steps {
    started: Instant,
    done: usize,
    /// Another run prints beside this one, so no line is written over.
    beside: bool,
}

/// What a step leaves behind: its value, and a phrase that says what was seen.
pub(crate) struct Seen<T> {
    /// For the next steps.
    pub(crate) value: T,
    /// For the reader.
    pub(crate) evidence: String,
}

/// Shorthand for a step that ends well.
pub(crate) fn seen<T>(value: T, evidence: impl Into<String>) -> Result<Seen<T>> {
    Ok(Seen { value, evidence: evidence.into() })
}

impl Steps {
    /// Starts counting.
    pub(crate) fn new() -> Self {
        Self::beside(1)
    }

    /// Starts counting as one of so many runs beside each other.
    pub(crate) fn beside(runs: usize) -> Self {
        Steps { started: Instant::now(), done: 0, beside: runs > 1 }
    }

    /// Counts what another run did.
    pub(crate) fn take_in(&mut self, other: &Steps) {
        self.done += other.done;
    }

    /// Runs one step and prints its line; an error names the step.
    pub(crate) fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Result<Seen<T>>) -> Result<T> {
        let terminal = std::io::stdout().is_terminal() && !self.beside;
        if terminal {
            print!("  …         {name}");
            std::io::stdout().flush().ok();
        }
        let began = Instant::now();
        let outcome = work();
        let seconds = began.elapsed().as_secs_f64();
        if terminal {
            print!("\r\x1b[2K");
        }
        match outcome {
            Ok(Seen { value, evidence }) => {
                self.done += 1;
                let dash = if evidence.is_empty() { "" } else { ": " };
                println!("  ok {seconds:6.1}s  {name}{dash}{evidence}");
                Ok(value)
            }
            Err(error) => {
                println!("  FAILED {seconds:.1}s  {name}");
                Err(error).with_context(|| name.to_owned())
            }
        }
    }

    /// How many steps ended well, and in how many seconds.
    pub(crate) fn summary(&self) -> String {
        format!("{} steps in {:.0} s", self.done, self.started.elapsed().as_secs_f64())
    }
}

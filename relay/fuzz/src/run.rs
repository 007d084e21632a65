//! Running a target: once, within its memory; and the short run of `cargo test`.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::mutate::{self, Dice};
use crate::{Target, seeds};

/// Mutations of the short run.
pub const MUTATIONS: u64 = 20_000;
/// When the short run stops all the same: machines differ, and all targets together are to take no longer than a quarter of a
/// minute on two cores.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How long a finding is made smaller.
const SHRINKING: Duration = Duration::from_secs(10);

/// Checks one input.
///
/// # Panics
/// When a property does not hold, or more memory was held at once than the target may.
pub fn once(target: &Target, input: &[u8]) {
    let mut outcome = Ok(());
    // Caught inside, since a panic would leave the counter counting.
    let used = allocation_counter::measure(|| {
        outcome = catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    });
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
    let limit = target.memory.of(input.len());
    assert!(
        used.bytes_max <= limit,
        "{} bytes of input held {} bytes, at most {limit} are allowed",
        input.len(),
        used.bytes_max
    );
}

/// Checks every seed and mutations of them.
///
/// # Errors
/// The smallest input that was found to break a property, and what it broke.
pub fn short(target: &Target) -> Result<u64, Broken> {
    let seeds = seeds::of(target);
    for seed in &seeds {
        attempt(target, seed)?;
    }
    let started = Instant::now();
    for number in 0..MUTATIONS {
        if number % 64 == 0 && started.elapsed() > PATIENCE {
            return Ok(number);
        }
        let input = mutate::mutated(&seeds, target.words, &mut Dice::new(target.name, number));
        attempt(target, &input)?;
    }
    Ok(MUTATIONS)
}

/// Makes something that is made once and kept: it is no memory of the check that came first.
pub(crate) fn kept<T>(make: impl FnOnce() -> T) -> T {
    let mut made = None;
    allocation_counter::opt_out(|| made = Some(make()));
    made.expect("it was just made")
}

/// An input that breaks a property.
#[derive(Debug)]
pub struct Broken {
    /// The input, made smaller as far as it still breaks.
    pub input: Vec<u8>,
    /// What it breaks.
    pub why: String,
}

impl Broken {
    /// Writes the input where `cargo xtask fuzz` and the next short run find it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep(&self, target: &Target) -> std::io::Result<PathBuf> {
        let folder = seeds::folder(target);
        std::fs::create_dir_all(&folder)?;
        let name = hex::encode(&paramant_tlog::hash::sha256(&self.input)[..8]);
        let path = folder.join(name);
        std::fs::write(&path, &self.input)?;
        Ok(path)
    }
}

fn attempt(target: &Target, input: &[u8]) -> Result<(), Broken> {
    let Some(why) = breaks(target, input) else { return Ok(()) };
    let mut smallest = input.to_vec();
    let mut step = smallest.len();
    let started = Instant::now();
    // Cut out ever smaller pieces while what is left still breaks, and there is time.
    while step > 0 {
        let mut at = 0;
        while at < smallest.len() && started.elapsed() < SHRINKING {
            let mut shorter = smallest.clone();
            shorter.drain(at..(at + step).min(smallest.len()));
            if breaks(target, &shorter).is_some() {
                smallest = shorter;
            } else {
                at += step;
            }
        }
        step /= 2;
    }
    let why = breaks(target, &smallest).unwrap_or(why);
    Err(Broken { input: smallest, why })
}

fn breaks(target: &Target, input: &[u8]) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(|| once(target, input))).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
}

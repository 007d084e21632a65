//! Fuzz targets for every reader that meets bytes of strangers, and two ways to run them.
//!
//! A target is a function that takes any bytes and panics when a property does not hold: what is read is written again as it
//! was, only one spelling is taken, two ways to the same answer agree. Memory is bounded for all of them by [`run::once`].
//! `cargo test` runs seeds and a fixed number of mutations of them ([`run::short`]); `cargo xtask fuzz` runs the same functions
//! under libFuzzer, led by coverage. Nothing but tests may depend on this crate.

pub mod mutate;
pub mod run;
pub mod seeds;
mod targets;

pub use targets::{GROUPS, Group};

/// One reader under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As `cargo xtask fuzz` names it, and the folder of its own seeds.
    pub name: &'static str,
    /// Panics when a property does not hold.
    pub check: fn(&[u8]),
    /// Inputs to begin with, from the vectors of the specification.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What the format is made of, for the mutations.
    pub words: &'static [&'static str],
    /// The most memory that a check may hold at once: so much, and so many bytes for each byte of input.
    pub memory: Memory,
}

/// A bound on memory.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Whatever the input.
    pub base: u64,
    /// For each byte of it.
    pub per_byte: u64,
}

impl Memory {
    /// For readers that copy their input a few times.
    pub const COPIES: Self = Self { base: 64 * 1024, per_byte: 24 };
    /// For readers that build trees of values: one level of nesting is a byte of input and a few hundred of memory.
    pub const VALUES: Self = Self { base: 64 * 1024, per_byte: 1024 };

    /// The bound for an input.
    #[must_use]
    pub fn of(self, input: usize) -> u64 {
        self.base.saturating_add(self.per_byte.saturating_mul(input as u64))
    }
}

/// Every target.
pub fn all() -> impl Iterator<Item = &'static Target> {
    GROUPS.iter().flat_map(|group| group.targets)
}

/// The target of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Target> {
    all().find(|target| target.name == name)
}

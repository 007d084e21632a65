//! What `cargo test` printed, read for people: how many tests ran, and what the failed ones said.

use std::fmt::{self, Write as _};

/// Lines of one failed test that are shown; the whole is in the log.
const LINES: usize = 30;

/// How many tests ran, summed over the lines that each test program ends with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Counted {
    pub(crate) fn from(log: &str) -> Self {
        let mut sum = Self::default();
        for line in log.lines().filter_map(|line| line.strip_prefix("test result: ")) {
            for part in line.split(['.', ';']) {
                let Some((count, what)) = part.trim().split_once(' ') else { continue };
                let Ok(count) = count.parse::<usize>() else { continue };
                match what {
                    "passed" => sum.passed += count,
                    "failed" => sum.failed += count,
                    "ignored" => sum.ignored += count,
                    _ => {}
                }
            }
        }
        sum
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed, {} ignored", self.passed, self.failed, self.ignored)
    }
}

/// What each failed test said, from the blocks that libtest prints under `---- NAME stdout ----`. Empty when no test failed.
pub(crate) fn failures(log: &str) -> String {
    let mut told = String::new();
    let mut left = 0_usize;
    for line in log.lines() {
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            let _ = writeln!(told, "    {name}:");
            left = LINES;
        } else if line == "failures:" || line.starts_with("test result: ") {
            left = 0;
        } else if left > 0 && !line.trim().is_empty() {
            let _ = writeln!(told, "      {line}");
            left -= 1;
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "running 3 tests\n\
                       test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                       test log::a ... FAILED\n\n\
                       failures:\n\n\
                       ---- log::a stdout ----\n\n\
                       thread 'log::a' panicked at log.rs:1:1:\n\
                       assertion failed\n\n\n\
                       failures:\n    log::a\n\n\
                       test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s\n";

    #[test]
    fn test_counts_are_summed_over_programs() {
        assert_eq!(Counted::from(LOG), Counted { passed: 5, failed: 1, ignored: 1 });
    }

    #[test]
    fn a_failed_test_is_named_with_what_it_said() {
        assert_eq!(
            failures(LOG),
            "    log::a:\n      thread 'log::a' panicked at log.rs:1:1:\n      assertion failed\n"
        );
        assert_eq!(failures("test result: ok. 3 passed; 0 failed; 0 ignored"), "");
    }
}

//! The command line: words in order, `--flag`s and `--option VALUE`s anywhere. What nobody asked for is refused, never ignored.

use std::collections::VecDeque;

use crate::failure::{Failure, Result, fail};

/// What is left of the command line.
#[derive(Debug)]
pub(crate) struct Arguments(VecDeque<String>);

impl Arguments {
    pub(crate) fn new(all: impl IntoIterator<Item = String>) -> Self {
        Self(all.into_iter().collect())
    }

    /// Takes the next word that is no option.
    pub(crate) fn word(&mut self) -> Option<String> {
        match self.0.front() {
            Some(next) if !next.starts_with('-') => self.0.pop_front(),
            _ => None,
        }
    }

    /// Takes the next word, which must be a number.
    pub(crate) fn number(&mut self) -> Result<usize> {
        let word = self.word().ok_or_else(|| Failure("a number is missing".into()))?;
        word.parse().map_err(|_| Failure(format!("`{word}` is not a number")))
    }

    /// Takes `--name` if it is there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let position = self.0.iter().position(|argument| argument == name);
        position.and_then(|position| self.0.remove(position)).is_some()
    }

    /// Takes `--name VALUE` or `--name=VALUE` if it is there.
    pub(crate) fn option(&mut self, name: &str) -> Result<Option<String>> {
        let with_value = format!("{name}=");
        let Some(position) = self.0.iter().position(|one| one == name || one.starts_with(&with_value)) else {
            return Ok(None);
        };
        let found = self.0.remove(position).unwrap_or_default();
        if let Some(value) = found.strip_prefix(&with_value) {
            return Ok(Some(value.to_owned()));
        }
        match self.0.remove(position) {
            Some(value) => Ok(Some(value)),
            None => fail(format!("{name} needs a value")),
        }
    }

    /// Takes what is left, which must be words.
    pub(crate) fn words(mut self) -> Result<Vec<String>> {
        let words = std::iter::from_fn(|| self.word()).collect();
        self.end().map(|()| words)
    }

    /// Takes everything that is left, for a program this one starts.
    pub(crate) fn rest(self) -> Vec<String> {
        self.0.into()
    }

    /// Refuses what is left.
    pub(crate) fn end(self) -> Result<()> {
        match self.0.front() {
            None => Ok(()),
            Some(argument) => fail(format!("`{argument}` is not understood here; see `cargo xtask help`")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn arguments(line: &str) -> Arguments {
        Arguments::new(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_found_anywhere_in_both_spellings() {
        for line in ["--context kind up", "up --context kind", "up --context=kind"] {
            let mut arguments = arguments(line);
            assert_eq!(arguments.option("--context").unwrap().as_deref(), Some("kind"), "{line}");
            assert_eq!(arguments.word().as_deref(), Some("up"), "{line}");
            arguments.end().unwrap();
        }
    }

    #[test]
    fn what_nobody_asked_for_is_refused() {
        assert!(arguments("--fsat").end().is_err());
        assert!(arguments("--context").option("--context").is_err());
        assert!(arguments("many").number().is_err());
    }
}

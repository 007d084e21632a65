//! Reading the text of a policy, strictly: what a line names must have been defined on a line above it.

use std::collections::{HashMap, HashSet};

use super::{Component, Group, Log, MAX_POLICY, NONE, Policy, Witness};
use crate::vkey::{Algorithm, KeyError, VerifierKey};

/// Why a text is not a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Longer than [`MAX_POLICY`].
    #[error("the policy is longer than {MAX_POLICY} bytes")]
    TooLong,
    /// Not UTF-8, or a control character other than tab and newline.
    #[error("the policy is not UTF-8 text free of control characters")]
    Characters,
    /// The last line is not ended by a newline.
    #[error("the last line of the policy is not ended by a newline")]
    Unended,
    /// There is no `quorum` line.
    #[error("the policy has no quorum line; `quorum none` asks for no witness")]
    NoQuorum,
    /// A line cannot be used.
    #[error("line {line} of the policy: {problem}")]
    Line {
        /// Counted from one; zero for a policy that was not read from a text.
        line: usize,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A first word that is none of the four.
    #[error("a line begins with log, witness, group or quorum, not {0}")]
    Keyword(String),
    /// Too few or too many words.
    #[error("expected `{0}`")]
    Words(&'static str),
    /// The verifier key is malformed.
    #[error("the verifier key cannot be read: {0}")]
    Key(#[from] KeyError),
    /// A key of a type that this kind of line does not take.
    #[error("a {role} has no key of type {algorithm}")]
    KeyType {
        /// `log` or `witness`.
        role: &'static str,
        /// The key's type.
        algorithm: Algorithm,
    },
    /// The same public key on two lines of one kind.
    #[error("this public key stands on an earlier line too")]
    DuplicateKey,
    /// A name that is taken, or is `none`.
    #[error("the name {0} is taken")]
    DuplicateName(String),
    /// A name that cannot be written: empty, or with white space, a control character, or a `#` in front.
    #[error("the name or address {0:?} cannot stand in a policy")]
    Unwritable(String),
    /// A name that no line above defines.
    #[error("no line above defines {0}")]
    Unknown(String),
    /// A name that is a member already: each witness counts in one way only.
    #[error("{0} is a member already")]
    MemberTwice(String),
    /// A threshold that is not `all`, `any` or 1 to the number of members.
    #[error("the threshold must be all, any, or a number from 1 to {members}, not {found}")]
    Threshold {
        /// What stands there.
        found: String,
        /// How many members the group has.
        members: usize,
    },
    /// A second quorum line.
    #[error("there is a quorum line already")]
    SecondQuorum,
}

/// A policy as far as it was read.
#[derive(Default)]
pub(super) struct Draft {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Option<Option<Component>>,
    names: HashMap<String, Component>,
    members: HashSet<String>,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// Names the line and what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > MAX_POLICY {
            return Err(PolicyError::TooLong);
        }
        let allowed = |byte: &u8| !(byte.is_ascii_control()) || matches!(byte, b'\t' | b'\n');
        let text = std::str::from_utf8(bytes).map_err(|_| PolicyError::Characters)?;
        if !bytes.iter().all(allowed) {
            return Err(PolicyError::Characters);
        }
        let text = match text.strip_suffix('\n') {
            Some(text) => text,
            None if text.is_empty() => text,
            None => return Err(PolicyError::Unended),
        };
        let mut draft = Draft::default();
        for (number, line) in text.split('\n').enumerate() {
            // White space is space and tab only; other Unicode spaces are part of a word.
            let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
            draft.line(&words).map_err(|problem| PolicyError::Line { line: number + 1, problem })?;
        }
        draft.finish()
    }
}

impl Draft {
    fn line(&mut self, words: &[&str]) -> Result<(), Problem> {
        match words {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", key] => self.log(VerifierKey::parse(key)?, None),
            ["log", key, url] => self.log(VerifierKey::parse(key)?, Some(url)),
            ["log", ..] => Err(Problem::Words("log <vkey> [<url>]")),
            ["witness", name, key] => self.witness(name, VerifierKey::parse(key)?, None),
            ["witness", name, key, url] => self.witness(name, VerifierKey::parse(key)?, Some(url)),
            ["witness", ..] => Err(Problem::Words("witness <name> <vkey> [<url>]")),
            ["group", name, threshold, members @ ..] if !members.is_empty() => {
                self.group(name, threshold, members)
            }
            ["group", ..] => Err(Problem::Words("group <name> all|any|<k> <name>...")),
            ["quorum", name] => self.quorum(name),
            ["quorum", ..] => Err(Problem::Words("quorum <name>|none")),
            [other, ..] => Err(Problem::Keyword((*other).to_owned())),
        }
    }

    pub(super) fn log(&mut self, key: VerifierKey, url: Option<&str>) -> Result<(), Problem> {
        if !key.algorithm().signs_logs() {
            return Err(Problem::KeyType { role: "log", algorithm: key.algorithm() });
        }
        if self.logs.iter().any(|log| log.key.public_key() == key.public_key()) {
            return Err(Problem::DuplicateKey);
        }
        self.logs.push(Log { key, url: url.map(str::to_owned) });
        Ok(())
    }

    pub(super) fn witness(&mut self, name: &str, key: VerifierKey, url: Option<&str>) -> Result<(), Problem> {
        if !key.algorithm().cosigns() {
            return Err(Problem::KeyType { role: "witness", algorithm: key.algorithm() });
        }
        if self.witnesses.iter().any(|witness| witness.key.public_key() == key.public_key()) {
            return Err(Problem::DuplicateKey);
        }
        self.define(name, Component::Witness(self.witnesses.len()))?;
        self.witnesses.push(Witness { name: name.to_owned(), key, url: url.map(str::to_owned) });
        Ok(())
    }

    pub(super) fn group(&mut self, name: &str, threshold: &str, members: &[&str]) -> Result<(), Problem> {
        let count = members.len();
        let found = match threshold {
            "all" => Some(count),
            "any" => Some(1),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
            _ => None,
        };
        let threshold = found
            .filter(|k| (1..=count).contains(k))
            .ok_or_else(|| Problem::Threshold { found: threshold.to_owned(), members: count })?;
        let mut components = Vec::with_capacity(count);
        for member in members {
            components.push(self.component(member)?);
            if !self.members.insert((*member).to_owned()) {
                return Err(Problem::MemberTwice((*member).to_owned()));
            }
        }
        self.define(name, Component::Group(self.groups.len()))?;
        self.groups.push(Group { name: name.to_owned(), threshold, members: components });
        Ok(())
    }

    pub(super) fn quorum(&mut self, name: &str) -> Result<(), Problem> {
        if self.quorum.is_some() {
            return Err(Problem::SecondQuorum);
        }
        self.quorum = Some(if name == NONE { None } else { Some(self.component(name)?) });
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Policy, PolicyError> {
        let quorum = self.quorum.ok_or(PolicyError::NoQuorum)?;
        Ok(Policy { logs: self.logs, witnesses: self.witnesses, groups: self.groups, quorum })
    }

    fn component(&self, name: &str) -> Result<Component, Problem> {
        self.names.get(name).copied().ok_or_else(|| Problem::Unknown(name.to_owned()))
    }

    fn define(&mut self, name: &str, component: Component) -> Result<(), Problem> {
        if name == NONE || self.names.contains_key(name) {
            return Err(Problem::DuplicateName(name.to_owned()));
        }
        self.names.insert(name.to_owned(), component);
        Ok(())
    }
}

//! The fence against old copies: may this log be signed?
//!
//! A data directory that was restored or cloned looks whole, and a signature over it would be a second history. So after
//! each start nothing is signed until those outside who remember this log have been heard: the operator, by the high-water
//! mark in its directives, and a quorum of the configured witnesses. Entries are appended and acknowledged meanwhile. The
//! latest word of each counts, and one objection is enough, also later. Pure: the caller compares marks with the log
//! ([`super::guard`]) and passes the time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long the others are waited for once one source has answered: a witness that is away must not stop an operator's relay
/// from signing, nor an operator that is away one with witnesses.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Who can be asked whether this is the newest copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sources {
    /// There is a control listener, so an operator that remembers a high-water mark.
    pub operator: bool,
    /// How many witnesses must have answered; 0: none is configured.
    pub witnesses: usize,
}

/// What one source says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Everything it has seen of this log is in this copy.
    Agrees,
    /// It has seen what this copy does not continue, or knows another reason: one sentence for people.
    Objects(String),
}

/// What a witness said to the last stored signed checkpoint, as the fence reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witnessed {
    /// It cosigned it, or has signed this size or a smaller one (409 with at most our size), or never saw this log.
    NothingBeyond,
    /// 409 with a size above that of the log: a longer one was shown to it.
    Size(u64),
    /// 422, or another root at the same size: another history was shown to it.
    AnotherHistory,
}

/// Whether the log may be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Yes.
    Open,
    /// Not yet: one sentence says who is waited for.
    Waiting(String),
    /// No: somebody objects.
    Closed(String),
}

/// What was heard so far.
#[derive(Debug)]
pub struct Fence {
    sources: Sources,
    operator: Option<Answer>,
    witnesses: BTreeMap<String, Answer>,
    /// Since when one of two sources is satisfied.
    half: Option<Instant>,
}

impl Fence {
    /// Nothing was heard yet.
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        Self { sources, operator: None, witnesses: BTreeMap::new(), half: None }
    }

    /// Asks for fewer witnesses from now on. Never for more: what runs and signs is no old copy.
    pub fn wait_for_witnesses(&mut self, at_most: usize, now: Instant) {
        self.sources.witnesses = self.sources.witnesses.min(at_most);
        self.note(now);
    }

    /// The operator's latest word; `None`: it has not judged this log yet.
    pub fn operator_says(&mut self, answer: Option<Answer>, now: Instant) {
        self.operator = answer;
        self.note(now);
    }

    /// A witness's latest word; `held` is the size of the log when it was asked.
    pub fn witness_says(&mut self, name: &str, witnessed: Witnessed, held: u64, now: Instant) {
        let answer = match witnessed {
            Witnessed::Size(seen) if seen > held => Answer::Objects(format!(
                "the witness {name} has signed {seen} entries of this log and this copy holds {held}: it is an old copy; bring back the newest one, or retire this log with 'paramant-relay log adopt'"
            )),
            Witnessed::AnotherHistory => Answer::Objects(format!(
                "the witness {name} has seen another history of this log: this copy was signed elsewhere; bring back the newest one, or retire this log with 'paramant-relay log adopt'"
            )),
            Witnessed::NothingBeyond | Witnessed::Size(_) => Answer::Agrees,
        };
        self.witnesses.insert(name.to_owned(), answer);
        self.note(now);
    }

    /// The verdict now.
    #[must_use]
    pub fn standing(&self, now: Instant) -> Standing {
        if let Some(why) = self.objection() {
            return Standing::Closed(why.to_owned());
        }
        let Sources { operator, witnesses } = self.sources;
        let (heard_operator, heard_witnesses) = self.satisfied();
        let patient = self.half.is_none_or(|since| now.duration_since(since) < PATIENCE);
        let missing_witnesses = || {
            format!(
                "{} of {witnesses} witnesses have said that they saw no newer copy of this log",
                self.witnesses.len()
            )
        };
        let operator_away = "the operator has not said yet that this is the newest copy of the log";
        match (operator && !heard_operator, witnesses > 0 && !heard_witnesses) {
            (false, false) => Standing::Open,
            (true, true) => Standing::Waiting(format!("{operator_away}, and {}", missing_witnesses())),
            (true, false) if witnesses == 0 || patient => Standing::Waiting(operator_away.to_owned()),
            (false, true) if !operator || patient => Standing::Waiting(missing_witnesses()),
            (true, false) | (false, true) => Standing::Open,
        }
    }

    /// When to ask again though nothing more is heard.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let due = self.half? + PATIENCE;
        (due > now).then_some(due)
    }

    fn objection(&self) -> Option<&str> {
        self.operator.iter().chain(self.witnesses.values()).find_map(|answer| match answer {
            Answer::Objects(why) => Some(why.as_str()),
            Answer::Agrees => None,
        })
    }

    /// Operator, witnesses.
    fn satisfied(&self) -> (bool, bool) {
        let agreeing = self.witnesses.values().filter(|answer| **answer == Answer::Agrees).count();
        (
            self.sources.operator && self.operator == Some(Answer::Agrees),
            self.sources.witnesses > 0 && agreeing >= self.sources.witnesses,
        )
    }

    fn note(&mut self, now: Instant) {
        let (operator, witnesses) = self.satisfied();
        self.half = match (operator || witnesses, self.half) {
            (true, since) => since.or(Some(now)),
            (false, _) => None,
        };
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests;

//! Conditions with a stable history: `lastTransitionTime` moves only when the status of a condition does.
//!
//! Order is fixed, so that two equal lists are equal JSON. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// True, False or Unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// It cannot be said.
    Unknown,
}

impl Truth {
    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(it: bool) -> Self {
        if it { Self::True } else { Self::False }
    }
}

/// Collects the next conditions of one object.
#[derive(Debug)]
pub struct Conditions<'a> {
    before: &'a [Condition],
    generation: Option<i64>,
    now: Timestamp,
    next: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    /// Starts from what status says now.
    pub fn after(before: &'a [Condition], generation: Option<i64>, now: Timestamp) -> Self {
        Self { before, generation, now, next: Vec::new() }
    }

    /// Says one. `reason` is one CamelCase word, `message` one sentence.
    pub fn say(&mut self, type_: &str, status: impl Into<Truth>, reason: &str, message: impl Into<String>) {
        let status = status.into().as_str();
        let last = find(self.before, type_).filter(|last| last.status == status);
        self.next.push(Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.into(),
            observed_generation: self.generation,
            last_transition_time: last.map_or(Time(self.now), |last| last.last_transition_time.clone()),
        });
    }

    /// Keeps one as it was, for what cannot be judged now; unknown if it never was.
    pub fn keep(&mut self, type_: &str, unknown_because: &str, message: &str) {
        match find(self.before, type_) {
            Some(last) => self.next.push(Condition { observed_generation: self.generation, ..last.clone() }),
            None => self.say(type_, Truth::Unknown, unknown_because, message),
        }
    }

    /// Says that it cannot be judged.
    pub fn unknown(&mut self, type_: &str, reason: &str, message: &str) {
        self.say(type_, Truth::Unknown, reason, message);
    }

    /// The whole list.
    pub fn finish(self) -> Vec<Condition> {
        self.next
    }
}

/// The condition of this type.
pub fn find<'c>(conditions: &'c [Condition], type_: &str) -> Option<&'c Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

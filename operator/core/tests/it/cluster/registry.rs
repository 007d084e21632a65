//! The registry, and who checks signatures: it answers what it was asked, at once unless told otherwise.

use std::collections::BTreeMap;

use paramant_operator_core::release::{Inspect, Inspection, Release, Verdict};

/// Every image is signed by the first key that counts, unless it is said otherwise.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// What images call themselves.
    pub(crate) releases: BTreeMap<String, Release>,
    /// How images are signed, by digest.
    pub(crate) verdicts: BTreeMap<String, Verdict>,
    /// It does not answer.
    pub(crate) away: bool,
    /// It has no such image.
    pub(crate) lacks: bool,
    /// How many more times it must be asked before it answers.
    pub(crate) slow: u32,
    /// What it was asked, each question once in a row.
    pub(crate) asked: Vec<Inspect>,
    answer: Inspection,
}

impl Registry {
    pub(crate) fn ask(&mut self, question: Inspect) {
        if self.asked.last() != Some(&question) {
            self.asked.push(question.clone());
        }
        if self.slow > 0 {
            self.slow -= 1;
            return;
        }
        if self.away {
            self.answer = Inspection::Unavailable { asked: question, reason: "connection refused".into() };
            return;
        }
        if self.lacks {
            self.answer =
                Inspection::NotFound { asked: question, reason: "the registry has no image".into() };
            return;
        }
        let digest = question.digest.as_str();
        let signed = || match question.trust.keys.first() {
            Some(key) => Verdict::Verified { key: key.name.clone() },
            None => Verdict::Unsigned,
        };
        self.answer = Inspection::Answered {
            release: self.releases.get(digest).cloned().unwrap_or_default(),
            signature: self.verdicts.get(digest).cloned().unwrap_or_else(signed),
            asked: question,
        };
    }

    pub(crate) fn inspection(&self) -> Inspection {
        self.answer.clone()
    }

    /// Another operator knows nothing yet.
    pub(crate) fn forget(&mut self) {
        self.answer = Inspection::Pending;
    }

    pub(crate) fn schemas(&self) -> BTreeMap<String, u32> {
        let known = self.releases.iter();
        known.filter_map(|(digest, release)| Some((digest.clone(), release.schema?))).collect()
    }
}

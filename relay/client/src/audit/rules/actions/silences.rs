//! The vendor's silence statements: the newest, and the one that claims the most requests.
//!
//! A statement that contradicts the requests of the log is the vendor's lie, or shows a second chain; the relay that holds both
//! hides nothing. So it does not end a walk: it is told where the actions are asked for.

use std::collections::BTreeMap;

use jiff::Timestamp;
use paramant_licensing::actions::Silence;
use paramant_protocol::entry::body::Digest;
use serde::{Deserialize, Serialize};

use super::asked::Asked;

/// A statement as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The entry.
    pub entry: u64,
    /// Its hour.
    pub hour: String,
    /// How many requests the vendor claims to have made.
    pub seq: u64,
    /// The hash of the last of them.
    pub head: Digest,
    /// Up to when.
    pub issued_at: Timestamp,
    /// SHA3-256 of the licensing key that signed it; none where no key was given.
    pub signed_by: Option<String>,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::audit) struct Silences {
    pub(in crate::audit) count: u64,
    pub(in crate::audit) newest: Option<Said>,
    /// The first contradiction.
    pub(in crate::audit) against: Option<String>,
    /// Of those that claim more requests than the log holds, the one issued last for each number.
    pub(in crate::audit) ahead: BTreeMap<u64, Said>,
    /// Of those that claim no more than the log holds, the one issued last.
    latest: Option<Said>,
}

impl Said {
    pub(super) fn new(silence: &Silence, entry: u64, hour: &str, signed_by: Option<String>) -> Self {
        Self {
            entry,
            hour: hour.to_owned(),
            seq: silence.seq,
            head: Digest(silence.head),
            issued_at: silence.issued_at,
            signed_by,
        }
    }
}

impl Silences {
    /// Takes a statement. `last`: the number of the last request; `head`: the hash at the number it names, where that is known;
    /// `next`: the request after that number.
    pub(super) fn take(&mut self, said: Said, last: u64, head: Option<Digest>, next: Option<&Asked>) {
        self.count += 1;
        if said.seq > last {
            match self.ahead.get(&said.seq) {
                Some(other) if other.head != said.head => {
                    self.contradicted(format!(
                        "entries {} and {} hold two statements of {} requests with two heads",
                        other.entry, said.entry, said.seq
                    ));
                }
                Some(other) if other.issued_at >= said.issued_at => {}
                _ => drop(self.ahead.insert(said.seq, said.clone())),
            }
        } else {
            self.compare(&said, head);
            if let Some(next) = next {
                self.earlier(&said, next);
            }
            newer(&mut self.latest, &said);
        }
        newer(&mut self.newest, &said);
    }

    /// A request took its place.
    pub(super) fn request(&mut self, asked: &Asked) {
        if let Some(latest) = self.latest.clone() {
            self.earlier(&latest, asked);
        }
        let fewer: Vec<Said> = self.ahead.range(..asked.seq).map(|(_, said)| said.clone()).collect();
        for said in &fewer {
            // Requests of a log before this one.
            self.ahead.remove(&said.seq);
            self.earlier(said, asked);
            newer(&mut self.latest, said);
        }
        if let Some(said) = self.ahead.remove(&asked.seq) {
            self.compare(&said, Some(asked.sha256));
            newer(&mut self.latest, &said);
        }
    }

    fn compare(&mut self, said: &Said, head: Option<Digest>) {
        if head.is_some_and(|head| head != said.head) {
            self.contradicted(format!(
                "the statement of entry {} names another head of {} requests than the log holds: there is a second chain",
                said.entry, said.seq
            ));
        }
    }

    fn earlier(&mut self, said: &Said, asked: &Asked) {
        if asked.seq > said.seq && asked.issued_at < said.issued_at {
            self.contradicted(format!(
                "the statement of entry {} claims that up to {} there were {} requests; request {} of entry {} was made at {}",
                said.entry, said.issued_at, said.seq, asked.seq, asked.entry, asked.issued_at
            ));
        }
    }

    fn contradicted(&mut self, text: String) {
        self.against.get_or_insert(text);
    }
}

fn newer(held: &mut Option<Said>, said: &Said) {
    if held.as_ref().is_none_or(|held| held.issued_at <= said.issued_at) {
        *held = Some(said.clone());
    }
}

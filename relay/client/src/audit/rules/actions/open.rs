//! Requests that an entry without a name can belong to: by what they ask, in order. Found without going through all requests.

use std::collections::{BTreeMap, BTreeSet};

use paramant_protocol::entry::body::Role;

use super::asked::{Asked, Details};
use super::effect::Of;

/// How many requests are named where several can be meant.
const NAMED: usize = 5;

/// What a request may still bring about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Awaited {
    /// A support key of this role.
    SupportKey(&'static str),
    /// An offer of this release by this role.
    Offer(&'static str, String),
    /// A drain that begins.
    DrainOn,
    /// A drain that ends.
    DrainOff,
    /// The refusal of one of the four kinds, for this role.
    Refusal(&'static str),
    /// The refusal of another kind.
    RefusalOfUnknown(&'static str),
}

/// Role as a word of the log.
pub(super) fn word(role: Role) -> &'static str {
    match role {
        Role::Owner => "owner",
        Role::Support => "support",
    }
}

/// Requests by what they may still bring about, as their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Open(BTreeMap<Awaited, BTreeSet<u64>>);

impl Open {
    pub(super) fn add(&mut self, asked: &Asked) {
        for awaited in effect(asked).into_iter().chain([refusal(asked)]) {
            self.0.entry(awaited).or_default().insert(asked.seq);
        }
    }

    /// An answer came: it is not refused any more. One that says no ends it.
    pub(super) fn answered(&mut self, asked: &Asked, accepted: bool) {
        self.remove(&refusal(asked), asked.seq);
        if !accepted {
            self.close(asked);
        }
    }

    /// It has had its effect.
    pub(super) fn close(&mut self, asked: &Asked) {
        for awaited in effect(asked).into_iter().chain([refusal(asked)]) {
            self.remove(&awaited, asked.seq);
        }
    }

    fn remove(&mut self, awaited: &Awaited, seq: u64) {
        if let Some(seqs) = self.0.get_mut(awaited) {
            seqs.remove(&seq);
        }
    }

    /// Which request an entry belongs to. `just`: the request that the entry before it holds or approves.
    pub(super) fn of(&self, awaited: &Awaited, just: Option<u64>) -> Of {
        let Some(seqs) = self.0.get(awaited).filter(|seqs| !seqs.is_empty()) else { return Of::None };
        match (just.filter(|just| seqs.contains(just)), seqs.first()) {
            (Some(seq), _) => Of::Next { seq },
            (None, Some(seq)) if seqs.len() == 1 => Of::Only { seq: *seq },
            _ => Of::OneOf { count: seqs.len() as u64, seqs: seqs.iter().take(NAMED).copied().collect() },
        }
    }
}

fn refusal(asked: &Asked) -> Awaited {
    match asked.details {
        Details::Unknown => Awaited::RefusalOfUnknown(word(asked.role)),
        _ => Awaited::Refusal(word(asked.role)),
    }
}

/// `capability_changed` names its request.
fn effect(asked: &Asked) -> Option<Awaited> {
    match &asked.details {
        Details::SupportKey { .. } => Some(Awaited::SupportKey(word(asked.role))),
        Details::UpdateOffer { version, .. } => Some(Awaited::Offer(word(asked.role), version.clone())),
        Details::Drain { enabled: true } => Some(Awaited::DrainOn),
        Details::Drain { enabled: false } => Some(Awaited::DrainOff),
        Details::CapabilitySet { .. } | Details::Unknown => None,
    }
}

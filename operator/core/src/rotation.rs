//! When the operator's certificate authority is replaced, and in which order.
//!
//! The new one is published beside the old; once every relay has said that it accepts both, the operator shows certificates of
//! the new one; only then is the old one dropped. So at no instant does a relay that can be reached refuse the operator, and
//! nothing restarts. What is published and who signs is on record before it happens, and whoever leads next goes on from
//! there. Pure: the caller passes what is on record, what is known of each relay, and `now`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// An authority is replaced unasked when it is valid for no longer than this.
pub const RENEW_BEFORE: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Both are published for at least so long before the new one signs: no pass that began earlier is still writing then.
pub const OVERLAP: Duration = Duration::from_secs(35);
/// A relay that cannot be heard counts as having taken up what lies in its ConfigMap after this. Kubelets bring it within two
/// minutes; one that is away for longer brings it before its relay can be reached again.
pub const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// What is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How far a replacement is.
    pub stage: Stage,
    /// Until when the authority that signs now is valid.
    pub expires: Timestamp,
    /// What a person last asked for; another text is another wish.
    pub asked: Option<String>,
    /// The last wish that was granted.
    pub granted: Option<String>,
    /// SHA-256 of what is published, as relays report it.
    pub bundle_sha256: String,
}

/// How far a replacement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// One authority, published alone.
    Alone,
    /// The next one is published beside the one that signs.
    Beside {
        /// Since when.
        since: Timestamp,
    },
    /// The new one signs, and the old one is still published.
    Switched,
}

/// What is known of one relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// For people.
    pub name: String,
    /// SHA-256 of the certificates in its ConfigMap, if it has one.
    pub configured_sha256: Option<String>,
    /// What its process accepts.
    pub accepts: Accepts,
}

/// What a relay's process accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepts {
    /// The bundle it reports.
    Reported(String),
    /// There is no pod; the next one starts with what is in the ConfigMap.
    NotRunning,
    /// It runs and cannot be heard.
    Unheard,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Rest,
    /// Make another authority and publish it beside.
    Introduce,
    /// Nothing until these took up what is published; nobody when only time must pass.
    Await(Vec<String>),
    /// Sign with the new one.
    Switch,
    /// Publish the one that signs alone.
    Retire,
}

/// Since when each relay could not be heard although its ConfigMap has what is published. In memory: a leader that comes anew
/// waits anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unheard(BTreeMap<String, (String, Timestamp)>);

impl Unheard {
    fn look(&mut self, record: &Record, relays: &[Relay], now: Timestamp) {
        let mut before = std::mem::take(&mut self.0);
        for relay in relays.iter().filter(|relay| relay.accepts == Accepts::Unheard && relay.has(record)) {
            let entry = before.remove(&relay.name).filter(|(bundle, _)| *bundle == record.bundle_sha256);
            let entry = entry.unwrap_or_else(|| (record.bundle_sha256.clone(), now));
            self.0.insert(relay.name.clone(), entry);
        }
    }

    fn long_enough(&self, relay: &Relay, now: Timestamp) -> bool {
        self.0.get(&relay.name).is_some_and(|(_, since)| has_passed(*since, PATIENCE, now))
    }
}

impl Relay {
    /// Whether its ConfigMap has what is published.
    fn has(&self, record: &Record) -> bool {
        self.configured_sha256.as_ref() == Some(&record.bundle_sha256)
    }

    fn has_taken(&self, record: &Record, unheard: &Unheard, now: Timestamp) -> bool {
        match &self.accepts {
            Accepts::Reported(bundle) => self.has(record) && *bundle == record.bundle_sha256,
            // One that has no ConfigMap yet will be made with what is published then.
            Accepts::NotRunning => self.has(record) || self.configured_sha256.is_none(),
            Accepts::Unheard => unheard.long_enough(self, now),
        }
    }
}

/// Decides. `unseen` names where relays may be that nobody knows of, such as namespaces that cannot be read; `unheard` is
/// kept from one decision to the next.
pub fn next(
    record: &Record,
    relays: &[Relay],
    unseen: &[String],
    unheard: &mut Unheard,
    now: Timestamp,
) -> Next {
    unheard.look(record, relays, now);
    match record.stage {
        Stage::Alone if wished(record) || is_near(record.expires, now) => Next::Introduce,
        Stage::Alone => Next::Rest,
        Stage::Switched => Next::Retire,
        Stage::Beside { since } => {
            let behind = relays.iter().filter(|relay| !relay.has_taken(record, unheard, now));
            let behind: Vec<_> =
                behind.map(|relay| relay.name.clone()).chain(unseen.iter().cloned()).collect();
            if behind.is_empty() && has_passed(since, OVERLAP, now) {
                Next::Switch
            } else {
                Next::Await(behind)
            }
        }
    }
}

fn wished(record: &Record) -> bool {
    record.asked.as_ref().is_some_and(|asked| !asked.is_empty() && Some(asked) != record.granted.as_ref())
}

fn is_near(expires: Timestamp, now: Timestamp) -> bool {
    expires.duration_since(now) <= signed(RENEW_BEFORE)
}

/// A clock that was set back makes the wait longer, never shorter than what it shows.
fn has_passed(since: Timestamp, wait: Duration, now: Timestamp) -> bool {
    now.duration_since(since) >= signed(wait)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests;

//! What entries of a log may follow one another: the rules of the kinds that can be checked from outside.
//!
//! - Nothing follows `log_closed`, and nothing precedes `log_adopted`, which names another log than this one.
//! - Hours do not go back by more than one, unless `clock_corrected` says that the machine's clock was set back.
//! - `relay_started` names one identity, the one that signs the tree heads.
//! - A log key is added once and retired once, never added again; every one bears the log's name.
//! - A support key is used, revoked and expires only after it was issued, and is issued for at most a day.
//! - Requests of a vendor, the answers to them and their effects fit together ([`actions`]).
//! - `sth_anchor` is checked where the tree heads are (`heads`).
//!
//! What an entry hides behind a salted commitment (which transfer was claimed or burned) is not linkable, and not guessed at.

pub(super) mod actions;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use paramant_protocol::entry::body::{ClockAuthority, LogAdopted, LogKeyRotated, SupportKeyIssued};
use paramant_protocol::entry::{Body, Entry, Kind};
use paramant_tlog::vkey::VerifierKey;
use serde::{Deserialize, Serialize};

use self::actions::{Actions, At, Licensing};
use super::keys::brief;
use super::report::{Check, Finding, finding};

const NAME: &str = "rules";
const HOUR: i64 = 3600;
/// A support key works for at most a day; both times are hours, so the difference may be one more.
const SUPPORT_KEY: i64 = 25 * HOUR;

/// What the entries so far allow. Kept between runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    kinds: BTreeMap<String, u64>,
    /// The last hour seen, and the latest.
    hour: String,
    hour_seconds: i64,
    latest_seconds: i64,
    /// Entries that say that the machine's clock was set back.
    #[serde(default)]
    set_back: Vec<u64>,
    closed_at: Option<u64>,
    identity: Option<String>,
    /// Verifier keys in the order in which they were added and retired.
    added: Vec<String>,
    retired: Vec<String>,
    support_keys: BTreeSet<String>,
    /// The log that this one replaced.
    #[serde(default)]
    replaced: Option<Replaced>,
    /// What the vendor asked, and what came of it.
    #[serde(default)]
    actions: Actions,
}

/// What is known of a log besides its entries.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// Its name.
    pub(super) origin: &'a str,
    /// The fingerprint of its relay.
    pub(super) identity: Option<&'a str>,
    /// The licensing keys that were given.
    pub(super) licensing: &'a [Licensing],
}

/// A log that was retired, as its successor's first entry names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replaced {
    origin: String,
    /// Entries under its last known checkpoint.
    size: u64,
}

/// An `sth_anchor` entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchor {
    pub(super) index: u64,
    pub(super) count: u64,
    pub(super) chain: paramant_tlog::Hash,
}

impl Rules {
    /// For a part of a log that is read alone.
    pub(super) fn of_a_part() -> Self {
        Self { actions: Actions::elsewhere(), ..Self::default() }
    }

    /// What the vendor asked, and what came of it.
    pub(super) fn actions(&self) -> &Actions {
        &self.actions
    }

    /// Any entry.
    pub(super) fn entry(&mut self, index: u64, kind: &'static str, hour: &str) -> Result<(), Finding> {
        if let Some(closed) = self.closed_at {
            return Err(wrong(index, format!("follows entry {closed}, which closed the log")));
        }
        match self.kinds.get_mut(kind) {
            Some(count) => *count += 1,
            None => {
                self.kinds.insert(kind.to_owned(), 1);
            }
        }
        // What follows this entry in an adopted log is older: transfers of the log before.
        if self.hour != hour && kind != Kind::LogAdopted.name() {
            let seconds = seconds(hour).ok_or_else(|| wrong(index, format!("has no hour: {hour}")))?;
            hour.clone_into(&mut self.hour);
            self.hour_seconds = seconds;
            self.latest_seconds = self.latest_seconds.max(seconds);
        }
        // Its body tells whether it may.
        if kind == Kind::ClockCorrected.name() { Ok(()) } else { self.in_order(index) }
    }

    fn in_order(&self, index: u64) -> Result<(), Finding> {
        if self.latest_seconds - self.hour_seconds > HOUR {
            let hour = &self.hour;
            let text = format!(
                "is from {hour}, more than an hour before an entry that precedes it, and none says that the clock was set back"
            );
            return Err(wrong(index, text));
        }
        Ok(())
    }

    fn corrected(&mut self, index: u64, by: ClockAuthority) -> Result<(), Finding> {
        if by != ClockAuthority::Machine {
            return self.in_order(index);
        }
        self.latest_seconds = self.hour_seconds;
        self.set_back.push(index);
        Ok(())
    }

    /// An entry with a body, after [`Rules::entry`]. Answers the anchor if it is one.
    pub(super) fn body(
        &mut self,
        index: u64,
        entry: &Entry,
        known: Known<'_>,
    ) -> Result<Option<Anchor>, Finding> {
        let Known { origin, identity, licensing } = known;
        if let Some(body) = entry.body() {
            let relay = identity.or(self.identity.as_deref());
            self.actions.body(At { index, hour: entry.hour(), relay, licensing }, body)?;
        }
        match entry.body() {
            Some(Body::RelayStarted(body)) => self.started(index, hex::encode(body.identity.0), identity)?,
            Some(Body::LogKeyRotated(body)) => self.rotated(index, body, origin)?,
            Some(Body::SupportKeyIssued(body)) => self.issued(index, body)?,
            Some(Body::SupportKeyRevoked(body) | Body::SupportKeyExpired(body)) => {
                self.known_support_key(index, &body.key.0)?;
            }
            Some(Body::SupportKeyUsed(body)) => self.known_support_key(index, &body.key.0)?,
            Some(Body::ClockCorrected(body)) => self.corrected(index, body.by)?,
            Some(Body::LogClosed(_)) => self.closed_at = Some(index),
            Some(Body::LogAdopted(body)) => self.adopted(index, body, origin)?,
            Some(Body::SthAnchor(body)) => {
                return Ok(Some(Anchor { index, count: body.count, chain: body.chain.0 }));
            }
            _ => {}
        }
        Ok(None)
    }

    fn started(&mut self, index: u64, named: String, identity: Option<&str>) -> Result<(), Finding> {
        if let Some(identity) = identity.filter(|identity| *identity != named) {
            return Err(wrong(index, format!("names the identity {named}, the log is of {identity}")));
        }
        if let Some(before) = self.identity.as_ref().filter(|before| **before != named) {
            return Err(wrong(index, format!("names the identity {named}, an earlier one {before}")));
        }
        self.identity = Some(named);
        Ok(())
    }

    fn adopted(&mut self, index: u64, body: &LogAdopted, origin: &str) -> Result<(), Finding> {
        let LogAdopted { origin: old, size, .. } = body;
        if index != 0 {
            return Err(wrong(index, format!("says that this log replaced {old}: only a first entry may")));
        }
        if old == origin {
            return Err(wrong(index, "says that this log replaced itself"));
        }
        self.actions = Actions::elsewhere();
        self.replaced = Some(Replaced { origin: old.clone(), size: *size });
        Ok(())
    }

    fn rotated(&mut self, index: u64, body: &LogKeyRotated, origin: &str) -> Result<(), Finding> {
        if let Some(text) = &body.added {
            let key = log_key(index, text, origin)?;
            if self.added.contains(text) || self.retired.contains(text) {
                return Err(wrong(index, format!("adds {} once more", brief(&key))));
            }
            self.added.push(text.clone());
        }
        if let Some(text) = &body.retired {
            let key = log_key(index, text, origin)?;
            if self.retired.contains(text) {
                return Err(wrong(index, format!("retires {} once more", brief(&key))));
            }
            self.retired.push(text.clone());
        }
        Ok(())
    }

    fn issued(&mut self, index: u64, body: &SupportKeyIssued) -> Result<(), Finding> {
        let key = hex::encode(body.key.0);
        if self.support_keys.contains(&key) {
            return Err(wrong(index, format!("issues the support key {key} once more")));
        }
        let until =
            seconds(&body.until).ok_or_else(|| wrong(index, format!("ends at {}, no hour", body.until)))?;
        if !(0..=SUPPORT_KEY).contains(&(until - self.hour_seconds)) {
            return Err(wrong(
                index,
                format!("issues a support key until {}, a day at most is allowed", body.until),
            ));
        }
        self.support_keys.insert(key);
        Ok(())
    }

    fn known_support_key(&self, index: u64, key: &paramant_tlog::Hash) -> Result<(), Finding> {
        let key = hex::encode(key);
        if self.support_keys.contains(&key) {
            return Ok(());
        }
        Err(wrong(index, format!("is about the support key {key}, which was never issued")))
    }

    /// Whether an entry has added this key.
    pub(super) fn added(&self, key: &VerifierKey) -> bool {
        self.added.contains(&key.to_string())
    }

    /// Whether an entry has retired this key.
    pub(super) fn retired(&self, key: &VerifierKey) -> bool {
        self.retired.contains(&key.to_string())
    }

    /// The keys that entries have retired.
    pub(super) fn retired_keys(&self) -> Vec<VerifierKey> {
        self.retired.iter().filter_map(|text| VerifierKey::parse(text).ok()).collect()
    }

    /// Keys that were added and not retired since.
    pub(super) fn active(&self) -> impl Iterator<Item = &String> {
        self.added.iter().filter(|key| !self.retired.contains(key))
    }

    /// How many times keys came or went.
    pub(super) fn rotations(&self) -> usize {
        self.added.len() + self.retired.len()
    }

    /// The hour of the newest entry, in seconds since 1970.
    pub(super) fn newest_hour(&self) -> Option<u64> {
        if self.hour.is_empty() { None } else { u64::try_from(self.latest_seconds).ok() }
    }

    pub(super) fn summary(&self) -> String {
        let kinds: Vec<String> = self.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        kinds.join(", ")
    }

    pub(super) fn check(&self) -> Check {
        let closed = self.closed_at.map(|index| format!("; closed by entry {index}")).unwrap_or_default();
        let replaced = self.replaced.as_ref().map(|Replaced { origin, size }| {
            format!("; it replaced {origin}, whose last known checkpoint has {size} entries")
        });
        let replaced = replaced.unwrap_or_default();
        let set_back = match self.set_back.as_slice() {
            [] => String::new(),
            [index] => format!("; entry {index} says that the clock was set back"),
            [.., index] => {
                format!("; {} entries say that the clock was set back, {index} last", self.set_back.len())
            }
        };
        let actions = self.actions.summary();
        Check::passed(
            NAME,
            format!("order of hours, identity, keys, beginning and end{actions}{replaced}{set_back}{closed}"),
        )
    }
}

fn wrong(index: u64, what: impl std::fmt::Display) -> Finding {
    finding(NAME, format!("entry {index} {what}"))
}

fn log_key(index: u64, text: &str, origin: &str) -> Result<VerifierKey, Finding> {
    let key = VerifierKey::parse(text)
        .map_err(|error| wrong(index, format!("names a key that cannot be read: {error}")))?;
    if key.name() != origin || !key.algorithm().signs_logs() {
        return Err(wrong(index, format!("names {}, which is no key of {origin}", brief(&key))));
    }
    Ok(key)
}

fn seconds(hour: &str) -> Option<i64> {
    hour.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

#[cfg(test)]
mod tests;

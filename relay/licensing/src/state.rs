//! What the relay may do now: a total function of the licences found, the logged replies and the effective time, and of nothing
//! else.
//!
//! Reachability, telemetry and configuration are no inputs. Whatever several documents say, the more generous word counts field by
//! field, and Community is the floor below all of them. A newer reply supersedes an older one: what it widens counts at once,
//! what it takes away goes on until the older one's own `expires_at`, and so does a set after a signed refusal.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use paramant_protocol::control::LicenseSource;
use paramant_protocol::leaf::Hash;

use crate::clock::EffectiveTime;
use crate::logged::Logged;
use crate::offline::{OfflineLicense, UserCap};
use crate::online::OnlineKey;
use crate::online::capability::{Capabilities, Tier, Word};
use crate::online::reply::{CapabilitySet, Reply};
use crate::verified::Verified;

/// Active accounts without any licence.
pub const COMMUNITY_USERS: u64 = 5;

/// Days before expiry at which the admin is told.
pub const WARNING_DAYS: [i64; 4] = [30, 14, 7, 1];

const MI: u64 = 1 << 20;
/// No set can bound blobs below what every published plan has (protocol §1.4), nor their time.
const SMALLEST_BLOB: u64 = 5 * MI;
/// The time of the smallest published plan, in seconds.
const SHORTEST_TTL: u64 = 3600;
/// Replies kept for one key: the newest, and of those that it superseded each different grant.
const MOST_REPLIES: usize = 32;

/// Everything that was found and verified.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Evidence {
    /// Offline licences, expired ones included.
    pub offline: Vec<OfflineLicense>,
    /// The key for the online check, if one was found: replies that were given to another key do not count.
    pub online_key: Option<OnlineKey>,
    replies: Vec<InForce>,
}

/// A reply that the log holds, and whether somebody carried it in.
#[derive(Debug)]
struct InForce {
    reply: Logged<Verified<Reply>>,
    by_hand: bool,
}

impl Evidence {
    /// Offline licences only.
    pub fn offline(licenses: Vec<OfflineLicense>) -> Self {
        Self { offline: licenses, ..Self::default() }
    }

    /// Takes a reply. The order does not matter: sequences say which is newer. One that was taken before is replaced.
    pub fn hold(&mut self, reply: Logged<Verified<Reply>>, by_hand: bool) {
        let place = |reply: &Reply| (reply.key_digest(), reply.sequence());
        let new = place(reply.get().get());
        self.replies.retain(|held| place(held.reply.get().get()) != new);
        self.replies.push(InForce { reply, by_hand });
        self.replies.sort_by_key(|held| held.reply.get().get().sequence());
        self.prune(new.0);
    }

    /// Lets go of what can never count again: refusals that something followed, and sets that a newer one with the same grant outlasts.
    /// Of more than can be, those that end first.
    fn prune(&mut self, key: Hash) {
        let of_key = |held: &InForce| held.reply.get().get().key_digest() == key;
        let (mut own, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.replies).into_iter().partition(of_key);
        let newest = own.pop();
        let mut kept: Vec<InForce> = newest.into_iter().collect();
        for held in own.into_iter().rev() {
            let spare = held.reply.get().get().set().is_none_or(|set| {
                let newer = kept.iter().filter_map(|it| it.reply.get().get().set());
                let mut same =
                    newer.filter(|it| (it.tier, &it.capabilities) == (set.tier, &set.capabilities));
                same.any(|it| it.expires_at >= set.expires_at)
            });
            if !spare {
                kept.push(held);
            }
        }
        let end = |held: &InForce| held.reply.get().get().set().map(|set| set.expires_at);
        while kept.len() > MOST_REPLIES {
            let superseded = kept.iter().enumerate().skip(1);
            let Some((first, _)) = superseded.min_by_key(|(_, held)| end(held)) else { break };
            kept.remove(first);
        }
        self.replies = others;
        self.replies.extend(kept);
        self.replies.sort_by_key(|held| held.reply.get().get().sequence());
    }

    /// The sequences of the replies to a key that are held.
    pub fn held(&self, key: &Hash) -> Vec<u64> {
        let all = self.replies.iter().map(|held| held.reply.get().get());
        all.filter(|reply| reply.key_digest() == *key).map(Reply::sequence).collect()
    }

    /// When the newest of all replies was made, whichever key it was given to.
    pub fn latest(&self) -> Option<Timestamp> {
        self.replies.iter().map(|held| held.reply.get().get().issued_at()).max()
    }

    /// The highest sequence that was accepted for the key, 0 without any.
    pub fn last_sequence(&self) -> u64 {
        self.in_order().last().map_or(0, |(reply, _)| reply.sequence())
    }

    /// The newest reply to the key.
    pub fn newest(&self) -> Option<&Reply> {
        self.in_order().pop().map(|(reply, _)| reply)
    }

    /// The last instant at which any of it counts.
    pub fn end(&self) -> Option<Timestamp> {
        let sets = self.sets().into_iter().map(|(_, until, _)| until);
        self.offline.iter().map(OfflineLicense::until).chain(sets).max()
    }

    /// The sets given to the key, the newest first, each with the last instant at which it serves and whether it was carried in.
    fn sets(&self) -> Vec<(&CapabilitySet, Timestamp, bool)> {
        let newest_first = self.in_order().into_iter().rev().enumerate();
        let sets = newest_first.filter_map(|(place, (reply, by_hand))| {
            let set: &CapabilitySet = reply.set()?;
            Some((set, if place == 0 { set.serves_until() } else { set.expires_at }, by_hand))
        });
        sets.collect()
    }

    /// The replies to the key, the newest last.
    fn in_order(&self) -> Vec<(&Reply, bool)> {
        let Some(key) = &self.online_key else { return Vec::new() };
        let all = self.replies.iter().map(|it| (it.reply.get().get(), it.by_hand));
        let mut all: Vec<_> = all.filter(|(reply, _)| reply.is_to(key)).collect();
        all.sort_by_key(|(reply, _)| reply.sequence());
        all
    }
}

/// What counts now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// No valid licence.
    Community,
    /// A signed offline licence.
    Offline {
        /// The cap, never below Community's.
        cap: UserCap,
        /// The last instant it counts.
        until: Timestamp,
        /// `expires_at` as the licence spells it, for `/health`.
        expires_at: String,
        /// Who it was issued to.
        issued_to: String,
    },
    /// A capability set inside its own validity.
    Online(InSet),
    /// The last capability set, while no newer word comes.
    Grace(InSet),
}

/// A capability set in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InSet {
    /// What was bought.
    pub tier: Tier,
    /// What counts, an offline licence included.
    pub grant: Grant,
    /// How the vendor answers questions.
    pub support_level: Word,
    /// Until when the set is more than a last word.
    pub expires_at: Timestamp,
    /// Until when it serves when nothing newer comes.
    pub until: Timestamp,
    /// Whether somebody carried it in.
    pub by_hand: bool,
}

/// What may be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The cap on active accounts. It gates creation only: accounts that exist go on.
    pub users: UserCap,
    /// The largest blob, in bytes; absent: what the settings say.
    pub max_blob: Option<u64>,
    /// The longest time a blob may wait, in seconds; absent: what the settings say.
    pub max_ttl: Option<u64>,
    /// Whether uploads in PQHB form must be signed by their sender.
    pub signatures_required: bool,
    /// Add-ons.
    pub addons: BTreeSet<Word>,
    /// Whether pages may carry the organisation's name.
    pub custom_branding: bool,
}

impl Grant {
    /// What a licence for a number of users grants: it says nothing of sizes, so the settings alone do.
    fn of_users(users: UserCap) -> Self {
        Self {
            users: users.max(UserCap::Users(COMMUNITY_USERS)),
            max_blob: None,
            max_ttl: None,
            signatures_required: false,
            addons: BTreeSet::new(),
            custom_branding: false,
        }
    }

    fn of_set(set: Capabilities, offline: Option<UserCap>) -> Self {
        let cap = UserCap::Users(set.max_users.max(COMMUNITY_USERS));
        let cap = offline.map_or(cap, |offline| cap.max(offline));
        let alone = offline.is_none();
        Self {
            users: cap,
            max_blob: alone.then(|| set.max_blob_size_mb.saturating_mul(MI).max(SMALLEST_BLOB)),
            max_ttl: alone.then(|| set.retention_max_seconds.max(SHORTEST_TTL)),
            signatures_required: alone && set.ml_dsa_required,
            addons: set.addons_allowed,
            custom_branding: set.custom_branding,
        }
    }
}

/// The state at an instant.
pub fn state(evidence: &Evidence, at: EffectiveTime) -> State {
    let valid = evidence.offline.iter().filter(|license| license.valid_at(at.at()));
    let best = valid.max_by_key(|license| (license.cap(), license.until()));
    if let Some(set) = online(evidence, best.map(OfflineLicense::cap), at.at()) {
        return if at.at() <= set.expires_at { State::Online(set) } else { State::Grace(set) };
    }
    match best {
        None => State::Community,
        Some(license) => State::Offline {
            cap: license.cap().max(UserCap::Users(COMMUNITY_USERS)),
            until: license.until(),
            expires_at: license.terms().expires_at.clone(),
            issued_to: license.terms().issued_to.clone(),
        },
    }
}

/// The sets that serve at an instant, weighed together.
fn online(evidence: &Evidence, offline: Option<UserCap>, at: Timestamp) -> Option<InSet> {
    let mut serving = evidence.sets().into_iter().filter(|(_, until, _)| at <= *until).peekable();
    let &(first, _, by_hand) = serving.peek()?;
    let (mut tier, mut all, mut expires, mut until) =
        (first.tier, first.capabilities.clone(), first.expires_at, Timestamp::MIN);
    for (set, serves, _) in serving {
        tier = tier.max(set.tier);
        all = all.or(&set.capabilities);
        expires = expires.max(set.expires_at);
        until = until.max(serves);
    }
    Some(InSet {
        tier,
        support_level: all.support_level.clone(),
        grant: Grant::of_set(all, offline),
        expires_at: expires,
        until,
        by_hand,
    })
}

impl State {
    /// What may be done.
    pub fn grant(&self) -> Grant {
        match self {
            Self::Community => Grant::of_users(UserCap::Users(COMMUNITY_USERS)),
            Self::Offline { cap, .. } => Grant::of_users(*cap),
            Self::Online(set) | Self::Grace(set) => set.grant.clone(),
        }
    }

    /// The cap on active accounts. It gates creation only: accounts that exist go on.
    pub fn cap(&self) -> UserCap {
        match self {
            Self::Community => UserCap::Users(COMMUNITY_USERS),
            Self::Offline { cap, .. } => *cap,
            Self::Online(set) | Self::Grace(set) => set.grant.users,
        }
    }

    /// The tier's name in status.
    pub fn tier(&self) -> &'static str {
        match self {
            Self::Community => "Community",
            Self::Offline { .. } => "Licensed",
            Self::Online(set) | Self::Grace(set) => set.tier.name(),
        }
    }

    /// `edition` of `/health`.
    pub fn edition(&self) -> &'static str {
        match self {
            Self::Community => "community",
            Self::Offline { .. } | Self::Online(_) | Self::Grace(_) => "licensed",
        }
    }

    /// Where it comes from.
    pub fn source(&self) -> LicenseSource {
        match self {
            Self::Community => LicenseSource::None,
            Self::Offline { .. } => LicenseSource::Offline,
            Self::Online(set) if set.by_hand => LicenseSource::AirGap,
            Self::Online(_) => LicenseSource::Online,
            Self::Grace(_) => LicenseSource::Cache,
        }
    }

    /// Until when it holds without new documents.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Community => None,
            Self::Offline { until, .. } => Some(*until),
            Self::Online(set) | Self::Grace(set) => Some(set.until),
        }
    }

    /// Until when the document in force is more than a last word.
    pub fn valid_until(&self) -> Option<Timestamp> {
        self.set().map_or_else(|| self.until(), |set| Some(set.expires_at))
    }

    /// Until when the last capability set goes on without a newer word.
    pub fn grace_until(&self) -> Option<Timestamp> {
        self.set().map(|set| set.until)
    }

    /// Who it was issued to, if the document says so.
    pub fn issued_to(&self) -> Option<&str> {
        match self {
            Self::Offline { issued_to, .. } => Some(issued_to),
            Self::Community | Self::Online(_) | Self::Grace(_) => None,
        }
    }

    /// Names of what is granted beside numbers, for status.
    pub fn capabilities(&self) -> Vec<String> {
        let grant = self.grant();
        let addons = grant.addons.iter().map(|word| word.as_str().to_owned());
        addons.chain(grant.custom_branding.then(|| "custom_branding".to_owned())).collect()
    }

    /// The capability set in force, if one is.
    pub fn set(&self) -> Option<&InSet> {
        match self {
            Self::Community | Self::Offline { .. } => None,
            Self::Online(set) | Self::Grace(set) => Some(set),
        }
    }

    /// The smallest of [`WARNING_DAYS`] that has been reached, if any. A set that is renewed every few hours ends within a week at
    /// any time; of it only grace is worth a word.
    pub fn warning(&self, at: EffectiveTime) -> Option<i64> {
        let renewed = matches!(self, Self::Online(set) if !set.by_hand);
        let left = self.until().filter(|_| !renewed)?.duration_since(at.at());
        WARNING_DAYS.into_iter().rev().find(|days| left <= SignedDuration::from_hours(24 * days))
    }
}

#[cfg(test)]
mod tests;

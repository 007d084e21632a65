//! What the licence grants: documents found and replies logged, judged by pure functions.
//!
//! A document that is missing, unreadable or wrong grants nothing and stops nothing; why is said in [`License::problems`]. The
//! files are read again at most every few seconds, so that a renewed Secret works without a restart. Replies of the online check come
//! from [`check_in`], and only as [`Logged`].

pub mod check_in;
mod clock;
pub mod counts;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use paramant_licensing::clock::EffectiveTime;
use paramant_licensing::offline::PREFIX;
use paramant_licensing::online::keys::LicensingKeys;
use paramant_licensing::online::reply::{CapabilitySet, RefusalCause, Reply};
use paramant_licensing::state::Grant;
use paramant_licensing::{AcceptedKeys, Evidence, Logged, OfflineLicense, OnlineKey, State, Verified, state};

use self::clock::Clock;
use crate::settings::SettingsHandle;
use crate::world::World;

/// How old a grant may be on the way of an upload.
const RECENT: Duration = Duration::from_secs(1);
/// How old what was read may be.
const FRESH: Duration = Duration::from_secs(5);
/// The licence in force and the one that follows it, so that a renewal never leaves a gap.
const FILES: [&str; 2] = ["licence", "licence-next"];

/// A handle on the licences; cheap to clone.
#[derive(Debug, Clone)]
pub struct Licenses(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: SettingsHandle,
    world: World,
    clock: Clock,
    held: Mutex<Held>,
    grant: Mutex<Option<(Instant, Arc<Grant>)>>,
}

#[derive(Debug, Default)]
struct Held {
    read: Option<Instant>,
    evidence: Evidence,
    found: Vec<Found>,
    /// What the online check has to say.
    online: Vec<String>,
    /// Why telemetry stays off though somebody wants it.
    telemetry: Option<String>,
}

/// What counts now.
#[derive(Debug, Clone)]
pub struct License {
    /// The state by which the relay acts.
    pub state: State,
    /// Why a licence that was found does not count, one sentence each.
    pub problems: Vec<String>,
    /// The days of a warning that has been reached.
    pub warning: Option<i64>,
    /// Seconds until what counts ends without newer word; below 0 once it has ended, absent where nothing ever counted.
    pub left: Option<i64>,
}

/// What a file held.
#[derive(Debug)]
enum Found {
    Offline(&'static str, OfflineLicense),
    OnlineKey(OnlineKey),
    Problem(String),
}

impl Licenses {
    /// Licences in the configured directory, judged in this world. `floor` is the clock's, as it was kept; `signed` the time of the
    /// newest checkpoint.
    #[must_use]
    pub fn new(
        settings: SettingsHandle,
        world: World,
        floor: Option<Timestamp>,
        signed: Option<Timestamp>,
    ) -> Self {
        let clock = Clock::new(world.clone(), floor, signed);
        Self(Arc::new(Inner { settings, world, clock, held: Mutex::default(), grant: Mutex::default() }))
    }

    /// What counts now.
    #[must_use]
    pub fn current(&self) -> License {
        let held = self.fresh();
        let now = self.now();
        let mut problems = Vec::new();
        for found in &held.found {
            match found {
                Found::Offline(name, license) if !license.valid_at(now.at()) => {
                    problems.push(format!("{name} expired at {}", license.until()));
                }
                Found::Problem(problem) => problems.push(problem.clone()),
                Found::Offline(..) | Found::OnlineKey(_) => {}
            }
        }
        let settings = self.0.settings.current();
        if held.evidence.online_key.is_some() && settings.online.is_none() && settings.air_gap.is_none() {
            problems.push(
                "a key for the online check was found, but the online check is not switched on".to_owned(),
            );
        }
        match held.evidence.newest() {
            Some(Reply::Refusal(refusal)) => problems.extend(told(refusal.error).map(str::to_owned)),
            Some(Reply::Set(set)) => problems.extend(self.unpinned(set)),
            None => {}
        }
        problems.extend(held.online.iter().chain(&held.telemetry).cloned());
        if now.regressed() {
            problems.push("the clock of this machine is behind what the relay knows has passed".into());
        }
        let state = state(&held.evidence, now);
        let end = state.until().or_else(|| held.evidence.end());
        let left = end.map(|end| end.duration_since(now.at()).as_secs());
        License { warning: state.warning(now), left, state, problems }
    }

    /// Said long before it matters: a reply by a key that this release does not know will be an outage.
    fn unpinned(&self, set: &CapabilitySet) -> Option<String> {
        let next = set.next_pubkey_hash.as_ref()?;
        let unknown = !self.0.world.online.knows(next);
        unknown.then(|| "the licence server will soon sign with a key that this release does not know: update the relay".to_owned())
    }

    /// Why the newest reply grants nothing, if it is a refusal.
    pub(crate) fn refused(&self) -> Option<RefusalCause> {
        match self.fresh().evidence.newest() {
            Some(Reply::Refusal(refusal)) => Some(refusal.error),
            _ => None,
        }
    }

    /// The instant that licences are judged by.
    #[must_use]
    pub fn now(&self) -> EffectiveTime {
        self.0.clock.now()
    }

    /// The key for the online check, if one was found.
    #[must_use]
    pub fn online_key(&self) -> Option<OnlineKey> {
        self.fresh().evidence.online_key.clone()
    }

    /// Who may sign replies.
    pub(crate) fn keys(&self) -> &LicensingKeys {
        &self.0.world.online
    }

    /// The highest sequence accepted for the key that was found.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.fresh().evidence.last_sequence()
    }

    /// When the authority asked to be asked again, in seconds.
    pub(crate) fn wished(&self) -> Option<u64> {
        let held = self.fresh();
        held.evidence.newest().and_then(|reply| reply.set().map(|set| set.next_check_in_seconds))
    }

    /// Lets a logged reply count.
    /// Answers the sequences of all that are held for its key.
    pub(crate) fn hold(&self, reply: Logged<Verified<Reply>>, by_hand: bool) -> Vec<u64> {
        let key = reply.get().get().key_digest();
        let mut held = self.held();
        held.evidence.hold(reply, by_hand);
        held.evidence.held(&key)
    }

    /// What the online check has to say, in place of what it said before.
    pub(crate) fn say(&self, problems: Vec<String>) {
        self.held().online = problems;
    }

    /// Why telemetry stays off though somebody wants it.
    pub(crate) fn say_of_telemetry(&self, problem: Option<String>) {
        self.held().telemetry = problem;
    }

    pub(crate) fn follow_time(&self, signed: Option<Timestamp>) -> Option<Timestamp> {
        self.0.clock.follow(signed)
    }

    pub(crate) fn reset_time(&self) -> Timestamp {
        // Whichever key is in the directory just now: a file taken away must not take time back.
        let issued = self.fresh().evidence.latest();
        self.0.clock.reset(issued)
    }

    pub(crate) fn weigh_time(&self, issued: Timestamp, fresh: bool) -> clock::Time {
        self.0.clock.weigh(issued, fresh)
    }

    pub(crate) fn set_time(&self, time: clock::Time) {
        self.0.clock.set(time);
    }

    /// Whether the newest set grants what this one does.
    pub(crate) fn grants_same(&self, set: &CapabilitySet) -> bool {
        let held = self.fresh();
        let newest = held.evidence.newest().and_then(Reply::set);
        newest.is_some_and(|it| (it.tier, &it.capabilities) == (set.tier, &set.capabilities))
    }

    /// What may be done, as it was at most a second ago: for what happens many times in one.
    pub(crate) fn grant(&self) -> Arc<Grant> {
        let known = self.0.grant.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, grant)) = known
            && at.elapsed() < RECENT
        {
            return grant;
        }
        let grant = Arc::new(self.current().state.grant());
        *self.0.grant.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), grant.clone()));
        grant
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files read again, if that is due.
    fn fresh(&self) -> MutexGuard<'_, Held> {
        let mut held = self.held();
        if held.read.is_none_or(|at| at.elapsed() >= FRESH) {
            let directory = self.0.settings.current().license_directory.clone();
            held.found = directory.map(|it| read(&it, &self.0.world.offline)).unwrap_or_default();
            let (mut offline, mut key) = (Vec::new(), None);
            for found in &held.found {
                match found {
                    Found::Offline(_, license) => offline.push(license.clone()),
                    Found::OnlineKey(found) => key = key.or_else(|| Some(found.clone())),
                    Found::Problem(_) => {}
                }
            }
            held.evidence.offline = offline;
            held.evidence.online_key = key;
            held.read = Some(Instant::now());
        }
        held
    }
}

/// What an admin is told of a signed refusal, which a restart does not end; of a revocation the online check tells.
fn told(refusal: RefusalCause) -> Option<&'static str> {
    match refusal {
        RefusalCause::PaymentFailed => Some(
            "the licence server answered that a payment is missing: the online licence ends with the last set that it gave",
        ),
        RefusalCause::UnknownKey => Some(
            "the licence server does not know this licence key: compare it with the one that was sold; the online licence ends with the last set that it gave",
        ),
        RefusalCause::Revoked => None,
    }
}

fn read(directory: &Path, keys: &AcceptedKeys) -> Vec<Found> {
    let mut all = Vec::new();
    for name in FILES {
        let Ok(text) = std::fs::read_to_string(directory.join(name)) else { continue };
        if text.trim().is_empty() || !text.trim().starts_with(PREFIX) && name != "licence" {
            continue;
        }
        all.push(match (OnlineKey::parse(&text), OfflineLicense::verify(&text, keys)) {
            (Some(key), _) => Found::OnlineKey(key),
            (None, Ok(license)) => Found::Offline(name, license),
            (None, Err(error)) => Found::Problem(format!("{name}: {error}")),
        });
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn a_wrong_licence_is_community_with_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let licenses = || {
            let settings = Settings { license_directory: Some(dir.path().to_owned()), ..Settings::default() };
            Licenses::new(SettingsHandle::fixed(settings), World::default(), None, None).current()
        };
        assert!(licenses().problems.is_empty());
        std::fs::write(dir.path().join("licence"), "plk_AAAA").unwrap();
        let license = licenses();
        assert_eq!((license.state, license.problems.len()), (State::Community, 1));
        std::fs::write(dir.path().join("licence"), format!("plk_{}", "ab".repeat(32))).unwrap();
        let license = licenses();
        assert_eq!(license.state, State::Community);
        assert!(license.problems[0].contains("not switched on"), "{:?}", license.problems);
        assert!(!license.problems.concat().contains("abab"));
    }
}

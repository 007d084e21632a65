//! What the licence grants, read from the licence directory: two small files, judged by pure functions.
//!
//! A file that is missing, unreadable or wrong grants nothing and stops nothing; why is said in [`License::problems`]. The
//! files are read again at most every few seconds, so that a renewed Secret works without a restart.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use paramant_licensing::clock::EffectiveTime;
use paramant_licensing::offline::PREFIX;
use paramant_licensing::{AcceptedKeys, Evidence, OfflineLicense, State, state};

use crate::settings::SettingsHandle;

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
    keys: AcceptedKeys,
    /// Instants that have certainly passed.
    floors: Vec<Timestamp>,
    read: Mutex<Option<(Instant, License)>>,
}

/// What counts now.
#[derive(Debug, Clone)]
pub struct License {
    /// The state by which the relay acts.
    pub state: State,
    /// Why a licence that was found does not count, one sentence each.
    pub problems: Vec<String>,
}

impl Licenses {
    /// Licences in the configured directory, judged against the published key.
    #[must_use]
    pub fn new(settings: SettingsHandle, floors: Vec<Timestamp>) -> Self {
        Self(Arc::new(Inner { settings, keys: AcceptedKeys::published(), floors, read: Mutex::default() }))
    }

    /// What counts now.
    #[must_use]
    pub fn current(&self) -> License {
        let mut read = self.0.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, license)) = &*read
            && at.elapsed() < FRESH
        {
            return license.clone();
        }
        let now = EffectiveTime::of(Timestamp::now(), self.0.floors.iter().copied());
        let license = match &self.0.settings.current().license_directory {
            Some(directory) => judge(directory, &self.0.keys, now),
            None => License { state: State::Community, problems: Vec::new() },
        };
        *read = Some((Instant::now(), license.clone()));
        license
    }
}

fn judge(directory: &Path, keys: &AcceptedKeys, now: EffectiveTime) -> License {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for name in FILES {
        let Ok(text) = std::fs::read_to_string(directory.join(name)) else { continue };
        // An online key is not a fault: the online check is a matter of its own.
        if text.trim().is_empty() || !text.trim().starts_with(PREFIX) && name != "licence" {
            continue;
        }
        match OfflineLicense::verify(&text, keys) {
            Ok(license) if license.valid_at(now.at()) => found.push(license),
            Ok(license) => problems.push(format!("{name} expired at {}", license.until())),
            Err(error) => problems.push(format!("{name}: {error}")),
        }
    }
    if now.regressed() {
        problems.push("the clock of this machine is behind what the relay knows has passed".into());
    }
    License { state: state(&Evidence::offline(found), now), problems }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_wrong_licence_is_community_with_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let now = EffectiveTime::of("2026-01-01T00:00:00Z".parse().unwrap(), []);
        assert!(judge(dir.path(), &AcceptedKeys::published(), now).problems.is_empty());
        std::fs::write(dir.path().join("licence"), "plk_AAAA").unwrap();
        let license = judge(dir.path(), &AcceptedKeys::published(), now);
        assert_eq!((license.state, license.problems.len()), (State::Community, 1));
    }
}

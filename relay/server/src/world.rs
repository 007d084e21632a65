//! What a relay believes before it has heard anything: the keys pinned at build, and the clock on the wall.
//!
//! The release has one world. Tests that need other keys, or weeks, put another in its place through this type; no file, flag or
//! variable of a release leads here.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use paramant_licensing::AcceptedKeys;
use paramant_licensing::online::keys::LicensingKeys;

/// The day of this release: it has certainly passed. Set with the version.
const BUILT: &str = "2026-11-27T00:00:00Z";

/// The keys and the clock.
#[derive(Clone)]
pub struct World {
    /// Who may sign offline licences.
    pub offline: AcceptedKeys,
    /// Who may sign replies of the online check.
    pub online: LicensingKeys,
    /// The time of day by which licences are judged.
    pub wall: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl World {
    /// What has certainly passed.
    pub(crate) fn built() -> Timestamp {
        BUILT.parse().unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl Default for World {
    /// The release's.
    fn default() -> Self {
        Self {
            offline: AcceptedKeys::published(),
            online: LicensingKeys::published(),
            wall: Arc::new(Timestamp::now),
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("offline", &self.offline)
            .field("online", &self.online)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_of_the_release_is_one_and_has_passed() {
        assert!(World::built() > Timestamp::UNIX_EPOCH && World::built() <= Timestamp::now());
    }
}

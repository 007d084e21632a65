//! What the relay may do now: a total function of the licences found and the effective time, and of nothing else.
//!
//! Reachability, telemetry and configuration are no inputs. The most generous valid licence counts, and Community is the
//! floor below all of them: a licence can never grant less than no licence.

use jiff::{SignedDuration, Timestamp};
use paramant_protocol::control::LicenseSource;

use crate::clock::EffectiveTime;
use crate::offline::{OfflineLicense, UserCap};

/// Active accounts without any licence.
pub const COMMUNITY_USERS: u64 = 5;

/// Days before expiry at which the admin is told.
pub const WARNING_DAYS: [i64; 4] = [30, 14, 7, 1];

/// Everything that was found and verified.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Evidence {
    /// Offline licences, expired ones included.
    pub offline: Vec<OfflineLicense>,
}

impl Evidence {
    /// Offline licences only.
    pub fn offline(licenses: Vec<OfflineLicense>) -> Self {
        Self { offline: licenses }
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
}

/// The state at an instant.
pub fn state(evidence: &Evidence, at: EffectiveTime) -> State {
    let valid = evidence.offline.iter().filter(|license| license.valid_at(at.at()));
    let best = valid.max_by_key(|license| (license.cap(), license.until()));
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

impl State {
    /// The cap on active accounts. It gates creation only: accounts that exist go on.
    pub fn cap(&self) -> UserCap {
        match self {
            Self::Community => UserCap::Users(COMMUNITY_USERS),
            Self::Offline { cap, .. } => *cap,
        }
    }

    /// The tier's name in status.
    pub fn tier(&self) -> &'static str {
        match self {
            Self::Community => "Community",
            Self::Offline { .. } => "Licensed",
        }
    }

    /// `edition` of `/health`.
    pub fn edition(&self) -> &'static str {
        match self {
            Self::Community => "community",
            Self::Offline { .. } => "licensed",
        }
    }

    /// Where it comes from.
    pub fn source(&self) -> LicenseSource {
        match self {
            Self::Community => LicenseSource::None,
            Self::Offline { .. } => LicenseSource::Offline,
        }
    }

    /// Until when it holds without new documents.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Community => None,
            Self::Offline { until, .. } => Some(*until),
        }
    }

    /// The smallest of [`WARNING_DAYS`] that has been reached, if any.
    pub fn warning(&self, at: EffectiveTime) -> Option<i64> {
        let left = self.until()?.duration_since(at.at());
        WARNING_DAYS.into_iter().rev().find(|days| left <= SignedDuration::from_hours(24 * days))
    }
}

#[cfg(test)]
mod tests;

//! What a request brings about. Made of a logged request alone, and the only thing that the relay's drain, support keys and offers take
//! from a vendor: who holds none of these cannot change them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use paramant_protocol::leaf::Hash;

use super::request::{Ask, LONGEST_SUPPORT, Offer, Request, Role};
use crate::logged::Logged;
use crate::verified::Verified;

/// A drain that names no deadline ends after a day.
const USUAL_DRAIN: u64 = 24 * 3600;
/// No vendor's drain is longer than a week: it can be asked for again.
const LONGEST_DRAIN: u64 = 7 * 24 * 3600;

/// The effect of one request.
#[derive(Debug)]
pub enum Effect {
    /// Read-only diagnostics for a time.
    Support(Support),
    /// An offer to show.
    Offer(Offered),
    /// A drain that begins or ends.
    Drain(Draining),
    /// The set with these terms may count.
    Capability(Terms),
}

/// A support key that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Support {
    id: String,
    key_sha256: Hash,
    role: Role,
    since: Timestamp,
    until: Timestamp,
}

/// An offer that may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    offer: Offer,
    role: Role,
}

/// A vendor's drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draining {
    since: Timestamp,
    until: Option<Timestamp>,
}

/// Terms of a capability set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    set_sha256: Hash,
}

impl Effect {
    /// The effect of a request that was accepted at `at`. `support_seconds`: how long the policy lets a support key work.
    ///
    /// `None`: it is none of the four, which [`super::judge`] refuses.
    pub fn of(request: Logged<Verified<Request>>, at: Timestamp, support_seconds: u64) -> Option<Self> {
        let request = request.into_inner();
        let asked = request.get();
        let after = |seconds: u64| {
            let seconds = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            at.checked_add(seconds).unwrap_or(Timestamp::MAX)
        };
        Some(match &asked.ask {
            Ask::SupportKey { key_sha256, max_seconds } => Self::Support(Support {
                id: asked.id.clone(),
                key_sha256: *key_sha256,
                role: asked.role,
                since: at,
                until: after((*max_seconds).min(support_seconds).min(LONGEST_SUPPORT)),
            }),
            Ask::UpdateOffer(offer) => Self::Offer(Offered { offer: (**offer).clone(), role: asked.role }),
            Ask::Drain { enabled, deadline_seconds } => Self::Drain(Draining {
                since: at,
                until: enabled.then(|| after(deadline_seconds.unwrap_or(USUAL_DRAIN).min(LONGEST_DRAIN))),
            }),
            Ask::CapabilitySet { set_sha256 } => Self::Capability(Terms { set_sha256: *set_sha256 }),
            Ask::Unknown(_) => return None,
        })
    }
}

impl Support {
    /// The id of its request.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// SHA-256(`paramant/support/v1` ‖ relay_id ‖ secret).
    pub fn key_sha256(&self) -> Hash {
        self.key_sha256
    }

    /// Who holds it.
    pub fn role(&self) -> Role {
        self.role
    }

    /// From when on it works.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// When it ends by itself.
    pub fn until(&self) -> Timestamp {
        self.until
    }
}

impl Offered {
    /// The offer.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Who offers.
    pub fn role(&self) -> Role {
        self.role
    }
}

impl Draining {
    /// How long it still goes on; `None`: it is over, or a clock that was set back says that it has not begun.
    pub fn left(&self, now: Timestamp) -> Option<Duration> {
        let left = self.until.filter(|_| self.since <= now)?.duration_since(now);
        Duration::try_from(left).ok().filter(|left| !left.is_zero())
    }
}

impl Terms {
    /// Of which set.
    pub fn set_sha256(&self) -> Hash {
        self.set_sha256
    }
}

//! PSS sessions (protocol §4.5): two devices that share a secret meet, and one learns the other's keys.
//!
//! The creator leaves a commitment to the secret; whoever joins names the secret, once, with their keys. In memory alone: a session
//! lives an hour at most, both sides are waiting for it, and after a restart they begin another. What is kept is bounded, for each
//! account and altogether, and so are the secrets that may be tried for one session.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use paramant_protocol::named_keys::NamedKeys;
use sha2::Digest as _;
use subtle::ConstantTimeEq as _;

use crate::store::AccountId;

/// Lifetimes, in milliseconds: when none is asked for, the shortest, the longest.
const TTL_MS: (u64, u64, u64) = (600_000, 60_000, 3_600_000);
/// Sessions of one account: far more than a person opens at a time, and one account cannot fill the table.
const PER_ACCOUNT: usize = 50;
/// Sessions altogether. One with the longest keys takes 14 kB, so 28 MB at the very most.
const SESSIONS: usize = 2_000;
/// Wrong secrets for one session. People make secrets up: six words leave nobody who may guess ten times a chance.
const WRONG: u32 = 10;
/// How long after its end a session is said to have expired; then it is unknown.
const REMEMBERED_MS: i64 = 600_000;
/// The longest secret, in bytes.
const MAX_SECRET: usize = 1024;

/// The name of a session: `pss_` and 48 hex digits. Shown only by [`fmt::Display`]: with the secret it lets one join.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; 24]);

/// The sessions of one relay.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<SessionId, Session>>);

#[derive(Debug)]
struct Session {
    creator: AccountId,
    commitment: [u8; 32],
    expires_ms: i64,
    wrong: u32,
    joined: Option<Joined>,
}

/// Who joined, and when.
#[derive(Debug, Clone)]
pub struct Joined {
    /// Their keys.
    pub keys: NamedKeys,
    /// Unix milliseconds.
    pub at_ms: i64,
}

/// A session as its creator sees it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Who joined, if somebody did.
    pub joined: Option<Joined>,
    /// When it ends.
    pub expires_ms: i64,
}

/// Why a session cannot be opened, joined or seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// This account has too many.
    #[error("this account has {PER_ACCOUNT} open sessions, which is the limit; wait until some have ended")]
    TooMany,
    /// The relay has too many.
    #[error("this relay has no room for another session now")]
    Full,
    /// No such session, or one that ended long ago.
    #[error("there is no such session")]
    Unknown,
    /// Another account opened it.
    #[error("another account opened this session")]
    NotYours,
    /// It ended.
    #[error("the session has expired; open another")]
    Expired,
    /// Somebody has joined.
    #[error("somebody has joined this session already")]
    Taken,
    /// Not the secret it was opened for.
    #[error("the secret is not the one this session was opened for")]
    WrongSecret,
    /// Too many wrong secrets.
    #[error("too many wrong secrets were tried for this session; open another")]
    Locked,
}

impl SessionId {
    /// A fresh name.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Reads the one form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 24];
        hex::decode_to_slice(text.strip_prefix("pss_")?, &mut bytes).ok()?;
        Some(Self(bytes)).filter(|id| id.to_string() == text)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pss_{}", hex::encode(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

/// A lifetime within the bounds.
#[must_use]
pub fn lifetime(asked_ms: Option<u64>) -> Duration {
    let (usual, shortest, longest) = TTL_MS;
    Duration::from_millis(asked_ms.filter(|ms| *ms > 0).unwrap_or(usual).clamp(shortest, longest))
}

impl Sessions {
    /// Opens a session under a fresh name; answers when it ends.
    ///
    /// # Errors
    /// [`SessionError::TooMany`], [`SessionError::Full`].
    pub fn open(
        &self,
        id: SessionId,
        creator: AccountId,
        commitment: [u8; 32],
        ttl: Duration,
        now_ms: i64,
    ) -> Result<i64, SessionError> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| now_ms < session.expires_ms + REMEMBERED_MS);
        if sessions.len() >= SESSIONS {
            sessions.retain(|_, session| now_ms < session.expires_ms);
        }
        if sessions
            .values()
            .filter(|session| session.creator == creator && now_ms < session.expires_ms)
            .count()
            >= PER_ACCOUNT
        {
            return Err(SessionError::TooMany);
        }
        if sessions.len() >= SESSIONS {
            return Err(SessionError::Full);
        }
        let expires_ms = now_ms.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
        sessions.insert(id, Session { creator, commitment, expires_ms, wrong: 0, joined: None });
        Ok(expires_ms)
    }

    /// Joins a session with its secret, once.
    ///
    /// # Errors
    /// Everything but the first two of [`SessionError`].
    pub fn join(
        &self,
        id: SessionId,
        secret: &str,
        keys: NamedKeys,
        now_ms: i64,
    ) -> Result<i64, SessionError> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get_mut(&id).ok_or(SessionError::Unknown)?;
        session.is_open(now_ms)?;
        if session.wrong >= WRONG {
            return Err(SessionError::Locked);
        }
        // The secret before everything else: who does not have it does not learn whether somebody joined.
        if !is_committed_to(&session.commitment, secret) {
            session.wrong += 1;
            return Err(SessionError::WrongSecret);
        }
        if session.joined.is_some() {
            return Err(SessionError::Taken);
        }
        session.joined = Some(Joined { keys, at_ms: now_ms });
        Ok(now_ms)
    }

    /// What its creator may see.
    ///
    /// # Errors
    /// [`SessionError::Unknown`] for one that ended too, [`SessionError::NotYours`].
    pub fn see(&self, id: SessionId, account: AccountId, now_ms: i64) -> Result<Seen, SessionError> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get(&id).filter(|session| now_ms < session.expires_ms);
        let session = session.ok_or(SessionError::Unknown)?;
        if session.creator != account {
            return Err(SessionError::NotYours);
        }
        Ok(Seen { joined: session.joined.clone(), expires_ms: session.expires_ms })
    }
}

impl Session {
    fn is_open(&self, now_ms: i64) -> Result<(), SessionError> {
        match now_ms {
            now if now < self.expires_ms => Ok(()),
            now if now < self.expires_ms + REMEMBERED_MS => Err(SessionError::Expired),
            _ => Err(SessionError::Unknown),
        }
    }
}

/// Whether a commitment is the SHA-256 or the SHA3-256 of the secret: clients of both kinds are published. Constant in time.
fn is_committed_to(commitment: &[u8; 32], secret: &str) -> bool {
    if secret.len() > MAX_SECRET {
        return false;
    }
    let sha2: [u8; 32] = sha2::Sha256::digest(secret.as_bytes()).into();
    let sha3: [u8; 32] = sha3::Sha3_256::digest(secret.as_bytes()).into();
    (commitment.ct_eq(&sha2) | commitment.ct_eq(&sha3)).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

//! Passwords of blobs: sealed when they come in, compared when somebody reads, and tried only so often.
//!
//! Only the PHC string of an Argon2id hash is kept. Hashing runs on blocking threads, two at a time, so it takes 38 MiB at most
//! however many ask, and nothing in a relay that sees no password. A password counts as wrong before it is compared, so that
//! hanging up does not undo it, and counts are kept apart by who asks: whoever holds a download link cannot use up the tries of
//! the sender's own keys, nor one account those of another. Counts are in memory: a restart gives everybody their tries again,
//! and nobody outside can cause one.

mod hashing;
mod tries;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use self::hashing::Memory;
use self::tries::{Counted, Outcome, Tries};
use crate::store::blob_rows::Asked;
use crate::store::{BlobId, claim_rows::Locked};

/// Hashes at a time: 19 MiB each, about 20 ms on one core.
const AT_ONCE: usize = 2;
/// How long a hash waits for its turn; several hundred others may be before it.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest password, in bytes: far above what a person types, far below what a header may hold.
pub const MAX_PASSWORD: usize = 1024;

/// A password as somebody sent it. Wiped when dropped, never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

/// The passwords of one relay; cheap to clone.
#[derive(Debug, Clone)]
pub struct Passwords(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    turns: Arc<Semaphore>,
    /// One for each turn that was ever taken.
    memory: Mutex<Vec<Memory>>,
    tries: Mutex<Tries>,
}

/// Who tries a password. An address is counted for those alone who come without a key.
#[derive(Debug, Clone, Copy)]
pub struct Trier {
    /// For what, and as whom.
    pub asked: Asked,
    /// From where.
    pub address: IpAddr,
}

/// Why a password was not sealed, or does not open anything.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Empty, or longer than [`MAX_PASSWORD`].
    #[error("a password has 1 to {MAX_PASSWORD} bytes")]
    Length,
    /// Not this one.
    #[error("the password is wrong; no view was used")]
    Wrong,
    /// The same reader is trying another at this moment.
    #[error("another password is being tried for this blob; wait for its answer")]
    InProgress,
    /// Too many were wrong.
    #[error("too many wrong passwords; no view was used, try again later")]
    Exhausted {
        /// Until the next try.
        wait: Duration,
    },
    /// Too many others are hashing.
    #[error("too many passwords are being checked; try again")]
    Busy,
    /// The hash cannot be made or read.
    #[error("a password could not be hashed: {0}")]
    Internal(String),
}

impl Password {
    /// A password of a length that is taken.
    ///
    /// # Errors
    /// [`PasswordError::Length`].
    pub fn new(bytes: &[u8]) -> Result<Self, PasswordError> {
        let fits = (1..=MAX_PASSWORD).contains(&bytes.len());
        if fits { Ok(Self(Zeroizing::new(bytes.to_vec()))) } else { Err(PasswordError::Length) }
    }
}

#[cfg(test)]
impl Password {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self(Arc::new(Inner {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            memory: Mutex::default(),
            tries: Mutex::default(),
        }))
    }
}

impl Passwords {
    /// The PHC string of a password, with a salt of its own.
    ///
    /// # Errors
    /// [`PasswordError::Busy`], or a failure of this machine.
    pub async fn seal(&self, password: Password) -> Result<String, PasswordError> {
        self.hashing(move |memory| hashing::seal(&password, memory)).await
    }

    /// Whether a PHC string is of this password. For the sender's own repeat; counts nothing.
    ///
    /// # Errors
    /// As [`Passwords::seal`].
    pub async fn is_of(&self, sealed: String, password: Password) -> Result<bool, PasswordError> {
        self.hashing(move |memory| hashing::opens(&sealed, &password, memory)).await
    }

    /// Tries a password: the blob that it unlocks.
    ///
    /// # Errors
    /// [`PasswordError::Wrong`], and what keeps somebody from trying on and on.
    pub async fn unlock(
        &self,
        locked: Locked,
        password: Password,
        trier: Trier,
    ) -> Result<BlobId, PasswordError> {
        let blob = locked.blob;
        let mut counted = Counted::begin(self, blob, trier)?;
        let right = self.hashing(move |memory| {
            // Before it is compared: from here on hanging up changes nothing.
            counted.was(Outcome::Wrong);
            let right = hashing::opens(&locked.password, &password, memory)?;
            if right {
                counted.was(Outcome::Right);
            }
            Ok(right)
        });
        if right.await? { Ok(blob) } else { Err(PasswordError::Wrong) }
    }

    /// Does `hash` on a blocking thread, in turn, to its end even if nobody waits any more.
    async fn hashing<T: Send + 'static>(
        &self,
        hash: impl FnOnce(&mut Memory) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.0.turns).acquire_owned());
        let Ok(Ok(turn)) = turn.await else { return Err(PasswordError::Busy) };
        let inner = Arc::clone(&self.0);
        let hashing = tokio::task::spawn_blocking(move || {
            let mut memory =
                inner.memory.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            let result = hash(&mut memory);
            inner.memory.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
            drop(turn);
            result
        });
        hashing.await.unwrap_or_else(|error| Err(hashing::internal(error)))
    }

    fn tries<T>(&self, with: impl FnOnce(&mut Tries, Instant) -> T) -> T {
        with(&mut self.0.tries.lock().unwrap_or_else(PoisonError::into_inner), Instant::now())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

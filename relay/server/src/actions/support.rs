//! Support keys that are in force: read-only diagnostics for a vendor, until their time is over or the admin ends them.
//!
//! Only hashes are here. A key ends by the clock that licences are judged by, and by the time that this process has run, whichever is
//! first: no clock that is set back lets it live longer. What was ended never comes back; each use is on disk before it is answered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use paramant_licensing::actions::Support;
use paramant_protocol::leaf::{Hash, sha256};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use super::{ActionError, Actions};
use crate::store::Digest;
use crate::store::action_rows;
use crate::store::call_rows::{self, Caller};

/// What a secret is hashed with (docs/spec/remote-actions.md, section 2).
const LABEL: &[u8] = b"paramant/support/v1";
/// The longest secret that is looked at.
const MAX_SECRET: usize = 256;

/// The keys in force.
#[derive(Debug, Default, Clone)]
pub struct SupportKeys(Arc<Mutex<Vec<Live>>>);

#[derive(Debug)]
struct Live {
    support: Support,
    salt: Digest,
    deadline: Instant,
    ended: CancellationToken,
}

/// Somebody who showed a support key.
#[derive(Debug, Clone)]
pub struct Session {
    /// The id of its request.
    pub id: String,
    /// When it ends by itself.
    pub until: Timestamp,
    /// The same by the time that the process has run.
    pub deadline: Instant,
    /// Cancelled when it ends, by the admin or by time.
    pub ended: CancellationToken,
    salt: Digest,
}

impl SupportKeys {
    /// Lets a key work from now on.
    pub(super) fn begin(&self, support: Support, salt: Digest, now: Timestamp) {
        let left = Duration::try_from(support.until().duration_since(now)).unwrap_or_default();
        // A clock that was set back before the key began: it is not to be believed.
        if left.is_zero() || support.since() > now {
            return;
        }
        let mut keys = self.lock();
        if keys.iter().all(|key| key.support.id() != support.id()) {
            let (deadline, ended) = (Instant::now() + left, CancellationToken::new());
            keys.push(Live { support, salt, deadline, ended });
        }
    }

    /// Ends one, with every answer that still runs. `false`: it was not in force.
    pub(super) fn end(&self, id: &str) -> bool {
        let mut keys = self.lock();
        let before = keys.len();
        keys.retain(|key| {
            let other = key.support.id() != id;
            if !other {
                key.ended.cancel();
            }
            other
        });
        keys.len() < before
    }

    /// How many are in force.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Who shows this secret. All keys are compared, each in the same time.
    fn holder(&self, relay_id: &str, secret: &str, now: Timestamp) -> Option<Session> {
        if secret.len() > MAX_SECRET {
            return None;
        }
        let shown: Hash = sha256(&[LABEL, relay_id.as_bytes(), secret.as_bytes()].concat());
        let mut found = None;
        for key in self.lock().iter() {
            if bool::from(key.support.key_sha256().ct_eq(&shown)) {
                found = Some(Session {
                    id: key.support.id().to_owned(),
                    until: key.support.until(),
                    deadline: key.deadline,
                    ended: key.ended.clone(),
                    salt: key.salt,
                });
            }
        }
        found.filter(|it| now < it.until && Instant::now() < it.deadline && !it.ended.is_cancelled())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Live>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Actions {
    /// Who shows this secret, if a key of it is in force.
    #[must_use]
    pub fn holder(&self, secret: &str) -> Option<Session> {
        self.0.support.holder(&self.0.relay_id, secret, self.now())
    }

    /// Counts a use, durably; `request` is what was asked.
    ///
    /// # Errors
    /// When it cannot be counted: then it is not answered.
    pub async fn used(&self, session: &Session, request: &str) -> Result<(), ActionError> {
        let (id, salt, request) = (session.id.clone(), session.salt, request.to_owned());
        let now = Timestamp::now().as_second();
        let count = move |c: &rusqlite::Connection| {
            action_rows::support_used(c, &id)?;
            call_rows::count(c, Caller::Support, &id, request.as_bytes(), now, salt)
        };
        self.write(count).await
    }

    /// Writes the entries for all uses that have none yet: before a log is closed.
    pub async fn settle_uses(&self) {
        crate::outbound::sums::record(&self.0.log, &self.0.meta, Caller::Support, |_| true).await;
    }
}

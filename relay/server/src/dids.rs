//! DIDs: which key signs requests for which API key, committed to in the log, revocable by their account.
//!
//! The row is written first, then its `key_registered` entry; a DID is resolved, listed and believed only once that entry is
//! known to be in the log. A revocation holds from its row on, and its `did_revoked` entry follows before the answer. A crash
//! between row and entry is mended at start, either way. A DID belongs to whoever registered it first; a revoked one never comes
//! back.

mod rows;

use std::sync::Arc;

use jiff::Timestamp;
use paramant_protocol::did::{Did, MAX_PUBLIC_KEY};
use paramant_protocol::moment;
use tokio::sync::Mutex;

pub use self::rows::Registered;
use crate::accounts::Principal;
use crate::entries::{self, EntryError};
use crate::log_service::{LogError, LogService};
use crate::store::meta::{Meta, MetaError};
use crate::store::{AccountId, Digest, RecoveryError, now_ms};
use crate::unattended::Unattended;
use crate::unrecorded::Unrecorded;

/// DIDs in force for one API key, as published.
const PER_KEY: i64 = 500;
/// DIDs of one account ever, revoked ones included; a key must not be able to fill the disk.
const PER_ACCOUNT: i64 = 10_000;

/// A handle on the DIDs; cheap to clone.
#[derive(Debug, Clone)]
pub struct Dids {
    meta: Meta,
    log: LogService,
    unattended: Unattended,
    /// One change at a time, so that an entry is written once. Changes are rare, and each waits for one append.
    turn: Arc<Mutex<()>>,
}

/// Why a DID was not registered or revoked.
#[derive(Debug, thiserror::Error)]
pub enum DidError {
    /// Not hex, or too long.
    #[error("the public key must be hex of at most {MAX_PUBLIC_KEY} digits")]
    NotHex,
    /// Somebody else registered it, or it was revoked.
    #[error("this DID cannot be registered: another account has it, or it was revoked; use another key")]
    Taken,
    /// Too many.
    #[error("{limit} DIDs are registered here already, which is the limit; revoke some")]
    TooMany {
        /// The limit.
        limit: i64,
    },
    /// Database, log or randomness.
    #[error(transparent)]
    Unrecorded(Unrecorded),
}

impl Dids {
    /// The DIDs in this database.
    #[must_use]
    pub fn new(meta: Meta, log: LogService, unattended: Unattended) -> Self {
        Self { meta, log, unattended, turn: Arc::default() }
    }

    /// Registers a device's DID for the key of this principal, or confirms that it is.
    ///
    /// # Errors
    /// [`DidError::Taken`] when another account has it, or it was revoked.
    pub async fn register(
        &self,
        who: &Principal,
        device: String,
        public_key: String,
    ) -> Result<Registered, DidError> {
        let (this, account, kid) = (self.clone(), who.account, who.kid.clone());
        self.unattended.finish(async move { this.enrol(account, kid, device, public_key).await }).await
    }

    async fn enrol(
        &self,
        account: AccountId,
        kid: String,
        device: String,
        public_key: String,
    ) -> Result<Registered, DidError> {
        let hex = !public_key.is_empty()
            && public_key.len() <= MAX_PUBLIC_KEY
            && public_key.len().is_multiple_of(2)
            && public_key.bytes().all(|b| b.is_ascii_hexdigit());
        if !hex {
            return Err(DidError::NotHex);
        }
        let _turn = self.turn.lock().await;
        let salt = Digest::random().map_err(EntryError::from)?;
        let new = Registered {
            did: Did::of(&device, &public_key),
            account,
            kid,
            created_ms: now_ms(),
            salt,
            entry: entries::did_registered(&device, &public_key, salt)?,
            log_from: self.log.head().size,
            log_index: None,
            revocation: None,
            device,
            public_key,
        };
        let row = new.clone();
        let earlier = self.meta.write(move |c| rows::insert(c, &row, PER_KEY, PER_ACCOUNT)).await?;
        let mut did = match earlier {
            Some(earlier) if earlier.account != account || earlier.revocation.is_some() => {
                return Err(DidError::Taken);
            }
            Some(earlier) => earlier,
            None => new,
        };
        if did.log_index.is_none() {
            did.log_index = Some(self.log_once::<DidError>(&did).await?);
        }
        Ok(did)
    }

    /// A DID that may be shown, revoked ones too.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn find(&self, did: Did) -> Result<Option<Registered>, MetaError> {
        let found = self.meta.read::<_, MetaError, _>(move |c| Ok(rows::find(c, did)?)).await?;
        Ok(found.filter(|found| found.log_index.is_some()))
    }

    /// The DIDs of an account that are in force, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn of(&self, account: AccountId) -> Result<Vec<Registered>, MetaError> {
        self.meta.read::<_, MetaError, _>(move |c| Ok(rows::in_force(c, account)?)).await
    }

    /// Takes a DID back; from its row on it signs nothing any more. `None`: the account has no such DID. Again: the first time.
    ///
    /// # Errors
    /// When the database or the log fails.
    pub async fn revoke(&self, account: AccountId, did: Did) -> Result<Option<Registered>, DidError> {
        let this = self.clone();
        self.unattended.finish(async move { this.take_back(account, did).await }).await
    }

    async fn take_back(&self, account: AccountId, did: Did) -> Result<Option<Registered>, DidError> {
        let _turn = self.turn.lock().await;
        let Some(found) = self.find(did).await?.filter(|found| found.account == account) else {
            return Ok(None);
        };
        let revoked = match &found.revocation {
            Some(_) => found,
            None => {
                let entry = entries::did_revoked(&found.device, &found.public_key, found.salt)?;
                let revoked = found.revoked(now_ms(), entry, self.log.head().size);
                let row = revoked.clone();
                self.meta.write::<_, DidError, _>(move |c| Ok(rows::revoke(c, &row)?)).await?;
                revoked
            }
        };
        self.log_revocation::<DidError>(&revoked).await?;
        Ok(Some(revoked))
    }

    /// At start: every row whose entry is not known to be in the log gets its index, or its entry.
    ///
    /// # Errors
    /// When the database or the log fails.
    pub async fn recover(&self) -> Result<(), RecoveryError> {
        let unlogged = self.meta.read::<_, MetaError, _>(|c| Ok(rows::unlogged(c)?)).await?;
        for did in unlogged {
            if did.log_index.is_none() {
                self.log_once::<RecoveryError>(&did).await?;
            }
            self.log_revocation::<RecoveryError>(&did).await?;
        }
        Ok(())
    }

    async fn log_once<E: From<LogError> + From<MetaError>>(&self, did: &Registered) -> Result<u64, E> {
        let index = self.log.append_once(&did.entry, did.log_from).await?;
        let id = did.did;
        self.meta.write::<_, MetaError, _>(move |c| Ok(rows::logged(c, id, index)?)).await?;
        Ok(index)
    }

    async fn log_revocation<E: From<LogError> + From<MetaError>>(&self, did: &Registered) -> Result<(), E> {
        let Some(revocation) = did.revocation.as_ref().filter(|revocation| !revocation.logged) else {
            return Ok(());
        };
        let index = self.log.append_once(&revocation.entry, revocation.log_from).await?;
        let id = did.did;
        self.meta.write::<_, MetaError, _>(move |c| Ok(rows::revocation_logged(c, id, index)?)).await?;
        Ok(())
    }
}

impl Registered {
    /// When it was registered: an ISO text.
    #[must_use]
    pub fn created(&self) -> String {
        moment_of(self.created_ms)
    }

    /// When it was revoked: an ISO text.
    #[must_use]
    pub fn revoked_at(&self) -> Option<String> {
        self.revocation.as_ref().map(|revocation| moment_of(revocation.at_ms))
    }
}

fn moment_of(ms: i64) -> String {
    moment::millis(Timestamp::from_millisecond(ms).unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

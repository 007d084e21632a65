//! The transfer path: receive, keep, claim, send, burn, expire, recover.
//!
//! [`Transfers`] owns the order of every step; the modules below each hold one. Bytes are opaque here: they arrive sealed by
//! the sender, are sealed again at rest, and leave once. Handlers in `public` call it; nothing here knows HTTP but
//! `sending`, whose stream is a response body.

mod accept;
mod burn;
mod chunked;
mod claim;
mod complete;
mod expiry_clock;
mod giving_up;
mod in_flight;
mod intake;
mod receive;
mod recovery;
mod sending;
mod settling;
mod sweep;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::task::JoinHandle;

pub use self::accept::{Accepted, Access, Terms, UploadError};
pub use self::burn::CancelError;
pub use self::chunked::{Chunk, ChunkError, Opening, Upload};
use self::claim::Leases;
pub use self::claim::{ClaimError, Claimed, Wanted};
pub use self::complete::{CompleteError, Completed, Completion};
use self::expiry_clock::ExpiryClock;
use self::in_flight::InFlight;
pub use self::in_flight::{Counts, OverLimit};
pub use self::intake::Received;
pub use self::receive::{Receiving, Unfinished};
pub use self::sending::Sending;
use self::settling::Settling;
use crate::app::Core;
use crate::store::blob_rows::{self, Asked};
use crate::store::meta::MetaError;
use crate::store::{AccountId, BlobId, Digest, RecoveryError, Vault, claim_rows, link_rows};
use crate::unattended::Unattended;

/// A handle on the transfer path; cheap to clone.
#[derive(Debug, Clone)]
pub struct Transfers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    core: Core,
    vault: Vault,
    in_flight: Arc<InFlight>,
    leases: Leases,
    settling: Settling,
    /// Uploads between their row and their answer: the sweep leaves their rows alone.
    committing: Mutex<HashSet<BlobId>>,
    /// Blobs that somebody is burning now.
    burning: Mutex<HashSet<BlobId>>,
    /// Burns that an error stopped.
    burn_again: Mutex<HashMap<BlobId, burn::Why>>,
    totals: Mutex<Totals>,
    sweeper: Mutex<Option<JoinHandle<()>>>,
    expiry: Mutex<ExpiryClock>,
    /// Keeping an upload, settling a lease, taking a blob back.
    unattended: Unattended,
}

/// What passed since the process started.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Uploads acknowledged.
    pub inbound: u64,
    /// Downloads begun.
    pub outbound: u64,
    /// Payloads destroyed.
    pub burned: u64,
    /// Bytes of uploads acknowledged.
    pub bytes_in: u64,
    /// Bytes handed to readers.
    pub bytes_out: u64,
}

/// What a sender may learn about an unread blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Bytes of the payload.
    pub size: u64,
    /// How long it may still be read.
    pub ttl_remaining: Duration,
    /// As in its row; `None` for what was sent without a key.
    pub sig_valid: Option<bool>,
    /// Its hash is that of a list of chunks of this size.
    pub chunk_size: Option<u64>,
}

/// What whoever holds a download link may learn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// Bytes of the payload.
    pub size: u64,
    /// How long it may still be read.
    pub ttl_remaining: Duration,
    /// Whether it asks for a password.
    pub locked: bool,
    /// Views nobody has begun.
    pub views_left: u32,
    /// The file's name, encrypted by the sender.
    pub enc_meta: Option<String>,
    /// Whether a view can be had now, or all that are left are being read.
    pub free: bool,
}

impl Transfers {
    /// Puts right what a crash left, and starts the sweep.
    ///
    /// # Errors
    /// When the database, the files or the log cannot be put right.
    pub async fn open(core: Core, vault: Vault, unattended: Unattended) -> Result<Self, RecoveryError> {
        let in_flight = Arc::new(InFlight::new(core.drain.clone()));
        let this = Self(Arc::new(Inner {
            core,
            vault,
            in_flight,
            leases: Leases::default(),
            settling: Settling::default(),
            committing: Mutex::default(),
            burning: Mutex::default(),
            burn_again: Mutex::default(),
            totals: Mutex::default(),
            sweeper: Mutex::default(),
            expiry: Mutex::default(),
            unattended,
        }));
        this.recover().await?;
        let sweeping = tokio::spawn(sweep::run(Arc::downgrade(&this.0)));
        *this.0.sweeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(sweeping);
        Ok(this)
    }

    /// Ends the sweep. What it leaves waits for the next start.
    pub async fn end_sweep(&self) {
        let sweeper = self.0.sweeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sweeper) = sweeper {
            sweeper.abort();
            drop(sweeper.await);
        }
    }

    /// Unread blobs and their bytes, uploads in progress included.
    #[must_use]
    pub fn in_flight(&self) -> Counts {
        self.0.in_flight.counts()
    }

    /// What passed since the process started.
    #[must_use]
    pub fn totals(&self) -> Totals {
        *self.0.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the account could read this now. Uses no view.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn status(
        &self,
        account: AccountId,
        lookup: Digest,
        now_ms: i64,
    ) -> Result<Option<Status>, MetaError> {
        let row = self
            .0
            .vault
            .meta
            .read(move |c| {
                let asked = Asked::ByName { account, lookup };
                Ok::<_, MetaError>(blob_rows::readable(c, asked, now_ms)?)
            })
            .await?;
        Ok(row.map(|row| Status {
            size: row.size,
            ttl_remaining: row.remaining(now_ms),
            sig_valid: (row.account != AccountId::NOBODY).then_some(row.sig_valid),
            chunk_size: row.chunk_size,
        }))
    }

    /// What is behind a download link, if it can be read at all any more. Uses no view.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn linked(&self, token: Digest, now_ms: i64) -> Result<Option<Linked>, MetaError> {
        let found = move |c: &Connection| Ok::<_, MetaError>(link_rows::find(c, token, now_ms)?);
        let Some(there) = self.0.vault.meta.read(found).await? else { return Ok(None) };
        self.0.settling.ended(there.id).await;
        let looking = self.0.vault.meta.read(move |c| {
            let Some(row) = link_rows::find(c, token, now_ms)? else { return Ok(None) };
            let free = claim_rows::may_be_leased_to(c, &row, Asked::ByLink(token).claimant())?;
            Ok::<_, MetaError>(Some((row, free)))
        });
        Ok(looking.await?.map(|(row, free)| Linked {
            size: row.size,
            ttl_remaining: row.remaining(now_ms),
            locked: row.password.is_some(),
            views_left: row.views_left,
            enc_meta: row.enc_meta,
            free,
        }))
    }

    fn count(&self, add: impl FnOnce(&mut Totals)) {
        add(&mut self.0.totals.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests;

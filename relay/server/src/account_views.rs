//! What an account holder may see and say of the own account: audit chain, numbers, device queue, acknowledgements.
//!
//! Reads what the transfer path wrote into [`crate::store`]; never another account's rows. Handlers in `public` call it.

use crate::store::activity_rows::{self, Activity};
use crate::store::audit_rows::{self, Chain, Event};
use crate::store::meta::{Meta, MetaError};
use crate::store::queue_rows::{self, Next};
use crate::store::{AccountId, now_ms};

/// A handle on the rows; cheap to clone.
#[derive(Debug, Clone)]
pub struct AccountViews {
    meta: Meta,
}

impl AccountViews {
    pub(crate) fn new(meta: Meta) -> Self {
        Self { meta }
    }

    /// The account's chain, checked whole, with its newest `limit` rows.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit(&self, account: AccountId, limit: usize) -> Result<Chain, MetaError> {
        self.meta.read(move |c| Ok(audit_rows::read(c, account, limit)?)).await
    }

    /// What the account did, in numbers.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn activity(&self, account: AccountId) -> Result<Activity, MetaError> {
        self.meta.read(move |c| Ok(activity_rows::read(c, account, now_ms())?)).await
    }

    /// What the listener of a device should fetch next. Changes nothing: the fetch does.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next_for_device(
        &self,
        account: AccountId,
        device: String,
    ) -> Result<Option<Next>, MetaError> {
        self.meta.read(move |c| Ok(queue_rows::next(c, account, &device, now_ms())?)).await
    }

    /// A reader says it has a file. Nothing depends on it, and nothing is compared: the row repeats what was said.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub async fn acknowledge(
        &self,
        account: AccountId,
        hash: String,
        device: Option<String>,
    ) -> Result<(), MetaError> {
        let write = move |c: &rusqlite::Connection| {
            let event = Event::AckReceived { hash: &hash, device: device.as_deref() };
            Ok::<_, MetaError>(audit_rows::append(c, account, now_ms(), &event)?)
        };
        self.meta.write(write).await
    }

    /// Writes a row for something that is not a transfer: an enrolment, an attestation. Whoever changes rows for it writes
    /// [`audit_rows::append`] into the same transaction instead.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub async fn did_registered(
        &self,
        account: AccountId,
        did: String,
        device: String,
    ) -> Result<(), MetaError> {
        let write = move |c: &rusqlite::Connection| {
            let event = Event::DidRegistered { did: &did, device: &device };
            Ok::<_, MetaError>(audit_rows::append(c, account, now_ms(), &event)?)
        };
        self.meta.write(write).await
    }

    /// As [`AccountViews::did_registered`], for a device's attestation.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub async fn attested(
        &self,
        account: AccountId,
        device: String,
        method: String,
        valid: bool,
    ) -> Result<(), MetaError> {
        let write = move |c: &rusqlite::Connection| {
            let event = Event::Attestation { device: &device, method: &method, valid };
            Ok::<_, MetaError>(audit_rows::append(c, account, now_ms(), &event)?)
        };
        self.meta.write(write).await
    }
}

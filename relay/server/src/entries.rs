//! Log entries of this side of the relay: transfers and their later fate, device keys, what an admin did.
//!
//! Nothing here names a person, a file or a key: bodies hold salted commitments, and the salts stay in rows and receipts.

use jiff::Timestamp;
use paramant_protocol::did;
use paramant_protocol::entry::body::{
    AdminChange, AdminChanged, BurnCause, DidRevoked, KeyRegistered, TransferBurned, TransferClaimed,
};
use paramant_protocol::entry::{self, Body};
use paramant_protocol::leaf::{self, Purpose};
use paramant_protocol::moment;

use crate::log_service::Entry;
use crate::store::Digest;

/// An entry could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// The system has no randomness to give.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// A body that cannot be an entry, which is a mistake of the program.
    #[error(transparent)]
    Entry(#[from] entry::EntryError),
}

/// A `transfer` entry and the exact time that, with hash and sector, opens it.
///
/// # Errors
/// When the system has no randomness to give.
pub fn transfer(hash: Digest, sector: &str, at: Timestamp) -> Result<(Entry, String), EntryError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    let ts = moment::exact(at, random);
    let leaf = leaf::transfer_leaf(&hash.0, sector, &ts);
    Ok((logged(entry::Entry::transfer(leaf, at)), ts))
}

/// One view was leased. `salt` is disclosed in the receipt of that view.
///
/// # Errors
/// Never for these fields; the entry's own checks ask for it.
pub fn claimed(transfer: Digest, salt: Digest, generation: u32) -> Result<Entry, EntryError> {
    let id = leaf::commit(Purpose::Claimed, &salt.0, &transfer.0).into();
    with_body(Body::TransferClaimed(TransferClaimed { id, generation }))
}

/// A payload was destroyed: its key first.
///
/// # Errors
/// When the system has no randomness to give.
pub fn burned(transfer: Digest, cause: BurnCause) -> Result<Entry, EntryError> {
    let id = leaf::commit(Purpose::Burned, &Digest::random()?.0, &transfer.0).into();
    with_body(Body::TransferBurned(TransferBurned { id, cause }))
}

/// A device registered its keys.
///
/// # Errors
/// Never for these fields; the entry's own checks ask for it.
pub fn key_registered(kem: &[u8], sig: &[u8], salt: Digest) -> Result<Entry, EntryError> {
    let key = leaf::commit(Purpose::DeviceKey, &salt.0, &leaf::device_key_digest(kem, sig)).into();
    with_body(Body::KeyRegistered(KeyRegistered { key }))
}

/// A DID was registered. The same kind as device keys have; what the commitment is to tells its opener which it is.
///
/// # Errors
/// Never for these fields; the entry's own checks ask for it.
pub fn did_registered(device: &str, public_key: &str, salt: Digest) -> Result<Entry, EntryError> {
    let key = did_commitment(device, public_key, salt).into();
    with_body(Body::KeyRegistered(KeyRegistered { key }))
}

/// A DID was revoked: by the commitment of its registration, so that everybody sees which of those is over.
///
/// # Errors
/// Never for these fields; the entry's own checks ask for it.
pub fn did_revoked(device: &str, public_key: &str, salt: Digest) -> Result<Entry, EntryError> {
    let key = did_commitment(device, public_key, salt).into();
    with_body(Body::DidRevoked(DidRevoked { key }))
}

fn did_commitment(device: &str, public_key: &str, salt: Digest) -> leaf::Hash {
    leaf::commit(Purpose::Did, &salt.0, &did::digest(device, public_key))
}

/// The admin did something; only the sort of thing is public.
///
/// # Errors
/// Never for these fields; the entry's own checks ask for it.
pub fn admin_changed(what: AdminChange) -> Result<Entry, EntryError> {
    with_body(Body::AdminChanged(AdminChanged { what }))
}

fn with_body(body: Body) -> Result<Entry, EntryError> {
    Ok(logged(entry::Entry::with_body(body, Timestamp::now())?))
}

fn logged(entry: entry::Entry) -> Entry {
    Entry { legacy_leaf: entry.leaf(), bytes: entry.into_bytes() }
}

//! What account holders are told of a change, written in the transaction that makes the change: audit rows, the device queue,
//! the outbox of webhooks, the account's numbers. The transfer path calls this where a state changes; who reads the rows is not its concern.

use rusqlite::Connection;

use super::audit_rows::{self, Event};
use super::blob_rows::{self, BlobRow};
use super::{AccountId, activity_rows, queue_rows, webhook_rows};

/// What was told of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Webhooks that are to be called for it.
    pub hooks: usize,
}

/// Makes a `pending` row `live`, and tells of it. `None`: it was not pending (any more).
pub fn publish(
    c: &Connection,
    blob: &BlobRow,
    log_index: u64,
    now_ms: i64,
) -> Result<Option<Told>, rusqlite::Error> {
    if !blob_rows::mark_live(c, blob.id, log_index)? {
        return Ok(None);
    }
    let event = Event::Inbound {
        lookup: blob.lookup,
        bytes: blob.size,
        device: blob.device.as_deref(),
        signed: blob.sig_valid,
    };
    audit_rows::append(c, blob.account, now_ms, &event)?;
    queue_rows::push(c, blob, now_ms)?;
    Ok(Some(Told { hooks: webhook_rows::enqueue(c, blob, now_ms)? }))
}

/// A download by `reader` came to its end; `last`: nothing of it can be read any more. The owner of a drop that another account
/// read is told too, though not who it was.
pub fn read_to_its_end(
    c: &Connection,
    blob: &BlobRow,
    reader: AccountId,
    last: bool,
    now_ms: i64,
) -> Result<(), rusqlite::Error> {
    let (lookup, bytes) = (blob.lookup, blob.size);
    let event = match last {
        true => Event::OutboundBurn { lookup, bytes },
        false => Event::OutboundView { lookup, bytes, views_left: blob.views_left },
    };
    audit_rows::append(c, reader, now_ms, &event)?;
    activity_rows::waited(c, reader, now_ms - blob.created_ms)?;
    if reader != blob.account {
        audit_rows::append(c, blob.account, now_ms, &event)?;
        activity_rows::waited(c, blob.account, now_ms - blob.created_ms)?;
    }
    queue_rows::fetched(c, reader, lookup)
}

/// The sender took an upload back.
pub fn taken_back(c: &Connection, blob: &BlobRow, now_ms: i64) -> Result<(), rusqlite::Error> {
    audit_rows::append(c, blob.account, now_ms, &Event::InboundAborted { lookup: blob.lookup })
}

//! What account holders are told of a change, written in the transaction that makes the change: audit rows, the device queue,
//! the outbox of webhooks, the account's numbers. The transfer path calls this where a state changes; who reads the rows is not its concern.

use rusqlite::Connection;

use super::audit_rows::{self, Event};
use super::blob_rows::{self, BlobRow};
use super::{AccountId, activity_rows, queue_rows, receipt_rows, webhook_rows};

/// What was told of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Webhooks that are to be called for it.
    pub hooks: usize,
}

/// Makes a `pending` row `live`, with its receipt, and tells of it. `None`: it was not pending (any more).
pub fn publish(
    c: &Connection,
    blob: &BlobRow,
    log_index: u64,
    now_ms: i64,
) -> Result<Option<Told>, rusqlite::Error> {
    if !blob_rows::mark_live(c, blob.id, log_index)? {
        return Ok(None);
    }
    receipt_rows::keep_of_upload(c, blob.id)?;
    let event = Event::Inbound {
        lookup: blob.lookup,
        bytes: blob.size,
        device: blob.device.as_deref(),
        signed: blob.sig_valid,
    };
    tell(c, blob.account, now_ms, &event)?;
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
    let owner = Some(blob.account).filter(|owner| *owner != reader);
    for account in std::iter::once(reader).chain(owner) {
        tell(c, account, now_ms, &event)?;
        activity_rows::waited(c, account, now_ms - blob.created_ms)?;
    }
    queue_rows::fetched(c, reader, lookup)
}

/// The sender took an upload back.
pub fn taken_back(c: &Connection, blob: &BlobRow, now_ms: i64) -> Result<(), rusqlite::Error> {
    tell(c, blob.account, now_ms, &Event::InboundAborted { lookup: blob.lookup })
}

/// Writes a row for an account that exists. Whoever uploads or reads without one has nobody to look at it, and rows for each of
/// them would have no end.
fn tell(c: &Connection, account: AccountId, now_ms: i64, event: &Event<'_>) -> Result<(), rusqlite::Error> {
    let exists: bool = c
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM accounts WHERE id = ?)")?
        .query_row([account], |row| row.get(0))?;
    if exists { audit_rows::append(c, account, now_ms, event) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::store::{Digest, migrations};

    #[test]
    fn nothing_is_kept_for_whoever_has_no_account() {
        let mut c = Connection::open_in_memory().unwrap();
        migrations::apply(&mut c, migrations::Release::THIS).unwrap();
        let (owner, nobody) = (AccountId([1; 16]), AccountId([2; 16]));
        c.execute("INSERT INTO accounts (id, created_ms) VALUES (?, 0)", [owner]).unwrap();
        let mut blob = blob_rows::sample(owner, Digest([7; 32]), None);
        read_to_its_end(&c, &blob, nobody, true, 10).unwrap();
        blob.account = nobody;
        read_to_its_end(&c, &blob, nobody, true, 11).unwrap();
        taken_back(&c, &blob, 12).unwrap();
        assert_eq!(audit_rows::read(&c, owner, 9).unwrap().total, 1);
        let rows: i64 = c
            .query_row("SELECT (SELECT count(*) FROM audit) + (SELECT count(*) FROM activity)", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(rows, 2, "one row of the owner's, and its numbers");
    }
}

//! The audit chain of each account, and its numbers (protocol §4.6).
//!
//! A row is written in the transaction of the change it tells of, so no crash separates the two. Rows form a ring: the newest
//! [`MAX_AUDIT`] are kept. Each keeps the chain hash of the row before it, and `activity` the count and the hash of the newest;
//! so a row that was changed, removed or put in, at either end or between, shows when the chain is read, although the rows
//! before the oldest are gone. Who can write this file can write another chain, whole: it is the account's view, not the log.

use paramant_protocol::canonical;
use paramant_protocol::leaf::sha3;
use paramant_protocol::moment;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value};

use super::{AccountId, Digest};

/// Rows kept for each account, as published. A change needs a migration: it is the length of the rings on disk.
pub const MAX_AUDIT: u32 = 1000;
/// The chain hash before the first row.
const NONE_BEFORE: Digest = Digest([0; 32]);

/// What happened, with what the row says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// An upload was acknowledged.
    Inbound {
        /// What it is asked for by.
        lookup: Digest,
        /// Its size.
        bytes: u64,
        /// The device its sender named.
        device: Option<&'a str>,
        /// Whether the sender's signature over the hash held.
        signed: bool,
    },
    /// A download came to its end, and more of the same may be read.
    OutboundView {
        /// What was asked for.
        lookup: Digest,
        /// Its size.
        bytes: u64,
        /// Views not yet used.
        views_left: u32,
    },
    /// The last download came to its end; the payload is destroyed.
    OutboundBurn {
        /// What was asked for.
        lookup: Digest,
        /// Its size.
        bytes: u64,
    },
    /// An upload was taken back before it was read.
    InboundAborted {
        /// What it was asked for by.
        lookup: Digest,
    },
    /// A reader said it has the file. Both are the reader's words, checked against nothing.
    AckReceived {
        /// What it says it has.
        hash: &'a str,
        /// Which device has it.
        device: Option<&'a str>,
    },
    /// A device enrolled a decentralised identifier.
    DidRegistered {
        /// The identifier.
        did: &'a str,
        /// The device.
        device: &'a str,
    },
    /// A device's attestation was looked at.
    Attestation {
        /// The device.
        device: &'a str,
        /// What kind.
        method: &'a str,
        /// Whether it held.
        valid: bool,
    },
}

/// One row, as it is shown: the entry with `prev_hash` and `chain_hash`.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown(pub Map<String, Value>);

/// An account's chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// Whether every kept row follows from the one before it, none is missing, and the newest is the last that was written.
    pub valid: bool,
    /// Rows ever written; those before the newest [`MAX_AUDIT`] are gone.
    pub total: u64,
    /// The newest rows, newest first.
    pub newest: Vec<Shown>,
}

impl Event<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Inbound { .. } => "inbound",
            Self::OutboundView { .. } => "outbound_view",
            Self::OutboundBurn { .. } => "outbound_burn",
            Self::InboundAborted { .. } => "inbound_aborted",
            Self::AckReceived { .. } => "ack_received",
            Self::DidRegistered { .. } => "did_registered",
            Self::Attestation { .. } => "attestation",
        }
    }

    /// The entry without its place in the chain. What is absent is left out.
    fn fields(&self, at_ms: i64) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        let at = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
        put("ts", moment::millis(at).into());
        put("event", self.name().into());
        match *self {
            Self::Inbound { lookup, bytes, device, signed } => {
                put("hash", shortened(&lookup.to_string()).into());
                put("bytes", bytes.into());
                put("sig", if signed { "ML-DSA-OK" } else { "unsigned" }.into());
                if let Some(device) = device {
                    put("device", device.into());
                }
            }
            Self::OutboundView { lookup, bytes, views_left } => {
                put("hash", shortened(&lookup.to_string()).into());
                put("bytes", bytes.into());
                put("views_left", views_left.into());
            }
            Self::OutboundBurn { lookup, bytes } => {
                put("hash", shortened(&lookup.to_string()).into());
                put("bytes", bytes.into());
                put("views_left", 0.into());
            }
            Self::InboundAborted { lookup } => put("hash", shortened(&lookup.to_string()).into()),
            Self::AckReceived { hash, device } => {
                put("hash", shortened(hash).into());
                if let Some(device) = device {
                    put("device", device.into());
                }
            }
            Self::DidRegistered { did, device } => {
                put("did", did.into());
                put("device", device.into());
            }
            Self::Attestation { device, method, valid } => {
                put("device", device.into());
                put("method", method.into());
                put("valid", valid.into());
            }
        }
        fields
    }

    /// What it adds to the account's numbers: uploads, ended downloads, acknowledgements.
    fn counts(&self) -> [bool; 3] {
        [
            matches!(self, Self::Inbound { .. }),
            matches!(self, Self::OutboundView { .. } | Self::OutboundBurn { .. }),
            matches!(self, Self::AckReceived { .. }),
        ]
    }
}

/// The first 16 characters: enough for the account to know its own, too little to ask for anything by.
fn shortened(hash: &str) -> String {
    hash.chars().take(16).chain("...".chars()).collect()
}

/// Writes one row at the end of the account's chain.
pub fn append(
    c: &Connection,
    account: AccountId,
    at_ms: i64,
    event: &Event<'_>,
) -> Result<(), rusqlite::Error> {
    let end: Option<(i64, Digest)> = c
        .prepare_cached("SELECT audited, chain FROM activity WHERE account = ?")?
        .query_row([account], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (number, prev) = end.unwrap_or((0, NONE_BEFORE));
    let mut fields = event.fields(at_ms);
    let text = Value::Object(fields.clone()).to_string();
    let chain =
        link(&mut fields, prev).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    c.prepare_cached(
        "INSERT OR REPLACE INTO audit (account, slot, number, prev, fields, chain) VALUES (?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![account, number % i64::from(MAX_AUDIT), number, prev, text, chain])?;
    let [inbound, read, acked] = event.counts();
    c.prepare_cached(
        "INSERT INTO activity (account, audited, chain, inbound, read, acked) VALUES (?1, 1, ?2, ?3, ?4, ?5)
         ON CONFLICT (account) DO UPDATE SET audited = audited + 1, chain = ?2,
             inbound = inbound + ?3, read = read + ?4, acked = acked + ?5",
    )?
    .execute(params![account, chain, inbound, read, acked])
    .map(drop)
}

/// The chain hash of an entry after `prev`.
fn link(fields: &mut Map<String, Value>, prev: Digest) -> Result<Digest, canonical::CanonicalError> {
    fields.insert("prev_hash".to_owned(), prev.to_string().into());
    canonical::to_vec(fields).map(|bytes| Digest(sha3(&bytes)))
}

/// Reads the account's chain, checks all of it, and answers its newest `limit` rows.
pub fn read(c: &Connection, account: AccountId, limit: usize) -> Result<Chain, rusqlite::Error> {
    let (total, end): (i64, Digest) = c
        .prepare_cached("SELECT audited, chain FROM activity WHERE account = ?")?
        .query_row([account], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .unwrap_or((0, NONE_BEFORE));
    let mut query = c.prepare_cached("SELECT number, prev, fields, chain FROM audit WHERE account = ?")?;
    let rows = query.query_map([account], |row| {
        Ok(Row { number: row.get(0)?, prev: row.get(1)?, fields: row.get(2)?, chain: row.get(3)? })
    })?;
    let mut rows: Vec<Row> = rows.collect::<Result<_, _>>()?;
    rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.number));
    let mut valid = i64::try_from(rows.len()).is_ok_and(|kept| kept == total.min(MAX_AUDIT.into()));
    let (mut number, mut chain, mut newest) = (total, end, Vec::new());
    for row in rows {
        number -= 1;
        let fields = serde_json::from_str::<Map<String, Value>>(&row.fields);
        valid &= fields.is_ok() && row.number == number && row.chain == chain;
        let mut fields = fields.unwrap_or_default();
        valid &= link(&mut fields, row.prev).is_ok_and(|linked| linked == row.chain);
        chain = row.prev;
        if newest.len() < limit {
            fields.insert("chain_hash".to_owned(), row.chain.to_string().into());
            newest.push(Shown(fields));
        }
    }
    // What is before the oldest: nothing, unless rows were dropped.
    valid &= (number == 0) == (chain == NONE_BEFORE);
    Ok(Chain { valid, total: total.cast_unsigned(), newest })
}

struct Row {
    number: i64,
    prev: Digest,
    fields: String,
    chain: Digest,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

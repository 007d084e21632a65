//! The rows of DIDs. All functions run inside a transaction of [`Meta`](crate::store::meta::Meta); the registry decides when.

use paramant_protocol::did::Did;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::DidError;
use crate::log_service::Entry;
use crate::store::{AccountId, Digest};

/// A DID that was registered.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The id.
    pub did: Did,
    /// Whose it is.
    pub account: AccountId,
    /// The API key it acts for.
    pub kid: String,
    /// The device.
    pub device: String,
    /// Hex, exactly as registered.
    pub public_key: String,
    /// When.
    pub created_ms: i64,
    /// Opens the commitment in the log.
    pub salt: Digest,
    /// Its `key_registered` entry.
    pub entry: Entry,
    /// The log's size when the row was written.
    pub log_from: u64,
    /// Where the entry is, once known.
    pub log_index: Option<u64>,
    /// Set once it was revoked.
    pub revocation: Option<Revocation>,
}

/// How a DID ended.
#[derive(Debug, Clone)]
pub struct Revocation {
    /// When.
    pub at_ms: i64,
    /// Its `did_revoked` entry.
    pub entry: Entry,
    /// The log's size when the row was changed.
    pub log_from: u64,
    /// Whether the entry is known to be in the log.
    pub logged: bool,
}

impl Registered {
    pub(super) fn revoked(self, at_ms: i64, entry: Entry, log_from: u64) -> Self {
        Self { revocation: Some(Revocation { at_ms, entry, log_from, logged: false }), ..self }
    }
}

/// Writes a row, or answers the one that is there.
pub(super) fn insert(
    c: &Connection,
    did: &Registered,
    per_key: i64,
    per_account: i64,
) -> Result<Option<Registered>, DidError> {
    if let Some(earlier) = find(c, did.did)? {
        return Ok(Some(earlier));
    }
    let (of_account, of_key): (i64, i64) = c.query_row(
        "SELECT count(*), count(*) FILTER (WHERE kid = ? AND revoked_ms IS NULL) FROM dids WHERE account = ?",
        params![did.kid, did.account],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    for (count, limit) in [(of_key, per_key), (of_account, per_account)] {
        if count >= limit {
            return Err(DidError::TooMany { limit });
        }
    }
    c.execute(
        "INSERT INTO dids (did, account, kid, device, public_key, created_ms, salt, entry, leaf, log_from)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            did.did.to_string(),
            did.account,
            did.kid,
            did.device,
            did.public_key,
            did.created_ms,
            did.salt,
            did.entry.bytes,
            Digest(did.entry.legacy_leaf),
            did.log_from.cast_signed(),
        ],
    )?;
    Ok(None)
}

pub(super) fn find(c: &Connection, did: Did) -> Result<Option<Registered>, rusqlite::Error> {
    c.prepare_cached("SELECT * FROM dids WHERE did = ?")?.query_row([did.to_string()], registered).optional()
}

pub(super) fn in_force(c: &Connection, account: AccountId) -> Result<Vec<Registered>, rusqlite::Error> {
    let sql = "SELECT * FROM dids WHERE account = ? AND revoked_ms IS NULL AND log_index IS NOT NULL ORDER BY created_ms, did";
    c.prepare_cached(sql)?.query_map([account], registered)?.collect()
}

pub(super) fn unlogged(c: &Connection) -> Result<Vec<Registered>, rusqlite::Error> {
    let sql =
        "SELECT * FROM dids WHERE log_index IS NULL OR (revoked_ms IS NOT NULL AND revoke_index IS NULL)
               ORDER BY created_ms";
    c.prepare(sql)?.query_map([], registered)?.collect()
}

pub(super) fn logged(c: &Connection, did: Did, index: u64) -> Result<usize, rusqlite::Error> {
    c.execute("UPDATE dids SET log_index = ? WHERE did = ?", params![index.cast_signed(), did.to_string()])
}

/// Writes down that a DID is revoked from now on.
pub(super) fn revoke(c: &Connection, did: &Registered) -> Result<usize, rusqlite::Error> {
    let Some(Revocation { at_ms, entry, log_from, .. }) = &did.revocation else { return Ok(0) };
    c.execute(
        "UPDATE dids SET revoked_ms = ?, revoke_entry = ?, revoke_leaf = ?, revoke_from = ? WHERE did = ?",
        params![at_ms, entry.bytes, Digest(entry.legacy_leaf), log_from.cast_signed(), did.did.to_string()],
    )
}

pub(super) fn revocation_logged(c: &Connection, did: Did, index: u64) -> Result<usize, rusqlite::Error> {
    c.execute("UPDATE dids SET revoke_index = ? WHERE did = ?", params![index.cast_signed(), did.to_string()])
}

fn registered(row: &Row<'_>) -> Result<Registered, rusqlite::Error> {
    let text: String = row.get("did")?;
    let did = text
        .parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))?;
    let revocation = match row.get::<_, Option<i64>>("revoked_ms")? {
        Some(at_ms) => Some(Revocation {
            at_ms,
            entry: Entry {
                bytes: row.get("revoke_entry")?,
                legacy_leaf: row.get::<_, Digest>("revoke_leaf")?.0,
            },
            log_from: row.get::<_, i64>("revoke_from")?.cast_unsigned(),
            logged: row.get::<_, Option<i64>>("revoke_index")?.is_some(),
        }),
        None => None,
    };
    Ok(Registered {
        did,
        account: row.get("account")?,
        kid: row.get("kid")?,
        device: row.get("device")?,
        public_key: row.get("public_key")?,
        created_ms: row.get("created_ms")?,
        salt: row.get("salt")?,
        entry: Entry { bytes: row.get("entry")?, legacy_leaf: row.get::<_, Digest>("leaf")?.0 },
        log_from: row.get::<_, i64>("log_from")?.cast_unsigned(),
        log_index: row.get::<_, Option<i64>>("log_index")?.map(i64::cast_unsigned),
        revocation,
    })
}

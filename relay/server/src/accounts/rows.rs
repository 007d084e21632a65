//! The rows of accounts and keys.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::{AccountError, Active, KeyRow, Principal};
use crate::store::{AccountId, Digest};

/// Every active key.
pub(super) fn read_active(c: &Connection) -> Result<Active, rusqlite::Error> {
    let mut query =
        c.prepare("SELECT sha256, account, kid, plan, is_primary FROM api_keys WHERE revoked_ms IS NULL")?;
    let rows = query.query_map([], |row| {
        let digest: Digest = row.get(0)?;
        let principal =
            Principal { account: row.get(1)?, kid: row.get(2)?, plan: row.get(3)?, is_primary: row.get(4)? };
        Ok((digest.0, Arc::new(principal)))
    })?;
    let keys: HashMap<_, _> = rows.collect::<Result<_, _>>()?;
    let accounts = keys.values().map(|principal| principal.account).collect::<HashSet<_>>().len() as u64;
    Ok(Active { keys, accounts })
}

/// Refuses when `account` is not active yet and would be one too many.
pub(super) fn within_cap(c: &Connection, account: AccountId, max: Option<u64>) -> Result<(), AccountError> {
    let Some(max) = max else { return Ok(()) };
    let (current, counted): (i64, bool) = c.query_row(
        "SELECT count(DISTINCT account), coalesce(max(account = ?), 0) FROM api_keys WHERE revoked_ms IS NULL",
        [account],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let current = current.cast_unsigned();
    if counted || current < max { Ok(()) } else { Err(AccountError::Cap { current, max }) }
}

/// Active keys of an account.
pub(super) fn active_keys(c: &Connection, account: AccountId) -> Result<u32, rusqlite::Error> {
    let sql = "SELECT count(*) FROM api_keys WHERE account = ? AND revoked_ms IS NULL";
    c.query_row(sql, [account], |row| row.get(0))
}

/// Writes a key, and its account unless there is one.
pub(super) fn insert(
    c: &Connection,
    sha256: Digest,
    row: KeyRow,
    existing_account: bool,
) -> Result<KeyRow, AccountError> {
    if existing_account {
        c.query_row("SELECT 1 FROM accounts WHERE id = ?", [row.account], |_| Ok(()))
            .optional()?
            .ok_or(AccountError::Invalid("account_id is not one of this relay"))?;
    } else {
        c.execute(
            "INSERT INTO accounts (id, created_ms) VALUES (?, ?)",
            params![row.account, row.created_ms],
        )?;
    }
    let taken: bool =
        c.query_row("SELECT EXISTS (SELECT 1 FROM api_keys WHERE sha256 = ?)", [sha256], |taken| {
            taken.get(0)
        })?;
    if taken {
        return Err(AccountError::Invalid("this key exists already"));
    }
    // Two keys whose public ids collide keep their own, as published: a `_n` behind the later one.
    let same: i64 = c.query_row(
        "SELECT count(*) FROM api_keys WHERE kid = ?1 OR kid LIKE ?1 || '\\_%' ESCAPE '\\'",
        [&row.kid],
        |n| n.get(0),
    )?;
    let kid = if same == 0 { row.kid.clone() } else { format!("{}_{same}", row.kid) };
    c.execute(
        "INSERT INTO api_keys (kid, sha256, account, masked, plan, label, email, scope, is_primary, created_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![kid, sha256, row.account, row.masked, row.plan, row.label, row.email, row.scope, row.is_primary, row.created_ms],
    )?;
    Ok(KeyRow { kid, ..row })
}

/// A key as the admin sees it.
pub(super) fn key_row(row: &rusqlite::Row<'_>) -> Result<KeyRow, rusqlite::Error> {
    Ok(KeyRow {
        kid: row.get("kid")?,
        masked: row.get("masked")?,
        account: row.get("account")?,
        plan: row.get("plan")?,
        label: row.get("label")?,
        email: row.get("email")?,
        scope: row.get("scope")?,
        is_primary: row.get("is_primary")?,
        created_ms: row.get("created_ms")?,
        active: row.get::<_, Option<i64>>("revoked_ms")?.is_none(),
    })
}

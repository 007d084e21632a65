//! Calls that left and that the log has no entry of yet, summed per destination and hour.
//!
//! A call is counted here, durably, before it is made; the row goes when its entry is written.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Digest;
use crate::outbound::calls::{self, Calls};

/// Whose calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Webhooks.
    Webhooks,
    /// The licence check.
    License,
    /// No calls of ours: uses of support keys, summed per key and hour in the same way.
    Support,
}

impl Caller {
    fn table(self) -> &'static str {
        match self {
            Self::Webhooks => "webhook_calls",
            Self::License => "license_calls",
            Self::Support => "support_uses",
        }
    }
}

/// Counts a call that is about to be made.
pub(crate) fn count(
    c: &Connection,
    caller: Caller,
    destination: &str,
    request: &[u8],
    now: i64,
    salt: Digest,
) -> Result<(), rusqlite::Error> {
    let (table, hour) = (caller.table(), calls::hour_of(now));
    let kept = c
        .prepare_cached(&format!("SELECT calls FROM {table} WHERE destination = ? AND hour = ?"))?
        .query_row(params![destination, hour], summed)
        .optional()?;
    let mut sums: Vec<Calls> = kept.into_iter().collect();
    calls::count(&mut sums, destination, request, now, salt.0);
    for sum in sums {
        let json = serde_json::to_string(&sum);
        let json = json.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        c.prepare_cached(&format!(
            "INSERT OR REPLACE INTO {table} (destination, hour, calls) VALUES (?, ?, ?)"
        ))?
        .execute(params![destination, hour, json])?;
    }
    Ok(())
}

/// Sums that have no entry yet.
pub(crate) fn sums(c: &Connection, caller: Caller) -> Result<Vec<Calls>, rusqlite::Error> {
    c.prepare_cached(&format!("SELECT calls FROM {} ORDER BY hour, destination", caller.table()))?
        .query_map([], summed)?
        .collect()
}

/// The entry of this sum is written.
pub(crate) fn cross_off(c: &Connection, caller: Caller, sum: &Calls) -> Result<(), rusqlite::Error> {
    c.prepare_cached(&format!("DELETE FROM {} WHERE destination = ? AND hour = ?", caller.table()))?
        .execute(params![sum.destination, sum.hour])
        .map(drop)
}

fn summed(row: &Row<'_>) -> Result<Calls, rusqlite::Error> {
    let text: String = row.get(0)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
    })
}

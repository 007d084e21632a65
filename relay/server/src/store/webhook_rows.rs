//! The rows of webhooks: who wants to be told of which device's uploads, and the outbox of what waits to be told.
//!
//! An outbox row is written in the transaction that makes its upload live, and goes when it was delivered or its time is over;
//! a crash in between delivers twice rather than never. First in, first out for each hook, and one call of a hook at a time:
//! [`take_due`] puts the hook's next call off by a lease that outlasts the call. Both tables are bounded.

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::blob_rows::{BlobRow, Space};
use super::call_rows::{self, Caller};
use super::{AccountId, Digest, HookId};
use paramant_protocol::moment;

/// Hooks of one device, and of one account.
pub const MOST_PER_DEVICE: u32 = 8;
/// The same for an account.
pub const MOST_PER_ACCOUNT: u32 = 64;
/// Events that wait for one hook, and for all: a quarter of a kilobyte each.
const MOST_WAITING: u32 = 1000;
const MOST_WAITING_ALTOGETHER: u32 = 100_000;
/// Nobody wants yesterday's news, however long the upload may still be read.
const LONGEST_WAIT_MS: i64 = 24 * 3600 * 1000;
/// How long a hook that is being called is left alone: longer than any call, short after a crash.
const LEASE_MS: i64 = 60_000;

/// How soon after a start even a hook that was resting is called again.
const RESUME_MS: i64 = 5_000;
/// Events removed in one transaction, so that uploads need not wait for thousands.
pub const GIVEN_UP_AT_ONCE: u16 = 500;

// As for `blob_rows`: a test asks SQLite for its plans.
const DUE: &str = "SELECT id, url, secret, failures FROM webhooks
    WHERE destination = ? AND next_ms <= ? AND waiting > 0 ORDER BY next_ms LIMIT ?";
const NEXT: &str = "SELECT min(next_ms) FROM webhooks WHERE destination = ? AND waiting > 0";
const FIRST: &str = "SELECT position, body FROM webhook_outbox WHERE webhook = ? ORDER BY position LIMIT 1";
const OVER: &str = "SELECT position, webhook FROM webhook_outbox WHERE ends_ms <= ? ORDER BY ends_ms LIMIT ?";

/// The key of a hook's signatures. Never shown again, never printed.
#[derive(Clone, Default, PartialEq, Eq, zeroize::ZeroizeOnDrop)]
pub struct Secret(pub Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A hook to be kept.
#[derive(Debug, Clone)]
pub struct NewHook {
    /// Its id, unless the same hook is there already.
    pub id: HookId,
    /// Whose it is.
    pub account: AccountId,
    /// Which device's uploads it is told of.
    pub device: String,
    /// `host:port` of the address.
    pub destination: String,
    /// The whole address.
    pub url: String,
    /// The key of its signatures; empty: none.
    pub secret: Secret,
}

/// A hook as its account sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRow {
    /// Its id.
    pub id: HookId,
    /// Which device's uploads it is told of.
    pub device: String,
    /// The address.
    pub url: String,
    /// Whether it has a secret.
    pub signed: bool,
    /// When it was made.
    pub created_ms: i64,
    /// Events that wait.
    pub waiting: i64,
    /// Events that were lost to a bound or to time.
    pub dropped: i64,
    /// Calls that failed since the last that did not.
    pub failures: i64,
    /// When the last call ended, and how.
    pub last: Option<(i64, String)>,
}

/// What became of a hook that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is there, under this id.
    As(HookId),
    /// The device, or the account, has this many.
    TooMany(u32),
}

/// One call to be made.
#[derive(Debug, Clone)]
pub struct Due {
    /// Whose turn it is.
    pub hook: HookId,
    /// Its address.
    pub url: String,
    /// Its secret.
    pub secret: Secret,
    /// Calls that failed since the last that did not.
    pub failures: u32,
    /// Which row of the outbox.
    pub position: i64,
    /// What is said.
    pub body: Vec<u8>,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub enum Ended {
    /// It was taken.
    Delivered,
    /// It was not; not before this instant again.
    Failed {
        /// In Unix milliseconds.
        next_ms: i64,
    },
}

/// What is told, in the order of the published signature vector.
#[derive(Debug, Serialize)]
pub struct BlobReady<'a> {
    /// Always `blob_ready`.
    pub event: &'static str,
    /// The device of the upload.
    pub device_id: &'a str,
    /// When.
    pub ts: String,
    /// What to ask for.
    pub hash: String,
    /// Bytes.
    pub size: u64,
    /// The upload's time to live.
    pub ttl_ms: i64,
    /// Whether the sender's signature over the hash held.
    pub sig_valid: bool,
}

/// Keeps a hook. The same address for the same device is the same hook, with a new secret.
pub fn insert(c: &Connection, new: &NewHook, now_ms: i64) -> Result<Kept, rusqlite::Error> {
    let there: Option<HookId> = c
        .prepare_cached("SELECT id FROM webhooks WHERE account = ? AND device = ? AND url = ?")?
        .query_row(params![new.account, new.device, new.url], |row| row.get(0))
        .optional()?;
    if let Some(id) = there {
        c.prepare_cached("UPDATE webhooks SET secret = ?, failures = 0, next_ms = 0 WHERE id = ?")?
            .execute(params![new.secret.0, id])?;
        return Ok(Kept::As(id));
    }
    let (of_device, of_account): (u32, u32) = c
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE device = ?2), count(*) FROM webhooks WHERE account = ?1",
        )?
        .query_row(params![new.account, new.device], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if of_device >= MOST_PER_DEVICE || of_account >= MOST_PER_ACCOUNT {
        return Ok(Kept::TooMany(if of_device >= MOST_PER_DEVICE {
            MOST_PER_DEVICE
        } else {
            MOST_PER_ACCOUNT
        }));
    }
    c.prepare_cached(
        "INSERT INTO webhooks (id, account, device, destination, url, secret, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![new.id, new.account, new.device, new.destination, new.url, new.secret.0, now_ms])?;
    Ok(Kept::As(new.id))
}

/// The hooks of an account, in the order they were made.
pub fn list(c: &Connection, account: AccountId) -> Result<Vec<HookRow>, rusqlite::Error> {
    c.prepare_cached(
        "SELECT id, device, url, length(secret) > 0, created_ms, waiting, dropped, failures, last_ms, last
         FROM webhooks WHERE account = ? ORDER BY created_ms, id",
    )?
    .query_map([account], |row| {
        let last_ms: Option<i64> = row.get(8)?;
        Ok(HookRow {
            id: row.get(0)?,
            device: row.get(1)?,
            url: row.get(2)?,
            signed: row.get(3)?,
            created_ms: row.get(4)?,
            waiting: row.get(5)?,
            dropped: row.get(6)?,
            failures: row.get(7)?,
            last: match last_ms {
                Some(at) => Some((at, row.get(9)?)),
                None => None,
            },
        })
    })?
    .collect()
}

/// Removes a hook of the account, and what waits for it. `false`: it has none of this id.
pub fn remove(c: &Connection, account: AccountId, id: HookId) -> Result<bool, rusqlite::Error> {
    let removed = c
        .prepare_cached("DELETE FROM webhooks WHERE id = ? AND account = ?")?
        .execute(params![id, account])?;
    Ok(removed == 1)
}

/// Puts an upload into the outbox of each hook of its device; answers for how many. A drop is told to nobody.
pub fn enqueue(c: &Connection, blob: &BlobRow, now_ms: i64) -> Result<usize, rusqlite::Error> {
    let Some(device) = blob.device.as_deref().filter(|_| blob.space == Space::Content) else { return Ok(0) };
    let mut hooks = c.prepare_cached("SELECT id, waiting FROM webhooks WHERE account = ? AND device = ?")?;
    let rows = hooks.query_map(params![blob.account, device], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let hooks: Vec<(HookId, u32)> = rows.collect::<Result<_, _>>()?;
    if hooks.is_empty() {
        return Ok(0);
    }
    let said = BlobReady {
        event: "blob_ready",
        device_id: device,
        ts: moment::millis(jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default()),
        hash: blob.lookup.to_string(),
        size: blob.size,
        ttl_ms: blob.ttl_ms,
        sig_valid: blob.sig_valid,
    };
    let body =
        serde_json::to_vec(&said).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let ends_ms = blob.expires_ms.min(now_ms.saturating_add(LONGEST_WAIT_MS));
    let mut queued = 0;
    for (hook, waiting) in hooks {
        if waiting >= MOST_WAITING || waiting_altogether(c)? >= i64::from(MOST_WAITING_ALTOGETHER) {
            c.prepare_cached("UPDATE webhooks SET dropped = dropped + 1 WHERE id = ?")?.execute([hook])?;
            continue;
        }
        c.prepare_cached("INSERT INTO webhook_outbox (webhook, body, ends_ms) VALUES (?, ?, ?)")?
            .execute(params![hook, body, ends_ms])?;
        queued += 1;
    }
    Ok(queued)
}

/// Events that wait for any hook.
pub fn waiting_altogether(c: &Connection) -> Result<i64, rusqlite::Error> {
    c.prepare_cached("SELECT rows FROM webhook_outbox_size")?.query_row([], |row| row.get(0))
}

/// When a destination has something to be told next, if anything waits for it.
pub fn next_due(c: &Connection, destination: &str) -> Result<Option<i64>, rusqlite::Error> {
    c.prepare_cached(NEXT)?.query_row([destination], |row| row.get(0))
}

/// Whether anything waits whose time is over.
pub fn any_over(c: &Connection, now_ms: i64) -> Result<bool, rusqlite::Error> {
    c.prepare_cached("SELECT EXISTS (SELECT 1 FROM webhook_outbox WHERE ends_ms <= ?)")?
        .query_row([now_ms], |row| row.get(0))
}

/// Takes at most `most` calls that are due at a destination, and counts them for the log: what was counted may be made, and what
/// is made was counted. `salt` is used if one is the first of its hour.
pub fn take_due(
    c: &Connection,
    destination: &str,
    most: usize,
    now_ms: i64,
    salt: Digest,
) -> Result<Vec<Due>, rusqlite::Error> {
    let hooks: Vec<(HookId, String, Vec<u8>, u32)> = c
        .prepare_cached(DUE)?
        .query_map(params![destination, now_ms, i64::try_from(most).unwrap_or(i64::MAX)], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut due = Vec::new();
    for (hook, url, secret, failures) in hooks {
        c.prepare_cached("UPDATE webhooks SET next_ms = ? WHERE id = ?")?
            .execute(params![now_ms + LEASE_MS, hook])?;
        let first: Option<(i64, Vec<u8>)> =
            c.prepare_cached(FIRST)?.query_row([hook], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((position, body)) = first else { continue };
        call_rows::count(c, Caller::Webhooks, destination, &body, now_ms.div_euclid(1000), salt)?;
        due.push(Due { hook, url, secret: Secret(secret), failures, position, body });
    }
    Ok(due)
}

/// Writes down how a call ended.
pub fn ended(
    c: &Connection,
    due: &Due,
    ended: &Ended,
    word: &str,
    now_ms: i64,
) -> Result<(), rusqlite::Error> {
    match ended {
        Ended::Delivered => {
            c.prepare_cached("DELETE FROM webhook_outbox WHERE position = ?")?.execute([due.position])?;
            c.prepare_cached(
                "UPDATE webhooks SET failures = 0, next_ms = 0, last_ms = ?, last = ? WHERE id = ?",
            )?
            .execute(params![now_ms, word, due.hook])?;
            c.prepare_cached(
                "UPDATE activity SET hooked = hooked + 1 WHERE account = (SELECT account FROM webhooks WHERE id = ?)",
            )?
            .execute([due.hook])?;
        }
        Ended::Failed { next_ms } => {
            c.prepare_cached(
                "UPDATE webhooks SET failures = failures + 1, next_ms = ?, last_ms = ?, last = ? WHERE id = ?",
            )?
            .execute(params![next_ms, now_ms, word, due.hook])?;
        }
    }
    Ok(())
}

/// At start: whatever waits is told soon, whoever was being called when the last process ended, and whatever the clock said then.
pub fn resume(c: &Connection, now_ms: i64) -> Result<(), rusqlite::Error> {
    c.execute("UPDATE webhooks SET next_ms = min(next_ms, ?) WHERE waiting > 0", [now_ms + RESUME_MS])
        .map(drop)
}

/// Removes what is not worth telling any more, at most [`GIVEN_UP_AT_ONCE`]; answers how much.
pub fn give_up(c: &Connection, now_ms: i64) -> Result<usize, rusqlite::Error> {
    let over: Vec<(i64, HookId)> = c
        .prepare_cached(OVER)?
        .query_map(params![now_ms, GIVEN_UP_AT_ONCE], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (position, hook) in &over {
        c.prepare_cached("UPDATE webhooks SET dropped = dropped + 1 WHERE id = ?")?.execute([hook])?;
        c.prepare_cached("DELETE FROM webhook_outbox WHERE position = ?")?.execute([position])?;
    }
    Ok(over.len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

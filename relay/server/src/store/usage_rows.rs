//! How much each account uploaded in each month, and the quota on it.
//!
//! Counted in the transaction that writes the upload's `pending` row, so that two uploads at once cannot both be the last one
//! allowed. An upload that a crash then takes back stays counted: its sender may lose one of the month's uploads, never gain.

use rusqlite::{Connection, OptionalExtension, params};

use super::{AccountId, Digest};

/// A repeat within this time counts once.
const REPEAT_MS: i64 = 24 * 3600 * 1000;
/// Forgotten repeats removed with each one that is remembered: more than one, so that the table shrinks.
const FORGET: u32 = 4;
/// Months kept for the admin's view.
const MONTHS: u32 = 13;

/// The quota on an upload.
#[derive(Debug, Clone)]
pub struct Quota {
    /// Uploads a month.
    pub limit: u32,
    /// The plan that says so.
    pub plan: &'static str,
    /// By which the sender tells a repeat, besides the payload itself.
    pub file: Option<Digest>,
}

/// An upload as the count sees it.
#[derive(Debug, Clone)]
pub struct Counted<'a> {
    /// Who sends it.
    pub account: AccountId,
    /// When.
    pub now_ms: i64,
    /// The month of that.
    pub month: &'a str,
    /// SHA-256 of its payload.
    pub hash: Digest,
}

/// Counts an upload. `false`: the quota is used up, and nothing was counted.
pub fn count(c: &Connection, upload: &Counted<'_>, quota: Option<&Quota>) -> Result<bool, rusqlite::Error> {
    if let Some(quota) = quota {
        if is_repeat(c, upload, quota)? {
            return Ok(true);
        }
        if used(c, upload.account, upload.month)? >= quota.limit {
            return Ok(false);
        }
        remember(c, upload, quota)?;
    }
    let transfers: u32 = c
        .prepare_cached(
            "INSERT INTO usage (account, month, transfers) VALUES (?, ?, 1)
             ON CONFLICT (account, month) DO UPDATE SET transfers = transfers + 1 RETURNING transfers",
        )?
        .query_row(params![upload.account, upload.month], |row| row.get(0))?;
    if transfers == 1 {
        c.prepare_cached(
            "DELETE FROM usage WHERE account = ?1 AND month NOT IN
                (SELECT month FROM usage WHERE account = ?1 ORDER BY month DESC LIMIT ?2)",
        )?
        .execute(params![upload.account, MONTHS])?;
    }
    Ok(true)
}

/// Uploads of an account in a month.
pub fn used(c: &Connection, account: AccountId, month: &str) -> Result<u32, rusqlite::Error> {
    c.prepare_cached("SELECT transfers FROM usage WHERE account = ? AND month = ?")?
        .query_row(params![account, month], |row| row.get(0))
        .optional()
        .map(Option::unwrap_or_default)
}

/// Every account's uploads in a month.
pub fn in_month(c: &Connection, month: &str) -> Result<Vec<(AccountId, u32)>, rusqlite::Error> {
    c.prepare_cached("SELECT account, transfers FROM usage WHERE month = ?")?
        .query_map([month], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn is_repeat(c: &Connection, upload: &Counted<'_>, quota: &Quota) -> Result<bool, rusqlite::Error> {
    c.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM counted WHERE account = ?1 AND what IN (?2, ?3) AND counted_ms > ?4)",
    )?
    .query_row(
        params![upload.account, upload.hash, quota.file.unwrap_or(upload.hash), upload.now_ms - REPEAT_MS],
        |row| row.get(0),
    )
}

fn remember(c: &Connection, upload: &Counted<'_>, quota: &Quota) -> Result<(), rusqlite::Error> {
    let mut insert = c.prepare_cached("INSERT OR REPLACE INTO counted VALUES (?, ?, ?)")?;
    for what in [Some(upload.hash), quota.file].into_iter().flatten() {
        insert.execute(params![upload.account, what, upload.now_ms])?;
    }
    c.prepare_cached(
        "DELETE FROM counted WHERE (account, what) IN
            (SELECT account, what FROM counted WHERE counted_ms <= ? ORDER BY counted_ms LIMIT ?)",
    )?
    .execute(params![upload.now_ms - REPEAT_MS, FORGET])?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ACCOUNT: AccountId = AccountId([1; 16]);

    fn database() -> Connection {
        let mut c = Connection::open_in_memory().unwrap();
        crate::store::migrations::apply(&mut c, crate::store::migrations::Release::THIS).unwrap();
        c
    }

    fn upload(c: &Connection, quota: Option<&Quota>, now_ms: i64, month: &str, hash: u8) -> bool {
        let upload = Counted { account: ACCOUNT, now_ms, month, hash: Digest([hash; 32]) };
        count(c, &upload, quota).unwrap()
    }

    #[test]
    fn the_last_upload_of_a_month_is_followed_by_a_refusal_and_a_new_month_begins_afresh() {
        let c = database();
        let quota = Quota { limit: 2, plan: "community", file: None };
        assert!(upload(&c, Some(&quota), 1, "2026-11", 1));
        assert!(upload(&c, Some(&quota), 2, "2026-11", 2));
        assert!(!upload(&c, Some(&quota), 3, "2026-11", 3));
        assert_eq!(used(&c, ACCOUNT, "2026-11").unwrap(), 2);
        assert!(upload(&c, Some(&quota), 4, "2026-12", 3));
    }

    #[test]
    fn a_repeat_within_a_day_counts_once_by_its_bytes_or_by_its_file_id() {
        let c = database();
        let plain = Quota { limit: 10, plan: "community", file: None };
        let named = Quota { file: Some(Digest([9; 32])), ..plain.clone() };
        for (quota, hash, expected) in [(&plain, 1, 1), (&plain, 1, 1), (&named, 2, 2), (&named, 3, 2)] {
            assert!(upload(&c, Some(quota), 5, "2026-11", hash));
            assert_eq!(used(&c, ACCOUNT, "2026-11").unwrap(), expected);
        }
        assert!(upload(&c, Some(&plain), 5 + REPEAT_MS, "2026-11", 1));
        assert_eq!(used(&c, ACCOUNT, "2026-11").unwrap(), 3);
        let left: u32 = c.query_row("SELECT count(*) FROM counted", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 1, "what is older than a day is forgotten");
    }

    #[test]
    fn without_a_quota_everything_is_counted_and_nothing_refused() {
        let c = database();
        assert!((0..20).all(|_| upload(&c, None, 1, "2026-11", 1)));
        assert_eq!(used(&c, ACCOUNT, "2026-11").unwrap(), 20);
    }
}

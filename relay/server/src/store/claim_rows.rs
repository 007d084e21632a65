//! The rows of claims: views of a blob that are leased, or were and broke.
//!
//! A claim is one view: `running` while bytes may flow, `cut` after a break, gone once settled. Each lease of it has a generation
//! of its own, so that a lease that was ended cannot settle the one after it. All functions run inside a transaction of
//! [`super::meta::Meta`]; the transfer path decides when.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension, params};

use super::blob_rows::{Asked, BlobRow, State, readable};
use super::{AccountId, BlobId, ClaimId};

/// A view whose bytes went out may be leased again this often: at most four disclosures of one view, and no view lost to a
/// broken line. A lease that ended before its first byte disclosed nothing and does not count.
pub const RELEASES: u32 = 3;

/// Bytes that may have been on their way when a line broke: what a reader that goes on asks for again at most, and what it must come
/// further by. The sockets of two machines hold ten megabytes as Linux sets them (4 to be sent, 6 received), and there may be a
/// proxy in between. Of the reads that do not count at most two send the same byte.
pub const UNDER_WAY: u64 = 16 << 20;

/// One view of a blob, leased.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The blob.
    pub blob: BlobRow,
    /// The view.
    pub claim: ClaimId,
    /// Who reads it.
    pub reader: AccountId,
    /// 1 for the first lease of this view.
    pub generation: u32,
    /// Nothing remains to be read once this lease completes.
    pub last: bool,
}

/// A blob that asks for a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// Which.
    pub blob: BlobId,
    /// Argon2id as a PHC string.
    pub password: String,
}

impl Locked {
    /// The password that `blob` asks for, unless this is the blob that was `unlocked`.
    #[must_use]
    pub fn unless(blob: &BlobRow, unlocked: Option<BlobId>) -> Option<Self> {
        let password = blob.password.clone().filter(|_| unlocked != Some(blob.id))?;
        Some(Self { blob: blob.id, password })
    }
}

/// Why nothing was leased though there may be something.
#[derive(Debug)]
pub enum LeaseError {
    /// Its password was not given.
    Locked(Locked),
    /// The database.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for LeaseError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// What remains after a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Views are left, or another lease is open, or this view may be leased again.
    Kept,
    /// Nothing can be read any more: burn it.
    Spent,
    /// The lease had ended before.
    Stale,
}

/// Whether a view is left: one never leased, or one whose lease broke.
pub fn may_be_leased(c: &Connection, blob: &BlobRow) -> Result<bool, rusqlite::Error> {
    if blob.views_left > 0 {
        return Ok(true);
    }
    c.prepare_cached("SELECT EXISTS (SELECT 1 FROM claims WHERE blob = ? AND state = 1)")?
        .query_row([blob.id], |row| row.get(0))
}

/// Whether a view is left for this claimant: one never leased, or one whose lease they held and lost.
pub fn may_be_leased_to(
    c: &Connection,
    blob: &BlobRow,
    claimant: AccountId,
) -> Result<bool, rusqlite::Error> {
    if blob.views_left > 0 {
        return Ok(true);
    }
    c.prepare_cached("SELECT EXISTS (SELECT 1 FROM claims WHERE blob = ? AND account = ? AND state = 1)")?
        .query_row(params![blob.id, claimant], |row| row.get(0))
}

/// Leases one view to who asks, a cut one first. `None`: nothing to read, or every view is leased. A blob with a password is
/// leased only if it is the very one whose password was `unlocked`.
pub fn lease(
    c: &Connection,
    asked: Asked,
    unlocked: Option<BlobId>,
    claim: ClaimId,
    now_ms: i64,
) -> Result<Option<Lease>, LeaseError> {
    let account = asked.claimant();
    let Some(mut blob) = readable(c, asked, now_ms)? else { return Ok(None) };
    if let Some(locked) = Locked::unless(&blob, unlocked) {
        return Err(LeaseError::Locked(locked));
    }
    let cut: Option<(ClaimId, u32)> = c
        .prepare_cached(
            "SELECT id, generation FROM claims WHERE blob = ? AND account = ? AND state = 1 LIMIT 1",
        )?
        .query_row(params![blob.id, account], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (claim, generation) = match cut {
        Some((claim, generation)) => {
            c.prepare_cached("UPDATE claims SET generation = ?, state = 0, leased_ms = ? WHERE id = ?")?
                .execute(params![generation + 1, now_ms, claim])?;
            (claim, generation + 1)
        }
        None if blob.views_left > 0 => {
            blob.views_left -= 1;
            if blob.views_left == 0 {
                blob.state = State::Claimed;
            }
            c.prepare_cached("UPDATE blobs SET views_left = ?, state = ? WHERE id = ?")?.execute(params![
                blob.views_left,
                blob.state,
                blob.id
            ])?;
            c.prepare_cached("INSERT INTO claims (id, blob, account, generation, state, leased_ms) VALUES (?, ?, ?, 1, 0, ?)")?
                .execute(params![claim, blob.id, account, now_ms])?;
            (claim, 1)
        }
        None => return Ok(None),
    };
    let others: u32 = c
        .prepare_cached("SELECT count(*) FROM claims WHERE blob = ? AND id <> ?")?
        .query_row(params![blob.id, claim], |row| row.get(0))?;
    let last = blob.views_left == 0 && others == 0;
    Ok(Some(Lease { blob, claim, reader: account, generation, last }))
}

/// Ends a lease whose bytes all went out.
pub fn complete(c: &Connection, claim: ClaimId, generation: u32) -> Result<Settled, rusqlite::Error> {
    let Some(blob) = running(c, claim, generation)? else { return Ok(Settled::Stale) };
    c.prepare_cached("DELETE FROM claims WHERE id = ?")?.execute([claim])?;
    spent(c, blob)
}

/// Ends a lease that broke. The same account may lease the view again, unless its bytes went out too often: a read that went on
/// where the one before stopped, and came further, disclosed them once only and does not count.
pub fn cut(
    c: &Connection,
    claim: ClaimId,
    generation: u32,
    sent: Option<Range<u64>>,
) -> Result<Settled, rusqlite::Error> {
    let Some(blob) = running(c, claim, generation)? else { return Ok(Settled::Stale) };
    let (strict, before): (bool, i64) = c
        .prepare_cached(
            "SELECT b.strict, c.sent_to FROM claims c JOIN blobs b ON b.id = c.blob WHERE c.id = ?",
        )?
        .query_row([claim], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let before = before.cast_unsigned();
    let again = sent.as_ref().is_some_and(|sent| !went_on(sent, before));
    let sent_to = sent.map_or(before, |sent| sent.end.max(before));
    let disclosures: u32 = c
        .prepare_cached(
            "UPDATE claims SET state = 1, disclosures = disclosures + ?, sent_to = ? WHERE id = ? RETURNING disclosures",
        )?
        .query_row(params![again, sent_to.cast_signed(), claim], |row| row.get(0))?;
    if disclosures <= if strict { 0 } else { RELEASES } {
        return Ok(Settled::Kept);
    }
    c.prepare_cached("DELETE FROM claims WHERE id = ?")?.execute([claim])?;
    spent(c, blob)
}

/// Whether a read went on where those before it had stopped.
fn went_on(sent: &Range<u64>, before: u64) -> bool {
    before > 0
        && sent.start >= before.saturating_sub(UNDER_WAY)
        && sent.end >= before.saturating_add(UNDER_WAY)
}

/// At start: every lease of the process before this one broke. Whether it had sent bytes nobody knows any more, so it counts
/// as if it had. Answers the claims that were running.
pub fn cut_all(c: &Connection) -> Result<usize, rusqlite::Error> {
    let cut = c.execute("UPDATE claims SET state = 1, disclosures = disclosures + 1 WHERE state = 0", [])?;
    c.execute(
        "DELETE FROM claims WHERE disclosures > CASE (SELECT strict FROM blobs WHERE id = claims.blob) WHEN 1 THEN 0 ELSE ? END",
        [RELEASES],
    )?;
    Ok(cut)
}

fn running(c: &Connection, claim: ClaimId, generation: u32) -> Result<Option<BlobId>, rusqlite::Error> {
    c.prepare_cached("SELECT blob FROM claims WHERE id = ? AND generation = ? AND state = 0")?
        .query_row(params![claim, generation], |row| row.get(0))
        .optional()
}

fn spent(c: &Connection, id: BlobId) -> Result<Settled, rusqlite::Error> {
    let spent: bool = c
        .prepare_cached(
            "SELECT views_left = 0 AND NOT EXISTS (SELECT 1 FROM claims WHERE blob = blobs.id) FROM blobs WHERE id = ?",
        )?
        .query_row([id], |row| row.get(0))
        .optional()?
        .unwrap_or(false);
    Ok(if spent { Settled::Spent } else { Settled::Kept })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

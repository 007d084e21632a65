//! The rows of check-ins: the frozen request, verified replies, what is over, revoked keys, and the clock's floor.
//!
//! Order of writes, and what a crash between each two leaves: `docs/spec/licensing.md`, "A check-in step by step".

use paramant_licensing::online::request::CheckIn;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Digest;

/// Previews kept: an admin who looks more often consents to one of the last.
const MOST_PREVIEWS: i64 = 16;
/// Check-ins of the past that are kept for the admin: a quarter of a year at every six hours.
const MOST_KEPT: i64 = 400;

/// The next request.
#[derive(Clone)]
pub struct Frozen {
    /// Exactly what is sent. Holds the licence key.
    pub bytes: Vec<u8>,
    /// Opens the commitment to it.
    pub salt: Digest,
    /// When it was made.
    pub frozen_ms: i64,
    /// The entry that says it may leave.
    pub entry: Vec<u8>,
    /// Where to look for that entry.
    pub log_from: u64,
    /// Where it is.
    pub log_index: Option<u64>,
    /// Attempts that failed.
    pub failed: u32,
    /// Failures that have an entry.
    pub told: Told,
}

/// What of one request has an entry: one failure of each sort, however often it is tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// No reply came.
    pub unreachable: bool,
    /// A reply came and failed a check.
    pub rejected: bool,
    /// It was announced in a log that another took the place of: it has left.
    pub elsewhere: bool,
}

/// A verified reply.
#[derive(Clone)]
pub struct ReplyRow {
    /// SHA-256 of the licence key it was given to.
    pub key: Digest,
    /// Its sequence.
    pub sequence: u64,
    /// As it came.
    pub bytes: Vec<u8>,
    /// Opens the commitment to it.
    pub salt: Digest,
    /// Whether somebody carried it in.
    pub by_hand: bool,
    /// When it came.
    pub received_ms: i64,
    /// Its entry.
    pub entry: Vec<u8>,
    /// Where to look for that.
    pub log_from: u64,
    /// Where it is, once it is under a checkpoint.
    pub log_index: Option<u64>,
}

/// What a verified and logged reply is worth.
#[derive(Debug, Clone)]
pub enum Fate {
    /// It counts; a set with these terms.
    Counts {
        /// What it grants, as a hash; absent for a refusal.
        terms: Option<Digest>,
        /// What it changes.
        change: Option<Change>,
    },
    /// Its change of capabilities waits for an answer to this request.
    Waits(Digest),
    /// It changes capabilities, and no request for that is accepted: what was granted before goes on to its end.
    Void,
}

/// A change of capabilities that a vendor asked for.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// The request.
    pub request: Digest,
    /// The terms before.
    pub before: Digest,
    /// The terms from then on.
    pub after: Digest,
}

/// A check-in that is over.
#[derive(Clone)]
pub struct CheckInRow {
    /// When its reply came.
    pub at_ms: i64,
    /// What was sent. Holds the licence key.
    pub request: Vec<u8>,
    /// Opens the commitment to it.
    pub request_salt: Digest,
    /// The entry of the request.
    pub request_index: Option<u64>,
    /// What came back.
    pub reply: Option<Vec<u8>>,
    /// Opens the commitment to it.
    pub reply_salt: Option<Digest>,
    /// The entry of the reply.
    pub reply_index: Option<u64>,
    /// How it ended: a word of `license_checkin`.
    pub result: String,
}

/// A preview that was served.
#[derive(Clone)]
pub struct Preview {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// A whole request. Holds the licence key.
    pub bytes: Vec<u8>,
    /// Its schema.
    pub schema: u32,
    /// When it was served.
    pub served_ms: i64,
}

/// What was agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consent {
    /// The schema that was shown.
    pub schema: u32,
    /// SHA-256 of the preview that was served.
    pub preview: Digest,
}

/// The switch of telemetry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Switch {
    /// What an admin wants.
    pub wished: Option<Consent>,
    /// What the last entry about it says.
    pub recorded: Option<Consent>,
}

macro_rules! no_secrets {
    ($($name:ident)*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}
no_secrets! { Frozen ReplyRow CheckInRow Preview }

/// The frozen request.
pub fn frozen(c: &Connection) -> Result<Option<Frozen>, rusqlite::Error> {
    c.prepare_cached(
        "SELECT bytes, salt, frozen_ms, entry, log_from, log_index, failed, told FROM license_request",
    )?
    .query_row([], |row| {
        let told: u8 = row.get(7)?;
        Ok(Frozen {
            bytes: row.get(0)?,
            salt: row.get(1)?,
            frozen_ms: row.get(2)?,
            entry: row.get(3)?,
            log_from: unsigned(row, 4)?,
            log_index: index(row, 5)?,
            failed: row.get(6)?,
            told: Told { unreachable: told & 1 != 0, rejected: told & 2 != 0, elsewhere: told & 4 != 0 },
        })
    })
    .optional()
}

/// Freezes a new request: the preview that was consented to, once, or `made`. One that left and that nobody answered is kept for the
/// admin to see.
pub fn freeze(
    c: &Connection,
    made: Frozen,
    fits: impl Fn(&[u8]) -> bool,
    now_ms: i64,
) -> Result<Frozen, rusqlite::Error> {
    abandon(c, now_ms)?;
    let shown = take_preview(c)?.filter(|shown| fits(shown));
    let frozen = Frozen { bytes: shown.unwrap_or(made.bytes), ..made };
    keep_frozen(c, &frozen)?;
    Ok(frozen)
}

/// Keeps what became of the frozen request.
pub fn keep_frozen(c: &Connection, frozen: &Frozen) -> Result<(), rusqlite::Error> {
    let Told { unreachable, rejected, elsewhere } = frozen.told;
    let told = u8::from(unreachable) | u8::from(rejected) << 1 | u8::from(elsewhere) << 2;
    c.prepare_cached(
        "INSERT OR REPLACE INTO license_request (one, bytes, salt, frozen_ms, entry, log_from, log_index, failed, told)
         VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        frozen.bytes,
        frozen.salt,
        frozen.frozen_ms,
        frozen.entry,
        frozen.log_from.cast_signed(),
        frozen.log_index.map(u64::cast_signed),
        frozen.failed,
        told
    ])
    .map(drop)
}

/// What left and will not be sent again: the log's commitment to it can still be opened.
fn abandon(c: &Connection, now_ms: i64) -> Result<(), rusqlite::Error> {
    if let Some(frozen) = frozen(c)?.filter(|frozen| frozen.log_index.is_some() || frozen.told.elsewhere) {
        keep(
            c,
            &CheckInRow {
                at_ms: now_ms,
                request: frozen.bytes,
                request_salt: frozen.salt,
                request_index: frozen.log_index,
                reply: None,
                reply_salt: None,
                reply_index: None,
                result: "abandoned".to_owned(),
            },
        )?;
    }
    thaw(c)
}

/// Forgets the frozen request: it can be made anew.
fn thaw(c: &Connection) -> Result<(), rusqlite::Error> {
    c.execute("DELETE FROM license_request", []).map(drop)
}

/// Keeps a verified reply whose entry is still to be written.
pub fn received(c: &Connection, reply: &ReplyRow) -> Result<(), rusqlite::Error> {
    c.prepare_cached(
        "INSERT INTO license_replies (key, sequence, bytes, salt, by_hand, received_ms, entry, log_from, log_index)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        reply.key,
        reply.sequence.cast_signed(),
        reply.bytes,
        reply.salt,
        reply.by_hand,
        reply.received_ms,
        reply.entry,
        reply.log_from.cast_signed(),
        reply.log_index.map(u64::cast_signed)
    ])
    .map(drop)
}

/// The entry of a reply is about to be appended: where to look for it after a crash.
pub fn dated(c: &Connection, reply: &ReplyRow) -> Result<(), rusqlite::Error> {
    c.prepare_cached("UPDATE license_replies SET entry = ?, log_from = ? WHERE key = ? AND sequence = ?")?
        .execute(params![reply.entry, reply.log_from.cast_signed(), reply.key, reply.sequence.cast_signed()])
        .map(drop)
}

/// Forgets a reply that can never count, and lets its request be made anew.
pub fn give_up(c: &Connection, key: Digest, sequence: u64, now_ms: i64) -> Result<(), rusqlite::Error> {
    drop_reply(c, key, sequence.cast_signed())?;
    abandon(c, now_ms)
}

/// All replies, the oldest first.
pub fn replies(c: &Connection) -> Result<Vec<ReplyRow>, rusqlite::Error> {
    c.prepare_cached(
        "SELECT key, sequence, bytes, salt, by_hand, received_ms, entry, log_from, log_index FROM license_replies
         ORDER BY key, sequence",
    )?
    .query_map([], reply)?
    .collect()
}

fn reply(row: &Row<'_>) -> Result<ReplyRow, rusqlite::Error> {
    Ok(ReplyRow {
        key: row.get(0)?,
        sequence: unsigned(row, 1)?,
        bytes: row.get(2)?,
        salt: row.get(3)?,
        by_hand: row.get(4)?,
        received_ms: row.get(5)?,
        entry: row.get(6)?,
        log_from: unsigned(row, 7)?,
        log_index: index(row, 8)?,
    })
}

/// The reply's entry is under a checkpoint: the request is answered, and the check-in is over.
pub fn applied(
    c: &Connection,
    (key, sequence): (Digest, u64),
    log_index: u64,
    revoked: bool,
    fate: &Fate,
    over: &CheckInRow,
) -> Result<(), rusqlite::Error> {
    let sequence = sequence.cast_signed();
    c.prepare_cached("UPDATE license_replies SET log_index = ? WHERE key = ? AND sequence = ?")?
        .execute(params![log_index.cast_signed(), key, sequence])?;
    match fate {
        Fate::Counts { terms, .. } => counts(c, key, sequence, *terms)?,
        Fate::Waits(request) => {
            c.prepare_cached("DELETE FROM license_waiting WHERE key = ?")?.execute([key])?;
            c.prepare_cached(
                "INSERT INTO license_waiting (key, sequence, bytes, salt, by_hand, received_ms, entry, log_index, awaits)
                 SELECT key, sequence, bytes, salt, by_hand, received_ms, entry, log_index, ? FROM license_replies
                 WHERE key = ? AND sequence = ?",
            )?
            .execute(params![request, key, sequence])?;
            drop_reply(c, key, sequence)?;
        }
        Fate::Void => drop_reply(c, key, sequence)?,
    }
    if revoked {
        c.prepare_cached("INSERT OR IGNORE INTO license_tombstones VALUES (?, ?)")?
            .execute(params![key, over.at_ms])?;
    }
    keep(c, over)?;
    thaw(c)
}

/// A reply counts: whatever older one waited is superseded.
fn counts(c: &Connection, key: Digest, sequence: i64, terms: Option<Digest>) -> Result<(), rusqlite::Error> {
    c.prepare_cached("DELETE FROM license_waiting WHERE key = ? AND sequence <= ?")?
        .execute(params![key, sequence])?;
    if let Some(terms) = terms {
        c.prepare_cached("INSERT OR REPLACE INTO license_terms (key, terms) VALUES (?, ?)")?
            .execute(params![key, terms])?;
    }
    Ok(())
}

fn drop_reply(c: &Connection, key: Digest, sequence: i64) -> Result<(), rusqlite::Error> {
    c.prepare_cached("DELETE FROM license_replies WHERE key = ? AND sequence = ?")?
        .execute(params![key, sequence])
        .map(drop)
}

/// What the last set that counted under a key grants, as a hash.
pub fn terms(c: &Connection, key: Digest) -> Result<Option<Digest>, rusqlite::Error> {
    c.prepare_cached("SELECT terms FROM license_terms WHERE key = ?")?
        .query_row([key], |row| row.get(0))
        .optional()
}

/// Sets that wait, each with the request that must be accepted.
pub fn waiting(c: &Connection) -> Result<Vec<(ReplyRow, Digest)>, rusqlite::Error> {
    c.prepare_cached(
        "SELECT key, sequence, bytes, salt, by_hand, received_ms, entry, 0, log_index, awaits FROM license_waiting
         ORDER BY key, sequence",
    )?
    .query_map([], |row| Ok((reply(row)?, row.get(9)?)))?
    .collect()
}

/// A set that waited counts from now on.
pub fn released(c: &Connection, reply: &ReplyRow, terms: Option<Digest>) -> Result<(), rusqlite::Error> {
    received(c, reply)?;
    counts(c, reply.key, reply.sequence.cast_signed(), terms)
}

/// A set that waited will never count.
pub fn forget_waiting(c: &Connection, reply: &ReplyRow) -> Result<(), rusqlite::Error> {
    c.prepare_cached("DELETE FROM license_waiting WHERE key = ? AND sequence = ?")?
        .execute(params![reply.key, reply.sequence.cast_signed()])
        .map(drop)
}

/// Deletes replies to a key that can never count again: all that took effect but these.
pub fn prune(c: &Connection, key: Digest, held: &[u64]) -> Result<(), rusqlite::Error> {
    for reply in replies(c)? {
        if reply.key == key && reply.log_index.is_some() && !held.contains(&reply.sequence) {
            drop_reply(c, key, reply.sequence.cast_signed())?;
        }
    }
    Ok(())
}

/// Keeps a check-in for the admin to see.
fn keep(c: &Connection, over: &CheckInRow) -> Result<(), rusqlite::Error> {
    c.prepare_cached(
        "INSERT INTO check_ins (at_ms, request, request_salt, request_index, reply, reply_salt, reply_index, result)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        over.at_ms,
        over.request,
        over.request_salt,
        over.request_index.map(u64::cast_signed),
        over.reply,
        over.reply_salt,
        over.reply_index.map(u64::cast_signed),
        over.result
    ])?;
    c.prepare_cached("DELETE FROM check_ins WHERE id <= (SELECT max(id) FROM check_ins) - ?")?
        .execute([MOST_KEPT])
        .map(drop)
}

/// Check-ins that are over, the newest first.
pub fn history(c: &Connection, most: u32) -> Result<Vec<CheckInRow>, rusqlite::Error> {
    c.prepare_cached(
        "SELECT at_ms, request, request_salt, request_index, reply, reply_salt, reply_index, result
         FROM check_ins ORDER BY id DESC LIMIT ?",
    )?
    .query_map([most], |row| {
        Ok(CheckInRow {
            at_ms: row.get(0)?,
            request: row.get(1)?,
            request_salt: row.get(2)?,
            request_index: index(row, 3)?,
            reply: row.get(4)?,
            reply_salt: row.get(5)?,
            reply_index: index(row, 6)?,
            result: row.get(7)?,
        })
    })?
    .collect()
}

/// Whether a key was revoked.
pub fn is_revoked(c: &Connection, key: Digest) -> Result<bool, rusqlite::Error> {
    c.prepare_cached("SELECT EXISTS (SELECT 1 FROM license_tombstones WHERE key = ?)")?
        .query_row([key], |row| row.get(0))
}

/// An admin asks to try a revoked key again.
pub fn forgive(c: &Connection, key: Digest) -> Result<(), rusqlite::Error> {
    c.prepare_cached("DELETE FROM license_tombstones WHERE key = ?")?.execute([key]).map(drop)
}

/// Writes down that a preview was served.
pub fn served(c: &Connection, preview: &Preview) -> Result<(), rusqlite::Error> {
    c.prepare_cached(
        "INSERT INTO telemetry_previews (digest, bytes, schema, served_ms) VALUES (?, ?, ?, ?)",
    )?
    .execute(params![preview.digest, preview.bytes, preview.schema, preview.served_ms])?;
    // Whatever was consented to stays.
    c.prepare_cached(
        "DELETE FROM telemetry_previews WHERE digest NOT IN
             (SELECT digest FROM telemetry_previews ORDER BY served_ms DESC LIMIT ?)
         AND digest NOT IN (SELECT coalesce(recorded_preview, x'') FROM telemetry)
         AND digest NOT IN (SELECT coalesce(wished_preview, x'') FROM telemetry)",
    )?
    .execute([MOST_PREVIEWS])
    .map(drop)
}

/// A preview that was served.
pub fn preview(c: &Connection, digest: Digest) -> Result<Option<Preview>, rusqlite::Error> {
    c.prepare_cached("SELECT bytes, schema, served_ms FROM telemetry_previews WHERE digest = ?")?
        .query_row([digest], |row| {
            Ok(Preview { digest, bytes: row.get(0)?, schema: row.get(1)?, served_ms: row.get(2)? })
        })
        .optional()
}

/// The switch.
pub fn switch(c: &Connection) -> Result<Switch, rusqlite::Error> {
    c.prepare_cached(
        "SELECT wished_schema, wished_preview, recorded_schema, recorded_preview FROM telemetry",
    )?
    .query_row([], |row| {
        let consent = |at: usize| {
            let schema: Option<u32> = row.get(at)?;
            let preview: Option<Digest> = row.get(at + 1)?;
            Ok::<_, rusqlite::Error>(schema.zip(preview).map(|(schema, preview)| Consent { schema, preview }))
        };
        Ok(Switch { wished: consent(0)?, recorded: consent(2)? })
    })
}

/// Keeps what an admin wants.
pub fn wish(c: &Connection, wished: Option<Consent>) -> Result<(), rusqlite::Error> {
    c.prepare_cached("UPDATE telemetry SET wished_schema = ?, wished_preview = ?")?
        .execute(params![wished.map(|it| it.schema), wished.map(|it| it.preview)])
        .map(drop)
}

/// The entry about the switch is written: the next request is made anew, and is the preview if it was switched on.
pub fn turned(c: &Connection, switch: &Switch, now_ms: i64) -> Result<(), rusqlite::Error> {
    let recorded = switch.recorded;
    c.prepare_cached("UPDATE telemetry SET recorded_schema = ?, recorded_preview = ?, send_preview = ?")?
        .execute(params![
            recorded.map(|it| it.schema),
            recorded.map(|it| it.preview),
            recorded.map(|it| it.preview)
        ])?;
    // After its log was replaced a switch is recorded anew, and the request that is out says the same: it stays out.
    let out = frozen(c)?.filter(|it| it.log_index.is_none() && it.told.elsewhere);
    let says = out.and_then(|it| CheckIn::parse(&it.bytes).ok()).map(|asked| asked.telemetry.opted_in);
    if says == Some(recorded.is_some()) {
        return c.execute("UPDATE telemetry SET send_preview = NULL", []).map(drop);
    }
    abandon(c, now_ms)
}

/// The preview that is to be sent first, once: its nonce was used then.
fn take_preview(c: &Connection) -> Result<Option<Vec<u8>>, rusqlite::Error> {
    let bytes = c
        .prepare_cached(
            "SELECT p.bytes FROM telemetry t JOIN telemetry_previews p ON p.digest = t.send_preview WHERE p.sent = 0",
        )?
        .query_row([], |row| row.get(0))
        .optional()?;
    c.execute(
        "UPDATE telemetry_previews SET sent = 1 WHERE digest = (SELECT send_preview FROM telemetry)",
        [],
    )?;
    c.execute("UPDATE telemetry SET send_preview = NULL", [])?;
    Ok(bytes)
}

/// The clock's floor, in Unix milliseconds.
pub fn floor(c: &Connection) -> Result<Option<i64>, rusqlite::Error> {
    c.query_row("SELECT floor_ms FROM license_clock", [], |row| row.get(0)).optional()
}

/// Keeps it.
pub fn keep_floor(c: &Connection, floor_ms: i64) -> Result<(), rusqlite::Error> {
    c.execute("INSERT OR REPLACE INTO license_clock VALUES (1, ?)", [floor_ms]).map(drop)
}

fn unsigned(row: &Row<'_>, column: usize) -> Result<u64, rusqlite::Error> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

pub(super) fn index(row: &Row<'_>, column: usize) -> Result<Option<u64>, rusqlite::Error> {
    row.get::<_, Option<i64>>(column).map(|index| index.map(i64::cast_unsigned))
}

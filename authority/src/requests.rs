//! What the vendor asks of relays: one chain of signed requests for each relay, in the book, carried in every reply to it.
//!
//! A request takes its place in one immediate transaction, so that no two of them, of whatever process, follow the same one. Nothing
//! leaves a chain again. With each the book keeps who asked and the salt that commits to them; a support key's secret it never sees.
//!
//! A relay goes on only from the request before. So no more are made than one reply carries until the relay was told of them, and no
//! more than that in a day: one that checks in a few times a day gets all.

mod by;
mod carried;
mod support;

use anyhow::{Context as _, ensure};
use jiff::{SignedDuration, Timestamp};
use paramant_licensing::Verified;
use paramant_licensing::actions::{Ask, Request, actor};
use paramant_licensing::online::keys::LicensingKeys;
use paramant_licensing::online::reply::MAX_ACTIONS;
use paramant_protocol::leaf::{Hash, sha256};
use paramant_protocol::path::parse_hash;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::Value;

use crate::book::{Book, Recorded, immediate, record};
use crate::keys::SigningKey;

pub use self::by::By;
pub use self::carried::Carried;
pub use self::support::Secret;

/// What the requests of one reply may have together: with the reply's own signature, the silence statement and the rest they stay
/// under the 64 KiB that a relay reads.
pub const MAX_BYTES: usize = 48 * 1024;
/// A request goes on for this long unless the vendor says otherwise: as long as a relay lets one wait.
pub const USUAL: SignedDuration = SignedDuration::from_hours(96);
/// And for no longer than this.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(30 * 24);
/// In which no more are made than one reply carries.
const DAY: SignedDuration = SignedDuration::from_hours(24);

pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS requests (
    relay  TEXT NOT NULL,
    seq    INTEGER NOT NULL,                 -- 1, 2, 3 …
    id     TEXT NOT NULL,
    kind   TEXT NOT NULL,
    signed BLOB NOT NULL,                    -- canonical JSON
    actor  TEXT NOT NULL,                    -- shown to nobody until it is opened
    salt   BLOB NOT NULL,
    made   TEXT NOT NULL,
    PRIMARY KEY (relay, seq)
);
CREATE TRIGGER IF NOT EXISTS requests_stay BEFORE UPDATE ON requests BEGIN SELECT RAISE(ABORT, 'requests are append-only'); END;
CREATE TRIGGER IF NOT EXISTS requests_keep BEFORE DELETE ON requests BEGIN SELECT RAISE(ABORT, 'requests are append-only'); END;
-- REPLACE deletes without the trigger above.
CREATE TRIGGER IF NOT EXISTS requests_follow BEFORE INSERT ON requests
    WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM requests WHERE relay = NEW.relay)
BEGIN SELECT RAISE(ABORT, 'requests follow one another'); END;
CREATE TABLE IF NOT EXISTS told (
    relay TEXT PRIMARY KEY,
    seq   INTEGER NOT NULL,                  -- up to which request it was told, under a licence key that was sold
    at    TEXT NOT NULL                      -- of the last silence statement
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS repeats (         -- a relay that lacks requests gets them again
    relay TEXT PRIMARY KEY,
    seq   INTEGER NOT NULL                   -- from this one on
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS granted (         -- the set that a relay was last answered under a key
    relay      TEXT NOT NULL,
    key        BLOB NOT NULL,                -- SHA-256
    set_sha256 BLOB NOT NULL,
    sold       TEXT NOT NULL,                -- JSON
    PRIMARY KEY (relay, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sellers (         -- who sold the tier that a licence has
    key   BLOB PRIMARY KEY,                  -- SHA-256
    role  TEXT NOT NULL,
    why   TEXT NOT NULL,
    actor TEXT NOT NULL
) WITHOUT ROWID;
";

/// What is to be asked.
#[derive(Debug, Clone)]
pub struct Asking {
    /// The relay's fingerprint, 64 hex digits.
    pub relay: String,
    /// What.
    pub ask: Ask,
    /// Who, and why.
    pub by: By,
    /// For how long it may be acted upon.
    pub lasts: SignedDuration,
}

/// One request of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its place.
    pub seq: u64,
    /// Its id.
    pub id: String,
    /// What kind it is of.
    pub kind: String,
    /// When it was made.
    pub made: Timestamp,
    /// The signed bytes.
    pub signed: Vec<u8>,
}

/// Who made a request, with what proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The request.
    pub request: Kept,
    /// Who.
    pub actor: String,
    /// The salt of the commitment.
    pub salt: [u8; 32],
}

/// There is no place for another request yet.
#[derive(Debug)]
pub struct Full;

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "too many requests to this relay: one reply carries {MAX_ACTIONS} ({} KiB), and a relay that was not told of one refuses \
             all that follow it. So many were made within 24 hours, or since the relay last checked in: wait until it did, or for a day",
            MAX_BYTES / 1024
        )
    }
}

impl std::error::Error for Full {}

impl Kept {
    /// What the next request's `prev` is.
    pub fn hash(&self) -> Hash {
        sha256(&self.signed)
    }
}

impl Book {
    /// Asks something of a relay: from now on each reply to it carries the request.
    ///
    /// # Errors
    /// [`Full`]; what no relay could read; or the book cannot be written.
    pub fn ask(&self, asking: &Asking, signer: &SigningKey, now: Timestamp) -> anyhow::Result<Kept> {
        let mut connection = self.connection();
        let transaction = immediate(&mut connection)?;
        let made = make(&transaction, asking, None, signer, now)?;
        transaction.commit()?;
        Ok(made)
    }

    /// Lets replies to a relay begin again at this request, and go on until all were told once more: for one that lacks requests,
    /// since it was restored from an old backup or missed many replies. It refuses all that follow the first that it lacks.
    ///
    /// # Errors
    /// When there is no such request, or the book cannot be written.
    pub fn repeat(&self, relay: &str, from: u64) -> anyhow::Result<()> {
        let connection = self.connection();
        let (last, _) = head(&newest(&connection, relay, 1)?);
        ensure!((1..=last).contains(&from), "there are requests 1 to {last} to this relay, and no {from}");
        carried::repeat_from(&connection, relay, Some(from))
    }

    /// All requests to a relay, the first first, once their chain is seen to hold.
    ///
    /// # Errors
    /// When one was changed.
    pub fn requests(&self, relay: &str) -> anyhow::Result<Vec<Kept>> {
        let all = newest(&self.connection(), relay, usize::MAX)?;
        let mut before = Hash::default();
        for (place, request) in (1..).zip(&all) {
            let fields: Value = serde_json::from_slice(&request.signed)?;
            let follows = fields.get("prev").and_then(Value::as_str).and_then(parse_hash) == Some(before);
            ensure!(
                request.seq == place && follows,
                "the requests were changed: number {place} does not continue the chain"
            );
            before = request.hash();
        }
        Ok(all)
    }

    /// Who made a request, once the signed request is seen to commit to them.
    ///
    /// # Errors
    /// When there is no such request, or it commits to another.
    pub fn open_request(&self, relay: &str, id: &str) -> anyhow::Result<Opened> {
        let connection = self.connection();
        let row = connection
            .query_row(
                "SELECT seq, id, kind, made, signed, actor, salt FROM requests WHERE relay = ? AND id = ?",
                [relay, id],
                |row| Ok((kept(row)?, row.get(5)?, row.get(6)?)),
            )
            .optional()?;
        let (request, actor, salt) = row.context("no request to this relay has this id")?;
        let opened = Opened { request, actor, salt };
        ensure!(opened.holds(), "the signed request commits to another actor: the book was changed");
        Ok(opened)
    }
}

impl Opened {
    /// Whether the signed request commits to this actor.
    pub fn holds(&self) -> bool {
        let Ok(fields) = serde_json::from_slice::<Value>(&self.request.signed) else { return false };
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let (Some(relay), Some(id)) = (text("relay_id"), text("id")) else { return false };
        let commitment = actor::commit(relay, id, &self.actor, &self.salt);
        commitment.is_some() && commitment == text("actor_commitment").and_then(parse_hash)
    }
}

/// Takes the next place of the relay's chain. `key`: of the licence that it is about, if it is about one.
fn make(
    transaction: &Connection,
    asking: &Asking,
    key: Option<Hash>,
    signer: &SigningKey,
    now: Timestamp,
) -> anyhow::Result<Kept> {
    let relay = &asking.relay;
    ensure!(parse_hash(relay).is_some(), "a relay is named by its fingerprint: 64 hex digits, lower case");
    ensure!(asking.lasts <= LONGEST, "a request goes on for 30 days at most");
    let (told, silent) = told(transaction, relay)?;
    // No silence statement has claimed this instant, whatever the clock says.
    let issued_at = match silent {
        Some(at) => now.max(at.checked_add(SignedDuration::from_millis(1))?),
        None => now,
    };
    let before = newest(transaction, relay, MAX_ACTIONS)?;
    let (seq, prev) = head(&before);
    let (salt, id) = (random::<32>()?, hex::encode(random::<16>()?));
    let commitment =
        actor::commit(relay, &id, &asking.by.actor, &salt).context("the actor's name is too long")?;
    let request = Request {
        relay_id: relay.clone(),
        seq: seq + 1,
        prev,
        id: id.clone(),
        role: asking.by.role,
        why: asking.by.why,
        issued_at,
        expires_at: issued_at.checked_add(asking.lasts)?,
        actor_commitment: commitment,
        ask: asking.ask.clone(),
    };
    let signed = signed(&request, signer)?;
    // The relay's own eyes. Whatever it could not read would end the chain for good.
    let read = Verified::open_request(&signed, &LicensingKeys::of([signer.public.clone()]));
    let read =
        read.map_err(|error| anyhow::anyhow!("no relay could read this {}: {error}", asking.ask.kind()))?;
    ensure!(*read.get() == request, "a relay would read this {} as another request", asking.ask.kind());
    let made = Kept { seq: seq + 1, id, kind: asking.ask.kind().to_owned(), made: issued_at, signed };
    ensure!(has_room(&before, told, &made), Full);
    transaction.execute(
        "INSERT INTO requests (relay, seq, id, kind, signed, actor, salt, made) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            relay,
            i64::try_from(made.seq)?,
            made.id,
            made.kind,
            made.signed,
            asking.by.actor,
            salt,
            made.made.to_string()
        ],
    )?;
    let row = Recorded {
        at: issued_at.to_string(),
        what: format!("request {}", made.kind),
        // Most requests are to a relay, whatever licence it has: then these are zeros, which is no key's digest.
        key: hex::encode(key.unwrap_or_default()),
        relay: Some(relay.clone()),
        version: None,
        telemetry: None,
        request: Some(hex::encode(made.hash())),
        reply: None,
        status: None,
    };
    record(transaction, &row)?;
    Ok(made)
}

/// Whether one reply carries this request with all that the relay may not know yet.
fn has_room(before: &[Kept], told: u64, next: &Kept) -> bool {
    let day_ago = next.made.checked_sub(DAY).unwrap_or(Timestamp::MIN);
    let fresh: Vec<&Kept> = before.iter().filter(|it| it.seq > told || it.made > day_ago).collect();
    let bytes: usize = fresh.iter().map(|it| it.signed.len()).sum();
    fresh.len() < MAX_ACTIONS && bytes + next.signed.len() <= MAX_BYTES
}

/// How many of these, one after the other, fit into one reply.
fn fitting<'a>(requests: impl Iterator<Item = &'a [u8]>) -> usize {
    let mut bytes = 0;
    let fits = |request: &&[u8]| {
        bytes += request.len();
        bytes <= MAX_BYTES
    };
    requests.take(MAX_ACTIONS).take_while(fits).count()
}

/// The newest of these that fit into one reply, the oldest first.
fn window(requests: &[Vec<u8>]) -> &[Vec<u8>] {
    let count = fitting(requests.iter().rev().map(Vec::as_slice));
    requests.get(requests.len() - count..).unwrap_or_default()
}

pub(crate) fn signed(request: &Request, signer: &SigningKey) -> anyhow::Result<Vec<u8>> {
    request.to_signed(|message| signer.sign(message))
}

/// Number and hash of the last of these.
fn head(requests: &[Kept]) -> (u64, Hash) {
    requests.last().map(|last| (last.seq, last.hash())).unwrap_or_default()
}

/// Up to which request the relay was told, and the instant of the last silence statement to it.
fn told(connection: &Connection, relay: &str) -> anyhow::Result<(u64, Option<Timestamp>)> {
    let row = connection
        .query_row("SELECT seq, at FROM told WHERE relay = ?", [relay], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    let Some((seq, at)) = row else { return Ok((0, None)) };
    Ok((seq.unsigned_abs(), Some(at.parse()?)))
}

/// As many requests to a relay as one reply may carry, from this one on.
fn from(connection: &Connection, relay: &str, seq: u64) -> anyhow::Result<Vec<Kept>> {
    let mut statement = connection.prepare(
        "SELECT seq, id, kind, made, signed FROM requests WHERE relay = ? AND seq >= ? ORDER BY seq LIMIT ?",
    )?;
    let bounds = params![relay, i64::try_from(seq)?, i64::try_from(MAX_ACTIONS)?];
    Ok(statement.query_map(bounds, kept)?.collect::<Result<Vec<_>, _>>()?)
}

/// The last requests to a relay, the oldest first.
fn newest(connection: &Connection, relay: &str, most: usize) -> anyhow::Result<Vec<Kept>> {
    let mut statement = connection.prepare(
        "SELECT seq, id, kind, made, signed FROM requests WHERE relay = ? ORDER BY seq DESC LIMIT ?",
    )?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut all = statement.query_map(params![relay, most], kept)?.collect::<Result<Vec<_>, _>>()?;
    all.reverse();
    Ok(all)
}

fn kept(row: &rusqlite::Row<'_>) -> rusqlite::Result<Kept> {
    let made: String = row.get(3)?;
    let made = made.parse().map_err(|error: jiff::Error| {
        rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, error.into())
    })?;
    let seq = row.get::<_, i64>(0)?.unsigned_abs();
    Ok(Kept { seq, id: row.get(1)?, kind: row.get(2)?, made, signed: row.get(4)? })
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_carries_the_newest_that_fit() {
        let of = |count: usize, bytes: usize| vec![vec![0; bytes]; count];
        assert_eq!(window(&of(20, 10)).len(), MAX_ACTIONS);
        assert_eq!(window(&of(3, 10)).len(), 3);
        assert_eq!(window(&of(8, 12 * 1024)).len(), 4);
        assert_eq!(window(&of(8, MAX_BYTES + 1)).len(), 0);
        let mut mixed = of(8, 12 * 1024);
        mixed.extend([vec![1; 5], vec![2; 5]]);
        let found: Vec<usize> = window(&mixed).iter().map(Vec::len).collect();
        assert_eq!(found, [12 * 1024, 12 * 1024, 12 * 1024, 5, 5]);
    }
}

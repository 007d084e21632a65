//! Rows of what a vendor asked, of support keys, and of the entries about them. The order of writing is in [`crate::actions`].

use paramant_licensing::actions::Said;
use paramant_protocol::control::RemoteState;
use paramant_protocol::entry::body::RefusalReason;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Digest;
use super::license_rows::index;

/// Silence statements that are kept.
const SILENCES: u32 = 32;

/// A verified request.
#[derive(Debug, Clone)]
pub struct RequestRow {
    /// SHA-256 of its bytes.
    pub hash: Digest,
    /// Its place in the chain, if it took one.
    pub seq: Option<u64>,
    /// Its id.
    pub id: String,
    /// What it asks.
    pub kind: String,
    /// The signed request.
    pub bytes: Vec<u8>,
    /// Opens commitments to it.
    pub salt: Digest,
    /// When it came.
    pub received_ms: i64,
    /// Why it is refused without asking.
    pub refusal: Option<Word<RefusalReason>>,
    /// How it stands.
    pub state: State,
    /// What an admin said on this relay.
    pub said: Option<Word<Said>>,
    /// What was decided.
    pub decision: Option<Decision>,
    /// When.
    pub decided_ms: Option<i64>,
    /// Entries under the checkpoint that covered its entry before any effect.
    pub covered: Option<u64>,
    /// Its entry.
    pub log_index: Option<u64>,
}

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing was done about it yet.
    New,
    /// It is logged, and waits for an admin.
    Waiting,
    /// It has its effect.
    Accepted,
    /// The admin said no.
    Denied,
    /// Its time ran out.
    Lapsed,
    /// It was refused without asking.
    Refused,
}

/// What was decided about a request. From the moment it is written down it is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The policy lets it take effect.
    Allowed,
    /// An admin agreed.
    Approved,
    /// An admin said no.
    Denied,
    /// Its time ran out.
    Lapsed,
    /// The policy refuses its kind.
    NotAllowed,
    /// It does not follow from what was asked before.
    Stale,
}

/// A closed word, as the log or the interfaces spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<T>(pub T);

impl<T: Serialize> ToSql for Word<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match serde_json::to_value(&self.0) {
            Ok(Value::String(word)) => Ok(word.into()),
            _ => Err(rusqlite::Error::ToSqlConversionFailure("not a word".into())),
        }
    }
}

impl<T: DeserializeOwned> FromSql for Word<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let word = Value::String(value.as_str()?.to_owned());
        serde_json::from_value(word).map(Self).map_err(|error| FromSqlError::Other(error.into()))
    }
}

macro_rules! stored_words {
    ($name:ident { $($variant:ident = $word:literal,)* }) => {
        impl $name {
            fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.word().into())
            }
        }
        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                match value.as_str()? {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(FromSqlError::InvalidType),
                }
            }
        }
    };
}
stored_words! { State {
    New = "new",
    Waiting = "waiting",
    Accepted = "accepted",
    Denied = "denied",
    Lapsed = "lapsed",
    Refused = "refused",
} }
stored_words! { Decision {
    Allowed = "allowed",
    Approved = "approved",
    Denied = "denied",
    Lapsed = "lapsed",
    NotAllowed = "not_allowed",
    Stale = "stale",
} }
stored_words! { Ended { Revoked = "revoked", Expired = "expired", } }

impl State {
    /// As it is reported. What is new waits for the log.
    pub fn told(self) -> RemoteState {
        match self {
            Self::New | Self::Waiting => RemoteState::Waiting,
            Self::Accepted => RemoteState::Accepted,
            Self::Denied => RemoteState::Denied,
            Self::Lapsed => RemoteState::Lapsed,
            Self::Refused => RemoteState::Refused,
        }
    }

    /// Whether something is still to be done.
    pub fn is_open(self) -> bool {
        matches!(self, Self::New | Self::Waiting)
    }
}

impl Decision {
    /// How a request stands once it is carried out.
    pub fn leads_to(self) -> State {
        match self {
            Self::Allowed | Self::Approved => State::Accepted,
            Self::Denied => State::Denied,
            Self::Lapsed => State::Lapsed,
            Self::NotAllowed | Self::Stale => State::Refused,
        }
    }
}

/// How a support key ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By the admin: for good.
    Revoked,
    /// By its time.
    Expired,
}

/// A support key that is or was in force.
#[derive(Debug, Clone)]
pub struct SupportRow {
    /// The id of its request.
    pub id: String,
    /// The hash of its request.
    pub request: Digest,
    /// SHA-256 of label, relay and secret.
    pub key_sha256: Digest,
    /// `owner` or `support`.
    pub role: String,
    /// Opens the commitment to the id.
    pub salt: Digest,
    /// Since when it works.
    pub since_ms: i64,
    /// When it ends by itself.
    pub until_ms: i64,
    /// How it ended.
    pub ended: Option<Ended>,
    /// The end has its entry.
    pub told: bool,
    /// How often it was used.
    pub uses: u64,
}

/// Which of the entries about a request; about a silence statement, which has the first alone; or about a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It came, or was refused at once.
    Came = 0,
    /// It was answered.
    Decided = 1,
    /// What followed.
    Effect = 2,
    /// What followed ended.
    Ended = 3,
    /// Of a request for other capabilities, under one licence key: a set changes them.
    Changed = 4,
    /// Of a reply: it grants something else.
    Granted = 5,
}

impl ToSql for Step {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok((*self as i64).into())
    }
}

impl FromSql for Step {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let all = [Self::Came, Self::Decided, Self::Effect, Self::Ended, Self::Changed, Self::Granted];
        let step = value.as_i64()?;
        all.into_iter().find(|it| *it as i64 == step).ok_or(FromSqlError::OutOfRange(step))
    }
}

/// An entry that is appended once.
#[derive(Debug, Clone)]
pub struct Owed {
    /// What it is about.
    pub hash: Digest,
    /// Which of the entries about it.
    pub step: Step,
    /// Its bytes.
    pub entry: Vec<u8>,
    /// Where to look for it.
    pub log_from: u64,
    /// Where it is.
    pub log_index: Option<u64>,
}

const REQUEST: &str = "SELECT hash, seq, id, kind, bytes, salt, received_ms, refusal, state, said, decision, decided_ms, covered, log_index FROM vendor_requests";

fn request(row: &Row<'_>) -> Result<RequestRow, rusqlite::Error> {
    Ok(RequestRow {
        hash: row.get(0)?,
        seq: index(row, 1)?,
        id: row.get(2)?,
        kind: row.get(3)?,
        bytes: row.get(4)?,
        salt: row.get(5)?,
        received_ms: row.get(6)?,
        refusal: row.get(7)?,
        state: row.get(8)?,
        said: row.get(9)?,
        decision: row.get(10)?,
        decided_ms: row.get(11)?,
        covered: index(row, 12)?,
        log_index: index(row, 13)?,
    })
}

/// All requests: those of the chain first to last, then those that took no place.
pub fn requests(c: &Connection) -> Result<Vec<RequestRow>, rusqlite::Error> {
    let sql = format!("{REQUEST} ORDER BY seq IS NULL, seq, received_ms");
    c.prepare_cached(&sql)?.query_map([], request)?.collect()
}

/// Keeps a request that came, unless it is known.
pub fn came(c: &Connection, row: &RequestRow) -> Result<(), rusqlite::Error> {
    c.prepare_cached(
        "INSERT OR IGNORE INTO vendor_requests (hash, seq, id, kind, bytes, salt, received_ms, refusal, state)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        row.hash,
        row.seq.map(u64::cast_signed),
        row.id,
        row.kind,
        row.bytes,
        row.salt,
        row.received_ms,
        row.refusal,
        row.state
    ])
    .map(drop)
}

/// Its entry is under a checkpoint over so many entries.
pub fn covered(c: &Connection, hash: Digest, index: u64, size: u64) -> Result<(), rusqlite::Error> {
    c.prepare_cached(
        "UPDATE vendor_requests SET log_index = ?, covered = coalesce(covered, ?) WHERE hash = ?",
    )?
    .execute(params![index.cast_signed(), size.cast_signed(), hash])
    .map(drop)
}

/// It waits for an admin.
pub fn waits(c: &Connection, hash: Digest) -> Result<(), rusqlite::Error> {
    c.prepare_cached("UPDATE vendor_requests SET state = 'waiting' WHERE hash = ?")?.execute([hash]).map(drop)
}

/// What was decided, once.
pub fn decided(c: &Connection, hash: Digest, decision: Decision, now_ms: i64) -> Result<(), rusqlite::Error> {
    c.prepare_cached(
        "UPDATE vendor_requests SET decision = ?, decided_ms = ? WHERE hash = ? AND decision IS NULL",
    )?
    .execute(params![decision, now_ms, hash])
    .map(drop)
}

/// How a request stands from now on.
pub fn stands(c: &Connection, hash: Digest, state: State) -> Result<(), rusqlite::Error> {
    c.prepare_cached("UPDATE vendor_requests SET state = ? WHERE hash = ?")?
        .execute(params![state, hash])
        .map(drop)
}

/// What an admin says of a request that waits. `false`: none of this id does.
pub fn say(c: &Connection, id: &str, said: Said) -> Result<bool, rusqlite::Error> {
    let sql = "UPDATE vendor_requests SET said = ? WHERE id = ? AND seq IS NOT NULL AND decision IS NULL AND state IN ('new', 'waiting')";
    Ok(c.prepare_cached(sql)?.execute(params![Word(said), id])? > 0)
}

/// The entry about a request, as far as it has come.
pub fn owed(c: &Connection, hash: Digest, step: Step) -> Result<Option<Owed>, rusqlite::Error> {
    c.prepare_cached("SELECT entry, log_from, log_index FROM vendor_entries WHERE hash = ? AND step = ?")?
        .query_row(params![hash, step], |row| {
            let log_from = row.get::<_, i64>(1)?.cast_unsigned();
            Ok(Owed { hash, step, entry: row.get(0)?, log_from, log_index: index(row, 2)? })
        })
        .optional()
}

/// Keeps how far it has come.
pub fn keep_owed(c: &Connection, owed: &Owed) -> Result<(), rusqlite::Error> {
    c.prepare_cached("INSERT OR REPLACE INTO vendor_entries (hash, step, entry, log_from, log_index) VALUES (?, ?, ?, ?, ?)")?
        .execute(params![
            owed.hash,
            owed.step,
            owed.entry,
            owed.log_from.cast_signed(),
            owed.log_index.map(u64::cast_signed)
        ])
        .map(drop)
}

/// Where all entries about requests are: whose, which step, and the index.
pub fn placed(c: &Connection) -> Result<Vec<(Digest, Step, u64)>, rusqlite::Error> {
    c.prepare_cached(
        "SELECT hash, step, log_index FROM vendor_entries WHERE log_index IS NOT NULL ORDER BY step",
    )?
    .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.cast_unsigned())))?
    .collect()
}

/// Keeps a silence statement that came.
pub fn silence_came(c: &Connection, hash: Digest, bytes: &[u8], now_ms: i64) -> Result<(), rusqlite::Error> {
    c.prepare_cached("INSERT OR IGNORE INTO vendor_silences (hash, bytes, received_ms) VALUES (?, ?, ?)")?
        .execute(params![hash, bytes, now_ms])
        .map(drop)
}

/// Silence statements, the newest first; with each whether its entry is written.
pub fn silences(c: &Connection) -> Result<Vec<(Digest, Vec<u8>, bool)>, rusqlite::Error> {
    c.prepare_cached("SELECT hash, bytes, placed FROM vendor_silences ORDER BY received_ms DESC")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// The entry of a silence statement is written. Old statements are forgotten: the log has them.
pub fn silence_placed(c: &Connection, hash: Digest) -> Result<(), rusqlite::Error> {
    c.prepare_cached("UPDATE vendor_silences SET placed = 1 WHERE hash = ?")?.execute([hash])?;
    let old = "SELECT hash FROM vendor_silences WHERE placed = 1 ORDER BY received_ms DESC LIMIT -1 OFFSET ?";
    c.prepare_cached(&format!("DELETE FROM vendor_entries WHERE hash IN ({old})"))?.execute([SILENCES])?;
    c.prepare_cached(&format!("DELETE FROM vendor_silences WHERE hash IN ({old})"))?
        .execute([SILENCES])
        .map(drop)
}

/// A support key is in force. Nothing, if its secret is known from another request.
pub fn support_begins(c: &Connection, key: &SupportRow) -> Result<(), rusqlite::Error> {
    c.prepare_cached(
        "INSERT OR IGNORE INTO support_keys (id, request, key_sha256, role, salt, since_ms, until_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![key.id, key.request, key.key_sha256, key.role, key.salt, key.since_ms, key.until_ms])
    .map(drop)
}

/// All support keys, the newest first.
pub fn support_keys(c: &Connection) -> Result<Vec<SupportRow>, rusqlite::Error> {
    c.prepare_cached(
        "SELECT id, request, key_sha256, role, salt, since_ms, until_ms, ended, told, uses FROM support_keys
         ORDER BY since_ms DESC",
    )?
    .query_map([], |row| {
        Ok(SupportRow {
            id: row.get(0)?,
            request: row.get(1)?,
            key_sha256: row.get(2)?,
            role: row.get(3)?,
            salt: row.get(4)?,
            since_ms: row.get(5)?,
            until_ms: row.get(6)?,
            ended: row.get(7)?,
            told: row.get(8)?,
            uses: row.get::<_, i64>(9)?.cast_unsigned(),
        })
    })?
    .collect()
}

/// A support key ends; the first end counts. `false`: there is none of this id in force.
pub fn support_ends(c: &Connection, id: &str, ended: Ended) -> Result<bool, rusqlite::Error> {
    let sql = "UPDATE support_keys SET ended = ? WHERE id = ? AND ended IS NULL";
    Ok(c.prepare_cached(sql)?.execute(params![ended, id])? > 0)
}

/// The end of a support key has its entry.
pub fn support_told(c: &Connection, id: &str) -> Result<(), rusqlite::Error> {
    c.prepare_cached("UPDATE support_keys SET told = 1 WHERE id = ?")?.execute([id]).map(drop)
}

/// One more use of a support key.
pub fn support_used(c: &Connection, id: &str) -> Result<(), rusqlite::Error> {
    c.prepare_cached("UPDATE support_keys SET uses = uses + 1 WHERE id = ?")?.execute([id]).map(drop)
}

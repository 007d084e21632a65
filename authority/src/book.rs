//! The authority's book: licences, how far each relay's replies were counted, and an append-only record of what was answered.
//!
//! A licence key is kept as its SHA-256 only; a relay is its fingerprint. The record holds what a relay sent but for the key, and a
//! hash chain over all rows, so that it cannot be rewritten unnoticed by whoever kept an earlier head. There is no column for an
//! address, a name of a user or a file: the protocol sends none.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use paramant_licensing::OnlineKey;
use paramant_licensing::online::request::{self, CheckIn};
use paramant_protocol::leaf::{Hash, sha256};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use crate::decide::{Sold, Standing};
use crate::faults::Fault;
use crate::requests::{self, By};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS licences (
    key      BLOB PRIMARY KEY,               -- SHA-256
    customer TEXT NOT NULL,
    sold     TEXT NOT NULL,                  -- JSON
    standing TEXT NOT NULL,
    made     TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS relays (relay TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        TEXT NOT NULL,
    what      TEXT NOT NULL,                 -- check_in, or what the seller did
    key       BLOB NOT NULL,                 -- SHA-256; zeros when no licence is concerned
    relay     TEXT,
    version   TEXT,
    telemetry TEXT,                          -- as it was sent
    request   TEXT,                          -- SHA-256 of the request
    reply     TEXT,                          -- SHA-256 of the reply
    status    INTEGER,
    chain     BLOB NOT NULL                  -- SHA-256(chain before, this row)
);
CREATE TRIGGER IF NOT EXISTS record_stays BEFORE UPDATE ON record BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER IF NOT EXISTS record_keeps BEFORE DELETE ON record BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TABLE IF NOT EXISTS fault (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL);
";

/// The book; one connection, used in turn.
#[derive(Debug)]
pub struct Book(Mutex<Connection>);

/// One row of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// When.
    pub at: String,
    /// What.
    pub what: String,
    /// SHA-256 of the licence key, hex.
    pub key: String,
    /// Fingerprint of the relay.
    pub relay: Option<String>,
    /// Its release.
    pub version: Option<String>,
    /// Its telemetry, as sent.
    pub telemetry: Option<String>,
    /// SHA-256 of the request.
    pub request: Option<String>,
    /// SHA-256 of the reply.
    pub reply: Option<String>,
    /// The answer's status.
    pub status: Option<u16>,
}

impl Recorded {
    fn chained(&self, before: &Hash) -> Hash {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let fields = [
            self.at.clone(),
            self.what.clone(),
            self.key.clone(),
            text(&self.relay),
            text(&self.version),
            text(&self.telemetry),
            text(&self.request),
            text(&self.reply),
            self.status.unwrap_or_default().to_string(),
        ];
        sha256(&[before.as_slice(), fields.join("\n").as_bytes()].concat())
    }
}

/// A licence of the book.
#[derive(Debug, Clone)]
pub struct Licence {
    /// SHA-256 of its key, hex.
    pub key: String,
    /// To whom.
    pub customer: String,
    /// What.
    pub sold: Sold,
    /// How it stands.
    pub standing: Standing,
    /// Who sold what it grants.
    pub by: By,
}

impl Book {
    /// Opens or makes the book.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        connection.execute_batch(SCHEMA)?;
        connection.execute_batch(requests::SCHEMA)?;
        Ok(Self(Mutex::new(connection)))
    }

    pub(crate) fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sells a licence; answers its key, which is not kept.
    ///
    /// # Errors
    /// When there is no randomness, or the book cannot be written.
    pub fn sell(&self, customer: &str, sold: &Sold, now: Timestamp) -> anyhow::Result<OnlineKey> {
        ensure!(!customer.trim().is_empty(), "name the customer");
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        let key =
            OnlineKey::parse(&format!("plk_{}", hex::encode(random))).context("a key of the wrong form")?;
        let sold_json = serde_json::to_string(sold)?;
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        transaction.execute(
            "INSERT INTO licences VALUES (?, ?, ?, ?, ?)",
            params![key.digest(), customer, sold_json, word(Standing::Active)?, now.to_string()],
        )?;
        record(&transaction, &done("sold", &key, now))?;
        transaction.commit()?;
        Ok(key)
    }

    /// Changes what a licence grants or how it stands.
    ///
    /// # Errors
    /// When nobody was sold this key.
    pub fn change(
        &self,
        key: &OnlineKey,
        what: &str,
        now: Timestamp,
        change: impl FnOnce(&mut Licence),
    ) -> anyhow::Result<Licence> {
        let mut connection = self.connection();
        let transaction = immediate(&mut connection)?;
        let Some(mut licence) = find(&transaction, key)? else { bail!("nobody was sold this key") };
        ensure!(licence.standing != Standing::Revoked, "the licence was revoked, for good: sell another");
        change(&mut licence);
        transaction.execute(
            "UPDATE licences SET sold = ?, standing = ? WHERE key = ?",
            params![serde_json::to_string(&licence.sold)?, word(licence.standing)?, key.digest()],
        )?;
        licence.by.keep(&transaction, &key.digest())?;
        record(&transaction, &done(what, key, now))?;
        transaction.commit()?;
        Ok(licence)
    }

    /// The licence of a key.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub fn find(&self, key: &OnlineKey) -> anyhow::Result<Option<Licence>> {
        find(&self.connection(), key)
    }

    /// The sequence of the next reply to a relay, durable before it is used. Never below the time of day, so that a book restored from
    /// a backup does not repeat one.
    ///
    /// # Errors
    /// When the book cannot be written.
    pub fn next_sequence(&self, relay: &str, now: Timestamp) -> anyhow::Result<u64> {
        let sequence: i64 = self.connection().query_row(
            "INSERT INTO relays VALUES (?1, ?2) ON CONFLICT (relay) DO UPDATE SET sequence = max(sequence + 1, ?2)
             RETURNING sequence",
            params![relay, now.as_second().max(1)],
            |row| row.get(0),
        )?;
        Ok(sequence.unsigned_abs())
    }

    /// Records an answered check-in.
    ///
    /// # Errors
    /// When the book cannot be written: then nothing may be answered.
    pub fn answered(
        &self,
        asked: &CheckIn,
        bytes: &[u8],
        (status, reply): (u16, &[u8]),
        fault: Option<Fault>,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let Some(key) = OnlineKey::parse(&asked.license_key) else { bail!("a request without a key") };
        let row = Recorded {
            relay: Some(asked.relay_id.clone()),
            version: Some(asked.version.clone()),
            telemetry: Some(serde_json::to_string(&asked.telemetry)?),
            request: Some(request::digest(bytes)),
            reply: Some(request::digest(reply)),
            status: Some(status),
            // What goes wrong on purpose may never leave; it is no check-in.
            ..done(if fault.is_none() { "check_in" } else { "fault" }, &key, now)
        };
        let mut connection = self.connection();
        let transaction = immediate(&mut connection)?;
        record(&transaction, &row)?;
        transaction.commit()?;
        Ok(())
    }

    /// The whole record, once its chain is seen to hold.
    ///
    /// # Errors
    /// When a row was changed.
    pub fn record(&self) -> anyhow::Result<Vec<Recorded>> {
        Ok(self.record_and_head()?.0)
    }

    /// The same with the end of its chain: who keeps that sees later whether a row was changed or left out.
    ///
    /// # Errors
    /// When a row was changed.
    pub fn record_and_head(&self) -> anyhow::Result<(Vec<Recorded>, Hash)> {
        let connection = self.connection();
        let mut statement = connection.prepare(
            "SELECT at, what, key, relay, version, telemetry, request, reply, status, chain FROM record ORDER BY id",
        )?;
        let rows = statement.query_map([], |row| {
            let key: Hash = row.get(2)?;
            let recorded = Recorded {
                at: row.get(0)?,
                what: row.get(1)?,
                key: hex::encode(key),
                relay: row.get(3)?,
                version: row.get(4)?,
                telemetry: row.get(5)?,
                request: row.get(6)?,
                reply: row.get(7)?,
                status: row.get(8)?,
            };
            Ok((recorded, row.get::<_, Hash>(9)?))
        })?;
        let (mut all, mut chain) = (Vec::new(), [0; 32]);
        for row in rows {
            let (recorded, kept) = row?;
            chain = recorded.chained(&chain);
            ensure!(
                chain == kept,
                "the record was changed: row {} does not continue the chain",
                all.len() + 1
            );
            all.push(recorded);
        }
        Ok((all, chain))
    }

    /// What goes wrong on purpose.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub fn fault(&self) -> anyhow::Result<Option<Fault>> {
        let name: Option<String> =
            self.connection().query_row("SELECT name FROM fault", [], |row| row.get(0)).optional()?;
        name.map(|name| name.parse()).transpose()
    }

    /// Switches a fault on, or all off.
    ///
    /// # Errors
    /// When the book cannot be written.
    pub fn set_fault(&self, fault: Option<Fault>) -> anyhow::Result<()> {
        let connection = self.connection();
        match fault {
            Some(fault) => {
                connection.execute("INSERT OR REPLACE INTO fault VALUES (1, ?)", [fault.to_string()])?
            }
            None => connection.execute("DELETE FROM fault", [])?,
        };
        Ok(())
    }
}

/// A transaction that waits for another process's before it reads: one that read first would be refused when it writes.
pub(crate) fn immediate(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

pub(crate) fn find(connection: &Connection, key: &OnlineKey) -> anyhow::Result<Option<Licence>> {
    let row = connection
        .query_row("SELECT customer, sold, standing FROM licences WHERE key = ?", [key.digest()], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        })
        .optional()?;
    let Some((customer, sold, standing)) = row else { return Ok(None) };
    Ok(Some(Licence {
        key: hex::encode(key.digest()),
        customer,
        sold: serde_json::from_str(&sold)?,
        standing: serde_json::from_value(standing.into())?,
        by: By::of(connection, &key.digest())?,
    }))
}

fn word(standing: Standing) -> anyhow::Result<String> {
    let value = serde_json::to_value(standing)?;
    value.as_str().map(str::to_owned).context("a standing is a word")
}

fn done(what: &str, key: &OnlineKey, now: Timestamp) -> Recorded {
    Recorded {
        at: now.to_string(),
        what: what.to_owned(),
        key: hex::encode(key.digest()),
        relay: None,
        version: None,
        telemetry: None,
        request: None,
        reply: None,
        status: None,
    }
}

pub(crate) fn record(connection: &Connection, row: &Recorded) -> anyhow::Result<()> {
    let before: Option<Hash> = connection
        .query_row("SELECT chain FROM record ORDER BY id DESC LIMIT 1", [], |row| row.get(0))
        .optional()?;
    let chain = row.chained(&before.unwrap_or_default());
    connection.execute(
        "INSERT INTO record (at, what, key, relay, version, telemetry, request, reply, status, chain)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            row.at,
            row.what,
            hex::decode(&row.key)?,
            row.relay,
            row.version,
            row.telemetry,
            row.request,
            row.reply,
            row.status,
            chain
        ],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use paramant_licensing::online::capability::Tier;
    use paramant_licensing::online::telemetry::Telemetry;

    use super::*;
    use crate::decide::usual;

    fn book() -> (Book, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        (Book::open(&directory.path().join("book.db")).unwrap(), directory)
    }

    #[test]
    fn sequences_count_up_for_each_relay() {
        let (book, _directory) = book();
        let at = |second| Timestamp::from_second(second).unwrap();
        let next = |relay, second| book.next_sequence(relay, at(second)).unwrap();
        assert_eq!([next("a", 0), next("a", 0), next("b", 0), next("a", 0)], [1, 2, 1, 3]);
        assert_eq!([next("a", 1000), next("a", 1000), next("a", 5)], [1000, 1001, 1002]);
    }

    #[test]
    fn the_record_only_grows_and_its_chain_shows_what_was_changed() {
        let (book, directory) = book();
        let key = book.sell("Acme", &usual(Tier::Pro), Timestamp::UNIX_EPOCH).unwrap();
        book.change(&key, "unpaid", Timestamp::UNIX_EPOCH, |licence| licence.standing = Standing::Unpaid)
            .unwrap();
        assert_eq!(book.find(&key).unwrap().unwrap().standing, Standing::Unpaid);
        let what: Vec<String> = book.record().unwrap().into_iter().map(|row| row.what).collect();
        assert_eq!(what, ["sold", "unpaid"]);
        let connection = Connection::open(directory.path().join("book.db")).unwrap();
        assert!(connection.execute("UPDATE record SET what = 'x'", []).is_err());
        assert!(connection.execute("DELETE FROM record", []).is_err());
        connection
            .execute_batch("DROP TRIGGER record_stays; UPDATE record SET what = 'x' WHERE id = 1")
            .unwrap();
        assert!(book.record().unwrap_err().to_string().contains("row 1"));
    }

    #[test]
    fn a_revoked_licence_stays_revoked() {
        let (book, _directory) = book();
        let key = book.sell("Acme", &usual(Tier::Pro), Timestamp::UNIX_EPOCH).unwrap();
        let change = |standing| {
            book.change(&key, "changed", Timestamp::UNIX_EPOCH, |licence| licence.standing = standing)
                .map(drop)
        };
        change(Standing::Revoked).unwrap();
        assert!(change(Standing::Active).unwrap_err().to_string().contains("for good"));
        let other = OnlineKey::parse(&format!("plk_{}", "00".repeat(32))).unwrap();
        assert!(book.change(&other, "x", Timestamp::UNIX_EPOCH, |_| ()).is_err());
    }

    #[test]
    fn no_licence_key_is_kept() {
        let (book, directory) = book();
        let key = book.sell("Acme", &usual(Tier::Pro), Timestamp::UNIX_EPOCH).unwrap();
        let asked = CheckIn::new(&key, &"aa".repeat(32), "0.1.0", [1; 16], Telemetry::off());
        let bytes = asked.to_bytes().unwrap();
        book.answered(&asked, &bytes, (200, b"a reply"), None, Timestamp::UNIX_EPOCH).unwrap();
        drop(book);
        let planted = asked.relay_id.as_bytes();
        let (mut found, mut leaked) = (false, false);
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            found |= holds(planted);
            leaked |= holds(key.expose().as_bytes()) || holds(&key.expose().as_bytes()[4..]);
        }
        assert!(found, "what is kept is found, so the search works");
        assert!(!leaked, "a licence key was kept");
    }
}

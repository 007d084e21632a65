//! What a reply carries besides its answer: the newest requests to the relay, or those it lacks, and the claim how many there are.
//!
//! A set with other terms than the one before never leaves without a request that names it. Both are kept in the transaction that
//! reads the licence, so that a crash or a change in between neither loses the request nor makes it twice.

use jiff::Timestamp;
use paramant_licensing::OnlineKey;
use paramant_licensing::actions::{Ask, Silence};
use paramant_licensing::online::reply::{self, MAX_ACTIONS, Reply};
use paramant_protocol::leaf::Hash;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Asking, Full, Kept, LONGEST, fitting, from, head, make, newest, told, window};
use crate::book::{Book, Licence, find, immediate};
use crate::decide::{Sold, Standing};
use crate::keys::SigningKey;

/// What goes into the reply to one relay.
#[derive(Debug)]
pub struct Carried {
    /// What is answered: what was sold, or still the set before it while a change of it waits for its place.
    pub licence: Option<Licence>,
    relay: String,
    requests: Vec<Kept>,
    /// The last request of all, which need not be among them.
    last: Option<Kept>,
}

impl Book {
    /// What the next reply to a relay carries. `counts`: the relay may believe the reply; if it cannot, because the authority goes
    /// wrong on purpose, then it was told nothing.
    ///
    /// # Errors
    /// When the book cannot be written.
    pub fn carry(
        &self,
        key: &OnlineKey,
        relay: &str,
        counts: bool,
        signer: &SigningKey,
        now: Timestamp,
    ) -> anyhow::Result<Carried> {
        let mut connection = self.connection();
        let transaction = immediate(&mut connection)?;
        let mut licence = find(&transaction, key)?;
        if let Some(licence) = licence.as_mut().filter(|it| counts && it.standing == Standing::Active) {
            grant(&transaction, licence, key, relay, signer, now)?;
        }
        let newest = newest(&transaction, relay, MAX_ACTIONS)?;
        let last = newest.last().cloned();
        let (before, silent) = told(&transaction, relay)?;
        // Whoever names a relay without a licence's key is hardly that relay.
        let counts = counts && licence.is_some();
        let seq = if counts { head(&newest).0 } else { before };
        let requests = again(&transaction, relay, counts)?.unwrap_or(newest);
        transaction.execute(
            "INSERT OR REPLACE INTO told VALUES (?, ?, ?)",
            params![relay, i64::try_from(seq)?, silent.map_or(now, |at| at.max(now)).to_string()],
        )?;
        transaction.commit()?;
        Ok(Carried { licence, relay: relay.to_owned(), requests, last })
    }
}

impl Carried {
    /// Number and hash of the last request.
    pub fn head(&self) -> (u64, Hash) {
        head(self.last.as_slice())
    }

    /// The last request.
    pub fn last(&self) -> Option<&Kept> {
        self.last.as_ref()
    }

    /// Puts it into the reply. `wrong`: a request that no chain has, for a fault.
    ///
    /// # Errors
    /// When the key refuses.
    pub fn onto(
        &self,
        reply: &mut Reply,
        wrong: Option<Vec<u8>>,
        signer: &SigningKey,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let all: Vec<Vec<u8>> = self.requests.iter().map(|it| it.signed.clone()).chain(wrong).collect();
        let carried = window(&all).iter().map(|it| serde_json::from_slice(it)).collect::<Result<_, _>>()?;
        let (seq, head) = self.head();
        let silence = Silence { relay_id: self.relay.clone(), seq, head, issued_at: now };
        let silence: Vec<u8> = silence.to_signed(|message| signer.sign(message))?;
        let silence = Some(serde_json::from_slice(&silence)?);
        match reply {
            Reply::Set(set) => (set.actions, set.silence) = (carried, silence),
            Reply::Refusal(refusal) => (refusal.actions, refusal.silence) = (carried, silence),
        }
        Ok(())
    }
}

/// What a relay is told once more, if it is; the next reply goes on from there.
fn again(transaction: &Connection, relay: &str, counts: bool) -> anyhow::Result<Option<Vec<Kept>>> {
    let row = transaction.query_row("SELECT seq FROM repeats WHERE relay = ?", [relay], |row| row.get(0));
    let Some(seq) = row.optional()? else { return Ok(None) };
    let mut requests = from(transaction, relay, i64::unsigned_abs(seq))?;
    requests.truncate(fitting(requests.iter().map(|it| it.signed.as_slice())));
    let (told, _) = head(&requests);
    let (last, _) = head(&newest(transaction, relay, 1)?);
    if counts {
        repeat_from(transaction, relay, (told < last).then_some(told + 1))?;
    }
    Ok(Some(requests))
}

/// From which request on a relay is told all once more; `None`: it was.
pub(super) fn repeat_from(connection: &Connection, relay: &str, seq: Option<u64>) -> anyhow::Result<()> {
    match seq {
        Some(seq) => connection
            .execute("INSERT OR REPLACE INTO repeats VALUES (?, ?)", params![relay, i64::try_from(seq)?])?,
        None => connection.execute("DELETE FROM repeats WHERE relay = ?", [relay])?,
    };
    Ok(())
}

/// The set that the relay is about to be answered. If it has other terms than the one before, a request for them takes its place
/// first; while there is none, the one before is answered again.
fn grant(
    transaction: &Connection,
    licence: &mut Licence,
    key: &OnlineKey,
    relay: &str,
    signer: &SigningKey,
    now: Timestamp,
) -> anyhow::Result<()> {
    let terms = terms(&licence.sold)?;
    let before: Option<(Hash, String)> = transaction
        .query_row(
            "SELECT set_sha256, sold FROM granted WHERE relay = ? AND key = ?",
            params![relay, key.digest()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    match before {
        Some((before, _)) if before == terms => return Ok(()),
        Some((_, before)) => {
            let asking = Asking {
                relay: relay.to_owned(),
                ask: Ask::CapabilitySet { set_sha256: terms },
                by: licence.by.clone(),
                lasts: LONGEST,
            };
            match make(transaction, &asking, Some(key.digest()), signer, now) {
                Err(error) if error.is::<Full>() => {
                    let before: Sold = serde_json::from_str(&before)?;
                    (licence.sold.tier, licence.sold.capabilities) = (before.tier, before.capabilities);
                    return Ok(());
                }
                made => drop(made?),
            }
        }
        None => (),
    }
    transaction.execute(
        "INSERT OR REPLACE INTO granted VALUES (?, ?, ?, ?)",
        params![relay, key.digest(), terms, serde_json::to_string(&licence.sold)?],
    )?;
    Ok(())
}

fn terms(sold: &Sold) -> anyhow::Result<Hash> {
    let (tier, capabilities) = (serde_json::to_value(sold.tier)?, serde_json::to_value(&sold.capabilities)?);
    Ok(reply::terms(&tier, &capabilities)?)
}

//! From the bytes of a request to the bytes of a reply: read, decide, sign, record, and only then answer.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use jiff::Timestamp;
use paramant_licensing::OnlineKey;
use paramant_licensing::online::reply::Reply;
use paramant_licensing::online::request::{CheckIn, NotARequest};
use paramant_protocol::canonical::CanonicalError;
use paramant_protocol::leaf::Hash;

use crate::book::Book;
use crate::decide::{Question, decide};
use crate::faults::{Fault, request};
use crate::keys::{self, SigningKey};
use crate::requests::Carried;

/// The directory of signing keys below the data directory.
const KEYS: &str = "licensing-keys";
/// The book below the data directory.
const BOOK: &str = "book.db";
const NO_KEY: &str = "no licensing key signs today: add one with 'paramant-authority key add'";

/// An authority over one data directory.
#[derive(Debug)]
pub struct Authority {
    /// Its book.
    pub book: Book,
    data: PathBuf,
    /// For the fault that repeats: with the licence key in it, so in memory only.
    last: Mutex<HashMap<String, Answer>>,
    /// For the faults with a request that is wrong: the same one each time, as long as the relay's chain stands where it does.
    wrong: Mutex<HashMap<(Fault, String, Hash), Vec<u8>>>,
    /// The time of day; tests bring their own.
    pub wall: Arc<Wall>,
}

/// A clock that tests may move.
pub struct Wall(pub Box<dyn Fn() -> Timestamp + Send + Sync>);

impl std::fmt::Debug for Wall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wall(…)")
    }
}

/// What is sent back.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The signed document.
    pub body: Vec<u8>,
}

// It echoes the licence key.
impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({})", self.status)
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// Not a request: 400, and nothing is recorded.
    Request(NotARequest),
    /// The authority is not well: 503.
    Unwell(anyhow::Error),
}

/// For signing inside [`Reply::to_signed`].
struct Unsigned(anyhow::Error);

impl From<CanonicalError> for Unsigned {
    fn from(error: CanonicalError) -> Self {
        Self(error.into())
    }
}

impl From<anyhow::Error> for NoAnswer {
    fn from(error: anyhow::Error) -> Self {
        Self::Unwell(error)
    }
}

impl Authority {
    /// Opens the authority of a data directory, and makes the directory if it is new.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(data: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
        let book = Book::open(&data.join(BOOK))?;
        let wall = Arc::new(Wall(Box::new(Timestamp::now)));
        Ok(Self { book, data: data.to_owned(), last: Mutex::default(), wrong: Mutex::default(), wall })
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        (self.wall.0)()
    }

    /// The key that signs today.
    ///
    /// # Errors
    /// When none does.
    pub fn signer(&self) -> anyhow::Result<SigningKey> {
        let now = self.now();
        keys::all(&self.keys())?.into_iter().find(|key| key.signs_at(now)).context(NO_KEY)
    }

    /// Where its signing keys are.
    pub fn keys(&self) -> PathBuf {
        self.data.join(KEYS)
    }

    /// Answers a request.
    ///
    /// # Errors
    /// [`NoAnswer`]; then nothing was promised.
    pub fn answer(&self, bytes: &[u8], fault: Option<Fault>) -> Result<Answer, NoAnswer> {
        let asked = CheckIn::parse(bytes).map_err(NoAnswer::Request)?;
        let key = OnlineKey::parse(&asked.license_key).context("a request without a key")?;
        if fault == Some(Fault::Replay)
            && let Some(answer) = self.last().get(&asked.relay_id)
        {
            return Ok(answer.clone());
        }
        let keys = keys::all(&self.keys())?;
        let now = self.now();
        let signer = keys::current(&keys, now).context(NO_KEY)?;
        let mut question = Question::of(&asked, bytes);
        if fault == Some(Fault::OtherRelay) {
            question = question.of_relay(&"0".repeat(64));
        }
        let sequence = self.book.next_sequence(&asked.relay_id, now)?;
        let sequence = if fault == Some(Fault::OldSequence) { 0 } else { sequence };
        let counts = fault.is_none_or(Fault::is_believed);
        let carried = self.book.carry(&key, &asked.relay_id, counts, signer, now)?;
        let sold = carried.licence.as_ref().map(|licence| (&licence.sold, licence.standing));
        let mut reply = decide(sold, &question, sequence, now);
        announce_next(&mut reply, &keys, signer, now);
        let wrong =
            fault.map(|fault| self.wrong(fault, &asked.relay_id, &carried, signer, now)).transpose()?;
        carried.onto(&mut reply, wrong.flatten(), signer, now)?;
        let mut body = match fault {
            Some(Fault::OtherKey) => sign(&reply, &stranger(&self.data, now)?)?,
            _ => sign(&reply, signer)?,
        };
        if fault == Some(Fault::Altered)
            && let Some(byte) = body.iter_mut().find(|byte| **byte == b'1')
        {
            *byte = b'2';
        }
        let status = match &reply {
            Reply::Set(_) => 200,
            Reply::Refusal(refusal) => refusal.status,
        };
        self.book.answered(&asked, bytes, (status, &body), fault, now)?;
        let answer = Answer { status, body };
        if fault.is_none() {
            self.last().insert(asked.relay_id, answer.clone());
        }
        Ok(answer)
    }

    fn wrong(
        &self,
        fault: Fault,
        relay: &str,
        carried: &Carried,
        signer: &SigningKey,
        now: Timestamp,
    ) -> anyhow::Result<Option<Vec<u8>>> {
        let mut known = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, head) = carried.head();
        let place = (fault, relay.to_owned(), head);
        if let Some(wrong) = known.get(&place) {
            return Ok(Some(wrong.clone()));
        }
        let made = request::wrong(fault, relay, carried, signer, || stranger(&self.data, now), now)?;
        known.extend(made.clone().map(|made| (place, made)));
        Ok(made)
    }

    fn last(&self) -> std::sync::MutexGuard<'_, HashMap<String, Answer>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In the last 30 days in which a key signs it names the one that follows (protocol §3.6).
fn announce_next(reply: &mut Reply, keys: &[SigningKey], signer: &SigningKey, now: Timestamp) {
    let next = keys
        .iter()
        .filter(|key| key.from > signer.from && key.public.not_after > now)
        .min_by_key(|key| key.from);
    let changes = next.map(|next| next.from.min(signer.public.not_after));
    let soon = changes.is_some_and(|at| at.duration_since(now) <= jiff::SignedDuration::from_hours(30 * 24));
    if let (Reply::Set(set), true, Some(next)) = (reply, soon, next) {
        set.next_pubkey_hash = Some(next.public.hash());
    }
}

fn sign(reply: &Reply, key: &SigningKey) -> anyhow::Result<Vec<u8>> {
    reply.to_signed(|document| key.sign(document).map_err(Unsigned)).map_err(|Unsigned(error)| error)
}

/// A key that nobody pinned.
fn stranger(data: &Path, now: Timestamp) -> anyhow::Result<SigningKey> {
    let directory = data.join("keys-of-a-stranger");
    match keys::all(&directory)?.pop() {
        Some(key) => Ok(key),
        None => keys::add(&directory, now, now + jiff::SignedDuration::from_hours(24 * 365)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use jiff::SignedDuration;
    use paramant_licensing::online::capability::Tier;
    use paramant_licensing::online::keys::LicensingKeys;
    use paramant_licensing::online::reply::{RefusalCause, Rejected, accept};
    use paramant_licensing::online::telemetry::Telemetry;

    use super::*;
    use crate::decide::{Standing, usual};

    struct World {
        authority: Authority,
        key: OnlineKey,
        pinned: LicensingKeys,
        _directory: tempfile::TempDir,
    }

    fn world() -> World {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path()).unwrap();
        let now = Timestamp::now();
        let signer = keys::add(&authority.keys(), now, now + SignedDuration::from_hours(24 * 100)).unwrap();
        let key = authority.book.sell("Acme", &usual(Tier::Pro), now).unwrap();
        World { authority, key, pinned: LicensingKeys::of([signer.public]), _directory: directory }
    }

    fn request(key: &OnlineKey, nonce: u8) -> Vec<u8> {
        CheckIn::new(key, &"aa".repeat(32), "0.1.0", [nonce; 16], Telemetry::off()).to_bytes().unwrap()
    }

    #[test]
    fn a_relay_accepts_what_it_answers_and_the_record_shows_it() {
        let world = world();
        let asked = request(&world.key, 1);
        let answer = world.authority.answer(&asked, None).unwrap();
        let reply = accept(&answer.body, Some(answer.status), &asked, &world.pinned, 0).unwrap();
        assert_eq!(reply.get().set().unwrap().capabilities.max_users, 50);
        world
            .authority
            .book
            .change(&world.key, "revoked", Timestamp::now(), |it| it.standing = Standing::Revoked)
            .unwrap();
        let answer = world.authority.answer(&request(&world.key, 2), None).unwrap();
        let reply =
            accept(&answer.body, Some(410), &request(&world.key, 2), &world.pinned, reply.get().sequence())
                .unwrap();
        assert!(matches!(reply.get(), Reply::Refusal(refusal) if refusal.error == RefusalCause::Revoked));
        let record = world.authority.book.record().unwrap();
        let what: Vec<(&str, Option<u16>)> =
            record.iter().map(|row| (row.what.as_str(), row.status)).collect();
        assert_eq!(
            what,
            [("sold", None), ("check_in", Some(200)), ("revoked", None), ("check_in", Some(410))]
        );
        let digest = paramant_licensing::online::request::digest(&asked);
        assert_eq!(record[1].request.as_deref(), Some(digest.as_str()));
        assert!(matches!(world.authority.answer(b"{}", None), Err(NoAnswer::Request(_))));
        assert_eq!(world.authority.book.record().unwrap().len(), 4, "what is no request is not recorded");
    }

    #[test]
    fn every_fault_is_one_that_relays_refuse() {
        let world = world();
        world.authority.answer(&request(&world.key, 1), None).unwrap();
        for (fault, expected) in [
            (Fault::Replay, Rejected::Echo("nonce")),
            (Fault::OldSequence, Rejected::Sequence),
            (Fault::OtherRelay, Rejected::Echo("relay_id")),
            (Fault::OtherKey, Rejected::Signature),
            (Fault::Altered, Rejected::Signature),
        ] {
            let asked = request(&world.key, 9);
            let answer = world.authority.answer(&asked, Some(fault)).unwrap();
            let found = accept(&answer.body, Some(answer.status), &asked, &world.pinned, 0).map(drop);
            assert_eq!(found, Err(expected), "{fault}");
        }
    }

    #[test]
    fn the_next_key_is_announced_and_then_signs() {
        let mut world = world();
        let later = |days: i64| Timestamp::now() + SignedDuration::from_hours(24 * days);
        let next = keys::add(&world.authority.keys(), later(90), later(400)).unwrap();
        let announced = |answer: &Answer| {
            let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            value["next_pubkey_hash"].as_str().map(str::to_owned)
        };
        // It signs from day 90 on, though the first could until day 100.
        for (days, expected) in
            [(59, None), (61, Some(next.public.hash())), (89, Some(next.public.hash())), (95, None)]
        {
            world.authority.wall = Arc::new(Wall(Box::new(move || later(days))));
            let asked = request(&world.key, 1);
            let answer = world.authority.answer(&asked, None).unwrap();
            assert_eq!(announced(&answer), expected, "after {days} days");
            let old = accept(&answer.body, Some(200), &asked, &world.pinned, 0);
            assert_eq!(old.is_ok(), days < 90, "after {days} days");
            let both = LicensingKeys::of([next.public.clone()]);
            assert_eq!(accept(&answer.body, Some(200), &asked, &both, 0).is_ok(), days > 90);
        }
    }
}

//! Licences, check-ins and remote actions against the vectors of `docs/spec/vectors`, which another program made from the specification.

#![allow(clippy::unwrap_used, clippy::panic)]

use jiff::Timestamp;
use paramant_licensing::actions::{Chain, Judged, Request, Silence, actor, judge};
use paramant_licensing::online::keys::{LicensingKey, LicensingKeys};
use paramant_licensing::online::reply::{Rejected, Reply, accept};
use paramant_licensing::online::request::{CheckIn, digest};
use paramant_licensing::{AcceptedKeys, OfflineError, OfflineLicense, UserCap, Verified};
use serde::Deserialize;
use serde::de::DeserializeOwned;

fn read<T: DeserializeOwned>(name: &str) -> T {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/vectors");
    serde_json::from_slice(&std::fs::read(format!("{folder}/{name}")).unwrap()).unwrap()
}

#[derive(Deserialize)]
struct Licences {
    public_key: String,
    another_public_key: String,
    vectors: Vec<Licence>,
    refused: Vec<RefusedLicence>,
}

#[derive(Deserialize)]
struct Licence {
    name: String,
    licence: String,
    max_keys: Option<u64>,
    issued_to: String,
    until: Timestamp,
    at: Timestamp,
    counts: bool,
}

#[derive(Deserialize)]
struct RefusedLicence {
    name: String,
    text: String,
}

fn accepted(public: &str) -> AcceptedKeys {
    AcceptedKeys::of([hex::decode(public).unwrap().try_into().unwrap()])
}

#[test]
fn licences() {
    let file: Licences = read("licences.json");
    let (keys, other) = (accepted(&file.public_key), accepted(&file.another_public_key));
    assert!(file.vectors.iter().any(|it| it.counts) && file.vectors.iter().any(|it| !it.counts));
    for it in file.vectors {
        let licence =
            OfflineLicense::verify(&it.licence, &keys).unwrap_or_else(|error| panic!("{}: {error}", it.name));
        assert_eq!(licence.cap(), it.max_keys.map_or(UserCap::Unlimited, UserCap::Users), "{}", it.name);
        assert_eq!(licence.terms().issued_to, it.issued_to, "{}", it.name);
        assert_eq!((licence.until(), licence.valid_at(it.at)), (it.until, it.counts), "{}", it.name);
        assert_eq!(OfflineLicense::verify(&it.licence, &other), Err(OfflineError::Signature), "{}", it.name);
    }
    assert!(file.refused.len() > 30);
    for it in file.refused {
        assert!(OfflineLicense::verify(&it.text, &keys).is_err(), "{} was accepted", it.name);
    }
}

#[derive(Deserialize)]
struct CheckIns {
    pinned: Vec<Pinned>,
    request: String,
    request_sha256: String,
    vectors: Vec<Accepted>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Pinned {
    public_key: String,
    not_after: Timestamp,
}

#[derive(Deserialize)]
struct Accepted {
    name: String,
    status: u16,
    last_sequence: u64,
    reply: String,
    sequence: u64,
    issued_at: Timestamp,
    max_users: Option<u64>,
    expires_at: Option<Timestamp>,
    serves_until: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Refused {
    name: String,
    status: u16,
    last_sequence: u64,
    reply: String,
}

fn pinned(file: &CheckIns) -> LicensingKeys {
    LicensingKeys::of(
        file.pinned
            .iter()
            .map(|it| LicensingKey { public: hex::decode(&it.public_key).unwrap(), not_after: it.not_after }),
    )
}

#[test]
fn the_request_is_what_the_specification_makes() {
    let file: CheckIns = read("check-ins.json");
    let request = CheckIn::parse(file.request.as_bytes()).unwrap();
    assert_eq!(request.to_bytes().unwrap(), file.request.as_bytes());
    assert_eq!(digest(file.request.as_bytes()), file.request_sha256);
}

#[test]
fn replies_that_count() {
    let file: CheckIns = read("check-ins.json");
    let keys = pinned(&file);
    let (mut sets, mut refusals) = (0, 0);
    for it in &file.vectors {
        let bytes = it.reply.as_bytes();
        let take = |keys, last| accept(bytes, Some(it.status), file.request.as_bytes(), keys, last);
        let verified = take(&keys, it.last_sequence).unwrap_or_else(|error| panic!("{}: {error}", it.name));
        let reply = verified.get();
        assert_eq!((reply.sequence(), reply.issued_at()), (it.sequence, it.issued_at), "{}", it.name);
        match reply {
            Reply::Set(set) => {
                sets += 1;
                assert_eq!(Some(set.capabilities.max_users), it.max_users, "{}", it.name);
                assert_eq!(Some(set.expires_at), it.expires_at, "{}", it.name);
                assert_eq!(Some(set.serves_until()), it.serves_until, "{}", it.name);
            }
            Reply::Refusal(_) => {
                refusals += 1;
                assert_eq!(it.max_users, None, "{}", it.name);
            }
        }
        // The same reply a second time, and to a relay that pins nothing.
        assert_eq!(take(&keys, it.sequence).err(), Some(Rejected::Sequence), "{}", it.name);
        assert_eq!(take(&LicensingKeys::default(), 0).err(), Some(Rejected::Signature), "{}", it.name);
    }
    assert!(sets > 5 && refusals == 3);
}

#[test]
fn replies_that_do_not() {
    let file: CheckIns = read("check-ins.json");
    let keys = pinned(&file);
    assert!(file.refused.len() > 40);
    for it in &file.refused {
        let taken =
            accept(it.reply.as_bytes(), Some(it.status), file.request.as_bytes(), &keys, it.last_sequence);
        assert!(taken.is_err(), "{} was accepted", it.name);
    }
}

#[derive(Deserialize)]
struct Actions {
    pinned: Pinned,
    relay_id: String,
    chain: Vec<String>,
    hashes: Vec<String>,
    silence: String,
    actors: Vec<Actor>,
    vectors: Vec<Action>,
}

#[derive(Deserialize)]
struct Actor {
    relay_id: String,
    id: String,
    actor: String,
    salt: String,
    commitment: String,
}

#[derive(Deserialize)]
struct Action {
    name: String,
    seen: usize,
    now: Timestamp,
    request: String,
    verdict: String,
}

fn hash(text: &str) -> [u8; 32] {
    hex::decode(text).unwrap().try_into().unwrap()
}

/// The word of the specification.
fn verdict(judged: &Judged) -> String {
    match judged {
        Judged::Unverifiable(_) => "unverifiable".to_owned(),
        Judged::Known => "known".to_owned(),
        Judged::Admitted(_) => "admitted".to_owned(),
        Judged::Refused { reason, .. } => serde_json::to_value(reason).unwrap().as_str().unwrap().to_owned(),
    }
}

#[test]
fn remote_actions() {
    let file: Actions = read("actions.json");
    let key = LicensingKey {
        public: hex::decode(&file.pinned.public_key).unwrap(),
        not_after: file.pinned.not_after,
    };
    let keys = LicensingKeys::of([key]);
    let id = |text: &str| Request::claimed(text.as_bytes()).unwrap().id;
    let place = |(hex, text): (&String, &String)| (hash(hex), id(text));
    let chain = |seen: usize| Chain::of(file.hashes.iter().zip(&file.chain).take(seen).map(place));
    for (place, (text, expected)) in file.chain.iter().zip(&file.hashes).enumerate() {
        let request = Verified::open_request(text.as_bytes(), &keys).unwrap();
        assert_eq!(hex::encode(request.hash()), *expected);
        let mut grown = chain(place);
        grown.take(&request);
        assert_eq!(grown, chain(place + 1));
    }
    let mut words: Vec<&str> = Vec::new();
    for it in &file.vectors {
        let judged = judge(it.request.as_bytes(), &file.relay_id, &chain(it.seen), &keys, it.now);
        assert_eq!(verdict(&judged), it.verdict, "{}", it.name);
        words.push(&it.verdict);
    }
    words.sort_unstable();
    words.dedup();
    let all =
        ["admitted", "expired", "fork", "gap", "known", "unknown_action", "unverifiable", "wrong_relay"];
    assert_eq!(words, all);
    let silence: Verified<Silence> = Verified::open_silence(file.silence.as_bytes(), &keys).unwrap();
    assert!(silence.get().fits(&file.relay_id, &chain(file.chain.len())));
    assert!(!silence.get().fits(&file.relay_id, &chain(file.chain.len() - 1)));
    for it in &file.actors {
        let commitment = actor::commit(&it.relay_id, &it.id, &it.actor, &hash(&it.salt)).unwrap();
        assert_eq!(hex::encode(commitment), it.commitment, "{}", it.actor);
    }
}

//! From the bytes of a reply, an air-gap answer or a request to what changes: no more than a licence, the four actions, a place in the
//! chain and two counters, and only what the signed bytes ask for in so many words.
//!
//! Each input is read as it came and signed anew with the pinned key, the requests in it too: what a thief of that key could send.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use paramant_licensing::actions::{Chain, Effect, Judged, Request, Silence, judge};
use paramant_licensing::logged::Logged;
use paramant_licensing::online::keys::{LicensingKey, LicensingKeys};
use paramant_licensing::online::reply::{MAX_ACTIONS, Rejected, Reply, accept};
use paramant_licensing::online::request::digest;
use paramant_licensing::verified::Verified;
use paramant_protocol::entry::body::{Document, VendorRequest};
use paramant_protocol::entry::{Body, Entry};
use paramant_protocol::leaf::sha256;
use paramant_protocol::{canonical, strict};
use paramant_tlog::keys::{Ed25519Key, MlDsa65Key, Seed, Signer as _};
use paramant_tlog::note::Note;
use paramant_tlog::tlog_proof::TlogProof;
use paramant_tlog::{Checkpoint, entry_leaf};
use serde_json::{Map, Value};

use crate::run::kept;
use crate::{Memory, Target, seeds};

pub(super) const REPLY: Target = Target {
    name: "reply",
    check: |input| examine(input, &REAL),
    // All are files: the chain begins with one of them.
    seeds: Vec::new,
    words: &[
        "\"kind\":\"support_key\"",
        "\"kind\":\"drain\"",
        "\"kind\":\"update_offer\"",
        "\"kind\":\"capability_set\"",
        "\"kind\":\"create_key\"",
        "\"admin_token\":\"x\",",
        "\"actions\":[",
        "\"max_seconds\":",
        "\"deadline_seconds\":null",
        "\"seq\":",
        "\"id\":\"00000000000000000000000000000001\"",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "\"tier\":\"enterprise\"",
        "\"status\":410",
        "{",
        "}",
        ",",
    ],
    memory: Memory { base: 512 * 1024, per_byte: 2048 },
};

const RELAY: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const FOUR: [&str; 4] = ["support_key", "update_offer", "drain", "capability_set"];
/// What a request says, and nothing else.
const REQUEST: [&str; 13] = [
    "actor_commitment",
    "details",
    "expires_at",
    "id",
    "issued_at",
    "kind",
    "prev",
    "reason",
    "relay_id",
    "role",
    "seq",
    "signature",
    "type",
];
/// What a reply says: a set or a refusal.
const SAID: [&str; 17] = [
    "actions",
    "capabilities",
    "error",
    "expires_at",
    "issued_at",
    "license_key",
    "next_check_in_seconds",
    "next_pubkey_hash",
    "nonce",
    "relay_id",
    "request_sha256",
    "sequence",
    "signature",
    "silence",
    "status",
    "tier",
    "version",
];
/// The last reply that counted.
const LAST: u64 = 3;
/// How long the policy lets a support key work.
const SUPPORT: i64 = 7200;

type Accepts = fn(&[u8], Option<u16>, &[u8], &LicensingKeys, u64) -> Result<Verified<Reply>, Rejected>;
type Judges = fn(&[u8], &str, &Chain, &LicensingKeys, Timestamp) -> Judged;

/// The functions under test; the proof that the check sees something brings others.
struct Readers {
    accept: Accepts,
    judge: Judges,
}

const REAL: Readers = Readers { accept, judge };

struct World {
    signer: MlDsa65Key,
    keys: LicensingKeys,
    log: Ed25519Key,
    asked: Vec<u8>,
    /// The request that took the first place.
    first: (Chain, String),
}

static WORLD: LazyLock<World> = LazyLock::new(|| kept(World::new));

fn now() -> Timestamp {
    "2027-01-01T12:00:00Z".parse().expect("a time")
}

impl World {
    fn new() -> Self {
        let signer = MlDsa65Key::from_seed("vendor", &Seed::new([7; 32])).expect("a key");
        let public = signer.verifier().public_key().to_vec();
        let not_after = now() + SignedDuration::from_hours(24 * 365);
        let keys = LicensingKeys::of([LicensingKey { public, not_after }]);
        let log = Ed25519Key::from_seed("relay.example/log", &Seed::new([5; 32])).expect("a key");
        let seed = |name: &str| std::fs::read(seeds::folder(&REPLY).join(name)).expect("a seed");
        let (asked, first) = (seed("asked.json"), seed("first.json"));
        let first = Verified::open_request(&first, &keys).expect("the first of the chain");
        let mut chain = Chain::default();
        chain.take(&first);
        Self { signer, keys, log, asked, first: (chain, first.get().id.clone()) }
    }

    fn sign(&self, fields: &mut Map<String, Value>) {
        fields.remove("signature");
        let Ok(message) = canonical::value_to_vec(&Value::Object(fields.clone())) else { return };
        let signature = BASE64_STANDARD.encode(self.signer.sign_document(&message).expect("a signature"));
        fields.insert("signature".to_owned(), signature.into());
    }

    /// The document with signatures of the pinned key, inside and out.
    fn signed(&self, input: &[u8]) -> Option<Vec<u8>> {
        let mut fields = strict::object(input).ok()?;
        for name in ["actions", "silence"] {
            let documents = match fields.get_mut(name) {
                Some(Value::Array(actions)) => actions.iter_mut().take(2).collect(),
                Some(one) => vec![one],
                None => Vec::new(),
            };
            for document in documents.into_iter().filter_map(Value::as_object_mut) {
                self.sign(document);
            }
        }
        self.sign(&mut fields);
        canonical::value_to_vec(&Value::Object(fields)).ok()
    }

    fn is_signed(&self, mut fields: Map<String, Value>) -> bool {
        let signature = fields.remove("signature").and_then(|it| BASE64_STANDARD.decode(it.as_str()?).ok());
        let message = canonical::value_to_vec(&Value::Object(fields)).expect("it was read");
        signature.is_some_and(|signature| self.keys.signer(&message, &signature).is_some())
    }

    /// With a log of this one entry.
    fn logged(&self, request: Verified<Request>) -> Logged<Verified<Request>> {
        let document = Document::parse(request.bytes()).expect("what was verified is a document");
        let body = Body::VendorRequest(VendorRequest { request: document });
        let entry = Entry::with_body(body, now()).expect("every request fits into an entry").into_bytes();
        let text = Checkpoint::new("relay.example/log", 1, entry_leaf(&entry)).to_text();
        let checkpoint = Note::sign(&text, &[&self.log], 0).expect("a note").to_text();
        let proof = TlogProof { extra: Some(entry), index: 0, path: Vec::new(), checkpoint };
        Logged::prove(request, &[0; 32], &proof, &[self.log.verifier().clone()]).expect("the log holds it")
    }
}

/// Everything that bytes of a vendor may change, and how it stands.
#[derive(Clone, Default)]
struct State {
    cells: BTreeMap<&'static str, String>,
    chain: Chain,
    ids: Vec<String>,
}

impl State {
    fn new(world: &World) -> Self {
        let (chain, id) = world.first.clone();
        Self { chain, ids: vec![id], cells: BTreeMap::new() }
    }

    fn count(&mut self, cell: &'static str) {
        self.cells.entry(cell).or_default().push('+');
    }

    fn changed(&self, before: &Self) -> Vec<&'static str> {
        let mut names: Vec<&str> = self.cells.keys().copied().collect();
        names.retain(|name| self.cells.get(name) != before.cells.get(name));
        names.extend((self.chain != before.chain).then_some("chain"));
        names
    }
}

fn examine(input: &[u8], readers: &Readers) {
    let world = &*WORLD;
    for bytes in [Some(input.to_vec()), world.signed(input)].into_iter().flatten() {
        reply(&bytes, world, readers);
        asks(&bytes, &mut State::new(world), world, readers);
    }
}

/// Reads bytes as a reply, in an answer or carried in by hand.
fn reply(bytes: &[u8], world: &World, readers: &Readers) {
    let Ok(verified) = (readers.accept)(bytes, None, &world.asked, &world.keys, LAST) else { return };
    let fields = strict::object(bytes).expect("what counts is strict JSON");
    assert!(world.is_signed(fields.clone()), "nobody signed this");
    let beyond: Vec<_> = fields.keys().filter(|name| !SAID.contains(&name.as_str())).collect();
    assert!(beyond.is_empty(), "a reply brings {beyond:?}");
    let asked = strict::object(&world.asked).expect("a request");
    for name in ["license_key", "relay_id", "nonce"] {
        assert_eq!(fields.get(name), asked.get(name), "an answer to another request counts");
    }
    assert_eq!(fields["request_sha256"], digest(&world.asked), "an answer to another request counts");
    assert!(fields["sequence"].as_u64().is_some_and(|sequence| sequence > LAST), "an old answer counts");
    match verified.get() {
        Reply::Set(set) => {
            let granted = serde_json::to_value(&set.capabilities).expect("JSON");
            for (name, value) in granted.as_object().into_iter().flatten() {
                let said = &fields["capabilities"][name];
                assert!(said == value || name == "addons_allowed", "{name} is {said}, {value} is granted");
            }
            assert!(set.expires_at > set.issued_at, "a set that is over before it began");
        }
        Reply::Refusal(refusal) => assert_eq!(fields["status"], refusal.error.status()),
    }
    let actions = verified.get().actions();
    assert!(actions.len() <= MAX_ACTIONS, "{} requests in one reply", actions.len());
    let mut state = State::new(world);
    for action in actions {
        asks(&action, &mut state, world, readers);
    }
    if let Some(silence) = verified.get().silence()
        && let Ok(silence) = Verified::<Silence>::open_silence(&silence, &world.keys)
    {
        let fields = strict::object(silence.bytes()).expect("a statement is strict JSON");
        assert!(fields.len() == 6 && world.is_signed(fields), "nobody claimed this");
    }
}

/// Reads bytes as a request, carries it out if it may be, and compares what changed with what it asks for.
fn asks(bytes: &[u8], state: &mut State, world: &World, readers: &Readers) {
    let before = state.clone();
    let judged = (readers.judge)(bytes, RELAY, &state.chain, &world.keys, now());
    let allowed: &[&str] = match judged {
        Judged::Unverifiable(_) => {
            state.count("unverifiable");
            &["unverifiable"]
        }
        Judged::Known => &[],
        Judged::Refused { request, takes_place, .. } => {
            state.count("refused");
            if takes_place {
                state.chain.take(&request);
                state.ids.push(request.get().id.clone());
            }
            let fields = strict::object(bytes).expect("what is logged is strict JSON");
            assert!(world.is_signed(fields), "nobody signed this, and it would be logged");
            if takes_place { &["refused", "chain"] } else { &["refused"] }
        }
        Judged::Admitted(request) => {
            let fields = strict::object(bytes).expect("what is admitted is strict JSON");
            may_count(&fields, &before, world);
            state.chain.take(&request);
            state.ids.push(request.get().id.clone());
            let effect = Effect::of(world.logged(request), now(), SUPPORT.unsigned_abs());
            state.cells.extend(effect.map(|effect| carried_out(&effect, &fields["details"])));
            let kind = fields["kind"].as_str().unwrap_or_default();
            let at = FOUR.iter().position(|it| *it == kind).expect("none of the four is carried out");
            &[[FOUR[0], "chain"], [FOUR[1], "chain"], [FOUR[2], "chain"], [FOUR[3], "chain"]][at]
        }
    };
    let changed = state.changed(&before);
    assert!(changed.iter().all(|name| allowed.contains(name)), "{changed:?} changed, {allowed:?} may");
}

/// Whether a request may have an effect, by its bytes and the specification alone.
fn may_count(fields: &Map<String, Value>, before: &State, world: &World) {
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    assert_eq!(names, REQUEST, "a request says something else");
    assert!(world.is_signed(fields.clone()), "nobody signed this");
    assert_eq!(fields["relay_id"], RELAY, "another relay's");
    assert_eq!(fields["seq"], before.chain.seq() + 1, "not the next");
    assert_eq!(fields["prev"], hex::encode(before.chain.head()), "it follows another");
    let text = |name: &str| fields[name].as_str().unwrap_or_default();
    assert!(FOUR.contains(&text("kind")), "{} is none of the four", text("kind"));
    assert!(!before.ids.iter().any(|id| id == text("id")), "an id that was answered");
    assert!(text("expires_at").parse::<Timestamp>().is_ok_and(|at| at > now()), "it is over");
}

/// The cell that an effect fills: with what its request asks for, and no more.
fn carried_out(effect: &Effect, details: &Value) -> (&'static str, String) {
    let lasts = |until: Timestamp| until.duration_since(now()).as_secs();
    match effect {
        Effect::Support(support) => {
            assert_eq!(details["key_sha256"], hex::encode(support.key_sha256()));
            let most = details["max_seconds"].as_i64().unwrap_or_default().min(SUPPORT);
            assert!((0..=most).contains(&lasts(support.until())), "a support key for {}", support.until());
        }
        Effect::Offer(offered) => {
            assert_eq!(serde_json::to_value(offered.offer()).ok().as_ref(), Some(details));
        }
        Effect::Drain(draining) => {
            let left = draining.left(now());
            assert!(left.is_none() || details["enabled"] == true, "an end that goes on");
            assert!(left.is_none_or(|left| left.as_secs() <= 7 * 24 * 3600), "a drain for {left:?}");
        }
        Effect::Capability(terms) => assert_eq!(details["set_sha256"], hex::encode(terms.set_sha256())),
    }
    let cell = match effect {
        Effect::Support(_) => FOUR[0],
        Effect::Offer(_) => FOUR[1],
        Effect::Drain(_) => FOUR[2],
        Effect::Capability(_) => FOUR[3],
    };
    (cell, format!("{:?}", sha256(format!("{effect:?}").as_bytes())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::run;

    const ANY_RELAY: Readers = Readers {
        accept,
        judge: |bytes, relay, chain, keys, now| {
            let claimed = Request::claimed(bytes).map_or(relay.to_owned(), |it| it.relay_id);
            judge(bytes, &claimed, chain, keys, now)
        },
    };
    const NO_TIME: Readers = Readers {
        accept,
        judge: |bytes, relay, chain, keys, _| judge(bytes, relay, chain, keys, Timestamp::MIN),
    };
    const ANY_ANSWER: Readers = Readers { accept: |bytes, _, _, keys, _| Verified::open(bytes, keys), judge };

    fn with(check: fn(&[u8])) -> Target {
        Target { check, ..REPLY }
    }

    #[test]
    fn a_relay_that_does_not_look_closely_is_found_out() {
        for (target, words) in [
            (with(|input| examine(input, &ANY_RELAY)), "another relay's"),
            (with(|input| examine(input, &NO_TIME)), "it is over"),
            (with(|input| examine(input, &ANY_ANSWER)), "answer"),
        ] {
            let broken = run::short(&target).unwrap_err();
            assert!(broken.why.contains(words), "{}", broken.why);
        }
    }

    #[test]
    fn the_seeds_bring_about_each_of_the_four() {
        let world = &*WORLD;
        let mut seen = std::collections::BTreeSet::new();
        for seed in seeds::of(&REPLY) {
            if let Judged::Admitted(request) = judge(&seed, RELAY, &world.first.0, &world.keys, now()) {
                seen.insert(request.get().ask.kind().to_owned());
            }
            let answers = accept(&seed, None, &world.asked, &world.keys, LAST);
            seen.extend(
                answers.ok().map(|it| if it.get().set().is_some() { "set" } else { "refusal" }.to_owned()),
            );
        }
        assert_eq!(
            seen.into_iter().collect::<Vec<_>>(),
            ["capability_set", "drain", "refusal", "set", "support_key", "update_offer"]
        );
    }
}

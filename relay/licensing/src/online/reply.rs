//! Replies: a capability set or a refusal, signed with ML-DSA-65 over the canonical JSON of everything but the signature.
//!
//! [`accept`] checks in the order of protocol §3.3: status, size, form, signature, echoes, sequence. The signature is verified before
//! anything of the document is believed. A reason never quotes the reply.

use std::fmt;

use jiff::Timestamp;
use paramant_protocol::leaf::{Hash, sha256};
use paramant_protocol::{canonical, strict};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::capability::{CAPABILITIES, Capabilities, Tier};
use super::keys::LicensingKeys;
use super::request::{self, CheckIn};
use super::{MAX_REPLY, OnlineKey};
use crate::offline::utc;
use crate::signed::{self, Unopened};
use crate::verified::Verified;

/// The last verified set goes on for so long after it was issued (trust page L7).
pub const GRACE: jiff::SignedDuration = jiff::SignedDuration::from_hours(7 * 24);

/// Requests that one reply carries at most: with their signatures they fill it.
pub const MAX_ACTIONS: usize = 8;

fn few<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Value>, D::Error> {
    let actions = Vec::deserialize(deserializer)?;
    if actions.len() > MAX_ACTIONS { Err(serde::de::Error::custom("too many actions")) } else { Ok(actions) }
}

/// A capability set (protocol §3.3), with the sequence and the echo of our request.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapabilitySet {
    /// When the authority made it.
    #[serde(deserialize_with = "utc")]
    pub issued_at: Timestamp,
    /// Until when it is more than the last word of an authority that is away.
    #[serde(deserialize_with = "utc")]
    pub expires_at: Timestamp,
    /// Echo.
    pub license_key: String,
    /// Echo.
    pub relay_id: String,
    /// Echo.
    pub nonce: String,
    /// Echo: lower-case hex SHA-256 of the request's bytes.
    pub request_sha256: String,
    /// Counts up with each reply to one relay.
    pub sequence: u64,
    /// What was bought.
    pub tier: Tier,
    /// What it grants.
    pub capabilities: Capabilities,
    /// When to ask again, in seconds.
    pub next_check_in_seconds: u64,
    /// SHA3-256 of the key that will sign next, from 30 days before this one ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_pubkey_hash: Option<String>,
    /// Signed requests of the vendor, the oldest first, as they are ([`crate::actions`]). Each is judged by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "few")]
    pub actions: Vec<Value>,
    /// The vendor's silence statement, as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Value>,
}

impl CapabilitySet {
    /// How long it serves when nothing newer comes.
    pub fn serves_until(&self) -> Timestamp {
        self.issued_at.checked_add(GRACE).map_or(self.expires_at, |grace| grace.max(self.expires_at))
    }
}

/// Why an authority grants nothing (protocol §3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCause {
    /// 402: a payment is missing.
    PaymentFailed,
    /// 404: the key is not known.
    UnknownKey,
    /// 410: the key was revoked; it is not asked about again.
    Revoked,
}

impl RefusalCause {
    /// As `error` says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::PaymentFailed => "payment_failed",
            Self::UnknownKey => "unknown_key",
            Self::Revoked => "revoked",
        }
    }

    /// The status it comes with.
    pub fn status(self) -> u16 {
        match self {
            Self::PaymentFailed => 402,
            Self::UnknownKey => 404,
            Self::Revoked => 410,
        }
    }
}

/// A signed refusal.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// As the answer's status.
    pub status: u16,
    /// Why.
    pub error: RefusalCause,
    /// When the authority made it.
    #[serde(deserialize_with = "utc")]
    pub issued_at: Timestamp,
    /// Echo.
    pub license_key: String,
    /// Echo.
    pub relay_id: String,
    /// Echo.
    pub nonce: String,
    /// Echo.
    pub request_sha256: String,
    /// Counts up with each reply to one relay.
    pub sequence: u64,
    /// Signed requests of the vendor, the oldest first, as they are ([`crate::actions`]). Each is judged by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "few")]
    pub actions: Vec<Value>,
    /// The vendor's silence statement, as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Value>,
}

// Both echo the licence key, which is never printed.
impl fmt::Debug for CapabilitySet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CapabilitySet({}, {:?}, {:?})", self.sequence, self.tier, self.capabilities)
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Refusal({}, {:?})", self.sequence, self.error)
    }
}

/// What an authority may answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A set.
    Set(CapabilitySet),
    /// None.
    Refusal(Refusal),
}

/// Why a reply does not count. It is treated as an outage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Longer than is read.
    #[error("the reply has more than {MAX_REPLY} bytes")]
    TooLong,
    /// Not strict JSON, or other fields than a reply has.
    #[error("the reply is not of the form that replies have")]
    Form,
    /// No pinned key signed it.
    #[error("the reply is not signed by a pinned licensing key")]
    Signature,
    /// The key that signed it must not sign any more.
    #[error("the reply is signed by a licensing key that ended before")]
    KeyEnded,
    /// A refusal that came with another status than it names, or a set with any but 200.
    #[error("the reply's status is not that of its document")]
    Status,
    /// For another request, another relay or another licence.
    #[error("the reply does not answer this relay's request: its {0} is another")]
    Echo(&'static str),
    /// Seen before, or older than what was accepted.
    #[error("the reply is older than the last one accepted")]
    Sequence,
    /// Its times contradict each other.
    #[error("the reply ends before it was issued")]
    Times,
}

impl Reply {
    /// When it was made.
    pub fn issued_at(&self) -> Timestamp {
        match self {
            Self::Set(set) => set.issued_at,
            Self::Refusal(refusal) => refusal.issued_at,
        }
    }

    /// Its place among the replies to one relay.
    pub fn sequence(&self) -> u64 {
        match self {
            Self::Set(set) => set.sequence,
            Self::Refusal(refusal) => refusal.sequence,
        }
    }

    /// The set, unless it is a refusal.
    pub fn set(&self) -> Option<&CapabilitySet> {
        match self {
            Self::Set(set) => Some(set),
            Self::Refusal(_) => None,
        }
    }

    /// Whether it was given to this key.
    pub fn is_to(&self, key: &OnlineKey) -> bool {
        let [_, license_key, ..] = self.echoes();
        license_key == key.expose()
    }

    /// SHA-256 of the key it was given to.
    pub fn key_digest(&self) -> Hash {
        let [_, license_key, ..] = self.echoes();
        sha256(license_key.as_bytes())
    }

    /// Whether it was given to this relay.
    pub fn is_for(&self, relay_id: &str) -> bool {
        let [relay, ..] = self.echoes();
        relay == relay_id
    }

    /// The requests it carries, each in its canonical form: the bytes that its signature and its place in the chain are over.
    pub fn actions(&self) -> Vec<Vec<u8>> {
        let actions = match self {
            Self::Set(set) => &set.actions,
            Self::Refusal(refusal) => &refusal.actions,
        };
        actions.iter().filter_map(|action| canonical::value_to_vec(action).ok()).collect()
    }

    /// The silence statement it carries, likewise.
    pub fn silence(&self) -> Option<Vec<u8>> {
        let silence = match self {
            Self::Set(set) => &set.silence,
            Self::Refusal(refusal) => &refusal.silence,
        };
        canonical::value_to_vec(silence.as_ref()?).ok()
    }

    fn echoes(&self) -> [&str; 4] {
        let (relay, key, nonce, request) = match self {
            Self::Set(it) => (&it.relay_id, &it.license_key, &it.nonce, &it.request_sha256),
            Self::Refusal(it) => (&it.relay_id, &it.license_key, &it.nonce, &it.request_sha256),
        };
        [relay, key, nonce, request]
    }

    /// The bytes of the signed document. The only place that signs one: the authority and tests call it.
    ///
    /// # Errors
    /// What `sign` says, or a number without a canonical form.
    pub fn to_signed<E: From<canonical::CanonicalError>>(
        &self,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        let value = match self {
            Self::Set(set) => serde_json::to_value(set),
            Self::Refusal(refusal) => serde_json::to_value(refusal),
        };
        signed::sign(value.map_err(canonical::CanonicalError::from)?, sign)
    }
}

impl From<Unopened> for Rejected {
    fn from(why: Unopened) -> Self {
        match why {
            Unopened::TooLong => Self::TooLong,
            Unopened::Json | Unopened::Unsigned => Self::Form,
            Unopened::Signature => Self::Signature,
        }
    }
}

/// SHA-256 of the canonical JSON of `tier` and `capabilities`: what a request for a capability change names.
///
/// # Errors
/// When they hold a number without a canonical form.
pub fn terms(tier: &Value, capabilities: &Value) -> Result<Hash, canonical::CanonicalError> {
    let terms = serde_json::json!({ "capabilities": capabilities, "tier": tier });
    canonical::value_to_vec(&terms).map(|bytes| sha256(&bytes))
}

impl Verified<Reply> {
    /// The [`terms`] of a set, with what this release does not know of them.
    pub fn terms(&self) -> Option<Hash> {
        self.get().set()?;
        let fields: Map<String, Value> = strict::object(self.bytes()).ok()?;
        terms(fields.get("tier")?, fields.get("capabilities")?).ok()
    }

    /// Checks form and signature: what a reply needs whenever it is read, also from where it was kept.
    pub fn open(bytes: &[u8], keys: &LicensingKeys) -> Result<Self, Rejected> {
        let (fields, not_after) = signed::open(bytes, MAX_REPLY, keys)?;
        let reply = read(Value::Object(fields))?;
        if reply.issued_at() > not_after {
            return Err(Rejected::KeyEnded);
        }
        if reply.set().is_some_and(|set| set.expires_at <= set.issued_at) {
            return Err(Rejected::Times);
        }
        Ok(Self::checked(reply, bytes.to_vec()))
    }
}

/// Checks a reply to `request` in full. `status` is absent when the reply was carried in by hand.
///
/// A reply that answers our nonce may come from any time: the clock may be what is wrong (licensing.md, "two clocks").
pub fn accept(
    bytes: &[u8],
    status: Option<u16>,
    request: &[u8],
    keys: &LicensingKeys,
    last_sequence: u64,
) -> Result<Verified<Reply>, Rejected> {
    let verified = Verified::open(bytes, keys)?;
    let reply = verified.get();
    let expected = match reply {
        Reply::Set(_) => 200,
        Reply::Refusal(refusal) => refusal.status,
    };
    if status.is_some_and(|status| status != expected) {
        return Err(Rejected::Status);
    }
    let asked = CheckIn::parse(request).map_err(|_| Rejected::Echo("request"))?;
    let digest = request::digest(request);
    let sent = [&asked.relay_id, &asked.license_key, &asked.nonce, &digest];
    let names = ["relay_id", "license_key", "nonce", "request_sha256"];
    for ((echo, sent), name) in reply.echoes().into_iter().zip(sent).zip(names) {
        if echo != sent {
            return Err(Rejected::Echo(name));
        }
    }
    if reply.sequence() <= last_sequence {
        return Err(Rejected::Sequence);
    }
    Ok(verified)
}

fn read(document: Value) -> Result<Reply, Rejected> {
    let form = |_| Rejected::Form;
    if document.get("status").is_none() {
        return Ok(Reply::Set(serde_json::from_value(document).map_err(form)?));
    }
    let refusal: Refusal = serde_json::from_value(document).map_err(form)?;
    if refusal.status != refusal.error.status() {
        return Err(Rejected::Status);
    }
    Ok(Reply::Refusal(refusal))
}

/// How many capabilities of a reply this release does not know.
pub fn unknown_capabilities(bytes: &[u8]) -> usize {
    let fields: Option<Map<String, Value>> = strict::object(bytes).ok();
    let capabilities = fields.as_ref().and_then(|fields| fields.get("capabilities")?.as_object());
    capabilities.map_or(0, |it| it.keys().filter(|key| !CAPABILITIES.contains(&key.as_str())).count())
}

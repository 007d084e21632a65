//! The signed request. Verified before it is read, strict in form, closed in structure: no text that a person would read.

use jiff::Timestamp;
use paramant_protocol::canonical::CanonicalError;
use paramant_protocol::leaf::{Hash, sha256};
use paramant_protocol::path::parse_hash;
use paramant_protocol::strict;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::offline::utc;
use crate::online::keys::LicensingKeys;
use crate::signed::{self, Unopened};
use crate::verified::Verified;

pub use paramant_protocol::entry::body::Role;

/// What `type` says.
const TYPE: &str = "paramant/action/v1";
/// The longest request that is read; a real one has some 5,400 bytes, nearly all of them signature. An entry of the log holds it.
pub const MAX_REQUEST: usize = 12 * 1024;
/// A support key works for a day at most (trust page R3).
pub const LONGEST_SUPPORT: u64 = 24 * 3600;
/// A shorter one helps nobody.
pub const SHORTEST_SUPPORT: u64 = 300;
/// Images that one offer recalls.
const MAX_RECALLED: usize = 16;
const MAX_VERSION: usize = 64;

/// A vendor's request to one relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Lower-case hex of the relay's fingerprint.
    pub relay_id: String,
    /// Its place in the relay's chain, from 1 on.
    pub seq: u64,
    /// SHA-256 of the request before it, zeros for the first.
    pub prev: Hash,
    /// 32 hex digits that no other request of this relay has.
    pub id: String,
    /// In which role somebody asks; the person is not shown.
    pub role: Role,
    /// Why.
    pub why: Why,
    /// When it was made.
    pub issued_at: Timestamp,
    /// Until when it may be acted upon.
    pub expires_at: Timestamp,
    /// Commits to the person ([`super::actor`]).
    pub actor_commitment: Hash,
    /// What is asked.
    pub ask: Ask,
}

/// The four, and what is none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Read-only diagnostics for a time.
    SupportKey {
        /// SHA-256(`paramant/support/v1` ‖ relay_id ‖ secret); the secret is the vendor's.
        key_sha256: Hash,
        /// For how long, counted from approval.
        max_seconds: u64,
    },
    /// An update is to be had. Never applied by itself.
    UpdateOffer(Box<Offer>),
    /// Refuse uploads, or take them again.
    Drain {
        /// Which.
        enabled: bool,
        /// The admin is asked to be done in so many seconds.
        deadline_seconds: Option<u64>,
    },
    /// The capability set in the same reply differs from the one before.
    CapabilitySet {
        /// SHA-256 of the canonical JSON of the set's `tier` and `capabilities`.
        set_sha256: Hash,
    },
    /// Anything else: refused, whatever a newer protocol may mean by it.
    Unknown(String),
}

/// What an offer says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The release.
    pub version: String,
    /// Its image.
    pub digest: String,
    /// Counts up with each offer.
    pub sequence: u64,
    /// Offers below this sequence are void from now on.
    pub floor: u64,
    /// Images that nobody should run any more.
    pub recalled: Vec<String>,
    /// SHA-256 of the release notes, which an admin may fetch elsewhere.
    pub notes_sha256: String,
}

/// Why somebody asks: a closed list, so that no text of a vendor reaches an admin as if it were the relay's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The customer asked for help.
    SupportCase,
    /// Planned work.
    Maintenance,
    /// A release is out.
    Release,
    /// A weakness is mended.
    Security,
    /// The contract changed.
    Contract,
    /// The vendor is compelled by law.
    LegalOrder,
}

/// Why bytes are no request that could be logged: counted and shown, never appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unverifiable {
    /// Longer than is read.
    #[error("it has more than {MAX_REQUEST} bytes")]
    TooLong,
    /// Not strict JSON, or without a canonical form.
    #[error("it is not strict JSON")]
    Json,
    /// No pinned key signed it, or one that had ended.
    #[error("it is not signed by a pinned licensing key")]
    Signature,
    /// Signed, but not of the form that requests have.
    #[error("it is signed, but not of the form that requests have")]
    Form,
}

/// All but kind, details and signature.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    #[serde(rename = "type")]
    type_: String,
    relay_id: String,
    seq: u64,
    prev: String,
    id: String,
    role: Role,
    reason: Why,
    #[serde(deserialize_with = "utc")]
    issued_at: Timestamp,
    #[serde(deserialize_with = "utc")]
    expires_at: Timestamp,
    actor_commitment: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SupportKey {
    key_sha256: String,
    max_seconds: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drain {
    enabled: bool,
    /// There, if only as `null`.
    #[serde(deserialize_with = "Option::deserialize")]
    deadline_seconds: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CapabilitySet {
    set_sha256: String,
}

impl Ask {
    /// `kind` of the request.
    pub fn kind(&self) -> &str {
        match self {
            Self::SupportKey { .. } => "support_key",
            Self::UpdateOffer(_) => "update_offer",
            Self::Drain { .. } => "drain",
            Self::CapabilitySet { .. } => "capability_set",
            Self::Unknown(kind) => kind,
        }
    }

    fn details(&self) -> Result<Value, serde_json::Error> {
        match self {
            Self::SupportKey { key_sha256, max_seconds } => serde_json::to_value(SupportKey {
                key_sha256: hex::encode(key_sha256),
                max_seconds: *max_seconds,
            }),
            Self::UpdateOffer(offer) => serde_json::to_value(offer),
            Self::Drain { enabled, deadline_seconds } => {
                serde_json::to_value(Drain { enabled: *enabled, deadline_seconds: *deadline_seconds })
            }
            Self::CapabilitySet { set_sha256 } => {
                serde_json::to_value(CapabilitySet { set_sha256: hex::encode(set_sha256) })
            }
            Self::Unknown(_) => Ok(Value::Object(Map::new())),
        }
    }

    /// `None`: one of the four, but not of its form.
    fn read(kind: String, details: Value) -> Option<Self> {
        match kind.as_str() {
            "support_key" => {
                let read: SupportKey = serde_json::from_value(details).ok()?;
                let fits = (SHORTEST_SUPPORT..=LONGEST_SUPPORT).contains(&read.max_seconds);
                let key_sha256 = parse_hash(&read.key_sha256)?;
                fits.then_some(Self::SupportKey { key_sha256, max_seconds: read.max_seconds })
            }
            "update_offer" => {
                let offer: Offer = serde_json::from_value(details).ok()?;
                let plain = |text: &str| {
                    !text.is_empty()
                        && text.len() <= MAX_VERSION
                        && text.bytes().all(|it| it.is_ascii_graphic())
                };
                let image = |text: &String| text.strip_prefix("sha256:").and_then(parse_hash).is_some();
                let fits = plain(&offer.version)
                    && image(&offer.digest)
                    && offer.recalled.len() <= MAX_RECALLED
                    && offer.recalled.iter().all(image)
                    && parse_hash(&offer.notes_sha256).is_some();
                fits.then(|| Self::UpdateOffer(Box::new(offer)))
            }
            "drain" => {
                let Drain { enabled, deadline_seconds } = serde_json::from_value(details).ok()?;
                Some(Self::Drain { enabled, deadline_seconds })
            }
            "capability_set" => {
                let read: CapabilitySet = serde_json::from_value(details).ok()?;
                Some(Self::CapabilitySet { set_sha256: parse_hash(&read.set_sha256)? })
            }
            _ => {
                let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
                let word = !kind.is_empty() && kind.len() <= 32 && kind.bytes().all(plain);
                word.then_some(Self::Unknown(kind))
            }
        }
    }
}

impl Request {
    /// The bytes of the signed request: what a reply carries, what the log holds, and what the next one's `prev` is over. The only
    /// place that signs one: the authority and tests call it.
    ///
    /// # Errors
    /// What `sign` says, or a number without a canonical form.
    pub fn to_signed<E: From<CanonicalError>>(
        &self,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        let envelope = Envelope {
            type_: TYPE.to_owned(),
            relay_id: self.relay_id.clone(),
            seq: self.seq,
            prev: hex::encode(self.prev),
            id: self.id.clone(),
            role: self.role,
            reason: self.why,
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            actor_commitment: hex::encode(self.actor_commitment),
        };
        let mut value = serde_json::to_value(envelope).map_err(CanonicalError::from)?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("kind".to_owned(), self.ask.kind().into());
            fields.insert("details".to_owned(), self.ask.details().map_err(CanonicalError::from)?);
        }
        signed::sign(value, sign)
    }

    /// What a request says, whoever signed it: for auditors, who may have no key to hold it against. Nothing is acted upon by this
    /// reading: that takes a [`Verified`] one.
    ///
    /// # Errors
    /// [`Unverifiable`], but for the signature.
    pub fn claimed(bytes: &[u8]) -> Result<Self, Unverifiable> {
        Self::read(claimed(bytes)?)
    }

    /// The form, of the fields without the signature.
    fn read(mut fields: Map<String, Value>) -> Result<Self, Unverifiable> {
        let kind = fields.remove("kind");
        let details = fields.remove("details");
        let (Some(Value::String(kind)), Some(details @ Value::Object(_))) = (kind, details) else {
            return Err(Unverifiable::Form);
        };
        let form = |_| Unverifiable::Form;
        let envelope: Envelope = serde_json::from_value(Value::Object(fields)).map_err(form)?;
        let hash = |text: &str| parse_hash(text).ok_or(Unverifiable::Form);
        let id = envelope.id.len() == 32
            && envelope.id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let fits = envelope.type_ == TYPE
            && id
            && envelope.seq > 0
            && envelope.expires_at > envelope.issued_at
            && parse_hash(&envelope.relay_id).is_some();
        if !fits {
            return Err(Unverifiable::Form);
        }
        Ok(Self {
            prev: hash(&envelope.prev)?,
            actor_commitment: hash(&envelope.actor_commitment)?,
            ask: Ask::read(kind, details).ok_or(Unverifiable::Form)?,
            relay_id: envelope.relay_id,
            seq: envelope.seq,
            id: envelope.id,
            role: envelope.role,
            why: envelope.reason,
            issued_at: envelope.issued_at,
            expires_at: envelope.expires_at,
        })
    }
}

/// The fields of a signed document without its signature, which nobody has checked.
pub(super) fn claimed(bytes: &[u8]) -> Result<Map<String, Value>, Unverifiable> {
    if bytes.len() > MAX_REQUEST {
        return Err(Unverifiable::TooLong);
    }
    let mut fields = strict::object(bytes).map_err(|_| Unverifiable::Json)?;
    let signed = fields.remove("signature").is_some_and(|signature| signature.is_string());
    if signed { Ok(fields) } else { Err(Unverifiable::Signature) }
}

impl From<Unopened> for Unverifiable {
    fn from(why: Unopened) -> Self {
        match why {
            Unopened::TooLong => Self::TooLong,
            Unopened::Json => Self::Json,
            Unopened::Unsigned | Unopened::Signature => Self::Signature,
        }
    }
}

impl Verified<Request> {
    /// Checks size, strict JSON, signature and form, in this order.
    ///
    /// # Errors
    /// [`Unverifiable`].
    pub fn open_request(bytes: &[u8], keys: &LicensingKeys) -> Result<Self, Unverifiable> {
        let (fields, not_after) = signed::open(bytes, MAX_REQUEST, keys)?;
        let request = Request::read(fields)?;
        if request.issued_at > not_after {
            return Err(Unverifiable::Signature);
        }
        Ok(Self::checked(request, bytes.to_vec()))
    }

    /// What the next request's `prev` must be.
    pub fn hash(&self) -> Hash {
        sha256(self.bytes())
    }
}

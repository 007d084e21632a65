//! Entries of the relay's log: canonical JSON `{"b":…,"k":kind,"l":leaf hex,"t":hour}`, at most 16 KiB.
//!
//! `l` is the leaf in the published SHA3-256 tree. A `transfer` has no body and its leaf's preimage stays private; every
//! other kind's leaf is recomputed from kind, body and hour, so an auditor needs nothing but the entry. [`Entry::parse`]
//! accepts exactly the bytes that [`Entry::transfer`] and [`Entry::with_body`] can make: what one reader would see another
//! way is refused.

pub mod body;
mod peek;
mod reader;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

pub use body::{Body, Kind};
pub use peek::peek;
pub use reader::{EntryReader, Read};

use crate::canonical::{self, CanonicalError};
use crate::leaf::{self, Hash};
use crate::{moment, path, strict};

/// The longest entry: C2SP bundles hold 16-bit lengths, and an ML-DSA-65 signature in base64 needs 4,412 bytes.
pub const MAX_ENTRY: usize = 16 * 1024;

/// One entry, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    kind: Kind,
    leaf: Hash,
    hour: String,
    body: Option<Body>,
    bytes: Vec<u8>,
}

/// Why an entry cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// More than [`MAX_ENTRY`] bytes.
    #[error("the entry has {0} bytes; at most {MAX_ENTRY} are allowed")]
    TooLong(usize),
    /// Not JSON, duplicate keys, or fractions.
    #[error(transparent)]
    Json(#[from] strict::StrictError),
    /// Not an object of `b`, `k`, `l`, `t`.
    #[error("the entry does not have the expected fields: {0}")]
    Shape(String),
    /// JSON, but not in canonical form.
    #[error("the entry is not in canonical form")]
    NotCanonical,
    /// A kind this version does not know.
    #[error("unknown entry kind {0:?}: a newer auditor may know it")]
    UnknownKind(String),
    /// `t` is not a whole hour in the fixed form.
    #[error("the entry's time {0:?} is not a whole hour in the form 2026-01-02T03:00:00.000Z")]
    Time(String),
    /// `l` is not 64 lower-case hex digits.
    #[error("the entry's leaf is not 64 lower-case hex digits")]
    Leaf,
    /// A body where none belongs, or none where one belongs, or another shape.
    #[error("the body of a {kind} entry is wrong: {reason}")]
    Body {
        /// The entry's kind.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// `l` is not the leaf of kind, body and hour.
    #[error("the leaf of this {kind} entry is {found}; its kind, body and hour give {expected}")]
    LeafMismatch {
        /// The entry's kind.
        kind: &'static str,
        /// The recomputed leaf.
        expected: String,
        /// The leaf in the entry.
        found: String,
    },
    /// The body cannot be written.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default, deserialize_with = "present")]
    b: Option<Value>,
    k: String,
    l: String,
    t: String,
}

/// `"b":null` is a body that is null, not a body that is absent.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Entry {
    /// The entry of a transfer. `leaf` comes from [`leaf::transfer_leaf`] over the exact time; only the hour of `at` shows.
    pub fn transfer(leaf: Hash, at: Timestamp) -> Self {
        let hour = moment::hour(at);
        // Canonical as it stands: sorted keys, ASCII without escapes. A test holds it against the canonical writer.
        let bytes = format!(r#"{{"k":"transfer","l":"{}","t":"{hour}"}}"#, hex::encode(leaf)).into_bytes();
        Self { kind: Kind::Transfer, leaf, hour, body: None, bytes }
    }

    /// An entry with a body.
    pub fn with_body(body: Body, at: Timestamp) -> Result<Self, EntryError> {
        body.check()?;
        let (kind, hour) = (body.kind(), moment::hour(at));
        let value = body.to_value()?;
        let leaf = leaf::body_leaf(kind.name(), &value, &hour)?;
        let document = serde_json::json!({"b": value, "k": kind.name(), "l": hex::encode(leaf), "t": hour});
        let bytes = canonical::value_to_vec(&document)?;
        if bytes.len() > MAX_ENTRY {
            return Err(EntryError::TooLong(bytes.len()));
        }
        Ok(Self { kind, leaf, hour, body: Some(body), bytes })
    }

    /// Reads an entry and checks everything that can be checked without the transfer's preimage.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > MAX_ENTRY {
            return Err(EntryError::TooLong(bytes.len()));
        }
        if let Some(entry) = Self::parse_transfer(bytes) {
            return Ok(entry);
        }
        let value = strict::value(bytes)?;
        if canonical::value_to_vec(&value).map_or(true, |canonical| canonical != bytes) {
            return Err(EntryError::NotCanonical);
        }
        let fields: Fields =
            serde_json::from_value(value).map_err(|error| EntryError::Shape(error.to_string()))?;
        let kind = Kind::parse(&fields.k).ok_or(EntryError::UnknownKind(fields.k))?;
        if !moment::is_hour(&fields.t) {
            return Err(EntryError::Time(fields.t));
        }
        let leaf = path::parse_hash(&fields.l).ok_or(EntryError::Leaf)?;
        let body = match fields.b {
            Some(value) => {
                let expected = leaf::body_leaf(kind.name(), &value, &fields.t)?;
                let body = Body::read(kind, &value)?;
                body.check()?;
                if expected != leaf {
                    return Err(EntryError::LeafMismatch {
                        kind: kind.name(),
                        expected: hex::encode(expected),
                        found: fields.l,
                    });
                }
                Some(body)
            }
            None if kind == Kind::Transfer => None,
            None => return Err(EntryError::Body { kind: kind.name(), reason: "it is missing".into() }),
        };
        Ok(Self { kind, leaf, hour: fields.t, body, bytes: bytes.to_vec() })
    }

    /// Reads a well-formed transfer, nearly all of a log, without a JSON reader. `None` for everything else, which then takes
    /// the long way to its entry or its error.
    fn parse_transfer(bytes: &[u8]) -> Option<Self> {
        let (leaf, hour) = reader::transfer(bytes)?;
        if !moment::is_hour(hour) {
            return None;
        }
        Some(Self { kind: Kind::Transfer, leaf, hour: hour.to_owned(), body: None, bytes: bytes.to_vec() })
    }

    /// What it records.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// `l`: the leaf in the SHA3-256 tree.
    pub fn leaf(&self) -> Hash {
        self.leaf
    }

    /// `t`: the hour it was made in.
    pub fn hour(&self) -> &str {
        &self.hour
    }

    /// The body, for kinds that have one.
    pub fn body(&self) -> Option<&Body> {
        self.body.as_ref()
    }

    /// The canonical bytes, which are the SHA-256 tree's leaf data.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The canonical bytes, owned.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests;

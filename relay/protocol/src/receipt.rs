//! Delivery receipts: what a reader holds as proof that a transfer was logged and its view used (protocol §7).
//!
//! Built by the relay from [`Receipt`]; read by everyone through [`Document`], which keeps fields it does not know, since
//! the signature covers them. In the header the tree head travels without its signature and `sth_signature` is left out,
//! or Node's `fetch` would meet its 16 KiB limit and lose the blob.

pub mod verify;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use verify::{Invalid, Opened, verify};

use crate::canonical::{self, CanonicalError};
use crate::leaf::Hash;
use crate::path::{self, Step};
use crate::sth::{SignedSth, Sth};
use crate::strict;

/// The header's name, exactly as it must appear on the wire.
pub const HEADER: &str = "x-paramant-receipt";
/// All response headers together stay below this, or Node's `fetch` fails and the blob is lost.
pub const MAX_HEADERS: usize = 16 * 1024;
/// What the receipt itself may use of that.
pub const MAX_HEADER: usize = MAX_HEADERS - 2 * 1024;

/// A receipt as a relay makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// SHA-256 of the payload, hex.
    pub blob_hash: String,
    /// The exact time in the leaf.
    pub ts: String,
    /// Unix milliseconds.
    pub retrieved_at: i64,
    /// As in the leaf.
    pub sector: String,
    /// As in tree heads.
    pub relay_id: String,
    /// Entries in the log when it was read.
    pub tree_size_at_retrieval: u64,
    /// As of the upload.
    pub inclusion_proof: InclusionProof,
    /// This read removed the blob.
    pub burn_confirmed: bool,
    /// Opens the `transfer_claimed` entry of this read: its index, and the salt of its blinded id (our addition; the
    /// signature covers it, published verifiers pass it over).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Opening>,
    /// Base64 ML-DSA-65 by the relay identity over the canonical JSON of everything else.
    #[serde(default)]
    pub signature: Option<String>,
}

/// Opens a blinded id in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The entry.
    pub index: u64,
    /// The salt, hex.
    pub salt: String,
}

/// A proof that an entry is in the SHA3-256 tree, as the upload's answer and receipts carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InclusionProof {
    /// Hex.
    pub leaf_hash: String,
    /// The entry's index, which is the same in both trees.
    pub leaf_index: u64,
    /// The tree's size.
    pub tree_size: u64,
    /// Bottom-up.
    pub audit_path: Vec<Step>,
    /// Hex.
    pub root: String,
    /// The tree head at that size: signed in the upload's answer, unsigned in the header, null while nothing is signed.
    pub sth: Option<Head>,
    /// A second copy of the tree head's signature, null while nothing is signed; in the upload's answer only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sth_signature: Option<Option<String>>,
}

/// A tree head with or without its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Head {
    /// With.
    Signed(SignedSth),
    /// Without.
    Bare(Sth),
}

impl Head {
    /// The head alone.
    pub fn bare(&self) -> Sth {
        match self {
            Self::Signed(signed) => signed.head(),
            Self::Bare(head) => head.clone(),
        }
    }
}

impl InclusionProof {
    /// A proof from bare siblings (RFC 6962 order). `None` when they do not fit (index, size).
    pub fn new(
        leaf: &Hash,
        index: u64,
        size: u64,
        siblings: &[Hash],
        root: &Hash,
        sth: Option<SignedSth>,
    ) -> Option<Self> {
        Some(Self {
            leaf_hash: hex::encode(leaf),
            leaf_index: index,
            tree_size: size,
            audit_path: path::steps(index, size, siblings)?,
            root: hex::encode(root),
            sth_signature: Some(sth.as_ref().map(|sth| sth.signature.clone())),
            sth: sth.map(Head::Signed),
        })
    }

    /// As a header carries it: without the tree head's signature.
    pub fn for_header(&self) -> Self {
        Self {
            sth: self.sth.as_ref().map(|head| Head::Bare(head.bare())),
            sth_signature: None,
            ..self.clone()
        }
    }
}

/// Why a receipt cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// Not base64url, base64, or JSON.
    #[error("the receipt is neither JSON nor base64 of JSON: {0}")]
    Unreadable(String),
    /// JSON, but `blob_hash` or `inclusion_proof` is missing or misshapen.
    #[error("the receipt lacks what every receipt has: {0}")]
    Shape(String),
    /// Longer than a header may be.
    #[error("the receipt header would have {0} bytes; at most {MAX_HEADER} are safe for published clients")]
    TooLong(usize),
    /// It has no canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

impl Receipt {
    /// What the relay identity signs: the canonical JSON of everything but `signature`.
    pub fn sign_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        let mut value = serde_json::to_value(self)?;
        if let Some(fields) = value.as_object_mut() {
            fields.remove("signature");
        }
        canonical::value_to_vec(&value)
    }

    /// Puts the signature to it.
    pub fn signed(self, signature: &[u8]) -> Self {
        Self { signature: Some(BASE64_STANDARD.encode(signature)), ..self }
    }

    /// The header's value: base64url of the JSON, refused when published clients could not take it.
    pub fn header_value(&self) -> Result<String, ReceiptError> {
        let encoded = BASE64_URL_SAFE_NO_PAD.encode(canonical::to_vec(self)?);
        if encoded.len() > MAX_HEADER { Err(ReceiptError::TooLong(encoded.len())) } else { Ok(encoded) }
    }
}

/// A receipt as it was found: the typed view, and the whole object that the signature covers.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    receipt: Receipt,
    fields: Map<String, Value>,
}

impl Document {
    /// Reads a receipt in any published form: JSON text, or base64 or base64url of it, padded or not.
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        let text = text.trim();
        if text.starts_with('{') {
            return Self::from_json(text.as_bytes());
        }
        let either = text.replace('-', "+").replace('_', "/");
        let bytes = LENIENT.decode(either).map_err(|error| ReceiptError::Unreadable(error.to_string()))?;
        Self::from_json(&bytes)
    }

    /// Reads the value of the `receipt` field of `POST /v2/verify-receipt`: a text in any form, or the object itself.
    pub fn from_value(value: Value) -> Result<Self, ReceiptError> {
        match value {
            Value::String(text) => Self::parse(&text),
            Value::Object(fields) => Self::from_fields(fields),
            _ => Err(ReceiptError::Unreadable("expected a text or an object".into())),
        }
    }

    fn from_json(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let fields = strict::object(bytes).map_err(|error| ReceiptError::Unreadable(error.to_string()))?;
        Self::from_fields(fields)
    }

    fn from_fields(fields: Map<String, Value>) -> Result<Self, ReceiptError> {
        let receipt = serde_json::from_value(Value::Object(fields.clone()));
        Ok(Self { receipt: receipt.map_err(|error| ReceiptError::Shape(error.to_string()))?, fields })
    }

    /// The typed view.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Everything, for showing or storing.
    pub fn value(&self) -> Value {
        Value::Object(self.fields.clone())
    }

    fn sign_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        let mut fields = self.fields.clone();
        fields.remove("signature");
        canonical::value_to_vec(&Value::Object(fields))
    }
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests;

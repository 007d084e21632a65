//! The silence statement: up to a time, a vendor claims to have made no further request to this relay.
//!
//! It binds the vendor: a request that turns up later with a place before it is a lie that anybody can show. It proves neither an
//! honest relay nor the absence of a second chain.

use jiff::Timestamp;
use paramant_protocol::canonical::CanonicalError;
use paramant_protocol::leaf::Hash;
use paramant_protocol::path::parse_hash;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::chain::Chain;
use super::request::{MAX_REQUEST, Unverifiable, claimed};
use crate::offline::utc;
use crate::online::keys::LicensingKeys;
use crate::signed;
use crate::verified::Verified;

const TYPE: &str = "paramant/silence/v1";

/// A vendor's claim. It names no licence key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// To which relay.
    pub relay_id: String,
    /// The number of the last request, 0 before the first.
    pub seq: u64,
    /// Its hash, zeros before the first.
    pub head: Hash,
    /// Up to when.
    pub issued_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(rename = "type")]
    type_: String,
    relay_id: String,
    seq: u64,
    head: String,
    #[serde(deserialize_with = "utc")]
    issued_at: Timestamp,
}

impl Silence {
    /// The bytes of the signed statement. The only place that signs one.
    ///
    /// # Errors
    /// What `sign` says.
    pub fn to_signed<E: From<CanonicalError>>(
        &self,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        let fields = Fields {
            type_: TYPE.to_owned(),
            relay_id: self.relay_id.clone(),
            seq: self.seq,
            head: hex::encode(self.head),
            issued_at: self.issued_at,
        };
        signed::sign(serde_json::to_value(fields).map_err(CanonicalError::from)?, sign)
    }

    /// What a statement says, whoever signed it: for auditors, as [`super::Request::claimed`].
    ///
    /// # Errors
    /// [`Unverifiable`], but for the signature.
    pub fn claimed(bytes: &[u8]) -> Result<Self, Unverifiable> {
        Self::read(claimed(bytes)?)
    }

    fn read(fields: Map<String, Value>) -> Result<Self, Unverifiable> {
        let fields: Fields = serde_json::from_value(Value::Object(fields)).map_err(|_| Unverifiable::Form)?;
        let head = parse_hash(&fields.head).ok_or(Unverifiable::Form)?;
        if fields.type_ != TYPE || parse_hash(&fields.relay_id).is_none() {
            return Err(Unverifiable::Form);
        }
        Ok(Self { relay_id: fields.relay_id, seq: fields.seq, head, issued_at: fields.issued_at })
    }

    /// Whether it speaks of this chain as it stands.
    pub fn fits(&self, relay_id: &str, chain: &Chain) -> bool {
        self.relay_id == relay_id && self.seq == chain.seq() && self.head == chain.head()
    }
}

impl Verified<Silence> {
    /// Checks size, strict JSON, signature and form, in this order.
    ///
    /// # Errors
    /// [`Unverifiable`].
    pub fn open_silence(bytes: &[u8], keys: &LicensingKeys) -> Result<Self, Unverifiable> {
        let (fields, not_after) = signed::open(bytes, MAX_REQUEST, keys)?;
        let silence = Silence::read(fields)?;
        if silence.issued_at > not_after {
            return Err(Unverifiable::Signature);
        }
        Ok(Self::checked(silence, bytes.to_vec()))
    }
}

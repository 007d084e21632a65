//! What all signed documents have in common: canonical JSON, and an ML-DSA-65 signature over all fields but itself.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use paramant_protocol::canonical::{self, CanonicalError};
use paramant_protocol::strict;
use serde_json::{Map, Value};

use crate::online::keys::LicensingKeys;

/// Why bytes are not opened.
pub(crate) enum Unopened {
    /// More than is read.
    TooLong,
    /// Not strict JSON, no object, or without a canonical form.
    Json,
    /// No signature in base64.
    Unsigned,
    /// No pinned key made the signature.
    Signature,
}

/// A document with its signature, in canonical form.
pub(crate) fn sign<E: From<CanonicalError>>(
    mut value: Value,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    let signature = sign(&canonical::value_to_vec(&value)?)?;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("signature".to_owned(), BASE64_STANDARD.encode(signature).into());
    }
    Ok(canonical::value_to_vec(&value)?)
}

/// The signed fields of a document of at most so many bytes, and the last instant of the pinned key that signed them.
pub(crate) fn open(
    bytes: &[u8],
    most: usize,
    keys: &LicensingKeys,
) -> Result<(Map<String, Value>, Timestamp), Unopened> {
    if bytes.len() > most {
        return Err(Unopened::TooLong);
    }
    let mut fields = strict::object(bytes).map_err(|_| Unopened::Json)?;
    let Some(Value::String(signature)) = fields.remove("signature") else { return Err(Unopened::Unsigned) };
    let signature = BASE64_STANDARD.decode(signature).map_err(|_| Unopened::Unsigned)?;
    let document = Value::Object(fields);
    let message = canonical::value_to_vec(&document).map_err(|_| Unopened::Json)?;
    let signer = keys.signer(&message, &signature).ok_or(Unopened::Signature)?;
    let Value::Object(fields) = document else { return Err(Unopened::Json) };
    Ok((fields, signer.not_after))
}

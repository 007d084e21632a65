//! `POST /v2/inbound` and its answer (protocol §4.1).
//!
//! A relay decodes large uploads as a stream ([`json_body`], [`base64_stream`]) and does not use [`UploadRequest`] for the
//! payload; clients and tests do.

pub mod base64_stream;
pub mod json_body;

use serde::{Deserialize, Serialize};

use crate::id::{BlobHash, DeviceId, ReceiptId};
use crate::receipt::InclusionProof;

/// Lifetime when the client names none, in milliseconds.
pub const DEFAULT_TTL_MS: u64 = 300_000;
/// The shortest lifetime, in milliseconds.
pub const MIN_TTL_MS: u64 = 1_000;
/// The longest encrypted file name, in characters of base64.
pub const MAX_ENC_META: usize = 2048;

/// Whether a text may be an encrypted file name: at most [`MAX_ENC_META`] characters of base64.
pub fn is_enc_meta(text: &str) -> bool {
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    text.len() <= MAX_ENC_META && text.bytes().all(base64)
}

/// The body of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRequest {
    /// SHA-256 of the payload, or the lookup id of a drop.
    pub hash: BlobHash,
    /// Base64.
    pub payload: String,
    /// Everything else.
    #[serde(flatten)]
    pub terms: UploadTerms,
}

/// An upload's fields apart from hash and payload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadTerms {
    /// Lifetime; absent or 0 means [`DEFAULT_TTL_MS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// How often it may be read; absent means once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_views: Option<u64>,
    /// Who sent it, and whether it is a drop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<UploadMeta>,
    /// An encrypted file name: at most [`MAX_ENC_META`] characters of base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enc_meta: Option<String>,
    /// A password for the download. Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Hex ML-DSA-65 over the hash's text; reported, not enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dsa_signature: Option<String>,
}

/// `meta` of an upload; other fields are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadMeta {
    /// The **sender's** device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// The client's own id of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_id: Option<String>,
    /// A drop: `hash` is a lookup id and not compared with the payload (protocol §5.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<bool>,
}

/// The answer: the bytes are durable, and the log holds their entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadAnswer {
    /// Always true.
    pub ok: bool,
    /// As asked.
    pub hash: BlobHash,
    /// The lifetime in force.
    pub ttl_ms: u64,
    /// Bytes stored.
    pub size: u64,
    /// Whether `dsa_signature` verified under the account's registered key.
    pub sig_verified: bool,
    /// 48 hex digits: a public download link.
    pub download_token: String,
    /// The entry's proof in the tree at upload.
    #[serde(default)]
    pub merkle_proof: Option<InclusionProof>,
    /// What `/log/receipt/{id}` gives the entry's `.tlog-proof` for, once it is published. An addition that published clients
    /// do not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_receipt: Option<ReceiptId>,
}

/// The answer to anything that needs no more: `DELETE /v2/inbound/:hash`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Always true.
    pub ok: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_body_that_the_python_sdk_sends_is_read() {
        let hash = "ab".repeat(32);
        let body = format!(
            r#"{{"hash":"{hash}","payload":"AAAA","ttl_ms":300000,"max_views":1,"meta":{{"device_id":"phone","other":1}}}}"#
        );
        let request: UploadRequest = serde_json::from_str(&body).unwrap();
        assert_eq!(request.terms.ttl_ms, Some(300_000));
        assert_eq!(request.terms.meta.unwrap().device_id.unwrap().as_str(), "phone");
        assert!(serde_json::from_str::<UploadRequest>(&body.replace("ab", "AB")).is_err());
    }
}

//! `GET /v2/outbound/:hash` and `GET /v2/status/:hash` (protocol §4.2): header names and the status answer.

use serde::{Deserialize, Serialize};

/// `true` when this read removed the blob.
pub const BURNED_HEADER: &str = "x-paramant-burned";
/// The hash asked for.
pub const HASH_HEADER: &str = "x-paramant-hash";
/// The id of the log receipt (`/log/receipt/{id}`) that this reader, or raw uploader, alone was given.
pub const LOG_RECEIPT_HEADER: &str = "x-paramant-log-receipt";
/// The password of a protected blob, from the client.
pub const PASSWORD_HEADER: &str = "x-blob-password";
/// The API key.
pub const API_KEY_HEADER: &str = "x-api-key";
/// The admin token.
pub const ADMIN_TOKEN_HEADER: &str = "x-admin-token";

/// The answer to a status question. Asking uses no view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// Whether it can be read.
    pub available: bool,
    /// Its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How long it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_remaining_ms: Option<u64>,
    /// Whether its upload signature verified; absent for anonymous blobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sig_valid: Option<bool>,
    /// It arrived in chunks of this size, and its hash is that of their list ([`crate::chunks`]). An addition that published clients do not
    /// read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_size: Option<u64>,
}

impl StatusAnswer {
    /// Unknown, expired, burned or somebody else's: one answer for all.
    pub const GONE: Self =
        Self { available: false, bytes: None, ttl_remaining_ms: None, sig_valid: None, chunk_size: None };
}

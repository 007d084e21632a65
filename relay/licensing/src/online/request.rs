//! The request of a check-in: five fields and nothing else (trust page L5).
//!
//! It is frozen: made once, kept, shown, committed to in the log, and sent again byte for byte until a verified reply came.

use std::fmt;

use paramant_protocol::leaf::sha256;
use paramant_protocol::{canonical, strict};
use serde::{Deserialize, Serialize};

use super::OnlineKey;
use super::telemetry::Telemetry;

/// The longest request; a real one has some 450 bytes.
pub const MAX_REQUEST: usize = 4096;

/// What is asked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckIn {
    /// The licence key. Secret.
    pub license_key: String,
    /// 16 random bytes in lower-case hex, fresh for each request.
    pub nonce: String,
    /// SHA3-256 of the relay's ML-DSA-65 public key, lower-case hex.
    pub relay_id: String,
    /// Numbers, if an admin has agreed to send some.
    pub telemetry: Telemetry,
    /// The release.
    pub version: String,
}

/// Why bytes are no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a check-in request: {0}")]
pub struct NotARequest(String);

impl CheckIn {
    /// A request to be frozen.
    pub fn new(
        key: &OnlineKey,
        relay_id: &str,
        version: &str,
        nonce: [u8; 16],
        telemetry: Telemetry,
    ) -> Self {
        Self {
            license_key: key.expose().to_owned(),
            nonce: hex::encode(nonce),
            relay_id: relay_id.to_owned(),
            telemetry,
            version: version.to_owned(),
        }
    }

    /// The bytes that are sent: canonical JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, canonical::CanonicalError> {
        canonical::to_vec(self)
    }

    /// Reads a request strictly: an authority reads what arrives, a relay what it kept.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotARequest> {
        let wrong = |reason: &str| NotARequest(reason.to_owned());
        if bytes.len() > MAX_REQUEST {
            return Err(wrong("it is too long"));
        }
        let value = strict::value(bytes).map_err(|_| wrong("it is not strict JSON"))?;
        // The reasons of serde would quote what was sent.
        let request: Self = serde_json::from_value(value).map_err(|_| wrong("it has other fields"))?;
        let hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        if OnlineKey::parse(&request.license_key).is_none_or(|key| key.expose() != request.license_key) {
            return Err(wrong("license_key is not plk_ and 64 hex digits"));
        }
        if !hex(&request.nonce, 32) || !hex(&request.relay_id, 64) {
            return Err(wrong("nonce or relay_id is not lower-case hex"));
        }
        let version = request.version.as_bytes();
        if version.is_empty() || version.len() > 64 || !version.iter().all(u8::is_ascii_graphic) {
            return Err(wrong("version is not a release's"));
        }
        Ok(request)
    }
}

/// Lower-case hex SHA-256 of a request's bytes, as replies echo it and status shows it.
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(sha256(bytes))
}

impl fmt::Debug for CheckIn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CheckIn(of {}, nonce {})", self.relay_id, self.nonce)
    }
}

//! The online check (protocol §3): what a relay asks, what may answer it, and what the answer grants.
//!
//! A reply counts once it was signed by a pinned key, echoes our very request, and is newer than the last one; anything else is
//! an outage and changes nothing. Its structure is closed: there is no room in it for text, a link or a notice.

pub mod capability;
pub mod keys;
pub mod reply;
pub mod request;
pub mod telemetry;

use std::fmt;

use paramant_protocol::leaf::{Hash, sha256};
use zeroize::Zeroizing;

use crate::offline::{PREFIX, is_online_key};

/// The vendor's licence server.
pub const ENDPOINT: &str = "https://license.paramant.app/v1/license/check";
/// The longest reply that is read.
pub const MAX_REPLY: usize = 64 * 1024;

/// A licence key for the online check: `plk_` and 64 hex digits (protocol §3.1). A secret: never printed, never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct OnlineKey(Zeroizing<String>);

impl OnlineKey {
    /// The key in a text, white space around it aside.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        is_online_key(text.strip_prefix(PREFIX)?).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The key itself, for the request.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What a revoked key is remembered by.
    pub fn digest(&self) -> Hash {
        sha256(self.0.as_bytes())
    }
}

impl fmt::Debug for OnlineKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OnlineKey(…)")
    }
}

#[cfg(test)]
pub(crate) mod tests;

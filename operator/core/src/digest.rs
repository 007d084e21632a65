//! Content digests: an image's `sha256:…`, parsed once, and the digest of a JSON document.
//!
//! A JSON document is digested in a canonical form (object keys sorted, no white space), so that equal documents have equal
//! digests however they were made. Pure; anybody may call.

use std::fmt;
use std::str::FromStr;

use paramant_protocol::canonical;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// `sha256:` and 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a string is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a digest: expected `sha256:` and 64 lower-case hex digits")]
pub struct NotADigest {
    found: String,
}

impl Digest {
    /// The digest of a JSON document in canonical form. Total: a document with numbers that have no canonical form (no
    /// template of ours holds one) is digested as it is written.
    pub fn of_json(value: &Value) -> Self {
        let text = canonical::to_string(value).unwrap_or_else(|_| value.to_string());
        Self(format!("sha256:{}", hex::encode(Sha256::digest(text.as_bytes()))))
    }

    /// From 64 lower-case hex digits, as status keeps the digest of a template.
    pub fn from_hex(hex: &str) -> Result<Self, NotADigest> {
        format!("sha256:{hex}").parse()
    }

    /// Without its prefix.
    pub fn hex(&self) -> &str {
        self.0.get(7..).unwrap_or(&self.0)
    }

    /// With its prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve hex digits, for sentences.
    pub fn short(&self) -> &str {
        self.0.get(7..19).unwrap_or(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let is_digest = text.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        });
        if is_digest { Ok(Self(text.to_owned())) } else { Err(NotADigest { found: text.to_owned() }) }
    }
}

impl TryFrom<String> for Digest {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn the_order_of_keys_does_not_change_a_digest_and_the_order_of_items_does() {
        let one: Value = serde_json::from_str(r#"{"a":1,"b":{"c":[1,2],"d":"x"}}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"b":{"d":"x","c":[1,2]},"a":1}"#).unwrap();
        assert_eq!(Digest::of_json(&one), Digest::of_json(&two));
        assert_ne!(Digest::of_json(&one), Digest::of_json(&json!({"a":1,"b":{"c":[2,1],"d":"x"}})));
    }

    #[test]
    fn only_sha256_with_64_lower_case_digits_is_a_digest() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(good.parse::<Digest>().unwrap().as_str(), good);
        for bad in ["", "sha256:", &good[1..], &good.to_uppercase(), &format!("{good}0"), &good[..70]] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}

//! What a capability set grants, and how two of them are weighed: field by field, the more generous one.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};

/// Names of add-ons and support levels: words, never sentences.
const MAX_WORD: usize = 32;
const MAX_ADDONS: usize = 32;

/// What was bought. Ordered: a higher one grants more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Free. `free` is the same.
    #[serde(alias = "free")]
    Community,
    /// Pro.
    Pro,
    /// Enterprise.
    Enterprise,
}

impl Tier {
    /// As status shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Community => "Community",
            Self::Pro => "Pro",
            Self::Enterprise => "Enterprise",
        }
    }
}

/// A lower-case word of at most 32 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Word(String);

impl Word {
    /// The word in a text, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        (!text.is_empty() && text.len() <= MAX_WORD && text.bytes().all(plain)).then(|| Self(text.to_owned()))
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Word {
    fn default() -> Self {
        Self("none".to_owned())
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a lower-case word"))
    }
}

/// `capabilities` of a reply (protocol §3.3). Keys that a newer protocol may add are ignored here, and counted by the reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Active accounts.
    pub max_users: u64,
    /// The largest blob, in MiB.
    pub max_blob_size_mb: u64,
    /// The longest time a blob may wait to be read, in seconds.
    pub retention_max_seconds: u64,
    /// Add-ons.
    #[serde(deserialize_with = "few")]
    pub addons_allowed: BTreeSet<Word>,
    /// Whether uploads in PQHB form must be signed by their sender.
    pub ml_dsa_required: bool,
    /// How the vendor answers questions.
    pub support_level: Word,
    /// Whether pages may carry the organisation's name.
    pub custom_branding: bool,
}

/// The fields of [`Capabilities`].
pub const CAPABILITIES: [&str; 7] = [
    "addons_allowed",
    "custom_branding",
    "max_blob_size_mb",
    "max_users",
    "ml_dsa_required",
    "retention_max_seconds",
    "support_level",
];

fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<Word>, D::Error> {
    let words = BTreeSet::deserialize(deserializer)?;
    if words.len() > MAX_ADDONS { Err(serde::de::Error::custom("too many add-ons")) } else { Ok(words) }
}

impl Capabilities {
    /// The more generous of the two in each field; how questions are answered is taken from `self`.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            max_users: self.max_users.max(other.max_users),
            max_blob_size_mb: self.max_blob_size_mb.max(other.max_blob_size_mb),
            retention_max_seconds: self.retention_max_seconds.max(other.retention_max_seconds),
            addons_allowed: self.addons_allowed.union(&other.addons_allowed).cloned().collect(),
            ml_dsa_required: self.ml_dsa_required && other.ml_dsa_required,
            support_level: self.support_level,
            custom_branding: self.custom_branding || other.custom_branding,
        }
    }
}

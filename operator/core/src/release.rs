//! What a registry and its signatures say about one image digest: who signed it, and what release it calls itself.
//!
//! A pass asks ([`Inspect`]), the controller's registry tasks look and verify, and the answer comes back as an observation
//! ([`Inspection`]) that names the question, so that an answer to an earlier question is never taken for one to this. The
//! verifying functions themselves are in `signature`; nothing here reaches out.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::digest::Digest;

/// A question about one digest. Another repository, digest or trust is another question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Inspect {
    /// Registry and path, without tag or digest: `registry.example/paramant/relay`.
    pub repository: String,
    /// The digest that would run.
    pub digest: Digest,
    /// Whose signatures count.
    pub trust: Trust,
}

/// Whose signatures count, as the policy in force (or the built-in one) has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Trust {
    /// Any of these must have signed.
    pub keys: Vec<TrustedKey>,
    /// An image without a valid signature may run too.
    pub allow_unsigned: bool,
    /// How many different keys of the list must have signed besides.
    pub min_attestations: u32,
}

impl Trust {
    /// What this trust is remembered by. The order of the keys, and what they are called, is no part of it.
    pub fn fingerprint(&self) -> Digest {
        let mut keys: Vec<&str> = self.keys.iter().map(|key| key.pem.trim()).collect();
        keys.sort_unstable();
        keys.dedup();
        Digest::of_json(&json!({
            "keys": keys,
            "allowUnsigned": self.allow_unsigned,
            "minAttestations": self.min_attestations,
        }))
    }

    /// Nothing could ever be verified by it.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.allow_unsigned
    }
}

impl Inspection {
    /// The question this answers.
    pub fn asked(&self) -> Option<&Inspect> {
        match self {
            Self::Pending => None,
            Self::Answered { asked, .. } | Self::NotFound { asked, .. } | Self::Unavailable { asked, .. } => {
                Some(asked)
            }
        }
    }
}

/// A public key and the name people know it by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TrustedKey {
    /// Shown in status.
    pub name: String,
    /// SubjectPublicKeyInfo in PEM.
    pub pem: String,
}

/// What is known about a digest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Inspection {
    /// Nothing was asked, or no answer is there yet.
    #[default]
    Pending,
    /// The registry answered.
    Answered {
        /// The question.
        asked: Inspect,
        /// What release the image calls itself.
        release: Release,
        /// Whether it may run.
        signature: Verdict,
    },
    /// The registry has no such image, or does not let it be read: only a person can help. It is asked again now and then.
    NotFound {
        /// The question.
        asked: Inspect,
        /// The registry's answer, in one sentence.
        reason: String,
    },
    /// The registry could not be asked, or did not make sense; it is asked again.
    Unavailable {
        /// The question.
        asked: Inspect,
        /// Why, in one sentence that does not change from attempt to attempt.
        reason: String,
    },
}

/// What an image says about itself, in labels of its configuration. Not signed by itself; the digest that was verified covers it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Release {
    /// `org.opencontainers.image.version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `app.paramant.data.schema`: the newest schema of `meta.db` that this release knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<u32>,
    /// `app.paramant.data.min-reader`: the oldest schema whose releases can still read what this one leaves before `commit-upgrade`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_reader: Option<u32>,
}

/// Whether an image may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A trusted key signed exactly this digest.
    Verified {
        /// The key's name.
        key: String,
    },
    /// There is no valid signature, and the policy lets it run all the same.
    Unsigned,
    /// It may not run. Only another image, signature or policy helps.
    Refused {
        /// Which kind of refusal, for metrics and the condition: `Unsigned`, `WrongKey`, `WrongDigest`, `Expired`, `Malformed`.
        kind: &'static str,
        /// One sentence.
        reason: String,
    },
}

/// The label with the newest schema a release knows.
pub const SCHEMA_LABEL: &str = "app.paramant.data.schema";
/// The label with the oldest schema that can read what a release leaves before `commit-upgrade`.
pub const MIN_READER_LABEL: &str = "app.paramant.data.min-reader";

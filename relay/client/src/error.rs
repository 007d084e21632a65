//! What can go wrong between a person and a relay, sorted by what to do about it.

use std::io;
use std::path::PathBuf;

use paramant_protocol::id::BlobHash;

use crate::envelope::{OpenError, SealError};

/// A failure. Its text says what was expected, what was found, and where possible what to do.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The relay's address cannot be used.
    #[error("{0}")]
    Address(String),
    /// No usable answer came.
    #[error("{action}: the relay could not be reached: {}", chain(.source))]
    Transport {
        /// What was being done.
        action: &'static str,
        /// What the HTTP library says.
        source: reqwest::Error,
    },
    /// The relay said no.
    #[error("{action}: the relay refused ({status}): {reason}{}", retry(.retry_after))]
    Refused {
        /// What was being done.
        action: &'static str,
        /// The HTTP status.
        status: u16,
        /// What the relay says, printable characters only.
        reason: String,
        /// Seconds after which it may be tried again, if the relay says so.
        retry_after: Option<u64>,
    },
    /// The blob is not there for this account: unknown, expired, read, or somebody else's.
    #[error("{0} is gone: it was read already, has expired, was never there, or belongs to another account")]
    Gone(BlobHash),
    /// No keys are registered for a device.
    #[error("no keys are registered for the device {0}: run `paramant register` there first")]
    UnknownDevice(String),
    /// An answer that the protocol does not allow.
    #[error("{action}: the relay's answer makes no sense: {reason}")]
    Answer {
        /// What was being done.
        action: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A check that needs an answer of the relay did not get it: nothing is known, good or bad.
    #[error("could not be checked: {0}")]
    Unchecked(Box<ClientError>),
    /// What was asked for is not there, or not there yet.
    #[error("{0}")]
    NotThere(String),
    /// The relay gave other bytes than those asked for.
    #[error("the relay gave bytes with the hash {found}, not {asked}; nothing was decrypted")]
    OtherBytes {
        /// What was asked for.
        asked: BlobHash,
        /// What came.
        found: BlobHash,
    },
    /// A key is not the one seen before.
    #[error(
        "the keys of {whose} have changed: {pinned} was seen before, the relay now shows {found}. Either its owner made new \
         keys, or the relay is lying. Compare the fingerprint with the owner, then run `paramant trust`"
    )]
    KeyChanged {
        /// A device, or the relay itself.
        whose: String,
        /// What was seen before.
        pinned: String,
        /// What is shown now.
        found: String,
    },
    /// The transparency log does not bear something out.
    #[error("the relay's log does not bear this out: {0}")]
    NotLogged(String),
    /// Nothing was encrypted.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Nothing was decrypted.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A local file.
    #[error("{action} {}: {source}", .path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A local file holds something else than it should.
    #[error("{} does not hold what it should: {reason}", .path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The cryptographic library failed.
    #[error("the cryptographic library failed to {0}")]
    Crypto(&'static str),
}

/// What to do about a failure; the command turns it into its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// Something was checked and does not hold.
    Verification,
    /// The request was wrong.
    Usage,
    /// Nothing usable came back.
    Network,
    /// It is not there any more.
    Gone,
    /// The relay said no.
    Refused,
    /// A local file or the machine.
    Local,
}

impl ClientError {
    /// Whether the same question may be answered in a moment: nothing came, or a gateway or a limit answered instead.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            _ => false,
        }
    }

    /// What to do about it.
    pub fn category(&self) -> Category {
        match self {
            Self::Address(_) | Self::UnknownDevice(_) => Category::Usage,
            Self::Seal(SealError::TooLarge(_) | SealError::RecipientKey) => Category::Usage,
            Self::Transport { .. } | Self::Answer { .. } | Self::Unchecked(_) | Self::NotThere(_) => {
                Category::Network
            }
            Self::Refused { .. } => Category::Refused,
            Self::Gone(_) => Category::Gone,
            Self::OtherBytes { .. } | Self::KeyChanged { .. } | Self::NotLogged(_) | Self::Open(_) => {
                Category::Verification
            }
            Self::Seal(SealError::Crypto(_)) | Self::File { .. } | Self::Content { .. } | Self::Crypto(_) => {
                Category::Local
            }
        }
    }
}

/// An error with its causes: the HTTP library keeps what a person needs in the last one.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

fn retry(after: &Option<u64>) -> String {
    after.map(|seconds| format!("; try again in {seconds} s")).unwrap_or_default()
}

//! What can go wrong with an authority, on demand: for those who test relays, never on by itself.

pub(crate) mod request;

use std::fmt;
use std::str::FromStr;

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Takes the question and never answers.
    Silent,
    /// Answers with this status and no document.
    Status(u16),
    /// Answers with bytes that are no document.
    Garbage,
    /// Answers without end.
    Giant,
    /// Answers one byte a second.
    Slow,
    /// Sends the relay elsewhere.
    Redirect,
    /// Repeats its last answer.
    Replay,
    /// Counts backwards.
    OldSequence,
    /// Answers as if to another relay.
    OtherRelay,
    /// Signs with a key that nobody pinned.
    OtherKey,
    /// Changes a byte after signing.
    Altered,
    /// Sends along another request under a number that was used.
    ForkedRequest,
    /// Sends along a request whose number leaves one out.
    GapRequest,
    /// Sends along a request whose time is over. It takes its place at the relay, and the book does not know it: whatever is asked
    /// of this relay later is a fork to it.
    ExpiredRequest,
    /// Sends along a request to another relay.
    WrongRelayRequest,
    /// Sends along a request that is signed with a key that nobody pinned.
    UnsignedRequest,
}

const WORDS: [(Fault, &str); 15] = [
    (Fault::Silent, "silent"),
    (Fault::Garbage, "garbage"),
    (Fault::Giant, "giant"),
    (Fault::Slow, "slow"),
    (Fault::Redirect, "redirect"),
    (Fault::Replay, "replay"),
    (Fault::OldSequence, "old-sequence"),
    (Fault::OtherRelay, "other-relay"),
    (Fault::OtherKey, "other-key"),
    (Fault::Altered, "altered"),
    (Fault::ForkedRequest, "forked-request"),
    (Fault::GapRequest, "gap-request"),
    (Fault::ExpiredRequest, "expired-request"),
    (Fault::WrongRelayRequest, "wrong-relay-request"),
    (Fault::UnsignedRequest, "unsigned-request"),
];

impl Fault {
    /// Whether a relay believes the reply all the same: then what it was told counts as told.
    pub(crate) fn is_believed(self) -> bool {
        match self {
            Self::ForkedRequest
            | Self::GapRequest
            | Self::ExpiredRequest
            | Self::WrongRelayRequest
            | Self::UnsignedRequest => true,
            // It only comes to that when there is nothing to repeat.
            Self::Replay => true,
            _ => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Status(status) = self {
            return write!(f, "status-{status}");
        }
        f.write_str(WORDS.iter().find(|(fault, _)| fault == self).map_or("", |(_, word)| word))
    }
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let status = text.strip_prefix("status-").and_then(|status| status.parse::<u16>().ok());
        if let Some(status) = status.filter(|status| (200..600).contains(status)) {
            return Ok(Self::Status(status));
        }
        let found = WORDS.iter().find(|(_, word)| *word == text).map(|(fault, _)| *fault);
        found.ok_or_else(|| {
            let words: Vec<&str> = WORDS.iter().map(|(_, word)| *word).collect();
            anyhow::anyhow!(
                "{text:?} is no fault: choose one of {}, status-503 (or another)",
                words.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_fault_has_a_name() {
        for (fault, word) in WORDS.into_iter().chain([(Fault::Status(503), "status-503")]) {
            assert_eq!((fault.to_string().as_str(), word.parse::<Fault>().unwrap()), (word, fault));
        }
        assert!("status-99".parse::<Fault>().is_err() && "".parse::<Fault>().is_err());
    }
}

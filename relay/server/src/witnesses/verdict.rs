//! What a witness's answer means to this log. Pure.

use paramant_protocol::control::WitnessState;
use paramant_tlog::cosignature::{self, CosignatureError};
use paramant_tlog::note::Signature;
use paramant_tlog::vkey::VerifierKey;
use paramant_tlog::witness::{Answer, AnswerError, RequestError};

use crate::outbound::OutboundError;

/// What one push came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WitnessVerdict {
    /// It cosigned the checkpoint of this size.
    Cosigned {
        /// Entries under it.
        size: u64,
    },
    /// It cosigned last at this size, which the log still reaches: the next push says so.
    Behind {
        /// Entries under what it cosigned last.
        size: u64,
    },
    /// It cosigned more of this log than there is. Either this is an old copy of the log, or somebody else has its keys: evidence
    /// for the fence.
    Ahead {
        /// Entries under what it cosigned last.
        size: u64,
    },
    /// What it cosigned before is no beginning of this log.
    Inconsistent,
    /// It does not know this log's origin.
    UnknownLog,
    /// It trusts none of the log's keys.
    Untrusted,
    /// It asks for patience, or failed, with this status.
    Later(u16),
    /// Its answer is none that a witness may give.
    Misbehaved(String),
    /// There was no answer.
    Unreachable(OutboundError),
    /// This side could not even ask.
    NotAsked(String),
}

/// What was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent<'a> {
    /// The size that was said to be the last one it cosigned.
    pub(super) old: u64,
    /// The size of the checkpoint.
    pub(super) size: u64,
    /// The checkpoint's text.
    pub(super) text: &'a str,
}

/// Judges an answer. `published` is what the log reaches now; the line is there exactly when the verdict is
/// [`WitnessVerdict::Cosigned`].
pub(super) fn judge(
    answer: Result<Answer, AnswerError>,
    sent: Sent<'_>,
    key: &VerifierKey,
    published: u64,
) -> (WitnessVerdict, Option<Signature>) {
    let verdict = match answer {
        Ok(Answer::Cosigned(lines)) => match cosignature::verified(sent.text, &lines, key) {
            Ok(cosigned) => {
                return (WitnessVerdict::Cosigned { size: sent.size }, Some(cosigned.line));
            }
            Err(error) => misbehaved(&error),
        },
        Ok(Answer::Conflict(Some(size))) => conflict(size, sent, published),
        // The same size under another root.
        Ok(Answer::Conflict(None) | Answer::Inconsistent) => WitnessVerdict::Inconsistent,
        Ok(Answer::UnknownLog) => WitnessVerdict::UnknownLog,
        Ok(Answer::Untrusted) => WitnessVerdict::Untrusted,
        Ok(Answer::Later(status)) => WitnessVerdict::Later(status),
        Err(error) => WitnessVerdict::Misbehaved(error.to_string()),
    };
    (verdict, None)
}

fn conflict(size: u64, sent: Sent<'_>, published: u64) -> WitnessVerdict {
    if size > published {
        WitnessVerdict::Ahead { size }
    } else if size == sent.old && size == sent.size {
        WitnessVerdict::Inconsistent
    } else if size == sent.old {
        WitnessVerdict::Misbehaved(format!("the witness calls {size} another size than {size}"))
    } else {
        WitnessVerdict::Behind { size }
    }
}

fn misbehaved(error: &CosignatureError) -> WitnessVerdict {
    WitnessVerdict::Misbehaved(error.to_string())
}

impl From<OutboundError> for WitnessVerdict {
    fn from(error: OutboundError) -> Self {
        match error {
            // It was reached, and what it said is no answer.
            OutboundError::Http(..) | OutboundError::TooLong(..) => Self::Misbehaved(error.to_string()),
            other => Self::Unreachable(other),
        }
    }
}

impl From<RequestError> for WitnessVerdict {
    fn from(error: RequestError) -> Self {
        Self::NotAsked(error.to_string())
    }
}

impl WitnessVerdict {
    /// For metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Cosigned { .. } => "cosigned",
            Self::Behind { .. } => "behind",
            Self::Ahead { .. } => "ahead",
            Self::Inconsistent => "inconsistent",
            Self::UnknownLog => "unknown-log",
            Self::Untrusted => "untrusted",
            Self::Later(_) => "later",
            Self::Misbehaved(_) => "misbehaved",
            Self::Unreachable(error) => error.category(),
            Self::NotAsked(_) => "not-asked",
        }
    }

    /// Whether a person should look at once: the log, or its keys, are not what the witness saw.
    pub fn is_evidence(&self) -> bool {
        matches!(self, Self::Ahead { .. } | Self::Inconsistent)
    }

    /// For the relay's report.
    pub fn state(&self) -> WitnessState {
        match self {
            Self::Cosigned { .. } | Self::Behind { .. } => WitnessState::Cosigning,
            Self::Ahead { .. } => WitnessState::Ahead,
            Self::Inconsistent => WitnessState::Inconsistent,
            Self::UnknownLog => WitnessState::UnknownLog,
            Self::Untrusted => WitnessState::Untrusted,
            Self::Later(_) | Self::NotAsked(_) => WitnessState::Busy,
            Self::Misbehaved(_) => WitnessState::Misbehaving,
            Self::Unreachable(_) => WitnessState::Unreachable,
        }
    }

    /// What to do about it, where something is wrong: one sentence without numbers that change.
    pub fn sentence(&self) -> Option<String> {
        Some(match self {
            Self::Cosigned { .. } | Self::Behind { .. } => return None,
            Self::Ahead { size } => format!(
                "it has cosigned {size} entries of this log, more than there are: the log was rolled back, or somebody else has its keys"
            ),
            Self::Inconsistent => "what it cosigned before is no beginning of this log".to_owned(),
            Self::UnknownLog => {
                "it does not know this log: ask its operator to add the origin and the keys at /log/vkeys"
                    .to_owned()
            }
            Self::Untrusted => {
                "it knows this log by other keys: ask its operator to add the keys at /log/vkeys".to_owned()
            }
            Self::Later(status) => format!("it answered with status {status}"),
            Self::Misbehaved(why) | Self::NotAsked(why) => why.clone(),
            Self::Unreachable(error) => error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use paramant_tlog::Checkpoint;
    use paramant_tlog::keys::{CosignatureKey, Seed, Signer};
    use paramant_tlog::note::Note;

    use super::*;

    fn key(n: u8) -> CosignatureKey {
        CosignatureKey::from_seed("witness.example/w", &Seed::new([n; 32])).unwrap()
    }

    fn lines(text: &str, by: &CosignatureKey) -> Vec<Signature> {
        let keys: [&dyn Signer; 1] = [by];
        Note::sign(text, &keys, 5).unwrap().signatures
    }

    #[test]
    fn only_a_cosignature_of_the_very_checkpoint_by_the_configured_key_counts() {
        let text = Checkpoint::new("relay.example/log", 9, [1; 32]).to_text();
        let other = Checkpoint::new("relay.example/log", 8, [1; 32]).to_text();
        let (good, stranger) = (key(1), key(2));
        let sent = Sent { old: 4, size: 9, text: &text };
        let judged = |lines| judge(Ok(Answer::Cosigned(lines)), sent, good.verifier(), 9);
        let (verdict, line) = judged(lines(&text, &good));
        assert_eq!((verdict, line.is_some()), (WitnessVerdict::Cosigned { size: 9 }, true));
        for (what, wrong) in [
            ("another key", lines(&text, &stranger)),
            ("another checkpoint", lines(&other, &good)),
            ("nothing", Vec::new()),
        ] {
            let (verdict, line) = judged(wrong);
            assert!(
                matches!(verdict, WitnessVerdict::Misbehaved(_)) && line.is_none(),
                "{what}: {verdict:?}"
            );
        }
    }

    #[test]
    fn a_conflict_is_read_both_ways() {
        let key = key(1);
        let judged = |size, old, sent, published| {
            let sent = Sent { old, size: sent, text: "" };
            judge(Ok(Answer::Conflict(size)), sent, key.verifier(), published).0
        };
        assert_eq!(judged(Some(5), 3, 9, 9), WitnessVerdict::Behind { size: 5 }, "it saw more than we knew");
        assert_eq!(judged(Some(0), 3, 9, 9), WitnessVerdict::Behind { size: 0 }, "it forgot what it saw");
        assert_eq!(judged(Some(11), 3, 9, 12), WitnessVerdict::Behind { size: 11 }, "the log grew meanwhile");
        assert_eq!(judged(Some(13), 3, 9, 12), WitnessVerdict::Ahead { size: 13 });
        assert_eq!(judged(Some(u64::MAX), 0, 9, 12), WitnessVerdict::Ahead { size: u64::MAX });
        assert_eq!(judged(None, 9, 9, 9), WitnessVerdict::Inconsistent, "another root at the same size");
        assert_eq!(judged(Some(9), 9, 9, 9), WitnessVerdict::Inconsistent);
        assert!(matches!(judged(Some(3), 3, 9, 9), WitnessVerdict::Misbehaved(_)), "it contradicts itself");
    }

    #[test]
    fn only_a_rollback_or_another_history_is_evidence() {
        let evidence = [WitnessVerdict::Ahead { size: 1 }, WitnessVerdict::Inconsistent];
        assert!(evidence.iter().all(WitnessVerdict::is_evidence));
        for verdict in [
            WitnessVerdict::Cosigned { size: 1 },
            WitnessVerdict::Behind { size: 1 },
            WitnessVerdict::UnknownLog,
            WitnessVerdict::Untrusted,
            WitnessVerdict::Later(503),
            WitnessVerdict::Misbehaved(String::new()),
            WitnessVerdict::Unreachable(OutboundError::NoCourier),
            WitnessVerdict::NotAsked(String::new()),
        ] {
            assert!(!verdict.is_evidence(), "{verdict:?}");
        }
    }
}

//! Cosignatures (C2SP tlog-cosignature): what a witness says of a checkpoint, and when.
//!
//! A cosignature is a signature line of type `04` (Ed25519) or `06` (ML-DSA-44, see [`crate::vkey::cosigned_message`]) under the
//! witness's name. A witness answers `add-checkpoint` with one or more such lines (C2SP tlog-witness); [`parse_answer`] reads
//! them, [`verified`] keeps the one that a known key made. Both are for bytes of strangers: everything is bounded.

use crate::checkpoint::Checkpoint;
use crate::note::Signature;
use crate::vkey::VerifierKey;

/// The longest answer of a witness that is read: sixteen ML-DSA-44 lines fit.
pub const MAX_ANSWER: usize = 64 * 1024;

/// The most lines of an answer that are read.
pub const MAX_LINES: usize = 16;

/// A cosignature that verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// The line, to be added to the note.
    pub line: Signature,
    /// When the witness says it saw this checkpoint as the log's newest, in seconds since 1970. Zero: it says only that the
    /// checkpoint is consistent with all it saw.
    pub time: u64,
}

/// Why an answer of a witness holds no cosignature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CosignatureError {
    /// Longer than [`MAX_ANSWER`], or more lines than [`MAX_LINES`].
    #[error("the answer is longer than {MAX_ANSWER} bytes or {MAX_LINES} lines")]
    TooLong,
    /// Not UTF-8, empty, or the last line is not ended.
    #[error("the answer is not made of signature lines, each ended by a newline")]
    Form,
    /// A line that is not `— name base64`.
    #[error("signature line {line} of the answer is malformed")]
    Line {
        /// Counted from one.
        line: usize,
    },
    /// The key is of a type that witnesses do not use.
    #[error("{0} keys do not cosign")]
    NotAWitness(crate::vkey::Algorithm),
    /// What was to be cosigned is no checkpoint.
    #[error("only checkpoints are cosigned: {0}")]
    NotACheckpoint(#[from] crate::checkpoint::CheckpointError),
    /// No line bears the key's name and id.
    #[error("there is no line of {name}")]
    Missing {
        /// Name of the witness.
        name: String,
    },
    /// A line bears the key's name and id, and is not its signature over this checkpoint.
    #[error("the cosignature of {name} does not verify")]
    Invalid {
        /// Name of the witness.
        name: String,
    },
}

/// The message of a `04` line: `cosignature/v1`, the time, and the whole text of the checkpoint. None for a time above
/// 2^63 − 1.
#[must_use]
pub fn message(time: u64, text: &str) -> Option<String> {
    i64::try_from(time).ok()?;
    Some(format!("cosignature/v1\ntime {time}\n{text}"))
}

/// Reads the body of a witness's answer: one or more signature lines, not yet verified.
///
/// # Errors
/// Says what is malformed.
pub fn parse_answer(body: &[u8]) -> Result<Vec<Signature>, CosignatureError> {
    if body.len() > MAX_ANSWER {
        return Err(CosignatureError::TooLong);
    }
    let text = std::str::from_utf8(body).map_err(|_| CosignatureError::Form)?;
    let lines = text.strip_suffix('\n').ok_or(CosignatureError::Form)?;
    let mut signatures = Vec::new();
    for (number, line) in lines.split('\n').enumerate() {
        if number == MAX_LINES {
            return Err(CosignatureError::TooLong);
        }
        signatures.push(Signature::parse(line).ok_or(CosignatureError::Line { line: number + 1 })?);
    }
    Ok(signatures)
}

/// The newest of the lines that `key` made over the checkpoint with this text. Lines of other keys are ignored.
///
/// # Errors
/// When the key is no witness's, no line is the key's, or one that claims to be does not verify.
pub fn verified(text: &str, lines: &[Signature], key: &VerifierKey) -> Result<Cosignature, CosignatureError> {
    if !key.algorithm().cosigns() {
        return Err(CosignatureError::NotAWitness(key.algorithm()));
    }
    Checkpoint::parse(text)?;
    let mut newest: Option<Cosignature> = None;
    for line in lines.iter().filter(|line| line.name == key.name() && line.key_id == key.key_id()) {
        let time = key.verify(text, &line.bytes).ok().flatten();
        let time = time.ok_or_else(|| CosignatureError::Invalid { name: key.name().to_owned() })?;
        if newest.as_ref().is_none_or(|newest| newest.time < time) {
            newest = Some(Cosignature { line: line.clone(), time });
        }
    }
    newest.ok_or_else(|| CosignatureError::Missing { name: key.name().to_owned() })
}

//! The log's side of C2SP tlog-witness: the body of an `add-checkpoint` request, and what a witness may answer.
//!
//! The request is `old N`, the consistency proof line by line, a blank line, and a trimmed note: the checkpoint's text with the
//! lines a witness can check (Ed25519, ML-DSA-44). Public witnesses read no more than [`MAX_REQUEST`] bytes. An answer comes from
//! a stranger: it is bounded, and every form of it has a name. Cosignatures in it are verified by [`crate::cosignature`].

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::cosignature::{self, CosignatureError, MAX_ANSWER};
use crate::hash::Hash;
use crate::note::{Note, Signature};
use crate::vkey::{Algorithm, VerifierKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The longest request public witnesses read.
pub const MAX_REQUEST: usize = 10 * 1024;
/// The most hashes a request may hold.
pub const MAX_HASHES: usize = 63;
/// The content type of a 409 that says which size the witness knows.
pub const SIZE_TYPE: &str = "text/x.tlog.size";
/// The path of the call, after the witness's submission prefix.
pub const ADD_CHECKPOINT: &str = "/add-checkpoint";

/// The body of an `add-checkpoint` request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size the witness cosigned last.
    pub old: u64,
    /// From there to the checkpoint.
    pub proof: Vec<Hash>,
    /// The trimmed note.
    pub note: Note,
}

/// Why there is nothing to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The note is no checkpoint.
    #[error("only checkpoints are sent to witnesses: {0}")]
    NotACheckpoint(#[from] CheckpointError),
    /// The witness is said to have seen more than the checkpoint holds.
    #[error("the witness's size {old} is above the checkpoint's {size}")]
    SizesReversed {
        /// The size the witness cosigned last.
        old: u64,
        /// The checkpoint's.
        size: u64,
    },
    /// More than [`MAX_HASHES`].
    #[error("the proof has {0} hashes, and a request holds at most {MAX_HASHES}")]
    LongProof(usize),
    /// No line of an Ed25519 or ML-DSA-44 key of the log, or none that fits.
    #[error("the note has no line that a witness could check within {MAX_REQUEST} bytes")]
    Unsigned,
}

/// What a witness answered, by its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 200: lines that claim to be cosignatures.
    Cosigned(Vec<Signature>),
    /// 409: its last size is another one than was said. Without a size: another root at the same size.
    Conflict(Option<u64>),
    /// 404: it does not know the log's origin.
    UnknownLog,
    /// 403: it trusts none of the keys that signed.
    Untrusted,
    /// 422: the proof does not lead from what it saw to the checkpoint.
    Inconsistent,
    /// 400, 429 or 5xx: not now.
    Later(u16),
}

/// An answer that is none of those.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Longer than [`MAX_ANSWER`].
    #[error("the witness's answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
    /// 200 with something else than signature lines.
    #[error("the witness answered 200 without cosignatures: {0}")]
    Cosignatures(#[from] CosignatureError),
    /// 409 that announces a size and holds none.
    #[error("the witness answered 409 with {SIZE_TYPE}, and its body is no decimal size")]
    Size,
    /// A status the protocol has no use for: a redirect, an error page.
    #[error("the witness answered with status {0}, which tlog-witness does not have")]
    Status(u16),
}

impl AddCheckpoint {
    /// The request for a checkpoint that these keys of the log signed. Of the lines that witnesses check, Ed25519 comes first;
    /// an ML-DSA-44 line is left out when it would not fit.
    ///
    /// # Errors
    /// When no witness could make anything of it.
    pub fn new(old: u64, proof: Vec<Hash>, note: &Note, keys: &[VerifierKey]) -> Result<Self, RequestError> {
        let size = Checkpoint::parse(&note.text)?.size;
        if old > size {
            return Err(RequestError::SizesReversed { old, size });
        }
        if proof.len() > MAX_HASHES {
            return Err(RequestError::LongProof(proof.len()));
        }
        let mut request = Self { old, proof, note: Note { text: note.text.clone(), signatures: Vec::new() } };
        let mut length = request.to_bytes().len();
        for algorithm in [Algorithm::Ed25519, Algorithm::MlDsa44] {
            let signs = |line: &&Signature| {
                keys.iter().any(|key| {
                    key.algorithm() == algorithm && key.name() == line.name && key.key_id() == line.key_id
                })
            };
            for line in note.signatures.iter().filter(signs) {
                let more = line.to_line().len();
                if length + more <= MAX_REQUEST {
                    length += more;
                    request.note.signatures.push(line.clone());
                }
            }
        }
        if request.note.signatures.is_empty() { Err(RequestError::Unsigned) } else { Ok(request) }
    }

    /// As it is sent.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("old {}\n", self.old);
        for hash in &self.proof {
            text.push_str(&STANDARD.encode(hash));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.note.to_text());
        text.into_bytes()
    }
}

impl Answer {
    /// Reads an answer; nothing in it is verified.
    ///
    /// # Errors
    /// When it is none that tlog-witness has.
    pub fn read(status: u16, content_type: Option<&str>, body: &[u8]) -> Result<Self, AnswerError> {
        if body.len() > MAX_ANSWER {
            return Err(AnswerError::TooLong);
        }
        match status {
            200 => Ok(Self::Cosigned(cosignature::parse_answer(body)?)),
            403 => Ok(Self::Untrusted),
            404 => Ok(Self::UnknownLog),
            409 if is_size(content_type) => size(body).map(|size| Self::Conflict(Some(size))),
            409 => Ok(Self::Conflict(None)),
            422 => Ok(Self::Inconsistent),
            400 | 429 | 500..=599 => Ok(Self::Later(status)),
            other => Err(AnswerError::Status(other)),
        }
    }
}

fn is_size(content_type: Option<&str>) -> bool {
    let essence = content_type.and_then(|it| it.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(SIZE_TYPE)
}

fn size(body: &[u8]) -> Result<u64, AnswerError> {
    let text = std::str::from_utf8(body).map_err(|_| AnswerError::Size)?;
    let digits = text.strip_suffix('\n').unwrap_or(text);
    let size: u64 = digits.parse().map_err(|_| AnswerError::Size)?;
    if size.to_string() == digits { Ok(size) } else { Err(AnswerError::Size) }
}

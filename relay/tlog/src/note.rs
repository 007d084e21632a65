//! Signed notes (C2SP signed-note): a text, a blank line, signature lines.
//!
//! Parsing is strict about form; opening a note checks the lines of the keys one was given and ignores all others, so
//! order and unknown lines never matter. A line of a known key that does not verify spoils the whole note.

use crate::keys::Signer;
use crate::vkey::{Algorithm, VerifierKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The longest note that is read: sixteen post-quantum signatures and a long text fit well.
pub const MAX_NOTE: usize = 256 * 1024;
/// The most signature lines that are read.
pub const MAX_SIGNATURES: usize = 64;

/// A signature line: who signed is told by name and key id together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Name of the key.
    pub name: String,
    /// First four bytes of the key's hash; a hint to find the key, not a commitment to it.
    pub key_id: u32,
    /// What follows the key id; its form depends on the algorithm.
    pub bytes: Vec<u8>,
}

/// A note taken apart. Nothing in it is to be believed before [`Note::open`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The signed text with its final newline.
    pub text: String,
    /// The signature lines in their order.
    pub signatures: Vec<Signature>,
}

/// Why bytes are not a signed note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`MAX_NOTE`].
    #[error("the note is longer than {MAX_NOTE} bytes")]
    TooLong,
    /// Not UTF-8, or a control character other than newline.
    #[error("the note is not UTF-8 text free of control characters")]
    Characters,
    /// No blank line between text and signatures, or the last line is not ended.
    #[error("a note is text, a blank line and signature lines, each ended by a newline")]
    Form,
    /// A line after the blank line that is not `— name base64`.
    #[error("signature line {line} is malformed")]
    SignatureLine {
        /// Counted from one.
        line: usize,
    },
    /// More than [`MAX_SIGNATURES`] lines.
    #[error("the note has more than {MAX_SIGNATURES} signature lines")]
    TooManySignatures,
}

/// Why a well-formed note is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A line of a known key does not verify.
    #[error("the {algorithm} line of {name} does not verify")]
    Invalid {
        /// Name of the key.
        name: String,
        /// Its algorithm.
        algorithm: Algorithm,
    },
    /// No line belongs to a known key.
    #[error("the note has no signature of a known key")]
    Unsigned,
}

/// A signature that verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Which of the given keys, counted from zero.
    pub key: usize,
    /// When it was made, in seconds since 1970, where the algorithm signs a time.
    pub timestamp: Option<u64>,
}

impl Note {
    /// Takes a note apart, strictly.
    ///
    /// # Errors
    /// Names what is malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE {
            return Err(NoteError::TooLong);
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| NoteError::Characters)?;
        if whole.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
            return Err(NoteError::Characters);
        }
        let blank = whole.rfind("\n\n").ok_or(NoteError::Form)?;
        let (text, lines) = whole.split_at(blank + 1);
        let lines =
            lines.strip_prefix('\n').and_then(|rest| rest.strip_suffix('\n')).ok_or(NoteError::Form)?;
        let mut signatures = Vec::new();
        for (number, line) in lines.split('\n').enumerate() {
            if number == MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(Signature::parse(line).ok_or(NoteError::SignatureLine { line: number + 1 })?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The note in its one form: text, blank line, lines in their order.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut note = format!("{}\n", self.text);
        for signature in &self.signatures {
            note.push_str(&signature.to_line());
        }
        note
    }

    /// Signs a text with each key; `at` is the time in seconds since 1970 that timestamped signatures carry.
    ///
    /// The text must end in a newline; text that a key cannot sign is the key's error.
    ///
    /// # Errors
    /// The first key that fails.
    pub fn sign(text: &str, keys: &[&dyn Signer], at: u64) -> Result<Self, crate::keys::SignFailed> {
        let mut signatures = Vec::with_capacity(keys.len());
        for key in keys {
            let verifier = key.verifier();
            signatures.push(Signature {
                name: verifier.name().to_owned(),
                key_id: verifier.key_id(),
                bytes: key.sign(text, at)?,
            });
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// Checks every line that belongs to one of the keys and returns those; lines of other keys are ignored.
    ///
    /// # Errors
    /// When a line of a known key does not verify, or no line belongs to a known key.
    pub fn open(&self, keys: &[VerifierKey]) -> Result<Vec<Verified>, OpenError> {
        let mut verified = Vec::new();
        for signature in &self.signatures {
            let is_theirs =
                |key: &VerifierKey| key.name() == signature.name && key.key_id() == signature.key_id;
            for (number, key) in keys.iter().enumerate().filter(|(_, key)| is_theirs(key)) {
                let timestamp = key.verify(&self.text, &signature.bytes).map_err(|_| OpenError::Invalid {
                    name: signature.name.clone(),
                    algorithm: key.algorithm(),
                })?;
                verified.push(Verified { key: number, timestamp });
            }
        }
        if verified.is_empty() { Err(OpenError::Unsigned) } else { Ok(verified) }
    }
}

impl Signature {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
        let decoded = STANDARD.decode(encoded).ok()?;
        let (key_id, bytes) = decoded.split_first_chunk::<4>()?;
        (is_key_name(name) && !bytes.is_empty()).then(|| Self {
            name: name.to_owned(),
            key_id: u32::from_be_bytes(*key_id),
            bytes: bytes.to_vec(),
        })
    }

    /// The line with its newline.
    #[must_use]
    pub fn to_line(&self) -> String {
        let encoded = STANDARD.encode([&self.key_id.to_be_bytes(), self.bytes.as_slice()].concat());
        format!("— {} {encoded}\n", self.name)
    }
}

/// Whether a name may stand in a signature line: not empty, no white space, no plus, no control character.
#[must_use]
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

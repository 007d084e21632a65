//! The offline proof of C2SP tlog-proof: an index, its audit path and the checkpoint it leads to, in one text file.

use crate::hash::Hash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The first line of a `.tlog-proof`.
pub const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The longest file that is read.
pub const MAX_PROOF: usize = 512 * 1024;

/// A proof that carries its own checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// What the application adds, for instance the entry itself.
    pub extra: Option<Vec<u8>>,
    /// Index of the proven entry.
    pub index: u64,
    /// Audit path in the SHA-256 tree of the checkpoint's size.
    pub path: Vec<Hash>,
    /// The signed note.
    pub checkpoint: String,
}

/// Why a text is not a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// Longer than [`MAX_PROOF`].
    #[error("the proof is longer than {MAX_PROOF} bytes")]
    TooLong,
    /// The first line is another one.
    #[error("the first line is not {HEADER}")]
    Header,
    /// A line is not what the format has in its place.
    #[error("line {line} is malformed")]
    Line {
        /// Counted from one.
        line: usize,
    },
}

impl TlogProof {
    /// The text of the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\n");
        if let Some(extra) = &self.extra {
            text.push_str(&format!("extra {}\n", STANDARD.encode(extra)));
        }
        text.push_str(&format!("index {}\n", self.index));
        for hash in &self.path {
            text.push_str(&format!("{}\n", STANDARD.encode(hash)));
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads a proof; the checkpoint in it is not looked at here.
    ///
    /// # Errors
    /// Names the line that is wrong.
    pub fn parse(text: &str) -> Result<Self, TlogProofError> {
        if text.len() > MAX_PROOF {
            return Err(TlogProofError::TooLong);
        }
        let mut rest = text;
        let mut line = 0;
        let mut next = || -> Option<&str> {
            let (first, after) = rest.split_once('\n')?;
            rest = after;
            line += 1;
            Some(first)
        };
        if next() != Some(HEADER) {
            return Err(TlogProofError::Header);
        }
        let mut current = next().ok_or(TlogProofError::Line { line: 2 })?;
        let mut extra = None;
        if let Some(encoded) = current.strip_prefix("extra ") {
            extra = Some(STANDARD.decode(encoded).map_err(|_| TlogProofError::Line { line: 2 })?);
            current = next().ok_or(TlogProofError::Line { line: 3 })?;
        }
        let at = 2 + usize::from(extra.is_some());
        let digits = current.strip_prefix("index ").ok_or(TlogProofError::Line { line: at })?;
        let index: u64 = digits.parse().map_err(|_| TlogProofError::Line { line: at })?;
        if index.to_string() != digits {
            return Err(TlogProofError::Line { line: at });
        }
        let mut path = Vec::new();
        loop {
            let malformed = TlogProofError::Line { line: at + path.len() + 1 };
            let encoded = next().ok_or(malformed)?;
            if encoded.is_empty() {
                break;
            }
            // An audit path has at most 64 steps.
            let hash = STANDARD.decode(encoded).ok().and_then(|hash| Hash::try_from(hash).ok());
            path.push(hash.filter(|_| path.len() < 64).ok_or(malformed)?);
        }
        Ok(Self { extra, index, path, checkpoint: rest.to_owned() })
    }
}

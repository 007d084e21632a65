//! The text of a checkpoint (C2SP tlog-checkpoint): origin, size, root, each on its line; extension lines are kept.

use crate::hash::Hash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What a log says about itself: this origin, this many entries, this SHA-256 root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, the first line.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Root of the SHA-256 tree.
    pub root: Hash,
    /// Lines after the third, without their newlines. Ours have none.
    pub extensions: Vec<String>,
}

/// Why a text is not a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Fewer than three lines, or the last one is not ended.
    #[error("a checkpoint has three lines or more, each ended by a newline")]
    Lines,
    /// The first line is empty.
    #[error("the origin line is empty")]
    Origin,
    /// The second line is not a size in its shortest decimal form.
    #[error("the size line is not a decimal number without leading zeros")]
    Size,
    /// The third line is not the base64 of 32 bytes.
    #[error("the root line is not the base64 of 32 bytes")]
    Root,
    /// An extension line is empty.
    #[error("an extension line is empty")]
    Extension,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    #[must_use]
    pub fn new(origin: impl Into<String>, size: u64, root: Hash) -> Self {
        Self { origin: origin.into(), size, root, extensions: Vec::new() }
    }

    /// The text to be signed: ends in a newline.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root));
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Reads the text of a checkpoint, without its signatures.
    ///
    /// # Errors
    /// Names the line that is wrong.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n');
        let origin = lines.next().filter(|line| !line.is_empty()).ok_or(CheckpointError::Origin)?;
        let size_line = lines.next().ok_or(CheckpointError::Lines)?;
        let size: u64 = size_line.parse().map_err(|_| CheckpointError::Size)?;
        if size.to_string() != size_line {
            return Err(CheckpointError::Size);
        }
        let root_line = lines.next().ok_or(CheckpointError::Lines)?;
        let root = STANDARD.decode(root_line).ok().and_then(|root| Hash::try_from(root).ok());
        let root = root.ok_or(CheckpointError::Root)?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(CheckpointError::Extension);
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions })
    }
}

//! What may be posted to `/log/gossip`: a head of a log, in one of its two forms (docs/spec/log.md §15.3).

use paramant_tlog::Checkpoint;
use paramant_tlog::note::Note;

use crate::sth::SignedSth;

/// A head that somebody saw. Whether it is signed is not looked at here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// A signed checkpoint, of the SHA-256 tree.
    Checkpoint(Note, Checkpoint),
    /// A signed tree head, of the SHA3-256 tree.
    TreeHead(SignedSth),
}

/// Neither form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the body is neither a signed checkpoint (C2SP tlog-checkpoint) nor a signed tree head (JSON with six keys): {0}"
)]
pub struct Malformed(String);

impl Document {
    /// Reads a document. What begins like JSON is read as a tree head, everything else as a note.
    pub fn parse(document: &[u8]) -> Result<Self, Malformed> {
        let malformed = |error: &dyn std::fmt::Display| Malformed(error.to_string());
        if document.trim_ascii_start().starts_with(b"{") {
            return serde_json::from_slice(document).map(Self::TreeHead).map_err(|error| malformed(&error));
        }
        let note = Note::parse(document).map_err(|error| malformed(&error))?;
        let checkpoint = Checkpoint::parse(&note.text).map_err(|error| malformed(&error))?;
        Ok(Self::Checkpoint(note, checkpoint))
    }
}

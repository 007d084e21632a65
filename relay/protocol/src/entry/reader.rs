//! Reading many entries in a row: nearly all are transfers, and neighbours share their hour.
//!
//! Accepts what [`Entry::parse`] accepts and answers the same, without copying: an auditor reads a million of them a second.

use super::{Entry, EntryError};
use crate::leaf::Hash;
use crate::{moment, path};

/// Reads entries one after the other.
#[derive(Debug, Clone, Default)]
pub struct EntryReader {
    /// The last hour that was found to be one.
    hour: Option<String>,
}

/// What was read.
#[derive(Debug)]
pub enum Read<'a> {
    /// A transfer.
    Transfer {
        /// `l`.
        leaf: Hash,
        /// `t`.
        hour: &'a str,
    },
    /// Any other kind.
    Other(Box<Entry>),
}

impl EntryReader {
    /// A reader that has read nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// As [`Entry::parse`].
    pub fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<Read<'a>, EntryError> {
        if let Some((leaf, hour)) = transfer(bytes) {
            let known = self.hour.as_deref() == Some(hour);
            if known || moment::is_hour(hour) {
                if !known {
                    self.hour = Some(hour.to_owned());
                }
                return Ok(Read::Transfer { leaf, hour });
            }
        }
        Entry::parse(bytes).map(Box::new).map(Read::Other)
    }
}

/// The leaf of a transfer, and what stands where its hour should.
pub(super) fn transfer(bytes: &[u8]) -> Option<(Hash, &str)> {
    let rest = bytes.strip_prefix(br#"{"k":"transfer","l":""#)?;
    let (leaf, rest) = rest.split_at_checked(64)?;
    let hour = rest.strip_prefix(br#"","t":""#)?.strip_suffix(br#""}"#)?;
    let leaf = path::parse_hash(std::str::from_utf8(leaf).ok()?)?;
    Some((leaf, std::str::from_utf8(hour).ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::entry::Kind;

    #[test]
    fn the_reader_answers_as_the_parser_does() {
        let leaf = hex::encode([7; 32]);
        let transfer = |hour: &str| format!(r#"{{"k":"transfer","l":"{leaf}","t":"{hour}"}}"#);
        let (one, two) = (transfer("2026-01-02T03:00:00.000Z"), transfer("2026-01-02T04:00:00.000Z"));
        let bad = transfer("2026-01-02T03:00:00.001Z");
        let upper = one.replace("07", "0A");
        let mut reader = EntryReader::new();
        for text in [&one, &one, &bad, &two, &bad, &upper, &one, &String::new(), &"{}".to_owned(), &two] {
            let parsed = Entry::parse(text.as_bytes());
            match (reader.read(text.as_bytes()), parsed) {
                (Ok(Read::Transfer { leaf, hour }), Ok(parsed)) => {
                    assert_eq!((leaf, hour, Kind::Transfer), (parsed.leaf(), parsed.hour(), parsed.kind()));
                }
                (Err(found), Err(expected)) => assert_eq!(found.to_string(), expected.to_string()),
                (found, expected) => panic!("{text}: {found:?}, {expected:?}"),
            }
        }
    }

    #[test]
    fn an_empty_hour_is_no_hour_even_before_any_was_read() {
        let text = format!(r#"{{"k":"transfer","l":"{}","t":""}}"#, hex::encode([7; 32]));
        assert!(EntryReader::new().read(text.as_bytes()).is_err());
    }
}

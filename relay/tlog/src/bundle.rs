//! Entry bundles (C2SP tlog-tiles): up to 256 entries, each behind its length in two bytes, big-endian.

use crate::tile::WIDTH;

/// The longest entry the format can hold. (The log itself takes at most 16 KiB.)
pub const MAX_ENTRY: usize = u16::MAX as usize;

/// What is wrong with the bytes of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The bytes end inside an entry.
    #[error("the bundle ends inside entry {entry}")]
    Truncated {
        /// Number of the entry within the bundle.
        entry: usize,
    },
    /// More entries than a bundle has room for.
    #[error("the bundle holds more than 256 entries")]
    TooMany,
}

/// Appends one entry to the bytes of a bundle. False, and nothing written, when the entry is too long for the format.
#[must_use]
pub fn push(bundle: &mut Vec<u8>, entry: &[u8]) -> bool {
    let Ok(length) = u16::try_from(entry.len()) else { return false };
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    true
}

/// The entries of a bundle, in order, as slices of its bytes.
///
/// # Errors
/// When the bytes do not divide into whole entries, or hold more than 256.
pub fn decode(bundle: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
    let mut entries = Vec::new();
    let mut rest = bundle;
    while !rest.is_empty() {
        if entries.len() as u64 == WIDTH {
            return Err(BundleError::TooMany);
        }
        let truncated = BundleError::Truncated { entry: entries.len() };
        let (length, after) = rest.split_first_chunk::<2>().ok_or(truncated.clone())?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, after) = after.split_at_checked(length).ok_or(truncated)?;
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}

/// The bytes of the first `width` entries of a bundle.
///
/// # Errors
/// As [`decode`]; also when the bundle holds fewer entries than asked for.
pub fn prefix(bundle: &[u8], width: u16) -> Result<&[u8], BundleError> {
    let entries = decode(bundle)?;
    let wanted = entries.get(..usize::from(width)).ok_or(BundleError::Truncated { entry: entries.len() })?;
    let length = wanted.iter().map(|entry| entry.len() + 2).sum();
    bundle.get(..length).ok_or(BundleError::Truncated { entry: entries.len() })
}

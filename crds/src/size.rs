//! Sizes in bytes, written as Kubernetes people write them: `5236477`, `100Mi`, `20Gi`, `1T`.
//!
//! [`Size`] is the text of the manifest, kept as written; [`ByteSize`] is the number it means.

use crate::text::shaped_text;

shaped_text! {
    /// A size in bytes: digits and an optional unit (`k`, `M`, `G`, `T`, `Ki`, `Mi`, `Gi`, `Ti`), such as `20Gi`.
    Size, length 1..=16, pattern "^[1-9][0-9]{0,11}([kMGT]|[KMGT]i)?$"
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// The units a size may end in, longest first, with what they multiply by.
const UNITS: [(&str, u64); 8] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

impl Size {
    /// The number of bytes, or `None` when the text is not a size (or does not fit into 64 bits).
    pub fn bytes(&self) -> Option<ByteSize> {
        let (digits, factor) = UNITS
            .iter()
            .find_map(|(unit, factor)| self.0.strip_suffix(unit).map(|digits| (digits, *factor)))
            .unwrap_or((self.0.as_str(), 1));
        let shape = !digits.is_empty() && digits.len() <= 12 && !digits.starts_with('0');
        if !shape || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        digits.parse::<u64>().ok()?.checked_mul(factor).map(ByteSize)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_size_is_digits_and_an_optional_unit() {
        for (text, bytes) in [
            ("1", 1),
            ("5236477", 5_236_477),
            ("100Mi", 100 << 20),
            ("20Gi", 20 << 30),
            ("2Ti", 2 << 40),
            ("1k", 1_000),
            ("3M", 3_000_000),
        ] {
            assert_eq!(Size::from(text).bytes(), Some(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_not_a_size() {
        for text in ["", "0", "01", "-1", "1.5Gi", "Gi", "1 Gi", "1gi", "1Pi", "1e3", "1000000000000T", "+1"]
        {
            assert_eq!(Size::from(text).bytes(), None, "{text}");
        }
    }
}

//! Sizes as people write them in settings: `5Mi`, `20Gi`, `5242880`. Parsed once; bytes from there on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a size: write whole bytes or a whole number with Ki, Mi, Gi, Ti, k, M, G or T, such as 5Mi"
)]
pub struct SizeError {
    text: String,
}

// Longest suffix first, so that `Mi` is not read as `M` and an `i`.
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

impl ByteSize {
    /// So many bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many mebibytes.
    pub const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    /// The number of bytes.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let refuse = || SizeError { text: text.to_owned() };
        let (digits, unit) = UNITS
            .iter()
            .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|digits| (digits, *unit)))
            .unwrap_or((text, 1));
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(refuse());
        }
        let count: u64 = digits.parse().map_err(|_| refuse())?;
        count.checked_mul(unit).map(Self).ok_or_else(refuse)
    }
}

impl fmt::Display for ByteSize {
    /// The largest binary unit that shows the size exactly.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (suffix, unit) in UNITS.iter().take(4).rev() {
            if self.0 >= *unit && self.0.is_multiple_of(*unit) {
                return write!(formatter, "{}{suffix}", self.0 / unit);
            }
        }
        write!(formatter, "{}", self.0)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    /// A text as above, or a bare whole number of bytes (which YAML reads as a number).
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl de::Visitor<'_> for Reader {
            type Value = ByteSize;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a size such as 5Mi or a whole number of bytes")
            }

            fn visit_u64<E>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                u64::try_from(bytes)
                    .map(ByteSize)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(bytes), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, shown) in [
            ("0", 0, "0"),
            ("1", 1, "1"),
            ("5Mi", 5_242_880, "5Mi"),
            ("20Gi", 21_474_836_480, "20Gi"),
            ("5242880", 5_242_880, "5Mi"),
            ("1k", 1000, "1000"),
            ("2M", 2_000_000, "2000000"),
            ("1Ti", 1 << 40, "1Ti"),
            ("1536Ki", 1_572_864, "1536Ki"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.as_u64(), size.to_string().as_str()), (bytes, shown), "{text}");
        }
        assert_eq!(serde_json::from_str::<ByteSize>("5242880").unwrap(), ByteSize::mebibytes(5));
        assert_eq!(serde_json::from_str::<ByteSize>("\"5Mi\"").unwrap(), ByteSize::mebibytes(5));
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for text in [
            "",
            "Mi",
            "5 Mi",
            "-5Mi",
            "+5Mi",
            "5.5Mi",
            "5mi",
            "5MiB",
            "99999999999Ti",
            "18446744073709551616",
        ] {
            assert!(text.parse::<ByteSize>().unwrap_err().to_string().contains("such as 5Mi"), "{text}");
        }
        assert!(serde_json::from_str::<ByteSize>("-1").is_err());
        assert!(serde_json::from_str::<ByteSize>("1.5").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes in any::<u64>()) {
            prop_assert_eq!(ByteSize(bytes).to_string().parse::<ByteSize>(), Ok(ByteSize(bytes)));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = text.parse::<ByteSize>();
        }
    }
}

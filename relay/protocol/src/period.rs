//! Lengths of time as people write them in settings: `168h`, `1h30m`, `600s`. Parsed once; a `Duration` from there on.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time with whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(Duration);

/// Why a text is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a length of time: write whole numbers with d, h, m, s or ms, such as 168h or 1h30m")]
pub struct PeriodError {
    text: String,
}

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Period {
    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// As the standard library has it.
    pub const fn as_duration(self) -> Duration {
        self.0
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        period.0
    }
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        parse(text)
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or_else(|| PeriodError { text: text.to_owned() })
    }
}

/// Parts in falling order of unit, each at most once, so that a typing mistake is not silently added up.
fn parse(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut total, mut smallest) = (text, 0u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let name = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (name, tail) = tail.split_at(name);
        let (_, unit) = UNITS.iter().find(|(known, _)| *known == name)?;
        if *unit >= smallest {
            return None;
        }
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*unit)?)?;
        (rest, smallest) = (tail, *unit);
    }
    (smallest != u64::MAX).then_some(total)
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_millis();
        if left == 0 {
            return formatter.write_str("0s");
        }
        // Days are read but not written: 168h is how the settings spell a week.
        for (name, unit) in UNITS.iter().skip(1) {
            let count = left / u128::from(*unit);
            if count > 0 {
                write!(formatter, "{count}{name}")?;
            }
            left %= u128::from(*unit);
        }
        Ok(())
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_of_time_are_read_and_written() {
        for (text, millis, shown) in [
            ("168h", 604_800_000, "168h"),
            ("600s", 600_000, "10m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("7d", 604_800_000, "168h"),
            ("250ms", 250, "250ms"),
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("1m1ms", 60_001, "1m1ms"),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!(
                (period.as_duration(), period.to_string().as_str()),
                (Duration::from_millis(millis), shown),
                "{text}"
            );
        }
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for text in [
            "",
            "168",
            "h",
            "1.5h",
            "-1h",
            "1 h",
            "1h 30m",
            "30m1h",
            "1h1h",
            "1w",
            "1H",
            "99999999999999999999h",
        ] {
            assert!(text.parse::<Period>().unwrap_err().to_string().contains("such as 168h"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0..u64::MAX / 2) {
            let period = Period(Duration::from_millis(millis));
            prop_assert_eq!(period.to_string().parse::<Period>(), Ok(period));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = text.parse::<Period>();
        }
    }
}

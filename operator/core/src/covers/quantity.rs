//! Kubernetes quantities (`20Gi`, `500m`, `1e3`) compared by value.
//!
//! Exact arithmetic in nano-units, the finest the API server keeps. Whoever needs to compare two sizes calls this; nothing
//! here prints a quantity, because the text a person wrote is what is sent.

use std::str::FromStr;

/// A quantity in nano-units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i128);

/// The text is no quantity, or one beyond 10^29.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a quantity such as `20Gi` or `500m`")]
pub struct NotAQuantity;

impl FromStr for Quantity {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at_checked(end).ok_or(NotAQuantity)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(NotAQuantity);
        }
        let digits: i128 = format!("{whole}{fraction}").parse().map_err(|_| NotAQuantity)?;
        let (factor, mut tens) = scale(suffix).ok_or(NotAQuantity)?;
        tens += 9 - i32::try_from(fraction.len()).map_err(|_| NotAQuantity)?;
        let mut nanos = digits.checked_mul(factor).ok_or(NotAQuantity)?;
        for _ in 0..tens.abs() {
            nanos = if tens > 0 {
                nanos.checked_mul(10).ok_or(NotAQuantity)?
            } else {
                // Finer than a nano: the API server rounds up.
                nanos / 10 + i128::from(nanos % 10 != 0)
            };
        }
        Ok(Self(if negative { -nanos } else { nanos }))
    }
}

/// A binary factor and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        exponent => {
            let tens: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            (-30..=30).contains(&tens).then_some((1, tens))?
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    #[test]
    fn different_spellings_of_one_value_are_equal() {
        for same in [
            ["1", "1000m"],
            ["0.5", "500m"],
            ["1Gi", "1073741824"],
            ["1.5Gi", "1536Mi"],
            ["1k", "1e3"],
            ["2E", "2e18"],
            [".1", "100m"],
            ["+5", "5"],
            ["1u", "1000n"],
        ] {
            assert_eq!(quantity(same[0]), quantity(same[1]), "{same:?}");
        }
    }

    #[test]
    fn different_values_are_ordered() {
        assert!(quantity("1G") < quantity("1Gi"));
        assert!(quantity("-1") < quantity("0"));
        assert!(quantity("999Mi") < quantity("1Gi"));
    }

    #[test]
    fn what_is_no_quantity_is_refused_without_a_panic() {
        for bad in ["", "Gi", "1 Gi", "1.2.3", "1Zi", "1e", "1e99", "--1", ".", "9".repeat(60).as_str(), "1é"]
        {
            assert!(bad.parse::<Quantity>().is_err(), "{bad}");
        }
    }
}

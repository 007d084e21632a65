//! Lengths of time, written as `600s`, `30m`, `168h` or `1h30m`: what CEL's `duration()` reads too (it has no `7d`).

use std::time::Duration;

use crate::text::shaped_text;

shaped_text! {
    /// A length of time in hours, minutes and seconds, such as `168h`, `30m`, `1h30m` or `600s`.
    Span, length 2..=21, pattern "^([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,7}s)?$"
}

impl Span {
    /// The length, or `None` when the text is not a span.
    pub fn duration(&self) -> Option<Duration> {
        let mut rest = self.0.as_str();
        if rest.is_empty() {
            return None;
        }
        let mut seconds = 0_u64;
        for (unit, factor, width) in [('h', 3_600, 5), ('m', 60, 6), ('s', 1, 7)] {
            let Some((digits, after)) = rest.split_once(unit) else { continue };
            let shape = (1..=width).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            if !shape {
                return None;
            }
            seconds += digits.parse::<u64>().ok()? * factor;
            rest = after;
        }
        rest.is_empty().then(|| Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_span_is_hours_minutes_and_seconds_in_that_order() {
        for (text, seconds) in
            [("600s", 600), ("30m", 1_800), ("168h", 604_800), ("1h30m", 5_400), ("1h0m5s", 3_605), ("0s", 0)]
        {
            assert_eq!(Span::from(text).duration(), Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_not_a_span() {
        for text in ["", "7d", "1", "h", "1s1m", "1m1m", "1.5h", "-1s", "+1s", "500ms", "1h ", "123456h"] {
            assert_eq!(Span::from(text).duration(), None, "{text}");
        }
    }
}

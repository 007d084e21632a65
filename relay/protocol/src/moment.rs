//! How instants are written: milliseconds for people, the hour for the public log, and the exact time of a transfer.
//!
//! The exact time of a transfer carries 39 random decimal digits (128 bits) after the millisecond: a bare millisecond is
//! guessed in under a second by whoever holds the ciphertext, and would then tie it to its public leaf.

use jiff::Timestamp;
use jiff::tz::Offset;

/// An ISO-8601 UTC instant with milliseconds: `2026-01-02T03:04:05.678Z`. Finer parts are cut off, not rounded.
pub fn millis(at: Timestamp) -> String {
    format!("{}Z", body(at))
}

/// The hour of an instant, as entries carry it: `2026-01-02T03:00:00.000Z`.
pub fn hour(at: Timestamp) -> String {
    let civil = Offset::UTC.to_datetime(at);
    format!("{:04}-{:02}-{:02}T{:02}:00:00.000Z", civil.year(), civil.month(), civil.day(), civil.hour())
}

/// The exact time of a transfer: milliseconds followed by 39 random decimal digits.
pub fn exact(at: Timestamp, random: [u8; 16]) -> String {
    format!("{}{:039}Z", body(at), u128::from_be_bytes(random))
}

/// Whether a text is an hour as [`hour`] writes it (and a real one).
pub fn is_hour(text: &str) -> bool {
    text.parse::<Timestamp>().is_ok_and(|at| hour(at) == text)
}

/// The hour of an exact time, if it is one.
pub fn hour_of(exact: &str) -> Option<String> {
    // Readers of the calendar take at most nine digits of a second; the rest is randomness.
    let (seconds, fraction) = exact.strip_suffix('Z')?.split_once('.')?;
    if fraction.is_empty() || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    format!("{seconds}Z").parse::<Timestamp>().ok().map(hour)
}

fn body(at: Timestamp) -> String {
    let civil = Offset::UTC.to_datetime(at);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}",
        civil.year(),
        civil.month(),
        civil.day(),
        civil.hour(),
        civil.minute(),
        civil.second(),
        civil.millisecond()
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_instant_is_written_in_three_ways() {
        let at: Timestamp = "2026-01-02T03:04:05.6789Z".parse().unwrap();
        assert_eq!(millis(at), "2026-01-02T03:04:05.678Z");
        assert_eq!(hour(at), "2026-01-02T03:00:00.000Z");
        assert_eq!(exact(at, [0; 16]), format!("2026-01-02T03:04:05.678{}Z", "0".repeat(39)));
        assert_eq!(exact(at, [0xff; 16]), "2026-01-02T03:04:05.678340282366920938463463374607431768211455Z");
        assert_eq!(hour_of(&exact(at, [0xff; 16])).as_deref(), Some("2026-01-02T03:00:00.000Z"));
        assert_eq!(hour_of("2026-01-02T03:04:05.678Z").as_deref(), Some("2026-01-02T03:00:00.000Z"));
    }

    #[test]
    fn only_whole_hours_in_the_exact_form_are_hours() {
        assert!(is_hour("2026-01-02T03:00:00.000Z"));
        for text in [
            "2026-01-02T03:00:00Z",
            "2026-01-02T03:00:00.001Z",
            "2026-01-02T03:01:00.000Z",
            "2026-02-30T03:00:00.000Z",
            "2026-01-02T03:00:00.000+00:00",
            "",
            "2026-01-02t03:00:00.000z",
        ] {
            assert!(!is_hour(text), "{text} was accepted");
        }
        for text in ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.Z", "2026-01-02T03:04:05.1x2Z", "x"] {
            assert_eq!(hour_of(text), None, "{text} was accepted");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in any::<String>()) {
            let _ = (is_hour(&text), hour_of(&text));
        }
    }
}

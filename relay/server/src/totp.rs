//! Time-based one-time passwords (RFC 6238): six digits, steps of 30 seconds, one step of tolerance either way.
//!
//! Both HMAC-SHA-1, which most authenticators use, and HMAC-SHA-256 are accepted. Pure; who keeps the secret, and that a code
//! works once, is told in [`crate::setup_code`].

use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256, Key};
use subtle::{Choice, ConstantTimeEq};

/// Seconds of one step.
const STEP: u64 = 30;
/// Steps before and after now whose codes count: clocks differ, and people type slowly.
const TOLERANCE: u64 = 1;

/// The newest step after `used` whose code this is, if it is one around `unix_seconds`.
pub(crate) fn step_of(code: &str, secret: &[u8], unix_seconds: u64, used: Option<u64>) -> Option<u64> {
    let now = unix_seconds / STEP;
    let mut found = None;
    for step in now.saturating_sub(TOLERANCE)..=now.saturating_add(TOLERANCE) {
        let mut same = Choice::from(0);
        for algorithm in [HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256] {
            same |= six_digits(&Key::new(algorithm, secret), step).as_bytes().ct_eq(code.as_bytes());
        }
        if bool::from(same) && used.is_none_or(|used| step > used) {
            found = Some(step);
        }
    }
    found
}

/// HOTP (RFC 4226, section 5.3) of one step.
fn six_digits(key: &Key, step: u64) -> String {
    let tag = hmac::sign(key, &step.to_be_bytes());
    let bytes = tag.as_ref();
    let offset = usize::from(bytes.last().copied().unwrap_or_default() & 0x0f);
    let word = bytes.get(offset..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
    format!("{:06}", (u32::from_be_bytes(word) & 0x7fff_ffff) % 1_000_000)
}

/// The bytes of a base32 secret (RFC 4648), as authenticators show it.
pub(crate) fn from_base32(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for letter in text.bytes().filter(|letter| !matches!(letter, b' ' | b'-' | b'=')) {
        let value = match letter.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            letter @ b'2'..=b'7' => letter - b'2' + 26,
            _ => return None,
        };
        bits = bits << 5 | u32::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: &[u8] = b"12345678901234567890";
    const SHA256: &[u8] = b"12345678901234567890123456789012";

    #[test]
    fn the_vectors_of_rfc_6238_hold() {
        // Appendix B has eight digits; six are the last of them.
        for (seconds, secret, code) in [
            (59, SHA1, "287082"),
            (1_111_111_109, SHA1, "081804"),
            (20_000_000_000, SHA1, "353130"),
            (59, SHA256, "119246"),
            (1_111_111_109, SHA256, "084774"),
            (20_000_000_000, SHA256, "737706"),
        ] {
            assert_eq!(step_of(code, secret, seconds, None), Some(seconds / 30), "{seconds}");
        }
    }

    #[test]
    fn a_code_holds_one_step_either_way_and_once() {
        for (seconds, holds) in [(0, true), (30, true), (89, true), (90, false)] {
            assert_eq!(step_of("287082", SHA1, seconds, None).is_some(), holds, "{seconds}");
        }
        assert_eq!(step_of("287082", SHA1, 59, Some(1)), None, "used already");
        assert_eq!(step_of("287082", SHA1, 59, Some(0)), Some(1));
        for wrong in ["", "28708", "2870820", "287083", "\u{661}87082"] {
            assert_eq!(step_of(wrong, SHA1, 59, None), None, "{wrong}");
        }
    }

    #[test]
    fn base32_is_read_as_people_copy_it() {
        assert_eq!(from_base32("GEZD GNBV-gy3tqojqGEZDGNBVGY3TQOJQ").as_deref(), Some(SHA1));
        assert_eq!(from_base32("MZXW6==="), Some(b"foo".to_vec()));
        assert_eq!(from_base32("not base 32!"), None);
    }
}

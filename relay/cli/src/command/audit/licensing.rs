//! The licensing keys that an auditor gives, as hex or in a file.
//!
//! A key is a line: its hex, then, if it ends, the last instant at which it signs. `paramant-authority key list` prints lines like that.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use paramant_licensing::online::keys::{LicensingKey, PUBLIC_KEY};

use crate::exit::Usage;

/// All keys, in the order given.
pub(super) fn keys(given: &[String]) -> Result<Vec<LicensingKey>> {
    let mut all = Vec::new();
    for given in given {
        let in_place = given.trim().len() >= 2 * PUBLIC_KEY;
        let text = if in_place {
            given.clone()
        } else {
            std::fs::read_to_string(given).with_context(|| {
                format!("--licensing-key {given}: neither the hex of a key nor a file that can be read")
            })?
        };
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            return Err(Usage(format!("--licensing-key {given}: the file is empty")).into());
        }
        for line in lines {
            all.push(key(line).map_err(|error| Usage(format!("--licensing-key {given:.60}: {error}")))?);
        }
    }
    Ok(all)
}

fn key(line: &str) -> Result<LicensingKey, String> {
    let mut words = line.split_whitespace();
    let public = words.next().and_then(|hex| hex::decode(hex).ok());
    let public = public.filter(|key| key.len() == PUBLIC_KEY).ok_or_else(|| {
        let digits = 2 * PUBLIC_KEY;
        format!(
            "expected the {digits} hex digits of an ML-DSA-65 public key, and a time after them if it ends"
        )
    })?;
    let not_after = match words.next() {
        Some(end) => end.parse().map_err(|error| format!("{end} is no time: {error}"))?,
        None => Timestamp::MAX,
    };
    Ok(LicensingKey { public, not_after })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_hex_and_may_end() {
        let hex = "ab".repeat(PUBLIC_KEY);
        assert_eq!(keys(std::slice::from_ref(&hex)).unwrap()[0].not_after, Timestamp::MAX);
        let listed = format!("{hex} 2030-01-01T00:00:00Z from 2026-01-01T00:00:00Z");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{listed}\n\n{hex}\n")).unwrap();
        let read = keys(&[listed, file.path().display().to_string()]).unwrap();
        let ends: Vec<bool> = read.iter().map(|key| key.not_after < Timestamp::MAX).collect();
        assert_eq!(ends, [true, true, false]);
        for wrong in [format!("{hex}ab"), format!("{hex} soon"), "xy".repeat(PUBLIC_KEY)] {
            assert!(keys(&[wrong]).unwrap_err().is::<Usage>());
        }
    }
}

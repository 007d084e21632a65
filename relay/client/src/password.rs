//! A password that the relay asks a blob's readers for, beside the recipient's key.

use paramant_protocol::leaf;
use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

/// The longest that relays take, in bytes.
const MOST: usize = 1024;

/// Wiped when dropped, never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

/// A text that is no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPassword {
    /// Empty, or too long.
    #[error("a password has 1 to {MOST} bytes")]
    Length,
    /// A reader could not send it.
    #[error("a password cannot hold control characters: it travels in a header")]
    Control,
}

impl Password {
    /// From its text.
    pub fn new(text: &str) -> Result<Self, NotAPassword> {
        if text.is_empty() || text.len() > MOST {
            return Err(NotAPassword::Length);
        }
        if text.chars().any(char::is_control) {
            return Err(NotAPassword::Control);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// For the body of an upload.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// For the header of a download; `None` for nothing that [`Password::new`] lets through.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_bytes(self.0.as_bytes()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Tells one password from another, to whoever knows them.
    pub(crate) fn digest(&self) -> String {
        hex::encode(leaf::sha256(self.0.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn whatever_is_taken_can_be_sent_in_a_header() {
        for text in ["x", "grün und lang", "😀", &"ä".repeat(MOST / 2)] {
            assert_eq!(Password::new(text).unwrap().header().unwrap().as_bytes(), text.as_bytes());
        }
        for (text, why) in [
            ("", NotAPassword::Length),
            (&*"x".repeat(MOST + 1), NotAPassword::Length),
            ("two\nlines", NotAPassword::Control),
            ("tab\t", NotAPassword::Control),
        ] {
            assert_eq!(Password::new(text).err().unwrap(), why);
        }
    }
}

//! Names as the API server takes them, checked before they become part of a path, a patch or a line for a shell.

use paramant_crds::Digest;
use paramant_crds::text::{KeyId, ObjectName, RequestId};

/// The name of an object: lower-case letters, digits, `-` and `.`.
pub(crate) fn object(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let sound = text.len() <= ObjectName::MAX_LENGTH
        && text.starts_with(inner)
        && text.ends_with(inner)
        && text.chars().all(|c| inner(c) || c == '-' || c == '.');
    let wrong =
        "a name is lower-case letters, digits, `-` and `.`, and begins and ends with a letter or digit";
    if sound { Ok(text.to_owned()) } else { Err(wrong.to_owned()) }
}

/// A digest of an image.
pub(crate) fn digest(text: &str) -> Result<Digest, String> {
    let digest = Digest::from(text);
    if digest.is_valid() {
        Ok(digest)
    } else {
        Err("a digest is `sha256:` and 64 lower-case hex digits, as `status.update` shows it".to_owned())
    }
}

/// The id of a vendor's request.
pub(crate) fn request_id(text: &str) -> Result<String, String> {
    if RequestId::from(text).is_valid() {
        Ok(text.to_owned())
    } else {
        Err("the id of a request is 32 lower-case hex digits, as `kubectl paramant requests` shows it"
            .to_owned())
    }
}

/// The id of a support key.
pub(crate) fn key_id(text: &str) -> Result<String, String> {
    let sound = (1..=KeyId::MAX_LENGTH).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._:".contains(c));
    if sound {
        Ok(text.to_owned())
    } else {
        Err("a key id is up to 128 letters, digits, `-`, `.`, `_` and `:`, as `status.support` shows it; never give the key itself".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_leave_its_place_in_a_path_or_a_shell_is_no_name() {
        for sound in ["health", "a", "0-a.b"] {
            assert!(object(sound).is_ok(), "{sound}");
        }
        for wrong in ["", "..", "a/b", "a b", "Health", "-a", "a-", "a'b", "a;b", "$(a)", "a\n", "../secrets"]
        {
            assert!(object(wrong).is_err(), "{wrong:?}");
        }
        assert!(key_id("sk-2026.1:a").is_ok() && key_id("a\"b").is_err() && key_id("").is_err());
        assert!(digest(&format!("sha256:{}", "a".repeat(64))).is_ok());
        assert!(digest("sha256:abc").is_err());
    }
}

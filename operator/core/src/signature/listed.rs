//! A file of trusted keys: PEM sections, each under a comment line with its name.
//!
//! ```text
//! # paramant-2026
//! -----BEGIN PUBLIC KEY-----
//! …
//! -----END PUBLIC KEY-----
//! ```
//! Other lines that begin with `#` are comments. A file without a key is good; one with a bad key is not, for whoever wrote it
//! believes that the key counts.

use crate::release::TrustedKey;

use super::key::{self, KeyError};

/// As long as a label, for it is shown in status.
const MAX_NAME: usize = 63;

/// Why a file of keys cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// A section without a name.
    #[error(
        "line {line}: a key needs a line `# NAME` right above it, of at most 63 letters, digits, `-`, `_` and `.`"
    )]
    Unnamed {
        /// Where the section begins.
        line: usize,
    },
    /// Two keys of one name.
    #[error("the name {name} is there twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// A broken key.
    #[error("key {name}: {source}")]
    Key {
        /// Its name.
        name: String,
        /// What is wrong with it.
        source: KeyError,
    },
    /// Something else.
    #[error("line {line}: expected a comment, an empty line, or a key in PEM")]
    Stray {
        /// Where.
        line: usize,
    },
}

/// Reads such a file.
pub fn parse(text: &str) -> Result<Vec<TrustedKey>, ListError> {
    let (mut keys, mut name) = (Vec::<TrustedKey>::new(), None);
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let (line, number) = (line.trim(), index + 1);
        if let Some(comment) = line.strip_prefix('#') {
            name = Some(comment.trim()).filter(|name| is_name(name));
        } else if line.starts_with("-----BEGIN ") {
            let name = name.take().ok_or(ListError::Unnamed { line: number })?.to_owned();
            if keys.iter().any(|key| key.name == name) {
                return Err(ListError::Twice { name });
            }
            let mut pem = format!("{line}\n");
            for (_, line) in lines.by_ref() {
                pem.push_str(line.trim());
                pem.push('\n');
                if line.trim().starts_with("-----END ") {
                    break;
                }
            }
            key::check(&pem).map_err(|source| ListError::Key { name: name.clone(), source })?;
            keys.push(TrustedKey { name, pem });
        } else if line.is_empty() {
            name = None;
        } else {
            return Err(ListError::Stray { line: number });
        }
    }
    Ok(keys)
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ONE: &str = include_str!("../../tests/signatures/release.pub");
    const OTHER: &str = include_str!("../../tests/signatures/p384.pub");

    #[test]
    fn a_file_holds_named_keys_and_comments_or_nothing() {
        let text = format!("# Keys of releases, the newest first.\n\n# one\n{ONE}\n# other\n{OTHER}");
        let keys = parse(&text).unwrap();
        assert_eq!(keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["one", "other"]);
        assert_eq!(keys[0].pem.trim(), ONE.trim());
        assert_eq!(parse("# No key yet.\n"), Ok(Vec::new()));
        assert_eq!(parse(""), Ok(Vec::new()));
    }

    #[test]
    fn a_key_that_would_not_count_is_said_and_not_skipped() {
        assert_eq!(parse(ONE), Err(ListError::Unnamed { line: 1 }));
        assert_eq!(parse(&format!("# one two\n{ONE}")), Err(ListError::Unnamed { line: 2 }));
        assert_eq!(parse(&format!("# one\n\n{ONE}")), Err(ListError::Unnamed { line: 3 }));
        assert_eq!(parse(&format!("# a\n{ONE}# a\n{OTHER}")), Err(ListError::Twice { name: "a".to_owned() }));
        let cut = ONE.replace("-----END PUBLIC KEY-----\n", "");
        let source = KeyError::NotOnePublicKey;
        assert_eq!(parse(&format!("# a\n{cut}")), Err(ListError::Key { name: "a".to_owned(), source }));
        assert_eq!(parse("one\n"), Err(ListError::Stray { line: 1 }));
    }
}

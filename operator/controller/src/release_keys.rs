//! Whose signatures count where no policy names keys: those compiled in, and those of this installation.

use std::path::{Path, PathBuf};

use paramant_operator_core::release::TrustedKey;
use paramant_operator_core::signature::listed::{self, ListError};

const COMPILED_IN: &str = include_str!("../release-keys.pem");
/// A ConfigMap cannot be larger.
const MAX_FILE: u64 = 1024 * 1024;

/// Why the keys cannot be used. The operator does not start then: it would refuse what people believe to be trusted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No file.
    #[error("cannot read the release keys in {}: {source}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not in the form.
    #[error("the release keys in {} cannot be used: {source}", file.display())]
    List {
        /// Which.
        file: PathBuf,
        /// Why.
        source: ListError,
    },
}

/// All keys, those of the installation first.
pub fn load(file: Option<&Path>) -> Result<Vec<TrustedKey>, Error> {
    let mut keys = match file {
        None => Vec::new(),
        Some(file) => read(file)?,
    };
    keys.extend(compiled_in()?);
    Ok(keys)
}

fn compiled_in() -> Result<Vec<TrustedKey>, Error> {
    listed::parse(COMPILED_IN)
        .map_err(|source| Error::List { file: PathBuf::from("release-keys.pem (compiled in)"), source })
}

fn read(file: &Path) -> Result<Vec<TrustedKey>, Error> {
    let unread = |source| Error::Read { file: file.to_owned(), source };
    if std::fs::metadata(file).map_err(unread)?.len() > MAX_FILE {
        return Err(unread(std::io::ErrorKind::FileTooLarge.into()));
    }
    let text = std::fs::read_to_string(file).map_err(unread)?;
    listed::parse(&text).map_err(|source| Error::List { file: file.to_owned(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_keys_compiled_in_can_be_used() {
        compiled_in().unwrap();
    }

    #[test]
    fn a_file_that_is_named_and_missing_is_an_error() {
        assert!(matches!(load(Some(Path::new("/nowhere/keys.pem"))), Err(Error::Read { .. })));
    }
}

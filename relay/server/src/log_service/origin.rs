//! The log's name, chosen at first boot and never changed: every auditor knows the log by it.

use std::io;

use crate::data_dir::{DataDir, durable};

/// Why the log's name cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// The settings name another one than the log was born with.
    #[error(
        "log.origin is set to {wanted:?}, but this log was born as {fixed:?} and auditors know it by that name; set log.origin back, or start a new relay with an empty data directory"
    )]
    Changed {
        /// In the settings.
        wanted: String,
        /// On disk.
        fixed: String,
    },
    /// The file that holds it.
    #[error("cannot use the file log-origin in the data directory: {0}")]
    Io(#[from] io::Error),
}

/// The name on disk; at first boot the one from the settings, else `paramant-relay/<fingerprint>`.
pub(super) fn fix(data: &DataDir, wanted: Option<&str>, fingerprint: &str) -> Result<String, OriginError> {
    let path = data.log_origin();
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let fixed = text.trim_end();
            match wanted {
                Some(wanted) if wanted != fixed => {
                    Err(OriginError::Changed { wanted: wanted.to_owned(), fixed: fixed.to_owned() })
                }
                _ => Ok(fixed.to_owned()),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let origin = wanted.map_or_else(|| format!("paramant-relay/{fingerprint}"), str::to_owned);
            durable::write(&path, format!("{origin}\n").as_bytes())?;
            Ok(origin)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_name_is_fixed_at_first_boot() {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::open(temp.path()).unwrap();
        assert_eq!(fix(&data, None, "abcd").unwrap(), "paramant-relay/abcd");
        assert_eq!(fix(&data, Some("paramant-relay/abcd"), "abcd").unwrap(), "paramant-relay/abcd");
        let refused = fix(&data, Some("relay.example/log"), "abcd").unwrap_err().to_string();
        assert!(
            refused.contains("relay.example/log") && refused.contains("paramant-relay/abcd"),
            "{refused}"
        );
    }

    #[test]
    fn a_chosen_name_stays_when_the_setting_goes() {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::open(temp.path()).unwrap();
        assert_eq!(fix(&data, Some("relay.example/log"), "abcd").unwrap(), "relay.example/log");
        assert_eq!(fix(&data, None, "abcd").unwrap(), "relay.example/log");
    }
}

//! The log's name, chosen at first boot: every auditor knows the log by it. Only `log adopt` begins a log of another name,
//! and keeps the old one, with its name, under `retired-logs/<n>/`.

use std::io;
use std::path::Path;

use crate::data_dir::{DataDir, durable};

/// Why the log's name cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// The settings name another one than the log was born with.
    #[error(
        "log.origin is set to {wanted:?}, but this log was born as {fixed:?} and auditors know it by that name; set log.origin back, or retire this log with 'paramant-relay log adopt'"
    )]
    Changed {
        /// In the settings.
        wanted: String,
        /// On disk.
        fixed: String,
    },
    /// The file that holds it.
    #[error("cannot use the names of the log (log-origin, retired-logs) in the data directory: {0}")]
    Io(#[from] io::Error),
}

/// What the log is called, and what the logs before it were called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The name in checkpoints.
    pub origin: String,
    /// Names of the logs that were retired by `log adopt`, newest first.
    pub retired: Vec<String>,
}

impl Names {
    /// The names in a data directory; `None` before the first boot.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(data: &DataDir) -> io::Result<Option<Self>> {
        let Some(origin) = line(&data.log_origin())? else { return Ok(None) };
        let mut retired = Vec::new();
        for number in 0.. {
            match line(&data.retired_logs().join(number.to_string()).join("log-origin"))? {
                // A log that is being retired right now is still this one.
                Some(name) if name != origin => retired.insert(0, name),
                _ => break,
            }
        }
        Ok(Some(Self { origin, retired }))
    }
}

/// The name on disk; at first boot the one from the settings, else `paramant-relay/<fingerprint>`. Settings that still
/// name a retired log are behind: the relay must be able to report the new name, or nobody could write it down.
pub(super) fn fix(data: &DataDir, wanted: Option<&str>, fingerprint: &str) -> Result<Names, OriginError> {
    let Some(names) = Names::read(data)? else {
        let origin = wanted.map_or_else(|| format!("paramant-relay/{fingerprint}"), str::to_owned);
        durable::write(&data.log_origin(), format!("{origin}\n").as_bytes())?;
        return Ok(Names { origin, retired: Vec::new() });
    };
    match wanted.filter(|wanted| *wanted != names.origin) {
        None => Ok(names),
        Some(wanted) if names.retired.iter().any(|name| name == wanted) => {
            let origin = &names.origin;
            tracing::warn!(
                wanted,
                origin,
                "log.origin in the settings names the log before this one; set it to the new name"
            );
            Ok(names)
        }
        Some(wanted) => Err(OriginError::Changed { wanted: wanted.to_owned(), fixed: names.origin }),
    }
}

fn line(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
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
        assert_eq!(fix(&data, None, "abcd").unwrap().origin, "paramant-relay/abcd");
        assert_eq!(fix(&data, Some("paramant-relay/abcd"), "abcd").unwrap().origin, "paramant-relay/abcd");
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
        assert_eq!(fix(&data, Some("relay.example/log"), "abcd").unwrap().origin, "relay.example/log");
        assert_eq!(fix(&data, None, "abcd").unwrap().origin, "relay.example/log");
    }

    #[test]
    fn settings_that_name_a_retired_log_are_behind_and_any_other_name_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::open(temp.path()).unwrap();
        for (number, name) in ["first.example/log", "second.example/log"].into_iter().enumerate() {
            let directory = data.retired_logs().join(number.to_string());
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("log-origin"), format!("{name}\n")).unwrap();
        }
        std::fs::write(data.log_origin(), "third.example/log\n").unwrap();
        let retired = vec!["second.example/log".to_owned(), "first.example/log".to_owned()];
        let names = Names { origin: "third.example/log".to_owned(), retired };
        for wanted in [None, Some("first.example/log"), Some("second.example/log"), Some("third.example/log")]
        {
            assert_eq!(fix(&data, wanted, "abcd").unwrap(), names);
        }
        assert!(matches!(fix(&data, Some("fourth.example/log"), "abcd"), Err(OriginError::Changed { .. })));
    }
}

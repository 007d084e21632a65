//! Reads the settings file again when it changes.
//!
//! Polled by content, not by time stamp: a ConfigMap mount swaps a symbolic link, and some editors keep the time. Only limits,
//! witnesses, webhooks and the termination grace take effect at once; a change of anything else is named in the log and waits for a restart.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::file::parse;
use super::{CommandLine, Settings, SettingsError, SettingsHandle};

/// Slow enough to cost nothing, fast enough that a person editing a limit sees it.
const POLL: Duration = Duration::from_secs(2);

/// Where settings come from: a file (or none), and the flags that outrank it.
#[derive(Debug, Clone)]
pub struct Source {
    path: Option<PathBuf>,
    overrides: Overrides,
}

#[derive(Debug, Clone, Default)]
struct Overrides {
    public: Option<std::net::SocketAddr>,
    probes: Option<std::net::SocketAddr>,
}

impl Source {
    /// As the command line says.
    pub fn new(flags: &CommandLine) -> Self {
        Self {
            path: flags.config.clone(),
            overrides: Overrides { public: flags.listen, probes: flags.probes_listen },
        }
    }

    /// Reads and checks the settings once.
    ///
    /// # Errors
    /// [`SettingsError`] with the file, the place and what to write instead.
    pub fn load(&self) -> Result<Settings, SettingsError> {
        Ok(self.read()?.1)
    }

    /// Loads the settings and keeps them fresh on the current runtime, until the last handle is dropped.
    ///
    /// # Errors
    /// [`SettingsError`] for the first read; later ones are logged, and the last good settings stay in force.
    pub fn watch(self) -> Result<SettingsHandle, SettingsError> {
        let (text, settings) = self.read()?;
        let (sender, current) = watch::channel(Arc::new(settings));
        let refused = Arc::new(AtomicBool::new(false));
        if self.path.is_some() {
            tokio::spawn(self.poll(text, sender, refused.clone()));
        }
        Ok(SettingsHandle { current, refused })
    }

    fn read(&self) -> Result<(String, Settings), SettingsError> {
        let text = match &self.path {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| SettingsError::Unreadable { path: path.clone(), source })?,
            None => String::new(),
        };
        let settings = self.parse(&text)?;
        Ok((text, settings))
    }

    fn parse(&self, text: &str) -> Result<Settings, SettingsError> {
        let path = self.path.clone().unwrap_or_default();
        let mut settings = parse(&path, text)?;
        settings.listen.public = self.overrides.public.unwrap_or(settings.listen.public);
        settings.listen.probes = self.overrides.probes.unwrap_or(settings.listen.probes);
        Ok(settings)
    }

    async fn poll(self, mut seen: String, sender: watch::Sender<Arc<Settings>>, refused: Arc<AtomicBool>) {
        let Some(path) = self.path.clone() else { return };
        let mut unreadable = false;
        loop {
            tokio::select! {
                () = sender.closed() => return,
                () = tokio::time::sleep(POLL) => {}
            }
            match tokio::fs::read_to_string(&path).await {
                Ok(text) if text == seen => unreadable = false,
                Ok(text) => {
                    unreadable = false;
                    refused.store(!self.take(&text, &sender), Ordering::Relaxed);
                    seen = text;
                }
                Err(error) if !unreadable => {
                    unreadable = true;
                    tracing::error!(file = %path.display(), %error, "settings file cannot be read; the last good settings stay in force");
                }
                Err(_) => {}
            }
        }
    }

    /// Puts a changed file in force, as far as that goes without a restart. Returns whether it was understood.
    fn take(&self, text: &str, sender: &watch::Sender<Arc<Settings>>) -> bool {
        match self.parse(text) {
            Ok(new) => {
                let (merged, waiting) = merge(&sender.borrow(), &new);
                if !waiting.is_empty() {
                    tracing::warn!(
                        settings = waiting.join(", "),
                        "changed settings take effect only after a restart"
                    );
                }
                if merged != **sender.borrow() {
                    sender.send_replace(Arc::new(merged));
                    tracing::info!("settings reloaded");
                }
                true
            }
            Err(error) => {
                tracing::error!(%error, "the last good settings stay in force");
                false
            }
        }
    }
}

/// What is in force after a reload, and the names of changes that wait for a restart.
fn merge(running: &Settings, new: &Settings) -> (Settings, Vec<&'static str>) {
    let merged = Settings {
        limits: new.limits.clone(),
        termination_grace: new.termination_grace,
        witnesses: new.witnesses.clone(),
        online: new.online.clone(),
        air_gap: new.air_gap.clone(),
        telemetry: new.telemetry,
        webhooks: new.webhooks.clone(),
        anonymous_uploads: new.anonymous_uploads,
        allowed_origins: new.allowed_origins.clone(),
        ..running.clone()
    };
    let waiting = [
        ("sector", running.sector != new.sector),
        ("publicUrl", running.public_url != new.public_url),
        ("listen", running.listen != new.listen),
        ("log", running.log_origin != new.log_origin),
        ("control", running.control != new.control),
        ("admin", running.admin_token_file != new.admin_token_file),
        ("license", running.license_directory != new.license_directory),
        ("payload", running.payload != new.payload),
    ];
    (merged, waiting.into_iter().filter_map(|(name, changed)| changed.then_some(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_binds_no_address_and_names_no_log_takes_effect_without_a_restart() {
        let running = Settings::default();
        let mut new = running.clone();
        new.limits.max_blob = 1;
        new.anonymous_uploads = true;
        new.termination_grace = Duration::from_secs(1);
        new.sector = "health".to_owned();
        let (merged, waiting) = merge(&running, &new);
        assert!(merged.limits.max_blob == 1 && merged.anonymous_uploads);
        assert_eq!(merged.termination_grace, Duration::from_secs(1));
        assert_eq!(merged.sector, "relay");
        assert_eq!(waiting, ["sector"]);
    }
}

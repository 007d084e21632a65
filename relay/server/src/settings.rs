//! What a person may set: the `relay.yaml` of a relay, with its defaults already applied.
//!
//! A file that does not parse is refused with a sentence that says where and what instead; while the process runs the last
//! good settings stay in force. Who may call: everybody reads through [`SettingsHandle::current`]; a reader takes one
//! snapshot per request and never keeps it longer.

mod command_line;
mod file;
mod network;
mod online;
mod origins;
mod reload;
mod remote;
mod webhooks;
mod witnesses;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use paramant_protocol::chunks::Disclosure;
use paramant_protocol::control::{RemoteDirective, SUPPORT_SECONDS};
use tokio::sync::watch;

pub use self::command_line::{CommandLine, LogFormat};
pub use self::file::SettingsError;
pub(crate) use self::file::checked_origin;
pub use self::network::{InvalidNetwork, Network};
pub use self::online::OnlineSettings;
pub use self::origins::{AllowedOrigins, InvalidOrigin};
pub use self::reload::Source;
pub use self::webhooks::WebhookSettings;
pub use self::witnesses::{Reach, WitnessMember, WitnessSettings};
use crate::store::license_rows::Consent;

/// The effective settings of one relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The sector written into transfer leaves and receipts.
    pub sector: String,
    /// The address people use, without a trailing slash; also the `relay_id` of tree heads.
    pub public_url: Option<String>,
    /// Where the listeners bind.
    pub listen: Listen,
    /// The log's name, when a person chose one.
    pub log_origin: Option<String>,
    /// Who is asked to witness the log.
    pub witnesses: Option<Arc<WitnessSettings>>,
    /// Where users' webhooks may lead; `None`: nowhere.
    pub webhooks: Option<Arc<WebhookSettings>>,
    /// How the operator is recognised; without it there is no control listener.
    pub control: Option<Control>,
    /// A file holding the admin token; absent or missing on disk: the one-time set-up code.
    pub admin_token_file: Option<PathBuf>,
    /// A directory with the files `licence` and `licence-next`.
    pub license_directory: Option<PathBuf>,
    /// How the licence is checked online; `None`: never.
    pub online: Option<Arc<OnlineSettings>>,
    /// A file with a reply that somebody carries in.
    pub air_gap: Option<PathBuf>,
    /// What becomes of a vendor's requests, where no operator says so.
    pub remote: RemoteDirective,
    /// Telemetry, where the settings say anything of it: off, or on with a consent.
    pub telemetry: Option<Option<Consent>>,
    /// Caps.
    pub limits: Limits,
    /// Whether uploads without a key are taken.
    pub anonymous_uploads: bool,
    /// Web pages that may read answers, besides those of the log, which everybody may.
    pub allowed_origins: AllowedOrigins,
    /// Where payloads live.
    pub payload: Payload,
    /// How often a view may be disclosed when its upload does not say.
    pub disclosure: Disclosure,
    /// How long SIGTERM may wait for uploads in progress.
    pub termination_grace: Duration,
}

/// Where the listeners bind. Changing one needs a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Clients.
    pub public: SocketAddr,
    /// The operator.
    pub control: SocketAddr,
    /// Probes and metrics.
    pub probes: SocketAddr,
}

/// How the operator is recognised, and how this relay proves itself to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// PEM bundle of the CAs that sign operator certificates; read again whenever it changes.
    pub operator_ca: PathBuf,
    /// The bound ServiceAccount token; read on every request for it.
    pub token_file: Option<PathBuf>,
}

/// Caps that take effect as soon as the file changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest blob, in bytes.
    pub max_blob: u64,
    /// The longest time a blob may wait to be read.
    pub max_ttl: Duration,
    /// Bytes of unread blobs altogether.
    pub max_in_flight: u64,
    /// Bytes that unfinished uploads of one account may hold; `None`: see [`Limits::open_per_account`].
    pub max_open_per_account: Option<u64>,
    /// Bytes that must stay free on the volume.
    pub min_free_disk: u64,
    /// Requests per key or address and minute.
    pub requests_per_minute: u32,
    /// Connections altogether: a few KiB of memory and one descriptor each.
    pub connections: u32,
    /// Connections per address.
    pub connections_per_address: u32,
    /// Uploads without a key per address and hour.
    pub anonymous_per_hour: u32,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Whether the plans of keys limit what they may do.
    pub plan_quotas: bool,
}

impl Default for Limits {
    fn default() -> Self {
        const MI: u64 = 1 << 20;
        const GI: u64 = 1 << 30;
        Self {
            max_blob: 5 * MI,
            max_ttl: Duration::from_secs(168 * 3600),
            max_in_flight: 20 * GI,
            max_open_per_account: None,
            min_free_disk: GI,
            requests_per_minute: 600,
            connections: 8192,
            connections_per_address: 64,
            anonymous_per_hour: 10,
            trusted_proxies: Vec::new(),
            plan_quotas: false,
        }
    }
}

impl Limits {
    /// Bytes that unfinished uploads of one account may hold: as set, else half of what may be in flight, so that one account leaves
    /// others the other half, but always one largest blob.
    #[must_use]
    pub fn open_per_account(&self) -> u64 {
        self.max_open_per_account.unwrap_or_else(|| self.max_blob.max(self.max_in_flight / 2))
    }
}

impl Default for Settings {
    /// A laptop: loopback listeners, no operator.
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            sector: "relay".to_owned(),
            public_url: None,
            listen: Listen { public: loopback(3000), control: loopback(7443), probes: loopback(9090) },
            log_origin: None,
            witnesses: None,
            webhooks: None,
            control: None,
            admin_token_file: None,
            license_directory: None,
            online: None,
            air_gap: None,
            remote: RemoteDirective { support_seconds: Some(SUPPORT_SECONDS), ..RemoteDirective::default() },
            telemetry: None,
            limits: Limits::default(),
            anonymous_uploads: false,
            allowed_origins: AllowedOrigins::default(),
            payload: Payload::Disk,
            disclosure: Disclosure::Recoverable,
            termination_grace: Duration::from_secs(600),
        }
    }
}

impl FromStr for Settings {
    type Err = SettingsError;

    /// Reads the text of a `relay.yaml`.
    fn from_str(text: &str) -> Result<Self, SettingsError> {
        file::parse(Path::new("relay.yaml"), text)
    }
}

/// Where payloads live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Sealed files in the data directory.
    Disk,
    /// Only in memory: a restart loses what is unread.
    Memory,
}

/// The settings in force now, and news of a change.
#[derive(Debug, Clone)]
pub struct SettingsHandle {
    current: watch::Receiver<Arc<Settings>>,
    refused: Arc<AtomicBool>,
}

impl SettingsHandle {
    /// Settings that never change, for tests and benches.
    pub fn fixed(settings: Settings) -> Self {
        Self { current: watch::channel(Arc::new(settings)).1, refused: Arc::default() }
    }

    /// Settings that a test changes while the relay runs.
    pub fn changing(settings: Settings) -> (watch::Sender<Arc<Settings>>, Self) {
        let (sender, current) = watch::channel(Arc::new(settings));
        (sender, Self { current, refused: Arc::default() })
    }

    /// Whether the file as it is now was refused, so that older settings are in force.
    pub fn file_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// A snapshot.
    pub fn current(&self) -> Arc<Settings> {
        self.current.borrow().clone()
    }

    /// News of a change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Settings>> {
        self.current.clone()
    }
}

#[cfg(test)]
mod tests;

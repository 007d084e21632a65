//! `relay.yaml` as it is written, and how it becomes [`Settings`].
//!
//! Unknown fields are refused: a misspelt limit must not be a limit that silently does not hold.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use paramant_protocol::chunks::Disclosure;
use paramant_protocol::period::Period;
use paramant_protocol::size::ByteSize;
use serde::Deserialize;

use super::online::{OnlineYaml, TelemetryYaml};
use super::remote::RemoteYaml;
use super::webhooks::WebhooksYaml;
use super::witnesses::WitnessesYaml;
use super::{AllowedOrigins, Control, Limits, Network, Payload, Settings};

/// Why a settings file was refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the settings file {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what `relay.yaml` may hold.
    #[error("the settings file {} is refused: {problem}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What, where.
        problem: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RelayYaml {
    sector: Option<String>,
    public_url: Option<String>,
    listen: ListenYaml,
    log: LogYaml,
    webhooks: Option<WebhooksYaml>,
    control: Option<ControlYaml>,
    admin: AdminYaml,
    license: LicenseYaml,
    remote_actions: RemoteYaml,
    limits: LimitsYaml,
    anonymous_uploads: Option<bool>,
    allowed_origins: Option<Vec<String>>,
    payload: Option<PayloadYaml>,
    disclosure: Option<DisclosureYaml>,
    termination_grace: Option<Period>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ListenYaml {
    public: Option<SocketAddr>,
    control: Option<SocketAddr>,
    probes: Option<SocketAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct LogYaml {
    origin: Option<String>,
    witnesses: Option<WitnessesYaml>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ControlYaml {
    operator_ca: PathBuf,
    #[serde(default)]
    token_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct AdminYaml {
    token_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct LicenseYaml {
    directory: Option<PathBuf>,
    online: Option<OnlineYaml>,
    air_gap: Option<PathBuf>,
    telemetry: Option<TelemetryYaml>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct LimitsYaml {
    max_blob: Option<ByteSize>,
    max_ttl: Option<Period>,
    max_in_flight: Option<ByteSize>,
    max_open_per_account: Option<ByteSize>,
    min_free_disk: Option<ByteSize>,
    requests_per_minute: Option<u32>,
    connections: Option<u32>,
    connections_per_address: Option<u32>,
    anonymous_per_hour: Option<u32>,
    trusted_proxies: Option<Vec<String>>,
    plan_quotas: Option<bool>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum PayloadYaml {
    Disk,
    Memory,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum DisclosureYaml {
    Recoverable,
    Strict,
}

/// Parses a file's text.
pub(super) fn parse(path: &Path, text: &str) -> Result<Settings, SettingsError> {
    let malformed = |problem: String| SettingsError::Malformed { path: path.to_owned(), problem };
    // An empty file, or one with only comments, is all defaults.
    let nothing = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    let yaml: RelayYaml = if nothing {
        RelayYaml::default()
    } else {
        serde_saphyr::from_str(text).map_err(|error| malformed(error.to_string()))?
    };
    settings(yaml).map_err(malformed)
}

fn settings(yaml: RelayYaml) -> Result<Settings, String> {
    let mut settings = Settings::default();
    if let Some(sector) = yaml.sector {
        settings.sector = checked_sector(sector)?;
    }
    settings.public_url = yaml.public_url.map(checked_url).transpose()?;
    let listen = &mut settings.listen;
    listen.public = yaml.listen.public.unwrap_or(listen.public);
    listen.control = yaml.listen.control.unwrap_or(listen.control);
    listen.probes = yaml.listen.probes.unwrap_or(listen.probes);
    settings.log_origin = yaml.log.origin.map(checked_origin).transpose()?;
    settings.witnesses = yaml.log.witnesses.map(WitnessesYaml::checked).transpose()?.map(Arc::new);
    settings.webhooks = yaml.webhooks.map(WebhooksYaml::checked).transpose()?.map(Arc::new);
    settings.control = yaml
        .control
        .map(|control| Control { operator_ca: control.operator_ca, token_file: control.token_file });
    settings.admin_token_file = yaml.admin.token_file;
    settings.license_directory = yaml.license.directory;
    settings.online = yaml.license.online.map(OnlineYaml::checked).transpose()?.map(Arc::new);
    settings.air_gap = yaml.license.air_gap;
    settings.telemetry = yaml.license.telemetry.map(TelemetryYaml::checked).transpose()?;
    settings.remote = yaml.remote_actions.checked()?;
    if settings.online.is_some() && settings.air_gap.is_some() {
        return Err("license: choose online or airGap, not both".to_owned());
    }
    limits(&mut settings.limits, yaml.limits)?;
    settings.anonymous_uploads = yaml.anonymous_uploads.unwrap_or(settings.anonymous_uploads);
    if let Some(origins) = yaml.allowed_origins {
        settings.allowed_origins =
            AllowedOrigins::only(&origins).map_err(|error| format!("allowedOrigins: {error}"))?;
    }
    settings.payload = match yaml.payload {
        None | Some(PayloadYaml::Disk) => Payload::Disk,
        Some(PayloadYaml::Memory) => Payload::Memory,
    };
    settings.disclosure = match yaml.disclosure {
        None | Some(DisclosureYaml::Recoverable) => Disclosure::Recoverable,
        Some(DisclosureYaml::Strict) => Disclosure::Strict,
    };
    if let Some(grace) = yaml.termination_grace {
        settings.termination_grace = grace.as_duration();
    }
    Ok(settings)
}

fn limits(limits: &mut Limits, yaml: LimitsYaml) -> Result<(), String> {
    if let Some(size) = yaml.max_blob {
        limits.max_blob = size.as_u64();
    }
    if let Some(ttl) = yaml.max_ttl {
        limits.max_ttl = ttl.as_duration();
    }
    if let Some(size) = yaml.max_in_flight {
        limits.max_in_flight = size.as_u64();
    }
    if let Some(size) = yaml.max_open_per_account {
        limits.max_open_per_account = Some(size.as_u64());
    }
    if let Some(size) = yaml.min_free_disk {
        limits.min_free_disk = size.as_u64();
    }
    if let Some(rate) = yaml.requests_per_minute {
        limits.requests_per_minute = rate;
    }
    if let Some(count) = yaml.connections {
        limits.connections = count;
    }
    if let Some(count) = yaml.connections_per_address {
        limits.connections_per_address = count;
    }
    limits.plan_quotas = yaml.plan_quotas.unwrap_or(limits.plan_quotas);
    if let Some(count) = yaml.anonymous_per_hour {
        limits.anonymous_per_hour = count;
    }
    if let Some(networks) = yaml.trusted_proxies {
        limits.trusted_proxies = networks
            .iter()
            .map(|network| {
                network.parse::<Network>().map_err(|error| format!("limits.trustedProxies: {error}"))
            })
            .collect::<Result<_, _>>()?;
    }
    let positive = [
        ("limits.maxBlob", limits.max_blob),
        ("limits.maxTtl", limits.max_ttl.as_secs()),
        ("limits.maxInFlight", limits.max_in_flight),
        ("limits.requestsPerMinute", limits.requests_per_minute.into()),
        ("limits.connections", limits.connections.into()),
        ("limits.connectionsPerAddress", limits.connections_per_address.into()),
        ("limits.anonymousPerHour", limits.anonymous_per_hour.into()),
    ];
    if limits.open_per_account() < limits.max_blob {
        return Err(format!(
            "limits.maxOpenPerAccount is smaller than one file: write at least maxBlob ({} bytes), or leave it out",
            limits.max_blob
        ));
    }
    match positive.iter().find(|(_, value)| *value == 0) {
        Some((name, _)) => {
            Err(format!("{name} is 0; leave it out for the default, or write a positive value"))
        }
        None => Ok(()),
    }
}

/// The sector goes into signed JSON, which holds printable ASCII only (protocol C15).
fn checked_sector(sector: String) -> Result<String, String> {
    let fits = !sector.is_empty() && sector.len() <= 64 && sector.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(sector)
    } else {
        Err(format!("sector {sector:?} must be 1 to 64 printable ASCII characters without spaces"))
    }
}

fn checked_url(url: String) -> Result<String, String> {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    // It is the relay_id of tree heads, whose records have room for 255 bytes.
    if host.is_empty()
        || host.starts_with('/')
        || url.len() > 255
        || !url.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(format!(
            "publicUrl {url:?} must start with https:// (or http://), name a host, and have at most 255 characters"
        ));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// The origin is a signed-note key name: no plus sign, no space; and it is compared byte for byte by every auditor.
pub(crate) fn checked_origin(origin: String) -> Result<String, String> {
    let fits = !origin.is_empty()
        && origin.len() <= 255
        && origin.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+');
    if fits {
        Ok(origin)
    } else {
        Err(format!(
            "log.origin {origin:?} must be 1 to 255 printable ASCII characters without spaces and '+', such as relay.example.org/log"
        ))
    }
}

//! The relay's settings file, made from the spec: what the process in the pod reads as `relay.yaml`.
//!
//! Most settings take effect while the relay runs. Those that need a restart ([`StaticSettings`]) travel with the pod
//! template, in an annotation, and are written here as the *rolled* template has them: a pod that happens to restart
//! never takes up a setting that still waits for its window.

use paramant_crds::license::Telemetry;
use paramant_crds::network::HostName;
use paramant_crds::relay::Witness;
use paramant_crds::relay::pod::DEFAULT_TERMINATION_GRACE;
use paramant_licensing::online::ENDPOINT;
use serde::{Deserialize, Serialize};

use super::{CONTROL_PORT, PROBES_PORT, PUBLIC_PORT, Subject};

/// Where the ConfigMap is mounted.
pub(super) const CONFIG_DIR: &str = "/etc/paramant/config";
/// Where the bound token is mounted.
pub(super) const TOKEN_DIR: &str = "/var/run/secrets/paramant";
/// Where the admin Secret is mounted.
pub(super) const ADMIN_DIR: &str = "/etc/paramant/admin";
/// Where the licence Secret is mounted.
pub(super) const LICENSE_DIR: &str = "/etc/paramant/license";
/// Where the Secret with a reply that somebody carries in is mounted.
pub(super) const AIR_GAP_DIR: &str = "/etc/paramant/air-gap";
/// Its key.
pub(super) const AIR_GAP_KEY: &str = "capabilities";
/// Where everything that matters lives.
pub(super) const DATA_DIR: &str = "/data";

/// Settings that a running relay cannot take up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StaticSettings {
    /// `Disk` or `Memory`.
    pub payload: String,
    /// How long SIGTERM may wait, as in the pod's own grace period.
    pub termination_grace: String,
}

impl StaticSettings {
    /// As the spec wants them.
    pub fn wanted(subject: &Subject<'_>) -> Self {
        let grace = subject.spec.pod.as_ref().and_then(|pod| pod.termination_grace_period.as_ref());
        Self {
            payload: subject.spec.storage_or_default().payload.unwrap_or_default().as_str().into(),
            termination_grace: grace.map_or(DEFAULT_TERMINATION_GRACE, |span| span.as_str()).into(),
        }
    }
}

/// `relay.yaml`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RelaySettings<'a> {
    sector: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_url: Option<String>,
    listen: Listen,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<Log<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhooks: Option<Webhooks<'a>>,
    control: Control,
    admin: Admin,
    license: License<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<&'a paramant_crds::relay::Limits>,
    #[serde(flatten)]
    transfers: Option<&'a paramant_crds::relay::Transfers>,
    payload: &'a str,
    termination_grace: &'a str,
}

#[derive(Debug, Serialize)]
struct Listen {
    public: String,
    control: String,
    probes: String,
}

#[derive(Debug, Serialize)]
struct Log<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    witnesses: Option<Witnesses<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Witnesses<'a> {
    quorum: u32,
    members: &'a [Witness],
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_bundle: Option<&'a str>,
    reach: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Webhooks<'a> {
    hosts: &'a [HostName],
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_bundle: Option<&'a str>,
    reach: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Control {
    operator_ca: String,
    token_file: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Admin {
    token_file: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct License<'a> {
    directory: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<Online<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    air_gap: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    telemetry: Option<&'a Telemetry>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Online<'a> {
    endpoint: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_bundle: Option<&'a str>,
    reach: &'static str,
}

/// The relay opens no connection there.
const IN_A_CLUSTER: &str = "Courier";

fn webhooks(wanted: &paramant_crds::relay::Webhooks) -> Webhooks<'_> {
    let ca_bundle = wanted.ca_bundle.as_ref().map(|bundle| bundle.as_str());
    Webhooks { hosts: &wanted.hosts, ca_bundle, reach: IN_A_CLUSTER }
}

fn license<'a>(subject: &Subject<'a>) -> License<'a> {
    let known = subject.license.filter(|license| license.known);
    let online = known.and_then(|license| Some((license, license.online?))).map(|(license, online)| Online {
        endpoint: endpoint(online),
        interval: online.interval.as_ref().map(|span| span.as_str()),
        ca_bundle: license.ca_bundle.filter(|_| endpoint(online) != ENDPOINT),
        reach: IN_A_CLUSTER,
    });
    let air_gap = known.and_then(|license| license.spec.air_gap.as_ref());
    License {
        directory: LICENSE_DIR,
        online,
        air_gap: air_gap.map(|_| format!("{AIR_GAP_DIR}/{AIR_GAP_KEY}")),
        telemetry: known.and_then(|license| license.spec.telemetry.as_ref()),
    }
}

/// Whom a relay asks about its licence.
pub fn endpoint(online: &paramant_crds::license::Online) -> &str {
    online.endpoint.as_ref().map_or(ENDPOINT, |endpoint| endpoint.as_str())
}

fn log(log: &paramant_crds::relay::Log) -> Log<'_> {
    let witnesses = log.witnesses.as_ref().map(|wanted| Witnesses {
        quorum: wanted.quorum,
        members: &wanted.members,
        ca_bundle: wanted.ca_bundle.as_ref().map(|bundle| bundle.as_str()),
        reach: IN_A_CLUSTER,
    });
    Log { origin: log.origin.as_ref().map(|origin| origin.as_str()), witnesses }
}

/// The text of `relay.yaml`.
pub fn relay_yaml(subject: &Subject<'_>, fixed: &StaticSettings) -> String {
    let spec = subject.spec;
    let every = |port: i32| format!("0.0.0.0:{port}");
    let settings = RelaySettings {
        sector: spec.sector_or_default(),
        public_url: spec.expose.as_ref().map(|expose| format!("https://{}", expose.host)),
        listen: Listen {
            public: every(PUBLIC_PORT),
            control: every(CONTROL_PORT),
            probes: every(PROBES_PORT),
        },
        log: spec.log.as_ref().map(log).filter(|log| log.origin.is_some() || log.witnesses.is_some()),
        webhooks: spec.webhooks.as_ref().map(webhooks),
        control: Control {
            operator_ca: format!("{CONFIG_DIR}/{}", super::CA_KEY),
            token_file: format!("{TOKEN_DIR}/operator-token"),
        },
        // Missing files are no error to the relay: it makes a set-up code, or runs as Community Edition.
        admin: Admin { token_file: format!("{ADMIN_DIR}/token") },
        license: license(subject),
        limits: spec.limits.as_ref().filter(|limits| **limits != paramant_crds::relay::Limits::default()),
        transfers: spec.transfers.as_ref(),
        payload: &fixed.payload,
        termination_grace: &fixed.termination_grace,
    };
    serde_saphyr::to_string(&settings).unwrap_or_default()
}

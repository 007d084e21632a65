//! How the licence is checked online, as `relay.yaml` has it below `license.online`.
//!
//! ```yaml
//! license:
//!   directory: /etc/paramant/licence
//!   online:
//!     endpoint: https://license.paramant.app/v1/license/check   # the vendor's, when left out
//!     interval: 6h           # 15m to 6h
//!     caBundle: |            # instead of the public authorities
//!       -----BEGIN CERTIFICATE-----
//!     reach: Direct          # or Courier, in a cluster
//!   telemetry:               # left out: as the admin's own switch says, which is off at first
//!     enabled: true
//!     consent: { schema: 1, previewSha256: "0000…" }   # as `GET /v2/admin/telemetry/preview` showed them
//! ```
//! A key for the online check alone switches nothing on: both are needed.

use std::time::Duration;

use paramant_licensing::online::ENDPOINT;
use paramant_licensing::schedule::{LONGEST, SHORTEST};
use paramant_protocol::period::Period;
use serde::Deserialize;

use super::Reach;
use crate::outbound::{Destination, Trust};
use crate::store::Digest;
use crate::store::license_rows::Consent;

/// The online check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlineSettings {
    /// Who is asked.
    pub endpoint: Destination,
    /// From one verified reply to the next request, at most.
    pub interval: Duration,
    /// PEM of the authorities that the endpoint is believed by; absent: the public ones.
    pub ca_bundle: Option<String>,
    /// How it is reached.
    pub reach: Reach,
}

impl OnlineSettings {
    /// Whom to believe. A bundle was checked when it was read.
    pub(crate) fn trust(&self) -> Trust {
        let bundle = self.ca_bundle.as_deref().and_then(|pem| Trust::bundle(pem).ok());
        bundle.unwrap_or_else(Trust::public).newest_tls()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct OnlineYaml {
    endpoint: String,
    interval: Option<Period>,
    ca_bundle: Option<String>,
    reach: Reach,
}

impl Default for OnlineYaml {
    fn default() -> Self {
        Self { endpoint: ENDPOINT.to_owned(), interval: None, ca_bundle: None, reach: Reach::default() }
    }
}

impl OnlineYaml {
    pub(super) fn checked(self) -> Result<OnlineSettings, String> {
        let endpoint: Destination =
            self.endpoint.parse().map_err(|error| format!("license.online.endpoint: {error}"))?;
        if !endpoint.tls() {
            return Err(format!(
                "license.online.endpoint {:?}: a licence key travels by https only",
                self.endpoint
            ));
        }
        if endpoint.path("").is_empty() {
            return Err(format!(
                "license.online.endpoint {:?} has no path: write it as https://host[:port]/v1/license/check",
                self.endpoint
            ));
        }
        let interval = self.interval.map_or(LONGEST, Period::as_duration);
        if interval < SHORTEST || interval > LONGEST {
            return Err("license.online.interval must be 15m to 6h".to_owned());
        }
        if let Some(pem) = &self.ca_bundle {
            Trust::bundle(pem).map_err(|error| format!("license.online.caBundle: {error}"))?;
        }
        Ok(OnlineSettings { endpoint, interval, ca_bundle: self.ca_bundle, reach: self.reach })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TelemetryYaml {
    enabled: bool,
    #[serde(default)]
    consent: Option<ConsentYaml>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConsentYaml {
    schema: u32,
    preview_sha256: String,
}

impl TelemetryYaml {
    pub(super) fn checked(self) -> Result<Option<Consent>, String> {
        let Some(consent) = self.consent.filter(|_| self.enabled) else {
            let need = "license.telemetry: enabled needs a consent: the schema and previewSha256 that a preview showed";
            return if self.enabled { Err(need.to_owned()) } else { Ok(None) };
        };
        let preview = Digest::parse(&consent.preview_sha256)
            .ok_or("license.telemetry.consent.previewSha256 must be 64 lower-case hex digits, as the preview shows them")?;
        Ok(Some(Consent { schema: consent.schema, preview }))
    }
}

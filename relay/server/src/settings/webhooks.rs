//! Which hosts users' webhooks may name, as `relay.yaml` has it below `webhooks`. Without any, there are no webhooks.
//!
//! ```yaml
//! webhooks:
//!   hosts: [hooks.example, "hooks.acme.example:8443"]
//!   privateNetworks: [10.20.0.0/16]   # addresses that these hosts may have though they are not public
//!   caBundle: |                       # instead of the public authorities
//!     -----BEGIN CERTIFICATE-----
//!   reach: Direct                     # or Courier, in a cluster
//! ```

use serde::Deserialize;

use super::{Network, Reach};
use crate::outbound::{PublicOnly, Trust};

/// Each host has a lane of its own, with connections of its own.
const MOST_HOSTS: usize = 64;
const MOST_NETWORKS: usize = 16;

/// Where webhooks may lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// `host:port` of each, in lower case.
    pub hosts: Vec<String>,
    /// Which of their addresses may be connected to.
    pub addresses: PublicOnly,
    /// PEM of the authorities that the hosts are believed by; absent: the public ones.
    pub ca_bundle: Option<String>,
    /// How they are reached.
    pub reach: Reach,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WebhooksYaml {
    hosts: Vec<String>,
    #[serde(default)]
    private_networks: Vec<String>,
    #[serde(default)]
    ca_bundle: Option<String>,
    #[serde(default)]
    reach: Reach,
}

impl WebhooksYaml {
    pub(super) fn checked(self) -> Result<WebhookSettings, String> {
        let count = self.hosts.len();
        if count == 0 || count > MOST_HOSTS {
            return Err(format!(
                "webhooks.hosts has {count} entries; write 1 to {MOST_HOSTS}, or leave webhooks out"
            ));
        }
        if self.private_networks.len() > MOST_NETWORKS {
            return Err(format!("webhooks.privateNetworks has more than {MOST_NETWORKS} entries"));
        }
        let networks: Vec<Network> = self
            .private_networks
            .iter()
            .map(|network| network.parse().map_err(|error| format!("webhooks.privateNetworks: {error}")))
            .collect::<Result<_, _>>()?;
        let addresses = PublicOnly::and(&networks);
        let mut hosts =
            self.hosts.iter().map(|host| checked_host(host, &addresses)).collect::<Result<Vec<_>, _>>()?;
        hosts.sort();
        hosts.dedup();
        if let Some(pem) = &self.ca_bundle {
            Trust::bundle(pem).map_err(|error| format!("webhooks.caBundle: {error}"))?;
        }
        Ok(WebhookSettings { hosts, addresses, ca_bundle: self.ca_bundle, reach: self.reach })
    }
}

fn checked_host(text: &str, addresses: &PublicOnly) -> Result<String, String> {
    let wrong = |why: &dyn std::fmt::Display| {
        format!("webhooks.hosts: {text:?}: {why}; write hooks.example, or hooks.example:8443")
    };
    let text = text.to_ascii_lowercase();
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address has colons of its own, inside its brackets.
        Some((host, port)) if !port.contains(']') => {
            let port = port.parse::<u16>().ok().filter(|port| *port != 0);
            (host, port.ok_or_else(|| wrong(&"that is no port"))?)
        }
        _ => (text.as_str(), 443),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    addresses.judge_host(bare).map_err(|error| wrong(&error))?;
    Ok(format!("{host}:{port}"))
}

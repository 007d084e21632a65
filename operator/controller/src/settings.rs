//! What the process is told on its command line or through `PARAMANT_*` variables.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use paramant_operator_core::validation::unreadable_bundle;

/// Runs Paramant relays described by ParamantRelay resources.
#[derive(Debug, Clone, Parser)]
#[command(name = "paramant-operator", version = crate::VERSION)]
pub struct Settings {
    /// Namespaces to watch; all when empty.
    #[arg(long, env = "PARAMANT_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// The namespace this operator runs in: its Lease and its certificate authority live there.
    #[arg(long, env = "POD_NAMESPACE", default_value = "paramant-system")]
    pub pod_namespace: String,

    /// The name of this pod, which becomes the holder of the Lease.
    #[arg(long, env = "POD_NAME", default_value = "local")]
    pub pod_name: String,

    /// Where probes and metrics listen. `[::]` is every address, of both families where the host has both.
    #[arg(long, env = "PARAMANT_HTTP_ADDR", default_value = "[::]:8080")]
    pub http_addr: SocketAddr,

    /// Registries (`host:port`) to speak plain HTTP with. For test beds.
    #[arg(long, env = "PARAMANT_PLAIN_HTTP_REGISTRIES", value_delimiter = ',')]
    pub plain_http_registries: Vec<String>,

    /// A file with credentials for registries, in the form of Docker's config.json. It is read again when it changed.
    #[arg(long, env = "PARAMANT_REGISTRY_AUTH_FILE", value_parser = path)]
    pub registry_auth_file: Option<PathBuf>,

    /// A file with certificate authorities (PEM) that registries may be known by, besides the public ones. It is read again
    /// when it changed.
    #[arg(long, env = "PARAMANT_REGISTRY_CA_FILE", value_parser = path)]
    pub registry_ca_file: Option<PathBuf>,

    /// A file with public keys (PEM, each under a line `# NAME`) whose signatures count where no policy names keys, besides
    /// those compiled in.
    #[arg(long, env = "PARAMANT_RELEASE_KEYS_FILE", value_parser = path)]
    pub release_keys_file: Option<PathBuf>,

    /// Let relays without a policy for signatures run images that nobody signed. For clusters that only try things out.
    #[arg(long, env = "PARAMANT_ALLOW_UNSIGNED", action = clap::ArgAction::Set, default_value_t = false)]
    pub allow_unsigned: bool,

    /// Licence servers (URLs) that a ParamantLicense may name, besides the vendor's.
    #[arg(long, env = "PARAMANT_LICENSE_ENDPOINTS", value_delimiter = ',')]
    pub license_endpoints: Vec<String>,

    /// PEM certificates of the authorities that these servers are believed by; the public ones when empty.
    #[arg(long, env = "PARAMANT_LICENSE_CA_BUNDLE", default_value = "", value_parser = bundle)]
    pub license_ca_bundle: String,

    /// Who may read relays' metrics besides this operator: a JSON list of NetworkPolicyPeer.
    #[arg(long, env = "PARAMANT_METRICS_FROM", default_value = "", value_parser = peers)]
    pub metrics_from: Peers,

    /// Where spans go: the base URL of an OTLP/HTTP receiver, such as `http://collector.observability:4318`. Nowhere without it.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_parser = receiver)]
    pub otlp_endpoint: Option<String>,

    /// How log lines look.
    #[arg(long, env = "PARAMANT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

impl Settings {
    /// Fills in nothing, but drops what an empty variable leaves behind: `PARAMANT_NAMESPACES=""` is no namespace, not one
    /// without a name.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        for list in [&mut self.namespaces, &mut self.plain_http_registries, &mut self.license_endpoints] {
            list.iter_mut().for_each(|item| *item = item.trim().to_owned());
            list.retain(|item| !item.is_empty());
            list.sort();
            list.dedup();
        }
        self.otlp_endpoint = self.otlp_endpoint.filter(|endpoint| !endpoint.is_empty());
        self
    }
}

fn path(text: &str) -> Result<PathBuf, &'static str> {
    if text.is_empty() {
        Err("a file's name cannot be empty: leave the setting out")
    } else {
        Ok(text.into())
    }
}

/// Peers in relays' NetworkPolicies.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Peers(pub Vec<NetworkPolicyPeer>);

fn peers(text: &str) -> Result<Peers, serde_json::Error> {
    if text.trim().is_empty() {
        return Ok(Peers::default());
    }
    serde_json::from_str(text).map(Peers)
}

/// A relay would refuse its whole settings for a bundle that it cannot read: better not to start.
fn bundle(text: &str) -> Result<String, String> {
    match (text.trim().is_empty(), unreadable_bundle(text)) {
        (false, Some(why)) => Err(format!("expected one or more CA certificates as PEM ({why})")),
        _ => Ok(text.to_owned()),
    }
}

fn receiver(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let wanted = "expected a URL such as http://collector.observability:4318";
    let url: http::Uri = text.parse().map_err(|error| format!("{wanted}: {error}"))?;
    let authority = url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    match (url.scheme_str(), authority) {
        (_, authority) if authority.contains('@') => {
            Err("credentials do not belong into the URL: give them as OTEL_EXPORTER_OTLP_HEADERS".to_owned())
        }
        (Some("http" | "https"), authority) if !authority.is_empty() && url.query().is_none() => {
            Ok(text.to_owned())
        }
        _ => Err(wanted.to_owned()),
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For a person at a terminal.
    Text,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn an_empty_list_means_all_namespaces_and_doubles_count_once() {
        let parse = |list: &str| Settings::parse_from(["x", "--namespaces", list]).normalised().namespaces;
        assert!(parse("").is_empty());
        assert_eq!(parse("b, a,b"), ["a", "b"]);
    }

    #[test]
    fn spans_go_to_a_url_without_credentials_or_nowhere() {
        let parsed = |flag: &str| {
            Settings::try_parse_from(["x", flag]).map(|settings| settings.normalised().otlp_endpoint)
        };
        assert_eq!(parsed("--otlp-endpoint=").unwrap(), None);
        for good in ["http://collector:4318", "https://collector.example/otlp"] {
            assert_eq!(parsed(&format!("--otlp-endpoint={good}")).unwrap().as_deref(), Some(good));
        }
        for bad in
            ["collector:4318", "http://", "ftp://collector", "http://me:secret@collector", "http://c?a=b"]
        {
            assert!(parsed(&format!("--otlp-endpoint={bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn readers_of_metrics_are_a_list_of_peers_and_none_by_default() {
        let parsed =
            |flag: &str| Settings::try_parse_from(["x", flag]).map(|settings| settings.metrics_from.0);
        assert_eq!(parsed("--metrics-from=").unwrap(), []);
        let peers = parsed(r#"--metrics-from=[{"namespaceSelector":{"matchLabels":{"a":"b"}}}]"#).unwrap();
        assert!(peers[0].namespace_selector.is_some());
        assert!(parsed("--metrics-from={").is_err());
    }
}

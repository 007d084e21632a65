//! What the process is told on its command line or through `PARAMANT_*` variables.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

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

    /// Where probes and metrics listen.
    #[arg(long, env = "PARAMANT_HTTP_ADDR", default_value = "0.0.0.0:8080")]
    pub http_addr: SocketAddr,

    /// Registries (`host:port`) to speak plain HTTP with. For test beds.
    #[arg(long, env = "PARAMANT_PLAIN_HTTP_REGISTRIES", value_delimiter = ',')]
    pub plain_http_registries: Vec<String>,

    /// How log lines look.
    #[arg(long, env = "PARAMANT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

impl Settings {
    /// Fills in nothing, but drops what an empty variable leaves behind: `PARAMANT_NAMESPACES=""` is no namespace, not one
    /// without a name.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        for list in [&mut self.namespaces, &mut self.plain_http_registries] {
            list.iter_mut().for_each(|item| *item = item.trim().to_owned());
            list.retain(|item| !item.is_empty());
            list.sort();
            list.dedup();
        }
        self
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
}

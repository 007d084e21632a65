//! The flags of `paramant-relay`. A flag outranks the file; everything else is in the file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// An opaque relay for encrypted transfers, with a public log of every one.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "paramant-relay",
    version = crate::VERSION,
    after_help = "The log of a data directory, offline: paramant-relay log --help\nWhat carries the calls of a relay in a cluster: paramant-relay courier --help"
)]
pub struct CommandLine {
    /// The directory that holds everything that matters; made if it does not exist
    #[arg(long, value_name = "DIR", env = "PARAMANT_DATA")]
    pub data: PathBuf,
    /// The settings file; without it: loopback listeners, no operator, defaults
    #[arg(long, value_name = "FILE", env = "PARAMANT_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where clients connect, instead of what the settings say
    #[arg(long, value_name = "ADDRESS:PORT", env = "PARAMANT_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Where probes and metrics are served, instead of what the settings say
    #[arg(long, value_name = "ADDRESS:PORT", env = "PARAMANT_PROBES_LISTEN")]
    pub probes_listen: Option<SocketAddr>,
    /// PEM certificate chain: serve the public listener over TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// PEM private key for --tls-cert
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// How log lines look on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Json, env = "PARAMANT_LOG_FORMAT")]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

//! `paramant-relay courier`: the small process beside a relay that carries what leaves, and nothing else.
//!
//! It is a program of its own, `paramant-courier`, which the relay's becomes: a courier's memory is mostly the program it is read
//! from, and the relay's is five times as large.
//!
//! It dials its relay's control port, known by the key the operator pinned, proves itself by its bound ServiceAccount token, and
//! offers byte tunnels to the destinations it was started for. The relay speaks TLS through them, so the courier can neither read
//! nor alter. It listens nowhere, keeps no state, and decides nothing but whether a destination is on its list.

mod relay;
mod tunnel;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use paramant_protocol::control::CourierPurpose;
use tokio::time::Instant;

use crate::logging;
use crate::outbound::{Proxy, PublicOnly};
use crate::settings::{LogFormat, Network};
use crate::shutdown::Signals;

/// How the relay's program is told to be a courier.
pub const COMMAND: &str = "courier";
/// The program that it becomes, in the same folder.
const PROGRAM: &str = "paramant-courier";
/// The first wait after a connection broke; a relay starts in a fraction of a second.
const RETRY_MIN: Duration = Duration::from_millis(200);
/// The longest.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// A connection that lasted so long ended for a reason of its own.
const STEADY: Duration = Duration::from_secs(10);

/// Carries what a relay sends out, to the destinations named here and no others.
#[derive(Debug, Clone, Parser)]
#[command(name = "paramant-courier", version = crate::VERSION)]
pub struct CourierLine {
    /// What it carries
    #[arg(long, value_enum)]
    pub purpose: Purpose,
    /// The relay's control port
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub relay: SocketAddr,
    /// SHA-256 of the relay's control key (SubjectPublicKeyInfo), as its status shows it
    #[arg(long, value_name = "HEX", value_parser = key)]
    pub relay_key: String,
    /// The bound ServiceAccount token, audience paramant-control; read again for each connection
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
    /// A destination it may connect to; can be given several times
    #[arg(long = "destination", value_name = "HOST:PORT", required = true, value_parser = authority)]
    pub destinations: Vec<String>,
    /// A network that counts as public for webhooks, such as 10.20.0.0/16; can be given several times
    #[arg(long = "private-network", value_name = "CIDR")]
    pub private_networks: Vec<Network>,
    /// A forward proxy to go through, such as `http://proxy.example:3128`
    #[arg(long, value_name = "URL")]
    pub proxy: Option<Proxy>,
    /// How log lines look on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Json, env = "PARAMANT_LOG_FORMAT")]
    pub log_format: LogFormat,
}

/// What a courier carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Purpose {
    /// Pushes to witnesses.
    Witness,
    /// Calls of users' webhooks, to public addresses only.
    Webhook,
    /// The licence check.
    License,
}

impl From<Purpose> for CourierPurpose {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Witness => Self::Witness,
            Purpose::Webhook => Self::Webhook,
            Purpose::License => Self::License,
        }
    }
}

fn key(text: &str) -> Result<String, String> {
    let fits = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if fits { Ok(text.to_owned()) } else { Err("expected 64 lower-case hex digits".to_owned()) }
}

fn authority(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').ok_or("expected host:port")?;
    let plain =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b'@');
    match port.parse::<u16>() {
        Ok(port) if port != 0 && plain => Ok(format!("{}:{port}", host.to_ascii_lowercase())),
        _ => Err("expected host:port".to_owned()),
    }
}

/// `paramant-relay courier`: becomes the program beside it. Returns only if that cannot be.
pub fn beside_relay(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let beside = std::env::current_exe().map(|relay| relay.with_file_name(PROGRAM));
    let error = match beside {
        Ok(program) => Command::new(&program).args(arguments).exec(),
        Err(error) => error,
    };
    eprintln!("paramant-relay courier: cannot run {PROGRAM}, which belongs into the relay's folder: {error}");
    ExitCode::FAILURE
}

/// `paramant-courier`. One thread is plenty: it copies bytes.
#[must_use]
pub fn main() -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("{PROGRAM}: another TLS provider was installed first");
        return ExitCode::FAILURE;
    }
    let line = CourierLine::parse();
    logging::start(line.log_format);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{PROGRAM}: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => {
                eprintln!("{PROGRAM}: signals: {error}");
                return ExitCode::FAILURE;
            }
        };
        tokio::select! {
            () = run(line) => {}
            () = signals.next() => {}
        }
        ExitCode::SUCCESS
    })
}

/// Serves the relay until the process is told to end.
pub async fn run(line: CourierLine) {
    let destinations = line.destinations.clone();
    let offer = Arc::new(tunnel::Offer { destinations, way: way(&line) });
    tracing::info!(relay = %line.relay, destinations = ?line.destinations, "a courier begins");
    let mut wait = RETRY_MIN;
    let mut said = String::new();
    loop {
        let began = Instant::now();
        let ended = serve(&line, &offer).await;
        if began.elapsed() >= STEADY {
            wait = RETRY_MIN;
        }
        let why = ended
            .err()
            .map_or_else(|| "the relay ended the connection".to_owned(), |error| error.to_string());
        // The same again and again is one line.
        if why != said {
            tracing::warn!(why, "not connected to the relay; trying again");
            said = why;
        }
        tokio::time::sleep(jittered(wait)).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

/// How this courier reaches its destinations. A proxy looks names up itself, and must itself keep from private addresses.
fn way(line: &CourierLine) -> tunnel::Way {
    match (&line.proxy, line.purpose) {
        (Some(proxy), _) => tunnel::Way::Through(proxy.clone()),
        (None, Purpose::Witness | Purpose::License) => tunnel::Way::Direct,
        (None, Purpose::Webhook) => tunnel::Way::PublicOnly(PublicOnly::and(&line.private_networks)),
    }
}

async fn serve(line: &CourierLine, offer: &Arc<tunnel::Offer>) -> Result<(), relay::Error> {
    let token = tokio::fs::read_to_string(&line.token_file).await.map_err(relay::Error::Token)?;
    let connection = relay::connect(line.relay, &line.relay_key, line.purpose.into(), token.trim()).await?;
    tracing::info!("connected to the relay");
    tunnel::serve(connection, offer.clone()).await.map_err(relay::Error::Http)
}

/// Between half and all of it, so that many couriers do not come at once.
fn jittered(wait: Duration) -> Duration {
    let mut byte = [255];
    // Without randomness all of it is waited.
    let _ = getrandom::fill(&mut byte);
    wait.mul_f64(0.5 + f64::from(byte[0]) / 510.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(more: &[&str]) -> Result<CourierLine, clap::Error> {
        let hex = "a".repeat(64);
        let fixed = [
            "courier",
            "--purpose",
            "witness",
            "--relay",
            "10.0.0.1:7443",
            "--relay-key",
            &hex,
            "--token-file",
            "/t",
        ];
        CourierLine::try_parse_from(fixed.iter().chain(more))
    }

    #[test]
    fn the_command_line_names_every_destination() {
        let line =
            read(&["--destination", "Witness.example:443", "--destination", "[2001:db8::1]:8443"]).unwrap();
        assert_eq!(line.destinations, ["witness.example:443", "[2001:db8::1]:8443"]);
        assert!(read(&[]).is_err(), "without a destination it has nothing to do");
        for wrong in ["witness.example", "https://w:443", "w:0", ":443", "u@w:443", "w:x"] {
            assert!(read(&["--destination", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_wait_is_never_more_than_asked_for_nor_less_than_half() {
        for _ in 0..100 {
            let wait = jittered(Duration::from_secs(10));
            assert!(wait >= Duration::from_secs(5) && wait <= Duration::from_secs(10), "{wait:?}");
        }
    }
}

//! The `paramant-relay` command: reads its flags, starts one relay, waits for its end. As `paramant-relay courier` it carries
//! what another relay sends out.
//!
//! Here and not in `main.rs`, because the relay that tests put into another [`World`] is the same program.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use crate::app::OpenError;
use crate::backup_command::{BACKUP_COMMANDS, BackupCommand};
use crate::control::public_tls;
use crate::courier;
use crate::log_command::{LOG_COMMAND, LogCommand};
use crate::logging;
use crate::process::{Options, Running, StartError, allow_many_files};
use crate::settings::{CommandLine, LogFormat, Source};
use crate::shutdown::{self, Signals};
use crate::store::OpenError as StoreError;
use crate::world::World;

/// `EX_SOFTWARE`: the log cannot be used, or is not the one the rows speak of; starting again will not help.
const LOG_UNUSABLE: u8 = 70;
/// Prints which schemas of the database this release knows: for those who make its image.
const DATA_SCHEMA_COMMAND: &str = "data-schema";

/// Runs the command in a world.
#[must_use]
pub fn main(world: World) -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == courier::COMMAND) {
        return courier::beside_relay(std::env::args_os().skip(2));
    }
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("paramant-relay: another TLS provider was installed first");
        return ExitCode::FAILURE;
    }
    if std::env::args_os().nth(1).is_some_and(|word| word == DATA_SCHEMA_COMMAND) {
        println!("{}", crate::store::data_schema());
        return ExitCode::SUCCESS;
    }
    if std::env::args_os().nth(1).is_some_and(|word| word == LOG_COMMAND) {
        return about_the_log();
    }
    if std::env::args_os().nth(1).is_some_and(|word| BACKUP_COMMANDS.iter().any(|command| word == *command)) {
        return about_backups();
    }
    let flags = CommandLine::parse();
    logging::start(flags.log_format);
    allow_many_files();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("paramant-relay: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(flags, world)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("paramant-relay: {error:#}");
            let log_unusable = matches!(
                error.downcast_ref(),
                Some(
                    StartError::Open(
                        OpenError::Log(_) | OpenError::Adoption(_) | OpenError::Store(StoreError::Torn(_))
                    ) | StartError::Log(_)
                )
            );
            if log_unusable { ExitCode::from(LOG_UNUSABLE) } else { ExitCode::FAILURE }
        }
    }
}

/// `paramant-relay log …`: for a person at the data directory; no listener, no runtime.
fn about_the_log() -> ExitCode {
    let command = LogCommand::parse_from(std::env::args_os().skip(1));
    logging::start(LogFormat::Text);
    match command.run() {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("paramant-relay: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `paramant-relay backup` and `restore`. What is told goes to standard error: standard output may be the backup.
fn about_backups() -> ExitCode {
    logging::start(LogFormat::Text);
    match BackupCommand::parse().run() {
        Ok(text) => {
            eprint!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("paramant-relay: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: CommandLine, world: World) -> anyhow::Result<u8> {
    let signals = Signals::new().context("signals")?;
    let public_tls = match (&flags.tls_cert, &flags.tls_key) {
        (Some(certificates), Some(key)) => {
            Some(public_tls(certificates, key).map_err(anyhow::Error::msg).context("--tls-cert, --tls-key")?)
        }
        _ => None,
    };
    let scheme = if public_tls.is_some() { "https" } else { "http" };
    let settings = Source::new(&flags).watch()?;
    let relay = Running::start(Options { data: flags.data.clone(), settings, public_tls, world }).await?;
    welcome(&flags, &relay, scheme);
    Ok(shutdown::run(relay, signals).await.code())
}

/// For the person who started it by hand. In a pod standard output is read by nobody, and nothing here is secret.
fn welcome(flags: &CommandLine, relay: &Running, scheme: &str) {
    let addresses = relay.addresses;
    println!("paramant-relay {} on {}", crate::VERSION, flags.data.display());
    println!("  clients    {scheme}://{}", addresses.public);
    println!(
        "  log        {scheme}://{}/log/checkpoint  ({})",
        addresses.public,
        relay.app.core.log.origin()
    );
    println!("  probes     http://{}/readyz  /livez  /metrics", addresses.probes);
    if let Some(control) = addresses.control {
        println!("  control    https://{control} (the operator only)");
    }
    if relay.app.store.admin.awaits_setup() {
        println!(
            "  admin      redeem the set-up code from the log below; it is good until the token it gives is used:"
        );
        println!("             curl -d '{{\"code\":\"…\"}}' {scheme}://{}/v3/setup", addresses.public);
    }
}

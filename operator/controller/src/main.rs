//! The operator process: settings, logs, cryptography, then [`paramant_operator::run`].

use std::process::ExitCode;

use clap::Parser as _;
use paramant_operator::settings::Settings;
use paramant_operator::traces::Traces;
use paramant_operator::{logging, run, sentence};

fn main() -> ExitCode {
    // First of all: nothing may open a TLS connection with another provider.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return fail("the cryptographic provider was installed twice");
    }
    let settings = Settings::parse().normalised();
    // Before the runtime: the client that sends spans has one of its own.
    let traces = settings.otlp_endpoint.as_deref().map(|to| Traces::to(to, &settings.pod_name)).transpose();
    let traces = match traces {
        Ok(traces) => traces,
        Err(error) => return fail(&error.to_string()),
    };
    logging::install(settings.log_format, traces.as_ref());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    let ended = runtime.block_on(run::run(settings));
    if let Err(error) = &ended {
        tracing::error!(error = sentence::of(error), "the operator ends");
    }
    if let Some(traces) = traces {
        traces.end();
    }
    if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail(sentence: &str) -> ExitCode {
    eprintln!("paramant-operator: {sentence}");
    ExitCode::FAILURE
}

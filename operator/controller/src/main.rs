//! The operator process: settings, logs, cryptography, then [`paramant_operator::run`].

use std::process::ExitCode;

use clap::Parser as _;
use paramant_operator::settings::Settings;
use paramant_operator::{logging, run, sentence};

fn main() -> ExitCode {
    // First of all: nothing may open a TLS connection with another provider.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return fail("the cryptographic provider was installed twice");
    }
    let settings = Settings::parse().normalised();
    logging::install(settings.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    match runtime.block_on(run::run(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = sentence::of(&error), "the operator ends");
            ExitCode::FAILURE
        }
    }
}

fn fail(sentence: &str) -> ExitCode {
    eprintln!("paramant-operator: {sentence}");
    ExitCode::FAILURE
}

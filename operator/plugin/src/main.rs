//! `kubectl paramant`: the few things a person does to a relay, each as one patch, each with its plain kubectl equivalent.
//!
//! Nothing here can do more than `kubectl` with the same rights. What is changed is written with the field manager
//! `paramant-admin`: GitOps tools that take over fields of managers whose name begins with `kubectl` would undo it.

mod change;
mod cli;
mod view;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use paramant_crds::ParamantRelay;

use crate::change::{Change, FIELD_MANAGER};
use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("kubectl-paramant: the cryptographic provider was installed twice");
        return ExitCode::FAILURE;
    }
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("kubectl-paramant: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kubectl-paramant: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    if let Some(contradiction) = cli.contradiction() {
        bail!("{contradiction}");
    }
    if cli.explain {
        println!("{}", cli.equivalent());
        return Ok(());
    }
    let (client, namespace) = connect(&cli).await?;
    let relays: Api<ParamantRelay> =
        if cli.all_namespaces { Api::all(client) } else { Api::namespaced(client, &namespace) };
    match &cli.command {
        Command::Status { name: Some(name) } => {
            let relay = relays.get_opt(name).await.context("cannot read the relay")?;
            let relay =
                relay.with_context(|| format!("there is no relay {name} in namespace {namespace}"))?;
            print!("{}", view::one(&relay));
        }
        Command::Status { name: None } => {
            let list = relays.list(&ListParams::default()).await.context("cannot list relays")?;
            print!("{}", view::table(&list.items));
        }
        Command::Drain { name } => change(&relays, name, Change::Drain(Some(true))).await?,
        Command::Undrain { name, refuse } => {
            change(&relays, name, Change::Drain(refuse.then_some(false))).await?
        }
        Command::Pause { name } => change(&relays, name, Change::Paused(true)).await?,
        Command::Resume { name } => change(&relays, name, Change::Paused(false)).await?,
    }
    Ok(())
}

async fn change(relays: &Api<ParamantRelay>, name: &str, change: Change) -> anyhow::Result<()> {
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patched = relays.patch(name, &params, &Patch::Merge(change.patch())).await;
    let relay = patched.with_context(|| format!("cannot change relay {name}"))?;
    println!("{}", view::after(&relay, change));
    Ok(())
}

async fn connect(cli: &Cli) -> anyhow::Result<(Client, String)> {
    let options = KubeConfigOptions { context: cli.context.clone(), ..KubeConfigOptions::default() };
    let config = match &cli.kubeconfig {
        Some(path) => {
            let file =
                Kubeconfig::read_from(path).with_context(|| format!("cannot read {}", path.display()))?;
            Config::from_custom_kubeconfig(file, &options).await
        }
        None => Config::from_kubeconfig(&options).await,
    }
    .context("cannot use the kubeconfig")?;
    let namespace = cli.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    Ok((Client::try_from(config).context("cannot use the kubeconfig's credentials")?, namespace))
}

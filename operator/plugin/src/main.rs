//! `kubectl paramant`: what a person does to a relay or asks about it, each with its plain kubectl equivalent.
//!
//! Nothing here can do more than `kubectl` with the same rights. What is changed is written with the field manager
//! `paramant-admin`: GitOps tools that take over fields of managers whose name begins with `kubectl` would undo it.

mod change;
mod cli;
mod cluster;
mod counters;
mod explain;
#[cfg(test)]
mod fake_api;
mod named;
mod report;
mod verb;
mod view;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::change::Change;
use crate::cli::{Cli, Command, Global};
use crate::cluster::Cluster;
use crate::verb::status::Whose;
use crate::verb::{
    Answer, complete, license, report as bundle, requests, status, steer, support, updates, verify,
};

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
    match runtime.block_on(start(cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kubectl-paramant: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Some(contradiction) = cli.contradiction() {
        bail!("{contradiction}");
    }
    match &cli.command {
        Command::Completion { shell } => {
            complete::script(*shell);
            return Ok(ExitCode::SUCCESS);
        }
        Command::Complete { words } => {
            complete::candidates(words).await;
            return Ok(ExitCode::SUCCESS);
        }
        _ if cli.global.explain => {
            let namespace = match config(&cli.global).await {
                Ok(config) => namespace(&cli.global, &config),
                Err(_) => cli.global.namespace.clone().unwrap_or_else(|| "default".to_owned()),
            };
            explain::lines(&cli, &namespace).iter().for_each(|line| println!("{line}"));
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    run(&connect(&cli.global).await?, &cli).await
}

async fn run(cluster: &Cluster, cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Status { name, output, watch } => {
            let whose = match name {
                Some(name) => Whose::Of(name),
                None if cli.global.all_namespaces => Whose::Everywhere,
                None => Whose::Namespace,
            };
            status::run(cluster, whose, *output, *watch).await?;
        }
        Command::Drain { relay } => steer::run(cluster, &relay.name, &Change::Drain(Some(true))).await?,
        Command::Undrain { relay, refuse } => {
            steer::run(cluster, &relay.name, &Change::Drain(refuse.then_some(false))).await?
        }
        Command::Pause { relay } => steer::run(cluster, &relay.name, &Change::Paused(true)).await?,
        Command::Resume { relay } => steer::run(cluster, &relay.name, &Change::Paused(false)).await?,
        Command::Approve { relay, digest, sequence } => {
            updates::approve(cluster, &relay.name, digest.as_ref(), *sequence).await?
        }
        Command::Rollback { relay, release: true, .. } => updates::release(cluster, &relay.name).await?,
        Command::Rollback { relay, to, .. } => updates::rollback(cluster, &relay.name, to.as_ref()).await?,
        Command::Retry { relay, digest } => updates::retry(cluster, &relay.name, digest.as_ref()).await?,
        Command::UpdateNow { relay, digest } => {
            updates::update_now(cluster, &relay.name, digest.as_ref()).await?
        }
        Command::License { license, output } => {
            let whose = match license {
                Some(name) => Whose::Of(name),
                None if cli.global.all_namespaces => Whose::Everywhere,
                None => Whose::Namespace,
            };
            print!("{}", license::text(cluster, &whose, *output).await?);
        }
        Command::Requests { relay } => print!("{}", requests::show(cluster, &relay.name).await?),
        Command::Allow { relay, request } => {
            requests::answer(cluster, &relay.name, request, Answer::Yes).await?
        }
        Command::Deny { relay, request } => {
            requests::answer(cluster, &relay.name, request, Answer::No).await?
        }
        Command::RevokeSupportKey { relay, key } => support::revoke(cluster, &relay.name, key).await?,
        Command::Verify { relay } => return verify::run(cluster, &relay.name).await,
        Command::Report(wanted) => bundle::run(cluster, wanted).await?,
        // Answered before there is a cluster.
        Command::Completion { .. } | Command::Complete { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn config(global: &Global) -> anyhow::Result<Config> {
    let options = KubeConfigOptions { context: global.context.clone(), ..KubeConfigOptions::default() };
    match &global.kubeconfig {
        Some(path) => {
            let file =
                Kubeconfig::read_from(path).with_context(|| format!("cannot read {}", path.display()))?;
            Config::from_custom_kubeconfig(file, &options).await
        }
        None => Config::from_kubeconfig(&options).await,
    }
    .context("cannot use the kubeconfig")
}

fn namespace(global: &Global, config: &Config) -> String {
    global.namespace.clone().unwrap_or_else(|| config.default_namespace.clone())
}

async fn connect(global: &Global) -> anyhow::Result<Cluster> {
    let config = config(global).await?;
    let namespace = namespace(global, &config);
    let client = Client::try_from(config).context("cannot use the kubeconfig's credentials")?;
    Ok(Cluster::new(client, namespace, global.dry_run.is_some()))
}

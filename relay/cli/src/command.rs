//! The commands, and what several of them need: the relay, the key, the state directory.

mod audit;
mod decrypt;
mod license;
mod log;
mod place;
mod receive;
mod register;
mod send;
mod status;
mod trust;
mod verify;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::CommandFactory as _;
use paramant_client::audit::Remembered;
use paramant_client::durable::{self, ORDINARY};
use paramant_client::envelope::PreShared;
use paramant_client::{Password, Relay, RelayAddress, StateDir};
use paramant_protocol::id::ApiKey;
use paramant_tlog::policy::Policy;
use zeroize::Zeroizing;

use crate::arguments::{
    Account, Arguments, Command, Connection, Protected, Relay as RelayArguments, Shared, State,
};
use crate::exit::Usage;
use crate::output::Output;

pub(crate) async fn run(command: Command, output: &Output) -> Result<()> {
    match command {
        Command::Register(arguments) => register::run(arguments, output).await,
        Command::Send(arguments) => send::run(arguments, output).await,
        Command::Receive(arguments) => receive::run(arguments, output).await,
        Command::Decrypt(arguments) => decrypt::run(arguments, output),
        Command::Status(arguments) => status::run(arguments, output).await,
        Command::Trust(arguments) => trust::run(arguments, output).await,
        Command::Verify(arguments) => verify::run(arguments, output).await,
        Command::Audit(arguments) => audit::run(arguments, output).await,
        Command::Log(arguments) => log::run(arguments.command, output).await,
        Command::License(command) => license::run(command, output).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "paramant", &mut script);
            Ok(output.plain(&script)?)
        }
    }
}

/// A relay to speak to with a key.
fn relay(relay: &RelayArguments, account: &Account) -> Result<Relay> {
    let key = api_key(account.key_file.as_deref())?;
    connect(&relay.relay, &relay.connection, Some(key))
}

/// A relay at an address.
fn connect(url: &str, connection: &Connection, key: Option<ApiKey>) -> Result<Relay> {
    let address = RelayAddress::parse(url, connection.plain_http)?;
    let roots = match &connection.ca_file {
        Some(path) => Some(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?),
        None => None,
    };
    Ok(Relay::new(address, key, roots.as_deref())?)
}

fn api_key(file: Option<&Path>) -> Result<ApiKey> {
    let text = match file {
        Some(path) => secret_file(path)?,
        None => Zeroizing::new(std::env::var("PARAMANT_API_KEY").map_err(|_| {
            Usage("an API key is needed: put it into a file and name it with --key-file, or set PARAMANT_API_KEY".into())
        })?),
    };
    text.trim().parse().map_err(|error| Usage(format!("the API key cannot be used: {error}")).into())
}

fn pre_shared(shared: &Shared) -> Result<Option<PreShared>> {
    let Some(path) = &shared.pre_shared_file else { return Ok(None) };
    let text = secret_file(path)?;
    let secret = line(&text);
    if secret.is_empty() {
        return Err(Usage(format!("{} is empty", path.display())).into());
    }
    Ok(Some(PreShared::new(secret)))
}

fn password(protected: &Protected) -> Result<Option<Password>> {
    let Some(path) = &protected.password_file else { return Ok(None) };
    let password = Password::new(line(&secret_file(path)?));
    password.map(Some).map_err(|error| Usage(format!("{}: {error}", path.display())).into())
}

/// A text without the line break that editors put behind it.
fn line(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line))
}

fn secret_file(path: &Path) -> Result<Zeroizing<String>> {
    fs::read_to_string(path).map(Zeroizing::new).with_context(|| format!("cannot read {}", path.display()))
}

fn state_dir(state: &State) -> Result<StateDir> {
    let path = match &state.state_dir {
        Some(path) => path.clone(),
        None => default_state_dir()?,
    };
    Ok(StateDir::open(&path)?)
}

fn default_state_dir() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(state) = set("XDG_STATE_HOME") {
        return Ok(state.join("paramant"));
    }
    let home =
        set("HOME").ok_or_else(|| Usage("there is no home directory: name one with --state-dir".into()))?;
    Ok(home.join(".local/state/paramant"))
}

/// A trust policy from a file.
fn policy(path: &Path) -> Result<Policy> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Policy::parse(&bytes).map_err(|error| Usage(format!("{}: {error}", path.display())).into())
}

/// What an earlier audit remembered, if there was one.
fn remembered(path: Option<&Path>) -> Result<Option<Remembered>> {
    let Some(path) = path else { return Ok(None) };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
        bail!("there is no directory {} for the audit's state", parent.display());
    }
    let parsed = durable::read(path)?.map(|bytes| Remembered::parse(&bytes)).transpose();
    parsed.map_err(|error| {
        Usage(format!("{} cannot be read as an audit's state: {error}", path.display())).into()
    })
}

/// Remembers an audit that held.
fn remember(path: Option<&Path>, remembered: Option<&Remembered>) -> Result<()> {
    if let (Some(path), Some(remembered)) = (path, remembered) {
        durable::write(path, &remembered.to_bytes(), ORDINARY)
            .context("the audit holds, but cannot be remembered")?;
    }
    Ok(())
}

/// A whole file, or standard input for `-`.
fn input(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
        return Ok(bytes);
    }
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

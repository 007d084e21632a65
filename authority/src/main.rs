//! `paramant-authority`: the command line of the reference authority.
//!
//! One data directory holds the book and the keys; every command works while the server runs. Secrets are read from files and never
//! taken as arguments: a licence key is shown once, when it is sold, and later given in a file.

mod action;

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use jiff::{SignedDuration, Timestamp};
use paramant_authority::answer::{Authority, NoAnswer};
use paramant_authority::book::Licence;
use paramant_authority::decide::{Standing, usual};
use paramant_authority::faults::Fault;
use paramant_authority::keys::{self, SigningKey};
use paramant_authority::requests::By;
use paramant_authority::{create_seed, issue, offline_key, read_seed, serve};
use paramant_licensing::actions::{Role, Why};
use paramant_licensing::online::capability::Tier;
use paramant_licensing::{OnlineKey, UserCap};
use tokio::signal::unix::{SignalKind, signal};

/// Issues licences, and answers the check-ins of relays.
#[derive(Parser)]
#[command(name = "paramant-authority", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a seed for offline licences and print the public key that relays must accept
    Keygen {
        /// Where to write the seed. Must not exist yet
        #[arg(long, value_name = "FILE")]
        seed_file: PathBuf,
    },
    /// Print the public key of a seed for offline licences
    PublicKey {
        /// The seed
        #[arg(long, value_name = "FILE")]
        seed_file: PathBuf,
    },
    /// Issue an offline licence and print it
    Issue {
        /// The seed that signs it
        #[arg(long, value_name = "FILE")]
        seed_file: PathBuf,
        /// The cap on active accounts: a number, or `unlimited`
        #[arg(long, value_name = "N|unlimited")]
        max_users: UserCap,
        /// When it ends: a date (its first instant in UTC) or RFC 3339
        #[arg(long, value_name = "DATE")]
        expires: String,
        /// The customer's name, shown in the relay's `/health`
        #[arg(long, value_name = "NAME")]
        issued_to: String,
    },
    /// Answer check-ins
    Serve {
        #[command(flatten)]
        data: Data,
        /// Where to listen
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8443")]
        listen: SocketAddr,
        /// Certificate chain, PEM
        #[arg(long, value_name = "FILE")]
        tls_cert: PathBuf,
        /// Its private key, PEM
        #[arg(long, value_name = "FILE")]
        tls_key: PathBuf,
    },
    /// Keys that sign replies (ML-DSA-65)
    #[command(subcommand)]
    Key(KeyCommand),
    /// Online licences
    #[command(subcommand)]
    License(LicenseCommand),
    /// Requests to relays, carried in the replies to their check-ins
    #[command(subcommand)]
    Action(action::Action),
    /// Answer a request that somebody carried here, for relays without a way out
    Answer {
        #[command(flatten)]
        data: Data,
        /// The request, as `paramant license request` wrote it
        #[arg(long, value_name = "FILE")]
        request: PathBuf,
        /// Where to write the reply
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Print what was done and answered, once the chain over it is seen to hold
    Record {
        #[command(flatten)]
        data: Data,
    },
    /// Go wrong on purpose, for tests of relays: silent, status-503, garbage, giant, slow, redirect, replay, old-sequence,
    /// other-relay, other-key, altered, forked-request, gap-request, expired-request, wrong-relay-request, unsigned-request; or none
    Fault {
        #[command(flatten)]
        data: Data,
        /// Which
        fault: String,
    },
}

#[derive(clap::Args)]
struct Data {
    /// The authority's data directory
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Make a key; relays must pin it before it signs
    Add {
        #[command(flatten)]
        data: Data,
        /// From when on it signs; now, when left out
        #[arg(long, value_name = "INSTANT")]
        from: Option<Timestamp>,
        /// Days from then on
        #[arg(long, value_name = "N", default_value_t = 425)]
        days: u32,
        /// The seed of a key that was made elsewhere, 64 hex digits; `/dev/stdin` reads it from a pipe. A new one when left out
        #[arg(long, value_name = "FILE")]
        seed_file: Option<PathBuf>,
    },
    /// Print the public keys, with their last days, as relays pin them
    List {
        #[command(flatten)]
        data: Data,
    },
}

#[derive(Subcommand)]
enum LicenseCommand {
    /// Sell a licence and print its key, once
    Sell {
        #[command(flatten)]
        data: Data,
        /// To whom
        #[arg(long, value_name = "NAME")]
        customer: String,
        /// community, pro or enterprise
        #[arg(long, value_parser = tier)]
        tier: Tier,
        /// Active accounts, if not the tier's
        #[arg(long, value_name = "N")]
        max_users: Option<u64>,
        /// How long a set is valid, in seconds
        #[arg(long, value_name = "N")]
        valid_seconds: Option<u64>,
    },
    /// Sell another tier under the same key; relays hear of it at their next check-in
    Tier {
        #[command(flatten)]
        of: Of,
        /// community, pro or enterprise
        #[arg(long, value_parser = tier)]
        tier: Tier,
        /// Active accounts, if not the tier's
        #[arg(long, value_name = "N")]
        max_users: Option<u64>,
        /// In which role: owner or support
        #[arg(long, value_parser = action::word::<Role>, default_value = "owner")]
        role: Role,
        /// Why: support-case, maintenance, release, security, contract or legal-order
        #[arg(long, value_parser = action::word::<Why>, default_value = "contract")]
        reason: Why,
        /// Who sells it; relays see a commitment to the name
        #[arg(long, value_name = "NAME", default_value = "authority")]
        actor: String,
    },
    /// A payment is missing: relays fall back when their set ends
    Unpaid(Of),
    /// It was paid again
    Renew(Of),
    /// Revoke for good: relays fall back when their set ends, and ask no more
    Revoke(Of),
    /// Print what was sold under a key
    Show(Of),
}

#[derive(clap::Args)]
struct Of {
    #[command(flatten)]
    data: Data,
    /// A file with the licence key
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
}

fn tier(text: &str) -> Result<Tier, String> {
    serde_json::from_value(text.into()).map_err(|_| "expected community, pro or enterprise".to_owned())
}

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match Arguments::parse().command {
        Command::Keygen { seed_file } => {
            let key = offline_key(&create_seed(&seed_file)?);
            println!("{}", hex::encode(key.verifying_key().to_bytes()));
            eprintln!("wrote {}; keep it secret, and give relays the public key above", seed_file.display());
        }
        Command::PublicKey { seed_file } => {
            println!("{}", hex::encode(offline_key(&read_seed(&seed_file)?).verifying_key().to_bytes()));
        }
        Command::Issue { seed_file, max_users, expires, issued_to } => {
            let key = offline_key(&read_seed(&seed_file)?);
            println!("{}", issue::license(&key, max_users, expires, issued_to, Timestamp::now())?);
        }
        Command::Serve { data, listen, tls_cert, tls_key } => {
            let (authority, tls) = (Arc::new(data.open()?), serve::tls(&tls_cert, &tls_key)?);
            if let Some(fault) = authority.book.fault()? {
                tracing::warn!(%fault, "it goes wrong on purpose until 'paramant-authority fault … none'");
            }
            let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
            runtime.block_on(async {
                let mut terminate = signal(SignalKind::terminate()).context("no signals")?;
                tokio::select! {
                    served = serve::serve(authority, listen, tls) => served,
                    // The first process of a container ends by no signal of its own accord. What was answered is on disk.
                    _ = terminate.recv() => Ok(()),
                }
            })?;
        }
        Command::Key(command) => key(command)?,
        Command::License(command) => license(command)?,
        Command::Action(action) => action::run(action)?,
        Command::Answer { data, request, out } => answer(&data.open()?, &request, &out)?,
        Command::Record { data } => {
            let (record, head) = data.open()?.book.record_and_head()?;
            let rows = record.len();
            for row in record {
                let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                let status = row.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
                println!(
                    "{} {} key {} relay {} version {} status {status} request {} reply {} telemetry {}",
                    row.at,
                    row.what,
                    row.key.get(..16).unwrap_or_default(),
                    text(row.relay),
                    text(row.version),
                    text(row.request),
                    text(row.reply),
                    text(row.telemetry),
                );
            }
            println!("{rows} rows, head {}", hex::encode(head));
        }
        Command::Fault { data, fault } => {
            let fault = if fault == "none" { None } else { Some(fault.parse::<Fault>()?) };
            data.open()?.book.set_fault(fault)?;
        }
    }
    Ok(())
}

impl Data {
    fn open(&self) -> anyhow::Result<Authority> {
        Authority::open(&self.data)
    }
}

fn key(command: KeyCommand) -> anyhow::Result<()> {
    match command {
        KeyCommand::Add { data, from, days, seed_file } => {
            let from = from.unwrap_or_else(Timestamp::now);
            let not_after = from.checked_add(SignedDuration::from_hours(24 * i64::from(days)))?;
            let directory = data.open()?.keys();
            print_key(&match seed_file {
                Some(file) => keys::take(&directory, from, not_after, &read_seed(&file)?)?,
                None => keys::add(&directory, from, not_after)?,
            });
        }
        KeyCommand::List { data } => keys::all(&data.open()?.keys())?.iter().for_each(print_key),
    }
    Ok(())
}

fn print_key(key: &SigningKey) {
    println!("{} {} from {}", hex::encode(&key.public.public), key.public.not_after, key.from);
}

fn license(command: LicenseCommand) -> anyhow::Result<()> {
    let now = Timestamp::now();
    match command {
        LicenseCommand::Sell { data, customer, tier, max_users, valid_seconds } => {
            let mut sold = usual(tier);
            sold.capabilities.max_users = max_users.unwrap_or(sold.capabilities.max_users);
            sold.valid_seconds = valid_seconds.unwrap_or(sold.valid_seconds);
            let key = data.open()?.book.sell(&customer, &sold, now)?;
            println!("{}", key.expose());
            eprintln!("this key is shown once: the book keeps its SHA-256 only");
        }
        LicenseCommand::Tier { of, tier, max_users, role, reason, actor } => {
            let by = By::new(role, reason, &actor)?;
            of.change("tier", |licence| {
                licence.by = by;
                let valid_seconds = licence.sold.valid_seconds;
                licence.sold = usual(tier);
                licence.sold.valid_seconds = valid_seconds;
                licence.sold.capabilities.max_users =
                    max_users.unwrap_or(licence.sold.capabilities.max_users);
            })?;
        }
        LicenseCommand::Unpaid(of) => of.change("unpaid", |licence| licence.standing = Standing::Unpaid)?,
        LicenseCommand::Renew(of) => of.change("renewed", |licence| licence.standing = Standing::Active)?,
        LicenseCommand::Revoke(of) => of.change("revoked", |licence| licence.standing = Standing::Revoked)?,
        LicenseCommand::Show(of) => {
            let licence = of.data.open()?.book.find(&of.key()?)?.context("nobody was sold this key")?;
            print_licence(&licence)?;
        }
    }
    Ok(())
}

impl Of {
    fn key(&self) -> anyhow::Result<OnlineKey> {
        let shown = self.key_file.display();
        let text = std::fs::read_to_string(&self.key_file).with_context(|| format!("cannot read {shown}"))?;
        OnlineKey::parse(&text)
            .with_context(|| format!("{shown} does not hold a licence key: plk_ and 64 hex digits"))
    }

    fn change(&self, what: &str, change: impl FnOnce(&mut Licence)) -> anyhow::Result<()> {
        print_licence(&self.data.open()?.book.change(&self.key()?, what, Timestamp::now(), change)?)
    }
}

fn print_licence(licence: &Licence) -> anyhow::Result<()> {
    let (standing, sold) = (serde_json::to_value(licence.standing)?, serde_json::to_value(&licence.sold)?);
    println!("{}", serde_json::json!({ "customer": licence.customer, "standing": standing, "sold": sold }));
    Ok(())
}

fn answer(authority: &Authority, request: &Path, out: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::read(request).with_context(|| format!("cannot read {}", request.display()))?;
    let answer = authority.answer(&bytes, None).map_err(|error| match error {
        NoAnswer::Request(reason) => anyhow::anyhow!("{}: {reason}", request.display()),
        NoAnswer::Unwell(error) => error,
    })?;
    // It echoes the licence key.
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(out);
    let written = file.and_then(|mut file| file.write_all(&answer.body));
    written.with_context(|| format!("cannot write {}", out.display()))?;
    eprintln!("wrote {} (status {}): carry it back to the relay", out.display(), answer.status);
    Ok(())
}

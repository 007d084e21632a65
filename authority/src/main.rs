//! `paramant-authority`: the other side of licensing, for tests and for organisations that license their own relays.
//!
//! Today it makes licence keys and issues offline licences. Answering check-ins, offering updates, issuing support keys
//! and requesting drains join it together with the relay's online check; nothing here pretends to do them yet.
//! The signing seed is read from a file and never printed, logged or taken as an argument.

mod issue;
mod seed;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use paramant_licensing::UserCap;

/// Makes licence keys and issues offline licences.
#[derive(Parser)]
#[command(name = "paramant-authority", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a signing seed and print the public key that relays must accept.
    Keygen {
        /// Where to write the seed. Must not exist yet.
        #[arg(long, value_name = "FILE")]
        seed_file: PathBuf,
    },
    /// Print the public key of a seed.
    PublicKey {
        /// The seed.
        #[arg(long, value_name = "FILE")]
        seed_file: PathBuf,
    },
    /// Issue an offline licence and print it.
    Issue {
        /// The seed that signs it.
        #[arg(long, value_name = "FILE")]
        seed_file: PathBuf,
        /// The cap on active accounts: a number, or `unlimited`.
        #[arg(long, value_name = "N|unlimited")]
        max_users: UserCap,
        /// When it ends: a date (its first instant in UTC) or RFC 3339.
        #[arg(long, value_name = "DATE")]
        expires: String,
        /// The customer's name, shown in the relay's `/health`.
        #[arg(long, value_name = "NAME")]
        issued_to: String,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Keygen { seed_file } => {
            let key = seed::create(&seed_file)?;
            println!("{}", hex::encode(key.verifying_key().to_bytes()));
            eprintln!("wrote {}; keep it secret, and give relays the public key above", seed_file.display());
        }
        Command::PublicKey { seed_file } => {
            println!("{}", hex::encode(seed::read(&seed_file)?.verifying_key().to_bytes()));
        }
        Command::Issue { seed_file, max_users, expires, issued_to } => {
            let key = seed::read(&seed_file)?;
            println!("{}", issue::license(&key, max_users, expires, issued_to, jiff::Timestamp::now())?);
        }
    }
    Ok(())
}

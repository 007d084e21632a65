//! `paramant-authority action …`: asks something of one relay, and shows what it was asked.
//!
//! Standard output is JSON, one object a line; hints go to standard error. A support key's secret is printed once and kept nowhere.

use clap::Subcommand;
use jiff::SignedDuration;
use paramant_authority::requests::{Asking, By, Kept, LONGEST, Secret, USUAL};
use paramant_licensing::actions::{Ask, LONGEST_SUPPORT, Offer, Role, SHORTEST_SUPPORT, Why};
use paramant_protocol::path::parse_hash;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Data;

/// What a support key works for unless the vendor says otherwise.
const USUAL_SUPPORT: u64 = 4 * 3600;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Ask for read-only diagnostics for a time, and print the secret, once
    SupportKey {
        #[command(flatten)]
        to: To,
        /// For how many hours, counted from approval; 4, when left out
        #[arg(long, value_name = "N", conflicts_with = "max_seconds", value_parser = clap::value_parser!(u64).range(1..=24))]
        hours: Option<u64>,
        /// The same in seconds
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(SHORTEST_SUPPORT..=LONGEST_SUPPORT))]
        max_seconds: Option<u64>,
    },
    /// Offer an update
    Offer {
        #[command(flatten)]
        to: To,
        /// The release
        #[arg(long, value_name = "VERSION")]
        version: String,
        /// Its image: sha256: and 64 hex digits
        #[arg(long, value_name = "DIGEST")]
        digest: String,
        /// Counts up with each offer
        #[arg(long, value_name = "N")]
        sequence: u64,
        /// Offers below this sequence are void from now on
        #[arg(long, value_name = "N", default_value_t = 0)]
        floor: u64,
        /// An image that nobody should run any more; may be given 16 times
        #[arg(long, value_name = "DIGEST")]
        recalled: Vec<String>,
        /// SHA-256 of the release notes
        #[arg(long, value_name = "HEX")]
        notes_sha256: String,
    },
    /// Ask to refuse uploads, or to take them again
    Drain {
        #[command(flatten)]
        to: To,
        /// Which
        #[arg(value_name = "on|off", action = clap::ArgAction::Set, value_parser = on)]
        enabled: bool,
        /// The admin is asked to be done in so many seconds
        #[arg(long, value_name = "N")]
        deadline_seconds: Option<u64>,
    },
    /// Ask for what is none of the four: to show that a relay refuses it
    Other {
        #[command(flatten)]
        to: To,
        /// A word of a-z, 0-9 and _
        #[arg(long, value_name = "WORD")]
        kind: String,
    },
    /// Print all requests to a relay, once their chain is seen to hold
    List {
        #[command(flatten)]
        of: Of,
    },
    /// Carry requests once more, eight in a reply, to a relay that lacks some and says so
    Repeat {
        #[command(flatten)]
        of: Of,
        /// The first that it lacks
        #[arg(long, value_name = "SEQ")]
        from: u64,
    },
    /// Print who made a request, with what proves it: for those it was promised to
    Open {
        #[command(flatten)]
        of: Of,
        /// The request
        #[arg(long, value_name = "ID")]
        id: String,
    },
}

#[derive(clap::Args)]
pub(crate) struct Of {
    #[command(flatten)]
    data: Data,
    /// The relay's fingerprint: 64 hex digits, as the record prints it
    #[arg(long, value_name = "FINGERPRINT", value_parser = relay)]
    relay: String,
}

#[derive(clap::Args)]
pub(crate) struct To {
    #[command(flatten)]
    of: Of,
    /// In which role: owner or support
    #[arg(long, value_parser = word::<Role>, default_value = "support")]
    role: Role,
    /// Why: support-case, maintenance, release, security, contract or legal-order
    #[arg(long, value_parser = word::<Why>)]
    reason: Why,
    /// Who asks; relays see a commitment to the name
    #[arg(long, value_name = "NAME")]
    actor: String,
    /// For how many hours it may be acted upon
    #[arg(long, value_name = "N", default_value_t = USUAL.as_hours(), value_parser = clap::value_parser!(i64).range(1..=LONGEST.as_hours()))]
    expires_hours: i64,
}

/// A word of a closed list, with - or _.
pub(crate) fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.replace('-', "_").into()).map_err(|error| error.to_string())
}

fn relay(text: &str) -> Result<String, String> {
    let expected = "expected a relay's fingerprint: 64 hex digits, lower case";
    parse_hash(text).map(|_| text.to_owned()).ok_or_else(|| expected.to_owned())
}

fn on(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected on or off".to_owned()),
    }
}

pub(crate) fn run(action: Action) -> anyhow::Result<()> {
    match action {
        Action::SupportKey { to, hours, max_seconds } => {
            let max_seconds = max_seconds.or(hours.map(|hours| hours * 3600)).unwrap_or(USUAL_SUPPORT);
            let secret = Secret::new()?;
            let key_sha256 = secret.key_sha256(&to.of.relay);
            let made = to.ask(Ask::SupportKey { key_sha256, max_seconds })?;
            print(shown(&made), json!({ "key_sha256": hex::encode(key_sha256), "secret": secret.expose() }))?;
            eprintln!(
                "the secret is shown once and kept nowhere; it works once the relay's admin approved it"
            );
        }
        Action::Offer { to, version, digest, sequence, floor, recalled, notes_sha256 } => {
            let offer = Offer { version, digest, sequence, floor, recalled, notes_sha256 };
            print(shown(&to.ask(Ask::UpdateOffer(Box::new(offer)))?), json!({}))?;
        }
        Action::Drain { to, enabled, deadline_seconds } => {
            print(shown(&to.ask(Ask::Drain { enabled, deadline_seconds })?), json!({}))?;
        }
        Action::Other { to, kind } => print(shown(&to.ask(Ask::Unknown(kind))?), json!({}))?,
        Action::List { of } => {
            for kept in of.data.open()?.book.requests(&of.relay)? {
                let request: Value = serde_json::from_slice(&kept.signed)?;
                print(shown(&kept), json!({ "request": request }))?;
            }
        }
        Action::Repeat { of, from } => {
            of.data.open()?.book.repeat(&of.relay, from)?;
            eprintln!("the next reply to this relay begins with request {from}");
        }
        Action::Open { of, id } => {
            let opened = of.data.open()?.book.open_request(&of.relay, &id)?;
            let salt = hex::encode(opened.salt);
            print(
                shown(&opened.request),
                json!({ "relay_id": of.relay, "actor": opened.actor, "salt": salt }),
            )?;
            eprintln!("the signed request commits to this actor");
        }
    }
    Ok(())
}

impl To {
    fn ask(&self, ask: Ask) -> anyhow::Result<Kept> {
        let authority = self.of.data.open()?;
        let asking = Asking {
            relay: self.of.relay.clone(),
            ask,
            by: By::new(self.role, self.reason, &self.actor)?,
            lasts: SignedDuration::from_hours(self.expires_hours),
        };
        authority.book.ask(&asking, &authority.signer()?, authority.now())
    }
}

fn shown(kept: &Kept) -> Value {
    json!({
        "id": kept.id,
        "seq": kept.seq,
        "kind": kept.kind,
        "made": kept.made.to_string(),
        "sha256": hex::encode(kept.hash()),
    })
}

fn print(mut shown: Value, more: Value) -> anyhow::Result<()> {
    let (Some(fields), Value::Object(more)) = (shown.as_object_mut(), more) else { return Ok(()) };
    fields.extend(more);
    println!("{shown}");
    Ok(())
}

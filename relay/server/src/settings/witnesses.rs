//! Who witnesses the log, as `relay.yaml` has it below `log.witnesses`.
//!
//! ```yaml
//! log:
//!   witnesses:
//!     quorum: 2
//!     members:
//!       - { name: one, publicKey: witness.example/one+1a2b3c4d+BA…, url: "https://witness.example/one" }
//!     caBundle: |            # instead of the public authorities
//!       -----BEGIN CERTIFICATE-----
//!     every: 20s             # between two checkpoints that are pushed
//!     reach: Direct          # or Courier, in a cluster
//! ```

use std::time::Duration;

use paramant_protocol::period::Period;
use paramant_tlog::policy::{Log, Policy, Witness};
use paramant_tlog::vkey::VerifierKey;
use serde::Deserialize;

use crate::outbound::{Destination, Trust};

/// Between two checkpoints that are pushed, unless somebody says otherwise.
const DEFAULT_EVERY: Duration = Duration::from_secs(20);
/// Local checkpoints come each second; witnesses are others' machines.
const FASTEST: Duration = Duration::from_secs(10);
/// A quorum that old says little.
const SLOWEST: Duration = Duration::from_secs(3600);
/// Witnesses altogether, as the resource has it.
const MOST: usize = 16;

/// The witnesses of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessSettings {
    /// How many must have cosigned a checkpoint.
    pub quorum: u32,
    /// All of them.
    pub members: Vec<WitnessMember>,
    /// PEM of the authorities that their servers are believed by; absent: the public ones.
    pub ca_bundle: Option<String>,
    /// Between two checkpoints that are pushed.
    pub every: Duration,
    /// How they are reached.
    pub reach: Reach,
}

impl WitnessSettings {
    /// The quorum, to count with.
    pub fn quorum(&self) -> usize {
        self.quorum as usize
    }
}

/// One witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessMember {
    /// Its name in these settings.
    pub name: String,
    /// The key it cosigns with.
    pub key: VerifierKey,
    /// Its submission prefix.
    pub url: Destination,
}

/// How witnesses are reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Reach {
    /// The relay dials.
    #[default]
    Direct,
    /// A courier dials; the relay opens no connection.
    Courier,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WitnessesYaml {
    quorum: u32,
    members: Vec<MemberYaml>,
    #[serde(default)]
    ca_bundle: Option<String>,
    #[serde(default)]
    every: Option<Period>,
    #[serde(default)]
    reach: Reach,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MemberYaml {
    name: String,
    public_key: String,
    url: String,
}

impl WitnessesYaml {
    pub(super) fn checked(self) -> Result<WitnessSettings, String> {
        let count = self.members.len();
        if count == 0 || count > MOST {
            return Err(format!(
                "log.witnesses.members has {count} entries; write 1 to {MOST}, or leave log.witnesses out"
            ));
        }
        if self.quorum == 0 || self.quorum as usize > count {
            return Err(format!(
                "log.witnesses.quorum is {}; with {count} members it must be 1 to {count}",
                self.quorum
            ));
        }
        let every = self.every.map_or(DEFAULT_EVERY, Period::as_duration);
        if every < FASTEST || every > SLOWEST {
            return Err(format!(
                "log.witnesses.every must be {} s to {} s: witnesses are others' machines",
                FASTEST.as_secs(),
                SLOWEST.as_secs()
            ));
        }
        if let Some(pem) = &self.ca_bundle {
            Trust::bundle(pem).map_err(|error| format!("log.witnesses.caBundle: {error}"))?;
        }
        let members = self.members.into_iter().map(MemberYaml::checked).collect::<Result<Vec<_>, _>>()?;
        let settings = WitnessSettings {
            quorum: self.quorum,
            members,
            ca_bundle: self.ca_bundle,
            every,
            reach: self.reach,
        };
        as_policy(&settings)?;
        Ok(settings)
    }
}

impl MemberYaml {
    fn checked(self) -> Result<WitnessMember, String> {
        let named = |what: &str, error: &dyn std::fmt::Display| {
            format!("log.witnesses.members, {what} of {:?}: {error}", self.name)
        };
        let key = VerifierKey::parse(&self.public_key).map_err(|error| named("publicKey", &error))?;
        let url = self.url.parse::<Destination>().map_err(|error| named("url", &error))?;
        Ok(WitnessMember { name: self.name, key, url })
    }
}

/// Names, keys and key types must be such that `/log/policy` can be written.
fn as_policy(settings: &WitnessSettings) -> Result<(), String> {
    let witness = |member: &WitnessMember| Witness {
        name: member.name.clone(),
        key: member.key.clone(),
        url: Some(member.url.to_string()),
    };
    Policy::threshold(Vec::<Log>::new(), settings.members.iter().map(witness), settings.quorum())
        .map(drop)
        .map_err(|error| format!("log.witnesses: {error}"))
}

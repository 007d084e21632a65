//! Whose signatures count: keys given, keys remembered, keys the log shows. All of them must sign.

use paramant_protocol::discovery::Identity;
use paramant_tlog::vkey::{Algorithm, VerifierKey};

use super::report::{Check, finding};
use super::{Baggage, Source, Stop, source};
use crate::identity::RelayIdentity;
use crate::logged;

/// The keys of a log, and of the relay that keeps it.
pub(super) struct Keys {
    /// The log's name, which all its keys bear.
    pub(super) origin: String,
    /// Every key that must have signed the checkpoint.
    pub(super) all: Vec<VerifierKey>,
    /// The relay's identity, which signs tree heads.
    pub(super) identity: RelayIdentity,
    trust: &'static str,
}

impl Keys {
    /// Fetches the keys shown and compares them with those given and remembered.
    pub(super) async fn collect<S: Source>(source: &S, baggage: &Baggage) -> Result<Self, Stop> {
        let wrong = |text: String| Stop::from(finding("keys", text));
        let shown = source::required(source, "/log/vkeys").await?;
        let shown = std::str::from_utf8(&shown).map_err(|_| wrong("/log/vkeys is not text".into()))?;
        let all = logged::parse_keys(shown).map_err(|error| wrong(error.to_string()))?;
        if all.iter().map(|key| format!("{key}\n")).collect::<String>() != shown {
            return Err(wrong("/log/vkeys is not one key a line, each in its one form".into()));
        }
        if let Some(missing) = baggage.pinned.iter().find(|key| !all.contains(key)) {
            return Err(wrong(format!("the log does not show the key that was given: {}", brief(missing))));
        }
        if let Some(remembered) = &baggage.remembered {
            let now: Vec<String> = all.iter().map(ToString::to_string).collect();
            if remembered.keys != now {
                return Err(wrong("the log shows other keys than last time".into()));
            }
        }
        let first = all.first().ok_or_else(|| wrong("the log shows no key".into()))?;
        let origin = first.name().to_owned();
        if let Some(other) = all.iter().find(|key| key.name() != origin) {
            return Err(wrong(format!("the log shows keys of two names, {origin} and {}", other.name())));
        }

        let answer: Identity = source::json(source, "/v2/pubkey").await?;
        let identity = RelayIdentity::from_answer(&answer);
        let identity = identity.ok_or_else(|| wrong("the relay's identity contradicts itself".into()))?;
        let named = all.iter().filter(|key| key.algorithm() == Algorithm::MlDsa65);
        if let Some(other) = named.into_iter().find(|key| key.public_key() != identity.key()) {
            return Err(wrong(format!("{} is not the relay's identity of /v2/pubkey", brief(other))));
        }
        if !all.iter().any(|key| key.algorithm() == Algorithm::MlDsa65) {
            return Err(wrong(
                "the log shows no ML-DSA-65 key, so nothing ties it to the relay's identity".into(),
            ));
        }
        let trust = match (&baggage.remembered, baggage.pinned.is_empty()) {
            (_, false) => "as given",
            (Some(_), true) => "as remembered",
            (None, true) => "as shown: nothing to compare them with",
        };
        Ok(Self { origin, all, identity, trust })
    }

    pub(super) fn check(&self) -> Check {
        let text = format!(
            "{} of {}, {}; identity {}",
            self.algorithms(),
            self.origin,
            self.trust,
            self.identity.fingerprint()
        );
        Check::passed("keys", text)
    }

    /// The algorithms, for evidence.
    pub(super) fn algorithms(&self) -> String {
        self.all.iter().map(|key| key.algorithm().to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// A key short enough to be read.
fn brief(key: &VerifierKey) -> String {
    format!("{} {}+{:08x}", key.algorithm(), key.name(), key.key_id())
}

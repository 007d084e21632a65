//! Whose signatures count: keys given, keys remembered, keys the log shows.
//!
//! All keys shown must sign the checkpoint, and at least one that is trusted from elsewhere (given, of a pinned policy, or
//! remembered). Keys may change only by the log's own `log_key_rotated` entries: under a checkpoint that a trusted key
//! signed, an added key may be trusted from its entry on, and a key that is gone must have been retired by one.

use paramant_protocol::discovery::Identity;
use paramant_tlog::Checkpoint;
use paramant_tlog::note::Note;
use paramant_tlog::vkey::{Algorithm, VerifierKey};

use super::report::{Check, Finding, counted, finding};
use super::rules::Rules;
use super::{Baggage, Source, Stop, source};
use crate::error::ClientError;
use crate::identity::RelayIdentity;
use crate::logged;

const NAME: &str = "keys";

/// The keys of a log, and of the relay that keeps it.
pub(super) struct Keys {
    /// The log's name, which all its keys bear.
    pub(super) origin: String,
    /// Every key that must have signed the checkpoint: those shown, or those given where a copy shows none.
    pub(super) all: Vec<VerifierKey>,
    /// The relay's identity, which signs tree heads.
    pub(super) identity: Option<RelayIdentity>,
    /// Keys given or remembered: each must be shown, or have been retired.
    expected: Vec<VerifierKey>,
    /// Keys of a pinned policy: any of them will do.
    accepted: Vec<VerifierKey>,
    pub(super) trust: &'static str,
    remembered: bool,
    require_pq: bool,
}

/// A checkpoint with lines that verified.
pub(super) struct Opened {
    pub(super) checkpoint: Checkpoint,
    /// The note as it was shown.
    pub(super) note: String,
    /// Its lines.
    pub(super) parsed: Note,
    /// When the newest timestamped line of the log's own was made.
    pub(super) signed_at: Option<u64>,
    /// Keys whose lines verified.
    pub(super) signers: Vec<VerifierKey>,
    /// Lines of keys that nobody named.
    unknown: usize,
}

impl Keys {
    /// Fetches the keys shown and compares them with those given and remembered.
    pub(super) async fn collect<S: Source>(source: &S, baggage: &Baggage) -> Result<Self, Stop> {
        let wrong = |text: String| Stop::from(finding(NAME, text));
        let mut expected = baggage.pinned.clone();
        if let Some(remembered) = &baggage.remembered {
            let keys = remembered.keys.join("\n");
            let keys = logged::parse_keys(&keys).map_err(|error| wrong(format!("remembered: {error}")))?;
            expected.extend(keys.into_iter().filter(|key| !baggage.pinned.contains(key)));
        }
        let policy = baggage.policy.iter().flat_map(|policy| policy.logs());
        let accepted: Vec<VerifierKey> = policy.map(|log| log.key.clone()).collect();

        let all = match source::optional(source, "/log/vkeys").await? {
            Some(shown) => read(&shown).map_err(wrong)?,
            None if source.is_live() && expected.is_empty() && accepted.is_empty() => {
                let text = "/log/vkeys is not there; is this the address of a relay?";
                return Err(Stop::Error(ClientError::NotThere(text.into())));
            }
            None if source.is_live() || source.has_json() => {
                return Err(wrong("/log/vkeys is not there".into()));
            }
            None if expected.is_empty() => {
                let text = match source.get("/log/checkpoint").await? {
                    Some(_) => "this copy holds no vkeys: name a key of the log with --vkey",
                    None => "there is no copy of a log here: neither checkpoint nor vkeys",
                };
                return Err(ClientError::Address(text.into()).into());
            }
            None => expected.clone(),
        };
        let first = all.first().ok_or_else(|| wrong("the log shows no key".into()))?;
        let origin = first.name().to_owned();
        if let Some(other) = all.iter().find(|key| key.name() != origin) {
            return Err(wrong(format!("the log shows keys of two names, {origin} and {}", other.name())));
        }
        if let Some(before) = baggage.remembered.as_ref().filter(|before| before.origin != origin) {
            let text = format!(
                "this is the log {origin}; the one seen before is {}, of {} entries. Keep the state file. If the relay's operator \
                 has told you that the old log was retired, audit this one with another state file: its first entry, \
                 log_adopted, names the old one",
                before.origin, before.size
            );
            return Err(finding("continuity", text).into());
        }
        let mut trusted = expected.iter().chain(&accepted).peekable();
        if let Some(other) = trusted.peek().copied()
            && !trusted.any(|key| key.name() == origin)
        {
            let text = format!(
                "this is the log {origin}, and the keys that are trusted are of {}: another log; if that one was retired, learn \
                 the new log's keys from the relay's operator",
                other.name()
            );
            return Err(wrong(text));
        }
        let identity = identity(source, &all).await?;
        let trust = match (&baggage.remembered, baggage.pinned.is_empty() && accepted.is_empty()) {
            (_, false) => "as given",
            (Some(_), true) => "as remembered",
            (None, true) => "as shown: compared with nothing, since no key, policy or state was given",
        };
        let (remembered, require_pq) = (baggage.remembered.is_some(), baggage.require_pq);
        Ok(Self { origin, all, identity, expected, accepted, trust, remembered, require_pq })
    }

    /// Opens a checkpoint: every key shown must have a line that verifies, a key trusted from elsewhere among them.
    pub(super) fn open(&self, bytes: &[u8]) -> Result<Opened, Finding> {
        let checkpoint = logged::open(bytes, &self.all).map_err(|error| finding("checkpoint", error))?;
        if checkpoint.origin != self.origin {
            let text = format!("the checkpoint is of {}, the keys are of {}", checkpoint.origin, self.origin);
            return Err(finding("checkpoint", text));
        }
        let note = String::from_utf8_lossy(bytes).into_owned(); // total: it was parsed
        let parsed = Note::parse(bytes).map_err(|error| finding("checkpoint", error.to_string()))?;
        let mut keys = self.all.clone();
        let elsewhere = self.expected.iter().chain(&self.accepted);
        keys.extend(elsewhere.filter(|key| !self.all.contains(key)).cloned());
        let lines = parsed.open(&keys).map_err(|error| finding("checkpoint", error.to_string()))?;
        let signed_at = lines.iter().filter_map(|line| line.timestamp).max();
        let signers: Vec<VerifierKey> = keys
            .iter()
            .enumerate()
            .filter(|(number, _)| lines.iter().any(|line| line.key == *number))
            .map(|(_, key)| key.clone())
            .collect();
        let trusted = |key: &VerifierKey| self.expected.contains(key) || self.accepted.contains(key);
        let named = !self.expected.is_empty() || !self.accepted.is_empty();
        if named && !signers.iter().any(trusted) {
            let known: Vec<String> = self.expected.iter().chain(&self.accepted).map(brief).collect();
            let text = format!(
                "none of the trusted keys has signed the checkpoint: {}; if they were replaced, learn the new keys from the relay's operator",
                known.join(", ")
            );
            return Err(finding(NAME, text));
        }
        let unknown = parsed.signatures.len() - lines.len().min(parsed.signatures.len());
        Ok(Opened { checkpoint, note, parsed, signed_at, signers, unknown })
    }

    /// What the log's own entries say about its keys, held against what it shows.
    pub(super) fn settle(&self, rules: &Rules, opened: &Opened) -> Result<Check, Finding> {
        let wrong = |text: String| Err(finding(NAME, text));
        for key in &self.all {
            if rules.retired(key) {
                return wrong(format!("{} still signs, though the log says it is retired", brief(key)));
            }
            // Keys given by hand may be some of them; what was remembered were all.
            if self.remembered && !self.expected.contains(key) && !rules.added(key) {
                return wrong(format!(
                    "the log shows {}, which was not there before and no entry has added",
                    brief(key)
                ));
            }
        }
        for key in self.expected.iter().filter(|key| !self.all.contains(key)) {
            if !rules.retired(key) {
                return wrong(format!("the log does not show the key that was given: {}", brief(key)));
            }
        }
        if let Some(missing) =
            rules.active().find(|active| !self.all.iter().any(|key| key.to_string() == **active))
        {
            return wrong(format!("an entry has added a key that the log does not show: {missing:.60}"));
        }
        let trusted = |key: &&VerifierKey| {
            let named = !self.expected.is_empty() || !self.accepted.is_empty();
            !named || self.expected.contains(key) || self.accepted.contains(key) || rules.added(key)
        };
        let post_quantum = |key: &VerifierKey| key.algorithm().is_post_quantum();
        if self.require_pq && !opened.signers.iter().filter(trusted).any(post_quantum) {
            let others = opened.signers.iter().filter(|key| post_quantum(key)).map(brief).collect::<Vec<_>>();
            let others = match others.as_slice() {
                [] => "it has none at all".to_owned(),
                others => format!("it has those of {}, which nobody has vouched for", others.join(", ")),
            };
            return wrong(format!("the checkpoint has no post-quantum line of a trusted key: {others}"));
        }
        let identity = self.identity.as_ref().map_or_else(
            || "no identity known".to_owned(),
            |identity| format!("identity {}", identity.fingerprint()),
        );
        let rotations = match rules.rotations() {
            0 => String::new(),
            count => format!("; {count} rotation entries followed"),
        };
        let text =
            format!("{} of {}, {}; {identity}{rotations}", algorithms(&self.all), self.origin, self.trust);
        Ok(Check::passed(NAME, text))
    }

    /// Every key that an older checkpoint of this log may bear lines of.
    pub(super) fn known(&self, rules: &Rules) -> Vec<VerifierKey> {
        let retired = rules.retired_keys();
        let mut keys: Vec<VerifierKey> = Vec::new();
        for key in self.all.iter().chain(&self.expected).chain(&self.accepted).chain(&retired) {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        keys
    }

    /// The check of a checkpoint that was opened.
    pub(super) fn checkpoint(&self, opened: &Opened) -> Check {
        let unknown = match opened.unknown {
            0 => String::new(),
            count => {
                format!("; it also bears {} of others, such as witnesses", counted(count as u64, "line"))
            }
        };
        let Checkpoint { origin, size, .. } = &opened.checkpoint;
        let text = format!("{origin}: {size} entries, signed by {}{unknown}", algorithms(&opened.signers));
        Check::passed("checkpoint", text)
    }
}

fn read(shown: &[u8]) -> Result<Vec<VerifierKey>, String> {
    let shown = std::str::from_utf8(shown).map_err(|_| "/log/vkeys is not text".to_owned())?;
    let all = logged::parse_keys(shown).map_err(|error| match error {
        ClientError::NotLogged(text) => format!("/log/vkeys: {text}"),
        error => error.to_string(),
    })?;
    if all.iter().map(|key| format!("{key}\n")).collect::<String>() != shown {
        return Err("/log/vkeys is not one key a line, each in its one form".into());
    }
    if let Some(witness) = all.iter().find(|key| !key.algorithm().signs_logs()) {
        return Err(format!("/log/vkeys shows {}, which is no key of a log", brief(witness)));
    }
    Ok(all)
}

/// The relay's identity: the ML-DSA-65 key, which `/v2/pubkey` shows too where there is a JSON interface.
async fn identity<S: Source>(source: &S, all: &[VerifierKey]) -> Result<Option<RelayIdentity>, Stop> {
    let wrong = |text: String| Stop::from(finding(NAME, text));
    let mut identities = all.iter().filter(|key| key.algorithm() == Algorithm::MlDsa65);
    let key = identities.next();
    if !source.has_json() {
        return Ok(key.and_then(|key| RelayIdentity::from_key(key.public_key().to_vec())));
    }
    let answer: Identity = source::json(source, "/v2/pubkey").await?;
    let identity = RelayIdentity::from_answer(&answer);
    let identity = identity.ok_or_else(|| wrong("the relay's identity contradicts itself".into()))?;
    let Some(key) = key else {
        return Err(wrong(
            "the log shows no ML-DSA-65 key, so nothing ties it to the relay's identity".into(),
        ));
    };
    if let Some(other) = std::iter::once(key).chain(identities).find(|key| key.public_key() != identity.key())
    {
        return Err(wrong(format!("{} is not the relay's identity of /v2/pubkey", brief(other))));
    }
    Ok(Some(identity))
}

fn algorithms(keys: &[VerifierKey]) -> String {
    let mut counted: Vec<(Algorithm, usize)> = Vec::new();
    for algorithm in keys.iter().map(VerifierKey::algorithm) {
        match counted.iter_mut().find(|(known, _)| *known == algorithm) {
            Some((_, count)) => *count += 1,
            None => counted.push((algorithm, 1)),
        }
    }
    let name = |(algorithm, count): &(Algorithm, usize)| match count {
        1 => algorithm.to_string(),
        count => format!("{count} × {algorithm}"),
    };
    counted.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// A key short enough to be read.
pub(super) fn brief(key: &VerifierKey) -> String {
    format!("{} {}+{:08x}", key.algorithm(), key.name(), key.key_id())
}

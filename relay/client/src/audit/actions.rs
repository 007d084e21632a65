//! What an audit tells of remote actions: each request with what became of it, the newest silence statement, what all that rests on, and
//! what it does not prove.
//!
//! Made from the ledger (`rules/actions.rs`) once everything else was checked. Nothing here is worth more than the entries say: where
//! only their order ties an effect to a request, [`Of`] says so.

use jiff::Timestamp;
use paramant_licensing::online::keys::LicensingKey;
use paramant_protocol::entry::body::{Decision, RefusalReason};
use paramant_tlog::Checkpoint;
use serde::Serialize;

use super::report::{Check, counted, finding};
pub use super::rules::actions::asked::{Asked, Details};
pub use super::rules::actions::effect::{Effect, Ended, Of, Used, What};
pub use super::rules::actions::silences::Said;
use super::rules::actions::{Actions, NAME};

const SILENCE: &str = "silence";

/// Everything that is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RemoteActions {
    /// The requests, in the order of their chain.
    pub requests: Vec<Row>,
    /// Answers, refusals and effects that the log does not tie to one of them.
    pub untied: Vec<Effect>,
    /// What the log says of there being none; nothing where there are requests.
    pub none: Option<String>,
    /// The vendor's silence statements.
    pub silence: Silences,
    /// What this rests on.
    pub rests_on: Basis,
    /// What it does not prove.
    pub does_not_prove: Vec<String>,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The request.
    #[serde(flatten)]
    pub asked: Asked,
    /// What became of it.
    pub outcome: Outcome,
    /// The entries of its effect.
    pub effects: Vec<Effect>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Outcome {
    /// It took effect, and no entry says that anybody was asked.
    AcceptedByPolicy {
        /// The first entry of its effect.
        entry: u64,
        /// Its hour.
        hour: String,
    },
    /// An admin agreed, or refused, or nobody answered in time.
    Decided {
        /// Which.
        decision: Decision,
        /// The entry.
        entry: u64,
        /// Its hour.
        hour: String,
    },
    /// The relay refused it.
    Refused {
        /// Why.
        reason: RefusalReason,
        /// The entry.
        entry: u64,
        /// Its hour.
        hour: String,
    },
    /// The log holds neither an answer nor an effect that is tied to it.
    Waiting,
}

/// The vendor's silence statements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Silences {
    /// How many the log holds.
    pub count: u64,
    /// The newest.
    pub newest: Option<Said>,
    /// How it fits the requests.
    pub verdict: String,
}

/// What a statement about remote actions rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Basis {
    /// The log.
    pub origin: String,
    /// The first entry that was read, in this run or an earlier one.
    pub from: u64,
    /// How many entries lie before the end of what was read.
    pub to: u64,
    /// Size of the checkpoint.
    pub size: u64,
    /// Its SHA-256 root, hex.
    pub sha256_root: String,
    /// The log's keys that signed it.
    pub signed_by: Vec<String>,
    /// By what those keys are believed.
    pub believed: String,
    /// Whose cosignatures verified.
    pub cosigned_by: Vec<String>,
    /// Over how many entries, and by whose policy.
    pub witnesses: String,
    /// The relay, where it is known.
    pub relay_identity: Option<String>,
    /// The licensing keys that were given.
    pub licensing_keys: Vec<GivenKey>,
}

/// A licensing key that was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GivenKey {
    /// SHA3-256 of the key, hex.
    pub sha3_256: String,
    /// What it signed later does not count; none where no end was given.
    pub not_after: Option<Timestamp>,
}

impl From<&LicensingKey> for GivenKey {
    fn from(key: &LicensingKey) -> Self {
        Self { sha3_256: key.hash(), not_after: Some(key.not_after).filter(|end| *end < Timestamp::MAX) }
    }
}

/// What an audit knows of a log, for [`tell`].
pub(super) struct Seen<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) signed_by: Vec<String>,
    pub(super) believed: &'a str,
    /// Names, over how many entries, and whether the policy was pinned.
    pub(super) cosigned: Option<(Vec<String>, u64, bool)>,
    /// A pinned policy's quorum is there.
    pub(super) quorum: bool,
    pub(super) identity: Option<String>,
    pub(super) licensing: &'a [LicensingKey],
}

/// Tells everything, with its two checks: the requests, and the silence statements.
pub(super) fn tell(actions: &Actions, seen: Seen<'_>) -> (RemoteActions, [Check; 2]) {
    let mut untied = Vec::new();
    let mut rows: Vec<Row> = actions.asked().iter().cloned().map(Row::new).collect();
    let first = rows.first().map_or(1, |row| row.asked.seq);
    for effect in actions.effects() {
        let place = effect.of.seq().and_then(|seq| usize::try_from(seq.checked_sub(first)?).ok());
        match place.and_then(|place| rows.get_mut(place)) {
            Some(row) => row.take(effect),
            None => untied.push(effect.clone()),
        }
    }
    let requests = requests(actions, &seen);
    let (silence, verdict) = silence(actions, &seen);
    let by_order =
        actions.effects().iter().any(|effect| matches!(effect.of, Of::Next { .. } | Of::Only { .. }));
    let none = rows.is_empty().then(|| none(&untied, &seen));
    let told = RemoteActions {
        requests: rows,
        untied,
        none,
        silence: Silences {
            count: actions.silences().count,
            newest: actions.silences().newest.clone(),
            verdict,
        },
        does_not_prove: limits(actions, &seen, by_order),
        rests_on: seen.basis(),
    };
    (told, [requests, silence])
}

impl Row {
    fn new(asked: Asked) -> Self {
        Self { asked, outcome: Outcome::Waiting, effects: Vec::new() }
    }

    fn take(&mut self, effect: &Effect) {
        let (entry, hour) = (effect.entry, effect.hour.clone());
        match &effect.what {
            // It names the request, what was taken for its refusal does not.
            What::VendorRequestDecided { decision } => {
                self.outcome = Outcome::Decided { decision: *decision, entry, hour };
            }
            What::RemoteActionRefused { reason, .. } => {
                self.outcome = Outcome::Refused { reason: *reason, entry, hour };
            }
            _ => {
                if self.outcome == Outcome::Waiting {
                    self.outcome = Outcome::AcceptedByPolicy { entry, hour };
                }
                self.effects.push(effect.clone());
            }
        }
    }
}

impl Seen<'_> {
    fn basis(self) -> Basis {
        let (cosigned_by, witnesses) = match self.cosigned {
            Some((names, size, pinned)) if !names.is_empty() => {
                let whose = if pinned {
                    "under the policy given"
                } else {
                    "under the relay's own policy, which proves nothing"
                };
                (names, format!("over {size} entries, {whose}"))
            }
            _ => (Vec::new(), "no witness's cosignature was seen".to_owned()),
        };
        Basis {
            origin: self.checkpoint.origin.clone(),
            from: self.from,
            to: self.to,
            size: self.checkpoint.size,
            sha256_root: hex::encode(self.checkpoint.root),
            signed_by: self.signed_by,
            believed: self.believed.to_owned(),
            cosigned_by,
            witnesses,
            relay_identity: self.identity,
            licensing_keys: self.licensing.iter().map(GivenKey::from).collect(),
        }
    }
}

fn none(untied: &[Effect], seen: &Seen<'_>) -> String {
    let (from, to) = (seen.from, seen.to);
    if untied.is_empty() {
        return format!(
            "between tree sizes {from} and {to} the log holds no request of the vendor, no refusal of one, and no effect of one"
        );
    }
    let others = counted(untied.len() as u64, "other entry").replace("entrys", "entries");
    format!(
        "between tree sizes {from} and {to} the log holds no request of the vendor, but {others} of remote actions"
    )
}

fn requests(actions: &Actions, seen: &Seen<'_>) -> Check {
    let asked = actions.asked();
    let count = counted(asked.len() as u64, "request");
    let (from, to) = (seen.from, seen.to);
    let Some(first) = asked.first() else {
        return Check::passed(NAME, format!("no request between tree sizes {from} and {to}"));
    };
    let before = match first.seq {
        1 => String::new(),
        seq => format!("; requests before number {seq} are not in what was read"),
    };
    let chain =
        format!("{count} of the vendor in one chain, for this relay, each with an id of its own{before}");
    let unsigned = asked.iter().filter(|asked| asked.signed_by.is_none()).count() as u64;
    match unsigned {
        0 => Check::passed(NAME, format!("{chain}; each is signed by a licensing key that was given")),
        _ if seen.licensing.is_empty() => Check::unchecked(
            NAME,
            format!("{chain}; no licensing key was given: signatures were not checked"),
        ),
        _ => Check::unchecked(
            NAME,
            format!("{chain}; signatures of {unsigned} were not checked: they were read in an earlier run"),
        ),
    }
}

fn silence(actions: &Actions, seen: &Seen<'_>) -> (Check, String) {
    let (silences, last) = (actions.silences(), actions.last());
    let failed = |text: String| (Check::failed(finding(SILENCE, text.clone())), text);
    if let Some(against) = &silences.against {
        return failed(format!(
            "the vendor contradicts itself, or the relay's log is not all it was sent: {against}"
        ));
    }
    if let Some(said) = actions.claims_more() {
        return failed(format!(
            "the statement of entry {}, issued at {}, says that the vendor made {}; the log holds {last}: the relay has not logged something that the vendor says it asked, or has not received it yet",
            said.entry,
            said.issued_at,
            counted(said.seq, "request"),
        ));
    }
    let Some(newest) = &silences.newest else {
        let text = "the log holds no silence statement: the vendor claims nothing".to_owned();
        return (Check::unchecked(SILENCE, text.clone()), text);
    };
    let fits = match last - newest.seq.min(last) {
        0 => "as the log holds, with the same head".to_owned(),
        later => format!("the log holds {last}, of which {later} made since"),
    };
    let text = format!(
        "the newest of {}, entry {}, claims {} up to {}: {fits}",
        counted(silences.count, "statement"),
        newest.entry,
        counted(newest.seq, "request"),
        newest.issued_at
    );
    if newest.signed_by.is_some() {
        return (Check::passed(SILENCE, text.clone()), text);
    }
    let why = if seen.licensing.is_empty() {
        "no licensing key was given"
    } else {
        "it was read in an earlier run"
    };
    let text = format!("{text}; its signature was not checked: {why}");
    (Check::unchecked(SILENCE, text.clone()), text)
}

fn limits(actions: &Actions, seen: &Seen<'_>, by_order: bool) -> Vec<String> {
    let mut limits = vec![
        "that the relay's process is honest: a log shows what was written to it, not what was done"
            .to_owned(),
        "that there is no second chain of requests: a vendor could sign two, and a relay log one".to_owned(),
    ];
    if !seen.quorum {
        limits.push(
            "that there is no second log: without a quorum of witnesses under a policy that you pinned, whoever holds the log's keys can show two"
                .to_owned(),
        );
    }
    limits.push(
        "that the vendor did nothing outside this log, by another way than requests to this relay".to_owned(),
    );
    limits.push("by a silence statement: more than that the vendor claims it, and is bound by it".to_owned());
    if seen.licensing.is_empty() {
        limits.push("that the vendor signed anything of this: no licensing key was given".to_owned());
    }
    if by_order {
        limits.push(
            "which request an entry belongs to that is tied by order: it holds a salted commitment, or names none".to_owned(),
        );
    }
    if seen.from > 0 {
        limits.push(format!("anything about the entries before {}", seen.from));
    }
    if seen.to < seen.checkpoint.size {
        limits.push(format!("anything about the entries from {} on", seen.to));
    }
    if actions.is_part() && seen.from == 0 {
        limits.push("anything about the log that this one replaced".to_owned());
    }
    limits
}

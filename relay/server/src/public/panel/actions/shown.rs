//! Requests, keys and the drain in the words of the page. No word of the vendor's is among them.

use paramant_protocol::control::{
    DrainReport, DrainSource, DrainState, RemoteAnswer, RemoteAnswers, RemoteRequest, RemoteState,
    SupportReport, SupportState,
};

use crate::public::panel::license::readable;
use crate::store::action_rows::Step;

/// What the policy says of one of the four.
pub(super) struct Rule {
    pub(super) kind: &'static str,
    pub(super) answer: &'static str,
}

/// One request.
pub(super) struct Request {
    pub(super) id: String,
    pub(super) at: String,
    pub(super) asks: String,
    /// What follows from a yes, and what does not.
    pub(super) would: &'static str,
    pub(super) role: String,
    pub(super) reason: &'static str,
    pub(super) ends: String,
    pub(super) became: &'static str,
    pub(super) entries: Vec<Entry>,
    /// Entries under the checkpoint that covered the request before anything followed.
    pub(super) covered: Option<u64>,
    pub(super) document: String,
}

/// An entry of the log about a request.
pub(super) struct Entry {
    pub(super) what: &'static str,
    pub(super) index: u64,
}

/// A support key that is or was in force.
pub(super) struct Key {
    pub(super) id: String,
    pub(super) role: String,
    pub(super) since: String,
    pub(super) until: String,
    pub(super) uses: u64,
    /// `None`: it is in force.
    pub(super) ended: Option<&'static str>,
}

/// Whether uploads are taken, and who asked that they be not.
pub(super) struct Draining {
    pub(super) state: &'static str,
    pub(super) asked_by: Vec<&'static str>,
    pub(super) uploads: u64,
    /// The id of the vendor's request, where that is in force.
    pub(super) vendor: Option<String>,
}

pub(super) fn rules(answers: &RemoteAnswers) -> [Rule; 4] {
    let rule = |kind, answer| Rule {
        kind,
        answer: match answer {
            RemoteAnswer::Allow => "is accepted without asking you",
            RemoteAnswer::Ask => "waits for you",
            RemoteAnswer::Refuse => "is refused",
        },
    };
    [
        rule("A support key", answers.support_key),
        rule("An update to be shown", answers.update_offer),
        rule("A drain", answers.drain),
        rule("Another capability set", answers.capability),
    ]
}

impl Request {
    pub(super) fn of(request: RemoteRequest, entries: Vec<(Step, u64)>, document: &[u8]) -> Self {
        let refused_at_once = request.sequence.is_none();
        let entry = |(step, index)| Entry {
            what: match step {
                Step::Came if refused_at_once => "refusal",
                Step::Came => "request",
                Step::Decided => "answer",
                Step::Effect | Step::Changed | Step::Granted => "effect",
                Step::Ended => "end",
            },
            index,
        };
        Self {
            id: request.id,
            at: readable(request.received_at),
            asks: request.asks,
            would: would(&request.kind),
            role: request.role,
            reason: reason(&request.reason),
            ends: readable(request.ends_at),
            became: match request.state {
                RemoteState::Waiting => "waits for you",
                RemoteState::Accepted => "accepted",
                RemoteState::Denied => "denied, or ended by an admin",
                RemoteState::Lapsed => "nobody answered in time",
                RemoteState::Refused | RemoteState::Unknown => "refused",
            },
            entries: entries.into_iter().map(entry).collect(),
            covered: request.checkpoint_size,
            document: String::from_utf8_lossy(document).into_owned(),
        }
    }
}

impl Key {
    pub(super) fn of(key: SupportReport) -> Self {
        Self {
            id: key.id,
            role: key.role,
            since: readable(key.since),
            until: readable(key.until),
            uses: key.uses,
            ended: match key.state {
                SupportState::Active => None,
                SupportState::Revoked => Some("revoked by an admin"),
                SupportState::Expired | SupportState::Unknown => Some("its time was over"),
            },
        }
    }
}

impl Draining {
    pub(super) fn of(report: &DrainReport, vendor: Option<String>) -> Self {
        let asked_by = report.requested_by.iter().map(|source| match source {
            DrainSource::Spec => "an admin, in the relay's spec",
            DrainSource::Policy => "an admin, in the policy",
            DrainSource::Vendor => "the vendor",
            DrainSource::Update => "an update that runs",
            DrainSource::Shutdown => "the end of this process",
        });
        Self {
            state: match report.state {
                DrainState::Serving => "new uploads are taken",
                DrainState::Draining => "new uploads are refused; some still run to their end",
                DrainState::Drained => "new uploads are refused, and none runs",
            },
            asked_by: asked_by.collect(),
            uploads: report.uploads,
            vendor,
        }
    }
}

fn would(kind: &str) -> &'static str {
    match kind {
        "support_key" => {
            "Whoever holds the key's secret can read health, metrics, capabilities, checkpoint, licence and drain status. \
             No file, account, name, address or key is among that, and nothing can be changed with it. You can revoke it at any time, at once."
        }
        "update_offer" => "The release is shown as one that can be had. Nothing is installed by that.",
        "drain" => {
            "Only new uploads are concerned: downloads, deletion and the log go on. A vendor's drain ends by itself, \
             after a week at most, and you can end it here at any time."
        }
        "capability_set" => {
            "What the vendor's reply grants counts in place of what counts now: what is more at once, what is less from the end \
             of the set before. Nobody is cut off by it."
        }
        _ => "Nothing: a relay does four things for a vendor, and this is none of them.",
    }
}

fn reason(code: &str) -> &'static str {
    match code {
        "support_case" => "a support case",
        "maintenance" => "planned maintenance",
        "release" => "a release",
        "security" => "security",
        "contract" => "the contract",
        "legal_order" => "the vendor is compelled by law",
        _ => "",
    }
}

//! Whether witnesses saw the same log: cosignatures, their quorum under a policy, and their age.
//!
//! A pinned policy decides. The policy that the relay itself shows is evaluated too, but a relay that shows two logs would show
//! two policies, so nothing follows from it. An idle log gets no new cosignatures, so by default a quorum may be old as
//! long as the log has not grown past it: it must not lag behind the newest checkpoint by more than [`LAG`]. Whoever needs to
//! know that this view is not frozen sets a limit by the clock.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use paramant_protocol::moment;
use paramant_tlog::note::Note;
use paramant_tlog::policy::{Policy, Verdict};
use paramant_tlog::{Checkpoint, Hash};

use super::keys::{Keys, Opened};
use super::report::{Check, Finding, finding};
use super::rules::Rules;
use super::{Baggage, Source, Stop, source};

const NAME: &str = "witnesses";
/// How far the witnessed checkpoint may lie behind a log that grows: cosignatures are fetched every 10 to 60 seconds.
pub const LAG: Duration = Duration::from_secs(3600);
/// How far a witness's clock may be ahead.
const AHEAD: u64 = 300;

/// What a log shows of its witnesses.
pub(super) struct Witnesses {
    policy: Option<Policy>,
    pinned: bool,
    /// The witnessed checkpoint, if the log serves one.
    witnessed: Option<(Checkpoint, Note)>,
    limit: Option<Duration>,
    now: u64,
}

impl Witnesses {
    /// Fetches the witnessed checkpoint and the policy. Before the newest checkpoint is fetched, so that it is no larger.
    pub(super) async fn fetch<S: Source>(source: &S, keys: &Keys, baggage: &Baggage) -> Result<Self, Stop> {
        let witnessed = source::optional(source, "/log/checkpoint.witnessed").await?;
        let witnessed = witnessed.map(|bytes| read(&bytes, &keys.origin)).transpose()?;
        // Asked for in any case, so that a copy that is being made holds it.
        let shown = source::optional(source, "/log/policy").await?;
        let (policy, pinned) = match &baggage.policy {
            Some(policy) => (Some(policy.clone()), true),
            None => (shown.map(|bytes| parsed(&bytes)).transpose()?, false),
        };
        Ok(Self { policy, pinned, witnessed, limit: baggage.max_witness_age, now: baggage.now() })
    }

    /// The witnessed checkpoint, which must lie in the log.
    pub(super) fn witnessed(&self) -> Option<&Checkpoint> {
        self.witnessed.as_ref().map(|(checkpoint, _)| checkpoint)
    }

    /// Whose cosignatures verify, over how many entries, whether the policy was pinned, and whether it is satisfied.
    pub(super) fn cosigned(&self, newest: &Opened) -> Option<(Vec<String>, u64, bool, bool)> {
        let policy = self.policy.as_ref().filter(|policy| policy.asks_for_witnesses())?;
        let verdict = self.best(policy, newest).ok()?;
        let name = |number: &usize| policy.witnesses().get(*number).map(|witness| witness.name.clone());
        let names = verdict.cosigned.iter().filter_map(|(number, _)| name(number)).collect();
        Some((names, verdict.checkpoint.size, self.pinned, self.pinned && verdict.quorum))
    }

    /// Judges. The witnessed checkpoint was found to lie in the log.
    pub(super) fn check(&self, keys: &Keys, newest: &Opened, rules: &Rules) -> Result<Check, Finding> {
        let wrong = |text: String| Err(finding(NAME, text));
        if let Some((_, note)) = &self.witnessed {
            // Signed by the log whatever any policy says; it may be older than the newest change of keys.
            let opened = note.open(&keys.known(rules));
            opened.map_err(|error| finding(NAME, format!("/log/checkpoint.witnessed: {error}")))?;
        }
        let Some(policy) = &self.policy else {
            let text =
                "no policy: without witnesses the holder of the log's keys could show two auditors two logs";
            return Ok(Check::unchecked(NAME, text));
        };
        if !policy.asks_for_witnesses() {
            let whose = if self.pinned { "the policy given" } else { "the relay's own policy" };
            return Ok(Check::unchecked(NAME, format!("{whose} asks for no witness")));
        }
        let verdict = match self.best(policy, newest) {
            Ok(verdict) => verdict,
            Err(text) if self.pinned => return wrong(text),
            Err(text) => return Ok(Check::unchecked(NAME, format!("by the relay's own policy: {text}"))),
        };
        let seen = self.evidence(policy, &verdict);
        if !self.pinned {
            let text =
                format!("{seen}, by the relay's own policy, which proves nothing: pin one with --policy");
            return Ok(Check::unchecked(NAME, text));
        }
        let Some(time) = verdict.quorum_time.filter(|_| verdict.quorum) else {
            return wrong(format!("no quorum: {seen}"));
        };
        if let Some((number, time)) =
            verdict.cosigned.iter().find(|(_, time)| *time > self.now.saturating_add(AHEAD))
        {
            let name = policy.witnesses().get(*number).map_or("a witness", |witness| &witness.name);
            return wrong(format!("{name} cosigned at {}, which has not come yet", text_of(*time)));
        }
        if let Some(limit) = self.limit.filter(|limit| self.now.saturating_sub(time) > limit.as_secs()) {
            return wrong(format!("the quorum is older than {} s: {seen}", limit.as_secs()));
        }
        let grown = verdict.checkpoint.size < newest.checkpoint.size;
        let until = newest.signed_at.or(rules.newest_hour()).unwrap_or(self.now);
        if grown && until.saturating_sub(time) > LAG.as_secs() {
            return wrong(format!(
                "the log has {} entries since {}, and more than an hour later no quorum of them: {seen}",
                newest.checkpoint.size,
                text_of(until)
            ));
        }
        Ok(Check::passed(NAME, seen))
    }

    /// The verdict over the witnessed checkpoint, or over the newest one if that carries the better cosignatures.
    fn best(&self, policy: &Policy, newest: &Opened) -> Result<Verdict, String> {
        let judge = |note: &Note| policy.judge(note).map_err(|error| error.to_string());
        let newest = judge(&newest.parsed)?;
        let Some((_, witnessed)) = &self.witnessed else { return Ok(newest) };
        let witnessed = judge(witnessed)?;
        let better = (newest.quorum, newest.quorum_time) > (witnessed.quorum, witnessed.quorum_time);
        Ok(if better { newest } else { witnessed })
    }

    fn evidence(&self, policy: &Policy, verdict: &Verdict) -> String {
        let names: Vec<String> = verdict
            .cosigned
            .iter()
            .filter_map(|(number, time)| {
                policy
                    .witnesses()
                    .get(*number)
                    .map(|witness| format!("{} at {}", witness.name, text_of(*time)))
            })
            .collect();
        let all = policy.witnesses().len();
        let who = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        format!(
            "{} of {all} witnesses have cosigned the checkpoint of {} entries{who}",
            names.len(),
            verdict.checkpoint.size
        )
    }
}

/// Whether a checkpoint lies in the log that was walked.
pub(super) fn lies_in(
    checkpoint: &Checkpoint,
    roots: &BTreeMap<u64, Hash>,
    name: &'static str,
) -> Result<bool, Finding> {
    match roots.get(&checkpoint.size) {
        Some(root) if *root == checkpoint.root => Ok(true),
        Some(root) => {
            let (said, found) = (hex::encode(checkpoint.root), hex::encode(root));
            let text = format!(
                "a signed checkpoint of {} entries has the root {said}, the entries give {found}: two histories",
                checkpoint.size
            );
            Err(finding(name, text))
        }
        None => Ok(false),
    }
}

fn read(bytes: &[u8], origin: &str) -> Result<(Checkpoint, Note), Finding> {
    let wrong = |text: String| finding(NAME, format!("/log/checkpoint.witnessed: {text}"));
    let note = Note::parse(bytes).map_err(|error| wrong(error.to_string()))?;
    let checkpoint = Checkpoint::parse(&note.text).map_err(|error| wrong(error.to_string()))?;
    if checkpoint.origin != origin {
        return Err(wrong(format!("it is of {}, not of {origin}", checkpoint.origin)));
    }
    Ok((checkpoint, note))
}

fn parsed(bytes: &[u8]) -> Result<Policy, Finding> {
    Policy::parse(bytes).map_err(|error| finding(NAME, format!("/log/policy cannot be read: {error}")))
}

fn text_of(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    at.map_or_else(|| format!("{seconds} s after 1970"), moment::millis)
}

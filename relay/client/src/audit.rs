//! The auditor: reads a log, recomputes both trees from the entries, and believes only signatures of known keys.
//!
//! Every byte of every bundle and tile under the checkpoint is compared; every signature line of a known key must be there
//! and verify; every tree head ever signed and every root that the JSON interface shows must be the one the entries give; what
//! the entries say about keys, tree heads and the relay itself must fit together. A finding is a check that does not hold,
//! never an error: errors are for answers that did not come, refusals among them. Pages of the JSON interface are compared
//! whole up to `pages::WHOLE` entries, beyond that at both ends.
//!
//! The log may be a relay's ([`crate::Relay`]) or a [`enum@Copy`] on this machine. With what an earlier run remembered, the audit
//! goes on from there.

pub mod actions;
mod copy;
mod examination;
mod heads;
mod keys;
pub mod memory;
pub(crate) mod nodes;
mod pages;
mod proofs;
pub mod report;
mod rules;
pub mod source;
mod walk;
pub mod witnesses;

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use paramant_licensing::online::keys::LicensingKey;
use paramant_tlog::policy::Policy;
use paramant_tlog::tile::WIDTH;
use paramant_tlog::vkey::VerifierKey;
use paramant_tlog::{Checkpoint, Tree, verify};

pub use copy::{Copy, Directory, HEADS, Zips};
pub use memory::Remembered;
pub use report::{Check, Report};
pub use source::Source;

use crate::error::ClientError;
use crate::relay::Progress;
use actions::Seen;
use examination::Examination;
use heads::{Heads, HeadsSoFar, Stream};
use keys::{Keys, Opened};
use memory::Resume;
use nodes::Nodes;
use report::{Finding, counted, finding, micros};
use rules::actions::Licensing;
use rules::{Known, Rules};
use walk::{Roots, Walk};
use witnesses::{Witnesses, lies_in};

/// How often to look for a checkpoint that covers what the JSON interface showed, and how long to wait in between:
/// checkpoints are published every second.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(500);

/// Why checks of the JSON interface cannot be made.
const COPY: &str = "a copy has no JSON interface to compare with";

/// What an auditor brings along.
#[derive(Debug, Default)]
pub struct Baggage {
    /// Keys the log must be signed with, besides those it shows.
    pub pinned: Vec<VerifierKey>,
    /// Which witnesses must have cosigned, and which logs to believe.
    pub policy: Option<Policy>,
    /// A post-quantum line of a trusted key must be there.
    pub require_pq: bool,
    /// How old the quorum of witnesses may be by the clock.
    pub max_witness_age: Option<Duration>,
    /// What became of the vendor's requests is to be told, and these licensing keys must have signed them; with none their signatures are
    /// not checked. The log is then read from its first entry, where that is here, whatever an earlier run remembered.
    pub actions: Option<Vec<LicensingKey>>,
    /// What was seen last time.
    pub remembered: Option<Remembered>,
    /// The time, in seconds since 1970; the clock's when none is given.
    pub at: Option<u64>,
}

impl Baggage {
    fn now(&self) -> u64 {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.at.unwrap_or_else(clock)
    }
}

/// Audits a log. Answers the report, and what to remember when everything holds and the whole log was read.
pub async fn audit<S: Source>(
    source: &S,
    baggage: &Baggage,
    progress: &Progress,
) -> Result<(Report, Option<Remembered>), ClientError> {
    let begun = Instant::now();
    let mut report = Report::default();
    let remembered = match Box::pin(examine(source, baggage, progress, &mut report)).await {
        Ok(remembered) => remembered,
        Err(Stop::Finding(finding)) => {
            report.add(Check::failed(finding));
            None
        }
        Err(Stop::Error(error)) => return Err(error),
    };
    report.timing.all_us = micros(begun.elapsed());
    let remembered = remembered.filter(|_| report.holds());
    Ok((report, remembered))
}

/// Why an examination ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A check does not hold, and the following ones need it.
    Finding(Finding),
    /// No answer.
    Error(ClientError),
}

impl From<Finding> for Stop {
    fn from(finding: Finding) -> Self {
        Self::Finding(finding)
    }
}

impl From<Stop> for ClientError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Finding(finding) => Self::NotLogged(finding.into_evidence()),
            Stop::Error(error) => error,
        }
    }
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        match error {
            // The relay answered, and the answer is not what a log serves.
            ClientError::Answer { .. } | ClientError::NotLogged(_) => {
                Self::Finding(finding("answers", error.to_string()))
            }
            // A gateway in front of a relay that restarts says this too, and says nothing about the log.
            ClientError::Refused { .. } => Self::Error(ClientError::Unchecked(Box::new(error))),
            error => Self::Error(error),
        }
    }
}

async fn examine<S: Source>(
    source: &S,
    baggage: &Baggage,
    progress: &Progress,
    report: &mut Report,
) -> Result<Option<Remembered>, Stop> {
    let keys = Keys::collect(source, baggage).await?;
    let resume = baggage.remembered.as_ref().and_then(|remembered| remembered.resume.as_ref());
    let resume = resume.filter(|_| baggage.actions.is_none() || source.span(u64::MAX).start > 0);
    let begin = resume.map_or(0, |resume| resume.edge.size());

    // First what is shown beside the entries, then the checkpoint: so the checkpoint covers it, or soon does.
    let numbered = source.has_json() || source.span(u64::MAX).start == 0;
    let so_far = match resume {
        Some(resume) => resume.heads.clone(),
        None if numbered => HeadsSoFar::default(),
        None => HeadsSoFar::unknown(),
    };
    let (mut stream, reached) = Stream::begin(source, &so_far, numbered).await?;
    let pages = if source.has_json() { Some(pages::fetch(source, begin).await?) } else { None };
    let shown = pages.as_ref().map_or(0, |pages| pages.size).max(reached);
    let witnesses = Witnesses::fetch(source, &keys, baggage).await?;
    let opened = checkpoint(source, &keys, shown).await?;
    let checkpoint = &opened.checkpoint;
    report.add(keys.checkpoint(&opened));
    if let Some(before) = &baggage.remembered {
        before.not_before(checkpoint)?;
    }

    let mut nodes = Nodes::new(source, checkpoint.size);
    let span = source.span(checkpoint.size);
    if span.is_empty() && checkpoint.size > 0 {
        let text = format!("this copy holds none of the {} entries under its checkpoint", checkpoint.size);
        return Err(ClientError::Address(text).into());
    }
    if let Some(seen) = baggage.remembered.as_ref().and_then(Remembered::seen)
        && span == (0..checkpoint.size)
    {
        begins_with(&seen, &mut nodes, checkpoint).await?;
    }
    let walk = match resume.map(|resume| (Walk::resume(&resume.edge), resume)) {
        Some((Some(walk), _)) if span.start <= begin => walk,
        Some((None, _)) => return Err(finding("continuity", "what was remembered contradicts itself").into()),
        Some(_) => {
            let text = format!(
                "entries {begin} to {} are not in this copy, and were not checked before",
                span.start
            );
            return Err(ClientError::Address(text).into());
        }
        None if span.start == 0 => Walk::new(),
        None => Walk::after_tiles(&mut nodes, span.start).await?,
    };
    let identity = keys.identity.as_ref().map(crate::RelayIdentity::fingerprint);
    let licensing: Vec<Licensing> = baggage.actions.iter().flatten().map(Licensing::new).collect();
    let mut sizes: BTreeSet<u64> = [checkpoint.size, span.end].into();
    sizes.extend(pages.iter().map(|pages| pages.size));
    sizes.extend(witnesses.witnessed().map(|checkpoint| checkpoint.size));
    if let Some(remembered) = &baggage.remembered {
        sizes.insert(remembered.size);
        sizes.extend(remembered.seen().map(|seen| seen.size));
    }
    // Heads that were signed while a log was read are of sizes behind the newest head that was; a part of a log holds all its heads.
    let whole = stream.there && span.end == checkpoint.size;
    let next_start = if whole { reached.min(span.end) } else { span.end } / WIDTH;
    let mut examination = Examination {
        source,
        known: Known { origin: &keys.origin, identity: identity.as_deref(), licensing: &licensing },
        pages: pages.as_ref(),
        anchors_from: resume.and(baggage.remembered.as_ref()).map_or(0, |remembered| remembered.size),
        rules: match resume {
            Some(resume) => resume.rules.clone(),
            None if walk.is_whole() => Rules::default(),
            None => Rules::of_a_part(),
        },
        next_start: next_start.max(walk.next_bundle()),
        resume: None,
        heads: Heads::after(so_far.clone(), keys.identity.clone()),
        sizes,
        roots: Roots::default(),
        walk,
    };
    examination.note_start();
    examination.bundles(&mut stream, span.end, checkpoint.size, progress, report).await?;
    report.add(Check::passed("entries", examination.entries()));
    examination.partial_tiles(checkpoint.size).await?;
    report.add(Check::passed(
        "tiles",
        format!("every byte of {} recomputed from the entries", counted(examination.walk.tiles, "tile")),
    ));
    report.add(examination.root(&mut nodes, &opened).await?);
    let beyond = examination.beyond(&mut stream, source.is_live()).await?;
    if let Some(pages) = &pages {
        report.add(pages.check(beyond));
        report.add(pages.root(examination.roots.sha3.get(&pages.size).copied())?);
    } else {
        report.add(Check::unchecked(pages::NAME, COPY));
        report.add(Check::unchecked(pages::ROOT, COPY));
    }
    stream.all_met(&so_far, keys.identity.as_ref())?;
    let Examination { rules, resume: next, heads, mut roots, walk, .. } = examination;
    let finished = heads.finish(stream.there).await?;
    report.timing.heads = finished.checked;
    report.timing.signatures_us = micros(finished.spent);
    report.timing.trees_us = micros(walk.spent);
    report.add(finished.shown);
    report.add(finished.anchors);
    report.add(rules.check());
    report.add(settled(source, &keys, &rules, &opened).await?);

    let seen = baggage.remembered.as_ref().and_then(Remembered::seen);
    for earlier in witnesses.witnessed().into_iter().chain(&seen) {
        in_the_same_log(earlier, &mut nodes, &mut roots, &opened).await?;
    }
    report.add(witnesses.check(&keys, &opened, &rules)?);
    if source.has_json() {
        let sha3 = roots.sha3.get(&checkpoint.size);
        report.add(proofs::newest(source, checkpoint, &keys, sha3).await?);
    } else {
        report.add(Check::unchecked(proofs::NAME, COPY));
    }
    if let Some(before) = &baggage.remembered {
        report.add(before.continues(&roots, checkpoint)?);
    }
    if let Some(given) = &baggage.actions {
        let cosigned = witnesses.cosigned(&opened);
        let seen = Seen {
            checkpoint,
            from: if walk.is_whole() { 0 } else { span.start },
            to: walk.size(),
            signed_by: opened.signers.iter().map(keys::brief).collect(),
            believed: keys.trust,
            quorum: cosigned.as_ref().is_some_and(|(.., quorum)| *quorum),
            cosigned: cosigned.map(|(names, size, pinned, _)| (names, size, pinned)),
            identity,
            licensing: given,
        };
        let (told, checks) = actions::tell(rules.actions(), seen);
        checks.into_iter().for_each(|check| report.add(check));
        report.actions = Some(told);
    }
    report.conclude(checkpoint, roots.sha3.get(&checkpoint.size).copied());
    // A part of a log that was read alone is nothing to go on from: its SHA3-256 tree is not known.
    let Some((edge, rules)) = next.filter(|_| walk.is_whole()) else { return Ok(None) };
    let resume = Resume { edge, rules, heads: finished.so_far };
    Ok(Some(Remembered::of(&keys, &opened, walk.size(), &roots, resume)))
}

/// The newest checkpoint, opened; waits a little until it covers `shown` entries.
async fn checkpoint<S: Source>(source: &S, keys: &Keys, shown: u64) -> Result<Opened, Stop> {
    let mut attempt = 1;
    loop {
        let bytes = source::required(source, "/log/checkpoint").await?;
        let opened = keys.open(&bytes)?;
        if opened.checkpoint.size >= shown || attempt >= TRIES || !source.is_live() {
            return Ok(opened);
        }
        attempt += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// The check of the keys; a log whose keys changed while it was read is to be read again.
async fn settled<S: Source>(source: &S, keys: &Keys, rules: &Rules, opened: &Opened) -> Result<Check, Stop> {
    match keys.settle(rules, opened) {
        Err(found) if source.is_live() => {
            let shown = source::required(source, "/log/vkeys").await?;
            let before: String = keys.all.iter().map(|key| format!("{key}\n")).collect();
            if shown == before.as_bytes() {
                return Err(found.into());
            }
            let text = "the log's keys changed while it was read; run the audit again".to_owned();
            let error = ClientError::Answer { action: "read the log", reason: text };
            Err(Stop::Error(ClientError::Unchecked(Box::new(error))))
        }
        settled => Ok(settled?),
    }
}

/// An earlier checkpoint must lie in the log; where the walk did not pass its size, the tiles prove it.
async fn in_the_same_log<S: Source>(
    earlier: &Checkpoint,
    nodes: &mut Nodes<'_, S>,
    roots: &mut Roots,
    opened: &Opened,
) -> Result<(), Stop> {
    if earlier.size <= opened.checkpoint.size && lies_in(earlier, &roots.sha256, "continuity")? {
        return Ok(());
    }
    begins_with(earlier, nodes, &opened.checkpoint).await?;
    roots.sha256.insert(earlier.size, earlier.root);
    Ok(())
}

/// Whether the tiles prove that an earlier checkpoint is the beginning of the log. What they show must be right for that.
async fn begins_with<S: Source>(
    earlier: &Checkpoint,
    nodes: &mut Nodes<'_, S>,
    newest: &Checkpoint,
) -> Result<(), Stop> {
    let wrong = |text: String| Stop::from(finding("continuity", text));
    if earlier.size > newest.size {
        let text = format!(
            "the log went back: {} entries now, a signed checkpoint has {}",
            newest.size, earlier.size
        );
        return Err(wrong(text));
    }
    let path = nodes.consistency(earlier.size, newest.size).await?;
    let (from, to) = (earlier.size, newest.size);
    verify::consistency(Tree::Sha256, from, &earlier.root, to, &newest.root, &path).map_err(|error| {
        wrong(format!(
            "the tiles do not prove that the signed checkpoint of {from} entries is the beginning of the log of {to}: it was forked, or a tile is damaged ({error})"
        ))
    })
}

#[cfg(test)]
mod tests;

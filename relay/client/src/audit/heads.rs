//! Signed tree heads: each signature by the relay's identity, each root the one the entries give at that size, and the chain
//! over all of them that `sth_anchor` entries hold.
//!
//! Heads are read beside the entries, a page at a time: there may be one for each entry. Signatures are checked on other
//! cores. A head that no anchor covers yet may differ from what another auditor was shown; the next anchor tells.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use paramant_protocol::path::parse_hash;
use paramant_protocol::sth::{self, SignedSth};
use paramant_protocol::transparency::{MAX_HISTORY, SthAnswer, SthHistory};
use paramant_tlog::Hash;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::report::{Check, Finding, finding};
use super::rules::Anchor;
use super::source::{HeadPage, Source};
use super::{Stop, source};
use crate::identity::RelayIdentity;

const NAME: &str = "tree heads";
const ANCHORS: &str = "anchors";
/// Signatures a task: each takes about a tenth of a millisecond.
const BATCH: usize = 128;
/// Values of the chain that are kept between runs: at ten heads a second, half a minute.
const KEPT: usize = 300;
/// Tasks in flight.
const TASKS: usize = 8;

/// The heads so far. Kept between runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadsSoFar {
    /// How many.
    pub(super) count: u64,
    /// The chain over them, and over all but the last, and so on for a while, hex, newest last: an anchor may come a little
    /// later than the heads it covers. Empty when not all heads were there.
    pub(super) chains: Vec<String>,
    /// How many the last anchor covered.
    pub(super) anchored: u64,
    /// Size of the last.
    pub(super) size: u64,
    /// Its time, Unix milliseconds.
    pub(super) timestamp: i64,
}

impl Default for HeadsSoFar {
    fn default() -> Self {
        let chains = vec![hex::encode(sth::EMPTY_CHAIN)];
        Self { count: 0, chains, anchored: 0, size: 0, timestamp: i64::MIN }
    }
}

impl HeadsSoFar {
    /// The beginning of a part of a log: what came before is not known.
    pub(super) fn unknown() -> Self {
        Self { chains: Vec::new(), ..Self::default() }
    }
}

/// Heads in the order in which they were signed: up to the one that `/v2/sth` showed when the audit began, where there is a JSON
/// interface; more are for the next audit.
pub(super) struct Stream<'s, S> {
    source: &'s S,
    /// Number of the first head in the queue, and of the first that is not in it yet.
    front: u64,
    next: u64,
    queue: VecDeque<SignedSth>,
    ended: bool,
    /// Whether the source keeps heads at all.
    pub(super) there: bool,
    /// Heads of an archive that were checked in an earlier run are known by their time.
    newer_than: Option<i64>,
    json: Option<Json>,
}

/// Heads that the published JSON interface shows; each must be met in the stream.
struct Json {
    newest: Option<SignedSth>,
    met: bool,
    history: BTreeMap<u64, SignedSth>,
}

impl<'s, S: Source> Stream<'s, S> {
    /// Begins after the heads of an earlier run. Answers the size of the newest head that will come.
    ///
    /// `numbered`: whether the source's first head is the first ever signed.
    pub(super) async fn begin(
        source: &'s S,
        so_far: &HeadsSoFar,
        numbered: bool,
    ) -> Result<(Self, u64), Stop> {
        let first = if numbered { so_far.count } else { 0 };
        let json = if source.has_json() { Some(Json::fetch(source).await?) } else { None };
        let mut stream = Self {
            source,
            front: first,
            next: first,
            queue: VecDeque::new(),
            ended: false,
            there: true,
            newer_than: (!numbered).then_some(so_far.timestamp),
            json,
        };
        let total = stream.fill().await?;
        if !stream.there && source.has_json() {
            return Err(finding("answers", "/log/sth is not there").into());
        }
        let Some(json) = &mut stream.json else { return Ok((stream, so_far.size)) };
        if json.newest.is_none() && total.is_some_and(|total| total > 0) {
            // The first one may have been signed between the two questions.
            json.newest = newest(source).await?;
            if json.newest.is_none() {
                return Err(finding(NAME, "/v2/sth is not there, though there are tree heads").into());
            }
        }
        let reached = json.newest.as_ref().map_or(0, |newest| newest.tree_size);
        // Nothing new: it is the last of the earlier run, which is not read again.
        json.met = json.newest.as_ref().is_none_or(|newest| newest.timestamp <= so_far.timestamp);
        Ok((stream, reached.max(so_far.size)))
    }

    /// The next head, if its size is not above this.
    pub(super) async fn next_up_to(&mut self, size: u64) -> Result<Option<SignedSth>, Stop> {
        if self.json.as_ref().is_some_and(|json| json.met) {
            return Ok(None);
        }
        if self.queue.is_empty() {
            self.fill().await?;
        }
        if self.queue.front().is_none_or(|head| head.tree_size > size) {
            return Ok(None);
        }
        let Some(head) = self.queue.pop_front() else { return Ok(None) };
        if let Some(json) = &mut self.json {
            if json.history.remove(&self.front).is_some_and(|shown| shown != head) {
                let text = format!("/v2/sth/history shows number {} otherwise than /log/sth", self.front);
                return Err(finding(NAME, text).into());
            }
            json.met = json.newest.as_ref() == Some(&head);
        }
        self.front += 1;
        Ok(Some(head))
    }

    /// Whether every head that the JSON interface shows was met. `before`: where the earlier run ended.
    pub(super) fn all_met(
        &self,
        before: &HeadsSoFar,
        identity: Option<&RelayIdentity>,
    ) -> Result<(), Finding> {
        let Some(json) = &self.json else { return Ok(()) };
        let signed = |head: &SignedSth| {
            let verify = |identity: &RelayIdentity| {
                head.verify(&|message, signature| identity.signed(message, signature)).is_ok()
            };
            identity.is_none_or(verify)
        };
        for (number, head) in &json.history {
            // Those of an earlier run are not read again.
            if *number >= before.count || !signed(head) {
                let text = format!("/v2/sth/history shows number {number}, which /log/sth does not");
                return Err(finding(NAME, text));
            }
        }
        let Some(newest) = &json.newest else { return Ok(()) };
        let last_before =
            newest.tree_size == before.size && newest.timestamp == before.timestamp && signed(newest);
        let met_now = self.front > before.count;
        if json.met && (met_now || last_before) {
            return Ok(());
        }
        let text = format!("/v2/sth shows one of {} entries, which /log/sth does not", newest.tree_size);
        Err(finding(NAME, text))
    }

    /// Reads pages until there is a head in the queue. Answers the number of all heads, if the source tells.
    async fn fill(&mut self) -> Result<Option<u64>, Stop> {
        let mut all = None;
        while self.queue.is_empty() && !self.ended {
            let Some(HeadPage { total, heads }) = self.source.heads(self.next).await? else {
                (self.ended, self.there) = (true, false);
                return Ok(None);
            };
            let count = heads.len() as u64;
            self.ended = count == 0 || total.is_some_and(|total| self.next + count == total);
            self.next += count;
            all = total;
            let newer_than = self.newer_than;
            self.queue.extend(
                heads.into_iter().filter(|head| newer_than.is_none_or(|before| head.timestamp > before)),
            );
        }
        Ok(all)
    }
}

async fn newest<S: Source>(source: &S) -> Result<Option<SignedSth>, Stop> {
    let newest: Option<SthAnswer> = source::json_if_there(source, "/v2/sth").await?;
    Ok(newest.map(|newest| newest.sth))
}

impl Json {
    /// The history first, so that it ends no later than the newest.
    async fn fetch<S: Source>(source: &S) -> Result<Self, Stop> {
        let history: SthHistory =
            source::json(source, &format!("/v2/sth/history?limit={MAX_HISTORY}")).await?;
        let count = history.sths.len() as u64;
        if history.count != count || history.total < count {
            return Err(finding(NAME, "/v2/sth/history miscounts its tree heads").into());
        }
        let history = (history.total - count..).zip(history.sths).collect();
        Ok(Self { newest: newest(source).await?, met: false, history })
    }
}

/// Checks heads one after the other.
pub(super) struct Heads {
    identity: Option<Arc<RelayIdentity>>,
    so_far: HeadsSoFar,
    /// The chain after each count since the last anchor. Empty when it cannot be followed.
    chains: VecDeque<(u64, Hash)>,
    anchored: Option<Anchor>,
    anchors: u64,
    relay_ids: BTreeSet<String>,
    first: Option<u64>,
    checked: u64,
    unrooted: u64,
    batch: Vec<SignedSth>,
    tasks: JoinSet<Result<Duration, String>>,
    spent: Duration,
}

impl Heads {
    /// Goes on after the heads of an earlier run.
    pub(super) fn after(so_far: HeadsSoFar, identity: Option<RelayIdentity>) -> Self {
        let kept = so_far.chains.iter().map_while(|chain| parse_hash(chain)).collect::<Vec<Hash>>();
        let first = so_far.count.saturating_sub(kept.len().saturating_sub(1) as u64);
        Self {
            identity: identity.map(Arc::new),
            so_far,
            chains: (first..).zip(kept).collect(),
            anchored: None,
            anchors: 0,
            relay_ids: BTreeSet::new(),
            first: None,
            checked: 0,
            unrooted: 0,
            batch: Vec::new(),
            tasks: JoinSet::new(),
            spent: Duration::ZERO,
        }
    }

    pub(super) fn so_far(&self) -> &HeadsSoFar {
        &self.so_far
    }

    /// Takes the next head. `root` is what the entries give at its size; none where they are not there.
    pub(super) async fn take(&mut self, head: SignedSth, root: Option<Hash>) -> Result<(), Finding> {
        let size = head.tree_size;
        match root {
            Some(root) if parse_hash(&head.sha3_root) == Some(root) => {}
            Some(root) => {
                let text = format!(
                    "the one of {size} entries has the root {}, the entries give {}",
                    head.sha3_root,
                    hex::encode(root)
                );
                return Err(finding(NAME, text));
            }
            None => self.unrooted += 1,
        }
        if self.so_far.size > size || self.so_far.timestamp > head.timestamp {
            return Err(finding(
                NAME,
                format!("the one of {size} entries does not follow the one before it"),
            ));
        }
        self.so_far.count += 1;
        if let Some((_, chain)) = self.chains.back() {
            let chain = sth::chain(*chain, &head).map_err(|error| finding(NAME, error.to_string()))?;
            self.chains.push_back((self.so_far.count, chain));
        }
        (self.so_far.size, self.so_far.timestamp) = (size, head.timestamp);
        self.first.get_or_insert(size);
        if !self.relay_ids.contains(&head.relay_id) {
            self.relay_ids.insert(head.relay_id.clone());
        }
        self.batch.push(head);
        if self.batch.len() >= BATCH {
            self.verify_batch().await?;
        }
        Ok(())
    }

    async fn verify_batch(&mut self) -> Result<(), Finding> {
        let batch = std::mem::take(&mut self.batch);
        let Some(identity) = self.identity.clone() else { return Ok(()) };
        self.checked += batch.len() as u64;
        self.tasks.spawn_blocking(move || {
            let begun = Instant::now();
            for head in &batch {
                let verified = head.verify(&|message, signature| identity.signed(message, signature));
                verified.map_err(|error| error.to_string())?;
            }
            Ok(begun.elapsed())
        });
        if self.tasks.len() >= TASKS { self.join_one().await } else { Ok(()) }
    }

    async fn join_one(&mut self) -> Result<(), Finding> {
        match self.tasks.join_next().await {
            Some(Ok(Ok(spent))) => self.spent += spent,
            Some(Ok(Err(text))) => return Err(finding(NAME, text)),
            Some(Err(error)) => return Err(finding(NAME, format!("the check ended badly: {error}"))),
            None => {}
        }
        Ok(())
    }

    /// Takes an anchor, once every head up to its index was taken.
    pub(super) fn anchor(&mut self, anchor: Anchor) -> Result<(), Finding> {
        let Anchor { index, count, chain } = anchor;
        let wrong = |text: String| Err(finding(ANCHORS, format!("the anchor at {index} {text}")));
        if count < self.so_far.anchored {
            return wrong(format!("covers {count} tree heads, an earlier one {}", self.so_far.anchored));
        }
        if self.chains.is_empty() {
            (self.anchored, self.so_far.anchored) = (Some(anchor), count);
            return Ok(());
        }
        // The newest value is never dropped: the chain goes on from it.
        while self.chains.len() > 1 && self.chains.front().is_some_and(|(known, _)| *known < count) {
            self.chains.pop_front();
        }
        match self.chains.front() {
            Some((known, found)) if *known == count && *found == chain => {
                self.anchors += 1;
                (self.anchored, self.so_far.anchored) = (Some(anchor), count);
                Ok(())
            }
            Some((known, found)) if *known == count => {
                let (said, found) = (hex::encode(chain), hex::encode(found));
                wrong(format!("says that the first {count} tree heads give {said}; those shown give {found}"))
            }
            _ => wrong(format!("covers {count} tree heads; {} came before it", self.so_far.count)),
        }
    }

    /// Waits for the signatures. Answers the check of the heads and that of the anchors, and what the signatures cost.
    pub(super) async fn finish(mut self, there: bool) -> Result<Finished, Finding> {
        self.verify_batch().await?;
        while !self.tasks.is_empty() {
            self.join_one().await?;
        }
        let shown = match (self.first, there) {
            (_, false) => Check::unchecked(NAME, "this copy holds no tree heads"),
            (None, true) => Check::passed(NAME, "none since the last run"),
            (Some(first), true) => self.shown(first),
        };
        let anchors = match self.anchored {
            _ if !there => Check::unchecked(ANCHORS, "this copy holds no tree heads"),
            None => Check::passed(ANCHORS, "no new anchor"),
            Some(_) if !self.chains.is_empty() => {
                Check::passed(ANCHORS, format!("{} follow the chain of all tree heads", self.anchors))
            }
            Some(_) => Check::unchecked(ANCHORS, "the tree heads before this part are not there"),
        };
        let kept = self.chains.len().saturating_sub(KEPT);
        self.so_far.chains = self.chains.iter().skip(kept).map(|(_, chain)| hex::encode(chain)).collect();
        let Self { so_far, checked, spent, .. } = self;
        Ok(Finished { so_far, shown, anchors, checked, spent })
    }

    fn shown(&self, first: u64) -> Check {
        let ids: Vec<&str> = self.relay_ids.iter().map(String::as_str).collect();
        let mut text = format!(
            "{} signatures and roots, of {first} to {} entries, as {}",
            self.checked,
            self.so_far.size,
            ids.join(" and ")
        );
        if self.unrooted > 0 {
            text.push_str(&format!(
                "; {} of entries that are not here, their roots not compared",
                self.unrooted
            ));
        }
        if self.identity.is_none() {
            return Check::unchecked(NAME, format!("{text}; no identity is known to check signatures with"));
        }
        Check::passed(NAME, text)
    }
}

/// What came out.
pub(super) struct Finished {
    pub(super) so_far: HeadsSoFar,
    pub(super) shown: Check,
    pub(super) anchors: Check,
    pub(super) checked: u64,
    pub(super) spent: Duration,
}

#[cfg(test)]
mod tests;

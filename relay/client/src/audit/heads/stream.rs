//! Tree heads as a source shows them, in the order in which they were signed.

use std::collections::{BTreeMap, VecDeque};

use paramant_protocol::sth::SignedSth;
use paramant_protocol::transparency::{MAX_HISTORY, SthAnswer, SthHistory};

use super::{HeadsSoFar, NAME};
use crate::audit::Stop;
use crate::audit::report::{Finding, finding};
use crate::audit::source::{self, HeadPage, Source};
use crate::identity::RelayIdentity;

/// Heads in the order in which they were signed: at least up to the one that `/v2/sth` showed when the audit began, where there
/// is a JSON interface. What was signed since then may be left to the next audit.
pub(in crate::audit) struct Stream<'s, S> {
    source: &'s S,
    /// Number of the first head in the queue, and of the first that is not in it yet.
    front: u64,
    next: u64,
    queue: VecDeque<SignedSth>,
    ended: bool,
    /// Whether the source keeps heads at all.
    pub(in crate::audit) there: bool,
    /// Heads of an archive that were checked in an earlier run are known by their time.
    newer_than: Option<i64>,
    json: Option<Json>,
}

/// Heads that the published JSON interface shows; each must be met in the stream.
struct Json {
    newest: Option<SignedSth>,
    /// Whether the newest came.
    met: bool,
    /// Whether it is none of those that are to come, but the last of the earlier run.
    earlier: bool,
    history: BTreeMap<u64, SignedSth>,
}

impl<'s, S: Source> Stream<'s, S> {
    /// Begins after the heads of an earlier run. Answers the size of the newest head that will come.
    ///
    /// `numbered`: whether the source's first head is the first ever signed.
    pub(in crate::audit) async fn begin(
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
        let Some(json) = &mut stream.json else {
            let last = source.last_head()?.map_or(0, |head| head.tree_size);
            return Ok((stream, last.max(so_far.size)));
        };
        if json.newest.is_none() && total.is_some_and(|total| total > 0) {
            // The first one may have been signed between the two questions.
            json.newest = newest(source).await?;
            if json.newest.is_none() {
                return Err(finding(NAME, "/v2/sth is not there, though there are tree heads").into());
            }
        }
        let reached = json.newest.as_ref().map_or(0, |newest| newest.tree_size);
        json.earlier = json.newest.as_ref().is_none_or(|newest| newest.timestamp <= so_far.timestamp);
        Ok((stream, reached.max(so_far.size)))
    }

    /// The next head, if its size is not above this.
    pub(in crate::audit) async fn next_up_to(&mut self, size: u64) -> Result<Option<SignedSth>, Stop> {
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
            json.met |= json.newest.as_ref() == Some(&head);
        }
        self.front += 1;
        Ok(Some(head))
    }

    /// Whether heads may be left to the next audit from here on.
    pub(in crate::audit) fn enough(&self) -> bool {
        self.json.as_ref().is_some_and(|json| json.met || json.earlier)
    }

    /// More heads may have been signed since the last page was read.
    pub(in crate::audit) fn again(&mut self) {
        self.ended = !self.source.is_live();
    }

    /// Whether every head that the JSON interface shows was met. `before`: where the earlier run ended.
    pub(in crate::audit) fn all_met(
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
        if json.met || (json.earlier && last_before) {
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
        Ok(Self { newest: newest(source).await?, met: false, earlier: false, history })
    }
}

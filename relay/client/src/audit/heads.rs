//! Signed tree heads: each signature by the relay's identity, each root the one the entries give at that size, and the chain
//! over all of them that `sth_anchor` entries hold.
//!
//! Heads are read beside the entries, a page at a time: there may be one for each entry. Signatures are checked on other
//! cores. A head that no anchor covers yet may differ from what another auditor was shown; the next anchor tells.

mod stream;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use paramant_protocol::path::parse_hash;
use paramant_protocol::sth::{self, SignedSth};
use paramant_tlog::Hash;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

pub(super) use stream::Stream;

use super::report::{Check, Finding, counted, finding};
use super::rules::Anchor;
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
pub(super) struct HeadsSoFar {
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
        let chains = vec![hex::encode(sth::CHAIN_START)];
        Self { count: 0, chains, anchored: 0, size: 0, timestamp: i64::MIN }
    }
}

impl HeadsSoFar {
    /// The beginning of a part of a log: what came before is not known.
    pub(super) fn unknown() -> Self {
        Self { chains: Vec::new(), ..Self::default() }
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
        if self.so_far.size >= size || self.so_far.timestamp >= head.timestamp {
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
            (None, true) if self.so_far.count == 0 => Check::passed(NAME, "none was signed yet"),
            (None, true) => Check::passed(NAME, "none since the last run"),
            (Some(first), true) => self.shown(first),
        };
        let anchors = match self.anchored {
            _ if !there => Check::unchecked(ANCHORS, "this copy holds no tree heads"),
            None if self.so_far.anchored == 0 => Check::passed(
                ANCHORS,
                "none yet: a relay anchors its tree heads every hour, and when it stops",
            ),
            None => Check::passed(ANCHORS, "none since the last run"),
            Some(_) if !self.chains.is_empty() => {
                let anchors = counted(self.anchors, "anchor");
                Check::passed(ANCHORS, format!("{anchors} in line with the chain of all tree heads"))
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
            "signatures and roots of {}, of {first} to {} entries, as {}",
            counted(self.checked, "tree head"),
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

//! The task that keeps all witnesses asked: chooses candidates, sends pushes, writes the hours' summaries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::standing::{Due, Round, Standing};
use super::verdict::WitnessVerdict;
use super::{Witnesses, push};
use crate::log_service::fence::Witnessed;
use crate::outbound::calls;
use crate::settings::{WitnessMember, WitnessSettings};

/// How often the log is looked at.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Desk {
    witnesses: Witnesses,
    config: Option<Arc<WitnessSettings>>,
    /// By verifier key: a witness that comes under another key is another witness.
    standings: BTreeMap<String, Standing>,
    chosen: Option<Instant>,
    asking: BTreeSet<String>,
    pushes: JoinSet<(WitnessMember, WitnessVerdict)>,
}

impl Desk {
    pub(super) fn new(witnesses: Witnesses) -> Self {
        Self {
            witnesses,
            config: None,
            standings: BTreeMap::new(),
            chosen: None,
            asking: BTreeSet::new(),
            pushes: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut settings = self.witnesses.0.settings.subscribe();
        let mut couriers = self.witnesses.0.couriers.subscribe();
        loop {
            self.take_settings().await;
            self.sum_up().await;
            self.turn().await;
            let look = self.look();
            tokio::select! {
                // A push that panicked has been told by the runtime; its witness is asked again.
                Some(ended) = self.pushes.join_next() => match ended {
                    Ok((member, verdict)) => self.take(&member, verdict),
                    Err(_) => self.asking.clear(),
                },
                // Fixed settings have no sender, and never change.
                Ok(()) = settings.changed() => {}
                Ok(()) = couriers.changed() => self.standings.values_mut().for_each(Standing::encourage),
                () = tokio::time::sleep(look) => {}
            }
        }
    }

    fn look(&self) -> Duration {
        self.config.as_ref().map_or(LOOK, |config| (config.every / 10).min(LOOK))
    }

    async fn take_settings(&mut self) {
        let config = self.witnesses.config();
        if self.config == config {
            return;
        }
        let members: &[WitnessMember] = config.as_deref().map_or(&[][..], |config| config.members.as_slice());
        let quorum = config.as_ref().map_or(0, |config| config.quorum());
        let settled = self.witnesses.0.shelf.change(|book| {
            book.keep(members);
            book.settle(quorum, members);
        });
        if let Err(error) = settled.await {
            tracing::error!(%error, "the change of witnesses cannot be written; trying again");
            return;
        }
        *self.witnesses.0.in_force.lock().unwrap_or_else(PoisonError::into_inner) = config.clone();
        let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        tracing::info!(witnesses = names.join(", "), quorum, "witnesses in force");
        self.witnesses.0.verdicts.send_modify(|all| {
            let kept = all.iter().filter(|(name, _)| names.contains(&name.as_str()));
            *all = Arc::new(kept.map(|(name, verdict)| (name.clone(), verdict.clone())).collect());
        });
        self.witnesses.0.metrics.clear();
        self.witnesses.begin_patience();
        self.witnesses.0.log.guard().wait_for_witnesses(quorum);
        self.standings.retain(|key, _| members.iter().any(|member| member.key.to_string() == *key));
        self.config = config;
    }

    /// Hours that are over become entries.
    async fn sum_up(&self) {
        let over = calls::over(&self.witnesses.0.shelf.read().calls, Timestamp::now().as_second());
        if !over.is_empty() {
            self.witnesses.record(over).await;
        }
    }

    async fn turn(&mut self) {
        let Some(config) = self.config.clone() else { return };
        let now = Instant::now();
        self.choose(&config, now).await;
        if self.witnesses.0.log.published().is_none() {
            // A log that was never signed: no witness can have seen it.
            for member in &config.members {
                self.tell_the_fence(member, &WitnessVerdict::UnknownLog);
            }
        }
        let book = self.witnesses.0.shelf.read();
        let Some(candidate) = &book.candidate else { return };
        let Some((size, _)) = candidate.checkpoint() else { return };
        for member in &config.members {
            let key = member.key.to_string();
            if self.asking.contains(&key) {
                continue;
            }
            let standing = self.standings.entry(key.clone()).or_default();
            let (known, signed) = (book.known(&member.key).size, candidate.has_line_of(&member.key));
            if standing.due(size, known, signed, now) == Due::Now {
                self.asking.insert(key);
                let (witnesses, config, member) = (self.witnesses.clone(), config.clone(), member.clone());
                self.pushes.spawn(async move {
                    let verdict = push::push(&witnesses, &config, &member).await;
                    (member, verdict)
                });
            }
        }
    }

    async fn choose(&mut self, config: &WitnessSettings, now: Instant) {
        let Some(published) = self.witnesses.0.log.published() else { return };
        let book = self.witnesses.0.shelf.read();
        let candidate = book.candidate.as_ref().and_then(|it| it.checkpoint()).map(|(size, _)| size);
        let round = Round {
            candidate,
            chosen: self.chosen,
            published: published.head.size,
            worth: self.witnesses.0.log.worth_witnessing(),
            overtaken: config.members.iter().any(|member| Some(book.known(&member.key).size) > candidate),
        };
        // A candidate above what the log reaches is from a log that was here before; it is asked about no more.
        let astray = candidate.is_some_and(|size| size > published.head.size);
        if !astray && round.next(config.every, now) != Due::Now {
            return;
        }
        let note = published.note.clone();
        match self.witnesses.0.shelf.change(|book| book.choose(note)).await {
            Ok(()) => self.chosen = Some(now),
            Err(error) => tracing::error!(%error, "the next checkpoint for witnesses cannot be written"),
        }
    }

    /// What the answer says of this copy of the log.
    fn tell_the_fence(&self, member: &WitnessMember, verdict: &WitnessVerdict) {
        let published = self.witnesses.0.log.published().map_or(0, |published| published.head.size);
        // Only what is published was signed: entries that a restored copy has taken since do not count.
        let (witnessed, held) = match verdict {
            WitnessVerdict::Cosigned { .. } | WitnessVerdict::Behind { .. } | WitnessVerdict::UnknownLog => {
                (Witnessed::NothingBeyond, published)
            }
            WitnessVerdict::Ahead { size } => (Witnessed::Size(*size), published.min(size.saturating_sub(1))),
            WitnessVerdict::Inconsistent => (Witnessed::AnotherHistory, published),
            // No word about the log.
            WitnessVerdict::Untrusted
            | WitnessVerdict::Later(_)
            | WitnessVerdict::Misbehaved(_)
            | WitnessVerdict::Unreachable(_)
            | WitnessVerdict::NotAsked(_) => return,
        };
        self.witnesses.0.log.guard().witness_says(&member.name, witnessed, held);
    }

    fn take(&mut self, member: &WitnessMember, verdict: WitnessVerdict) {
        let key = member.key.to_string();
        self.asking.remove(&key);
        let Some(config) = &self.config else { return };
        if !config.members.contains(member) {
            return;
        }
        self.witnesses.0.metrics.pushed(&member.name, verdict.label());
        self.tell_the_fence(member, &verdict);
        self.witnesses.announce(&member.name, &verdict);
        if verdict.is_evidence() {
            tracing::error!(witness = member.name, verdict = ?verdict, "a witness has seen another log than this one");
        }
        let standing = self.standings.entry(key).or_default();
        standing.take(verdict, config.every, Instant::now(), chance());
    }
}

/// 0..1, to spread what many relays do. Without randomness from the system: always the longest.
fn chance() -> f64 {
    let mut byte = [0];
    getrandom::fill(&mut byte).map_or(1.0, |()| f64::from(byte[0]) / 255.0)
}

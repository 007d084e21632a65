//! From a verified reply to its effect: entry, checkpoint, proof, and only then the licence.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use paramant_licensing::logged::NotLogged;
use paramant_licensing::online::reply::{RefusalCause, Reply};
use paramant_licensing::{Logged, Verified};
use paramant_protocol::entry::Body;
use paramant_protocol::entry::body::{
    self, CheckinResult, ClockAuthority, ClockCorrected, LicenseChanged, LicenseOrigin,
};
use paramant_protocol::leaf::{self, Purpose, sha256};

use super::freeze::{checkin, logged};
use super::{CheckInError, CheckIns, moment};
use crate::store::Digest;
use crate::store::action_rows::Step;
use crate::store::license_rows::{self, Change, CheckInRow, Fate, Frozen, ReplyRow};

/// A checkpoint comes every second while the log grows.
const CHECKPOINT: Duration = Duration::from_secs(5);
/// A reply this old was under way for longer than an exchange takes.
const FRESH_MS: i64 = 60_000;

/// Why the log does not show that it holds a reply.
pub(super) enum Unprovable {
    /// It may later.
    Now(String),
    /// It never will.
    Never(String),
}

impl CheckIns {
    /// What was accepted in earlier runs counts again, if it still verifies and the log still holds it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn recall(&self) -> Result<(), CheckInError> {
        let (mut later, mut last) = (false, None);
        let known = self.0.recall.load(Ordering::Relaxed);
        let rows = self.0.meta.read(|c| Ok::<_, CheckInError>(license_rows::replies(c)?)).await?;
        for row in rows {
            let Some(index) = row.log_index else { continue };
            match self.prove(&row, index).await {
                Ok(reply) => {
                    last = Some(row.received_ms).max(last);
                    self.0.licenses.hold(reply, row.by_hand);
                }
                Err(Unprovable::Now(reason)) => {
                    if !known {
                        tracing::warn!(sequence = row.sequence, reason, "a kept reply cannot be proven yet");
                    }
                    later = true;
                }
                Err(Unprovable::Never(reason)) if known => drop(reason),
                Err(Unprovable::Never(reason)) => {
                    tracing::warn!(sequence = row.sequence, reason, "a kept reply does not count any more");
                }
            }
        }
        let at = last.and_then(|at| Timestamp::from_millisecond(at).ok());
        self.observe(|observed| observed.at = at.or(observed.at));
        self.0.recall.store(later, Ordering::Relaxed);
        Ok(())
    }

    /// Tries once more what could not be proven before.
    ///
    /// # Errors
    /// As [`CheckIns::recall`].
    pub async fn recall_again(&self) -> Result<(), CheckInError> {
        if self.0.recall.load(Ordering::Relaxed) { self.recall().await } else { Ok(()) }
    }

    /// Brings verified replies that have no effect yet to theirs.
    pub(super) async fn settle(&self) -> Result<(), CheckInError> {
        let rows = self.0.meta.read(|c| Ok::<_, CheckInError>(license_rows::replies(c)?)).await?;
        for mut row in rows.into_iter().filter(|row| row.log_index.is_none()) {
            let Some(index) = self.place(&mut row).await? else { continue };
            self.0.log.covering(index, CHECKPOINT).await.ok_or(CheckInError::NoCheckpoint)?;
            // What counted before must be there when this one supersedes it.
            self.recall_again().await?;
            match self.prove(&row, index).await {
                Ok(reply) => {
                    self.put_clock_right(&row, reply.get().get()).await?;
                    // What the vendor asks in this reply is on record, and answered, before the reply counts.
                    self.0.actions.take(reply.get().get()).await?;
                    self.0.actions.settle().await?;
                    self.apply(row, index, reply).await?;
                }
                Err(Unprovable::Never(reason)) => self.give_up(&row, &reason).await?,
                Err(Unprovable::Now(_)) => return Err(CheckInError::NoCheckpoint),
            }
        }
        Ok(())
    }

    /// Appends the entry of a reply, dated now, unless a crash cut it off after that. `None`: the reply can never count.
    async fn place(&self, row: &mut ReplyRow) -> Result<Option<u64>, CheckInError> {
        if let Some(index) = self.found(&row.entry, row.log_from).await? {
            return Ok(Some(index));
        }
        let frozen = self.next_request().await?;
        let verified = Verified::open(&row.bytes, self.0.licenses.keys());
        let (Some(frozen), Ok(verified)) = (frozen, verified) else {
            self.give_up(row, "it does not verify any more, or its request is gone").await?;
            return Ok(None);
        };
        let result = match verified.get() {
            Reply::Set(_) => CheckinResult::Accepted,
            Reply::Refusal(_) => CheckinResult::Refused,
        };
        row.entry = checkin(&frozen.bytes, frozen.salt, Some((&row.bytes, row.salt)), result)?;
        row.log_from = self.0.log.head().size;
        let dated = row.clone();
        self.0.meta.write(move |c| Ok::<_, CheckInError>(license_rows::dated(c, &dated)?)).await?;
        Ok(Some(self.0.log.append(logged(&row.entry)?).await?.index))
    }

    /// A reply that verified when it came and does not now: its key is pinned no more, or the row was edited. The next one is asked for.
    async fn give_up(&self, row: &ReplyRow, reason: &str) -> Result<(), CheckInError> {
        tracing::warn!(sequence = row.sequence, reason, "a reply that had no effect yet is given up");
        let (key, sequence) = (row.key, row.sequence);
        self.0
            .meta
            .write(move |c| Ok::<_, CheckInError>(license_rows::give_up(c, key, sequence, moment())?))
            .await
    }

    /// Verifies the reply again, and that the log holds it under its newest checkpoint.
    pub(super) async fn prove(
        &self,
        row: &ReplyRow,
        index: u64,
    ) -> Result<Logged<Verified<Reply>>, Unprovable> {
        let never = |reason: &dyn std::fmt::Display| Unprovable::Never(reason.to_string());
        let now = |reason: &dyn std::fmt::Display| Unprovable::Now(reason.to_string());
        let verified = Verified::open(&row.bytes, self.0.licenses.keys()).map_err(|error| never(&error))?;
        if !verified.get().is_for(&self.0.relay_id) {
            return Err(never(&"it was given to another relay"));
        }
        let proof = self.0.log.proof(index).await.map_err(|error| now(&error))?;
        let proof = proof.ok_or_else(|| now(&"the log does not reach its entry"))?;
        let keys = self.0.log.verifiers();
        Logged::prove(verified, &row.salt.0, &proof, &keys).map_err(|error| match error {
            NotLogged::Entry => never(&error),
            NotLogged::Checkpoint | NotLogged::Inclusion => now(&error),
        })
    }

    async fn apply(
        &self,
        row: ReplyRow,
        index: u64,
        reply: Logged<Verified<Reply>>,
    ) -> Result<(), CheckInError> {
        let revoked = matches!(reply.get().get(), Reply::Refusal(it) if it.error == RefusalCause::Revoked);
        let refused = reply.get().get().set().is_none();
        let fate = self.fate(row.key, reply.get()).await?;
        if let Fate::Counts { change, .. } = &fate {
            self.tell_change(&row, reply.get().get(), change.as_ref()).await?;
        }
        let over = self.over(&row, index, refused).await?;
        let (key, sequence) = (row.key, row.sequence);
        let (counts, problem) = (matches!(fate, Fate::Counts { .. }), fate.problem());
        let apply = move |c: &rusqlite::Connection| {
            license_rows::applied(c, (key, sequence), index, revoked, &fate, &over)
        };
        self.0.meta.write(move |c| Ok::<_, CheckInError>(apply(c)?)).await?;
        if counts {
            self.hold(key, reply, row.by_hand).await?;
        }
        self.0.licenses.say(problem.into_iter().collect());
        self.observe(|observed| {
            observed.at = Timestamp::from_millisecond(row.received_ms).ok();
            observed.reachable = if row.by_hand { observed.reachable } else { Some(true) };
            observed.problem = None;
            observed.request = None;
        });
        tracing::info!(sequence, index, refused, counts, by_hand = row.by_hand, "a licence check-in is over");
        Ok(())
    }

    /// A reply that was under way for long, or that says no, moves the clock in one direction only.
    async fn put_clock_right(&self, row: &ReplyRow, reply: &Reply) -> Result<(), CheckInError> {
        let (issued, refused) = (reply.issued_at(), reply.set().is_none());
        let _timing = self.0.timing.lock().await;
        let fresh = !row.by_hand && !refused && moment().saturating_sub(row.received_ms).abs() < FRESH_MS;
        let time = self.0.licenses.weigh_time(issued, fresh);
        if time.corrects() {
            tracing::warn!(%issued, "a verified licence reply puts the licence clock right");
            self.0.log.record(Body::ClockCorrected(ClockCorrected { by: ClockAuthority::Reply })).await?;
        }
        self.keep_floor(time.floor()).await?;
        self.0.licenses.set_time(time);
        Ok(())
    }

    /// The entries that say what a set changes, before it counts; each once, however often this is begun.
    pub(super) async fn tell_change(
        &self,
        row: &ReplyRow,
        reply: &Reply,
        change: Option<&Change>,
    ) -> Result<(), CheckInError> {
        if let Some(change) = change {
            // A newer reply may bring the same change before this one counts.
            let of = Digest(sha256(&[change.request.0, row.key.0].concat()));
            self.0.actions.place(of, Step::Changed, || Ok(Body::CapabilityChanged(change.body()))).await?;
        }
        if let Some(set) = reply.set()
            && !self.0.licenses.grants_same(set)
        {
            let document = leaf::commit(Purpose::License, &row.salt.0, &row.bytes);
            let changed =
                LicenseChanged { source: LicenseOrigin::Online, document: Some(body::Digest(document)) };
            let of = Digest(sha256(&row.bytes));
            self.0.actions.place(of, Step::Granted, || Ok(Body::LicenseChanged(changed))).await?;
        }
        Ok(())
    }

    /// Lets a reply count, and forgets those that it supersedes.
    pub(super) async fn hold(
        &self,
        key: Digest,
        reply: Logged<Verified<Reply>>,
        by_hand: bool,
    ) -> Result<(), CheckInError> {
        let held = self.0.licenses.hold(reply, by_hand);
        // Should a crash come first, what is held at the next start is the same.
        let prune = move |c: &rusqlite::Connection| license_rows::prune(c, key, &held);
        if !self.0.recall.load(Ordering::Relaxed) {
            self.0.meta.write(move |c| Ok::<_, CheckInError>(prune(c)?)).await?;
        }
        Ok(())
    }

    /// The row of the past that this check-in becomes.
    async fn over(&self, row: &ReplyRow, index: u64, refused: bool) -> Result<CheckInRow, CheckInError> {
        let frozen: Option<Frozen> = self.next_request().await?;
        let frozen = frozen.ok_or_else(|| CheckInError::Made("a reply without a request".to_owned()))?;
        Ok(CheckInRow {
            at_ms: row.received_ms,
            request: frozen.bytes,
            request_salt: frozen.salt,
            request_index: frozen.log_index,
            reply: Some(row.bytes.clone()),
            reply_salt: Some(row.salt),
            reply_index: Some(index),
            result: if refused { "refused" } else { "accepted" }.to_owned(),
        })
    }
}

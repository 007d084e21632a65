//! From a verified reply to its effect: entry, checkpoint, proof, and only then the licence.

use std::time::Duration;

use jiff::Timestamp;
use paramant_licensing::online::reply::{RefusalCause, Reply};
use paramant_licensing::{Logged, Verified};
use paramant_protocol::entry::Body;
use paramant_protocol::entry::body::{ClockAuthority, ClockCorrected};
use paramant_tlog::Tree;
use paramant_tlog::tlog_proof::TlogProof;

use super::freeze::logged;
use super::{CheckInError, CheckIns};
use crate::store::license_rows::{self, CheckInRow, Frozen, ReplyRow};

/// A checkpoint comes every second while the log grows.
const CHECKPOINT: Duration = Duration::from_secs(5);
/// Between two looks whether it has come.
const LOOK: Duration = Duration::from_millis(50);

impl CheckIns {
    /// What was accepted in earlier runs counts again, if it still verifies and the log still holds it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn recall(&self) -> Result<(), CheckInError> {
        let rows = self.0.meta.read(|c| Ok::<_, CheckInError>(license_rows::replies(c)?)).await?;
        for row in rows {
            let Some(index) = row.log_index else { continue };
            match self.prove(&row, index).await {
                Ok(reply) => {
                    let at = Timestamp::from_millisecond(row.received_ms).ok();
                    self.observe(|observed| observed.at = at.or(observed.at));
                    self.0.licenses.hold(reply, row.by_hand);
                }
                Err(reason) => {
                    tracing::warn!(sequence = row.sequence, reason, "a kept reply does not count any more");
                }
            }
        }
        Ok(())
    }

    /// Brings verified replies that have no effect yet to theirs.
    pub(super) async fn settle(&self) -> Result<(), CheckInError> {
        let rows = self.0.meta.read(|c| Ok::<_, CheckInError>(license_rows::replies(c)?)).await?;
        for row in rows.into_iter().filter(|row| row.log_index.is_none()) {
            let index = self.0.log.append_once(&logged(&row.entry)?, row.log_from).await?;
            self.covered(index).await?;
            match self.prove(&row, index).await {
                Ok(reply) => self.apply(row, index, reply).await?,
                // Verified when it came, so the keys have changed since, or the row was edited.
                Err(reason) => return Err(CheckInError::Made(format!("a reply cannot be applied: {reason}"))),
            }
        }
        Ok(())
    }

    /// Waits for a checkpoint over an entry.
    async fn covered(&self, index: u64) -> Result<(), CheckInError> {
        let published = || self.0.log.published().is_some_and(|published| published.head.size > index);
        let wait = async {
            while !published() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(CHECKPOINT, wait).await.map_err(|_| CheckInError::NoCheckpoint)
    }

    /// Verifies the reply again, and that the log holds it under its newest checkpoint.
    async fn prove(&self, row: &ReplyRow, index: u64) -> Result<Logged<Verified<Reply>>, String> {
        let verified = Verified::open(&row.bytes, self.0.licenses.keys()).map_err(|error| error.to_string())?;
        if !verified.get().is_for(&self.0.relay_id) {
            return Err("it was given to another relay".to_owned());
        }
        let log = self.0.log.clone();
        let published = log.published().filter(|published| published.head.size > index);
        let published = published.ok_or("the log does not reach its entry")?;
        let keys = log.verifiers();
        let proof = move || {
            let entry = log.engine().entry(index)?;
            let path = log.engine().inclusion(Tree::Sha256, index, published.head.size)?;
            let extra = entry.map(|entry| entry.bytes);
            Ok::<_, crate::log_service::ReadError>(TlogProof { extra, index, path, checkpoint: published.note.clone() })
        };
        let proof = tokio::task::spawn_blocking(proof).await.map_err(|error| error.to_string())?;
        let proof = proof.map_err(|error| error.to_string())?;
        Logged::prove(verified, &row.salt.0, &proof, &keys).map_err(|error| error.to_string())
    }

    async fn apply(&self, row: ReplyRow, index: u64, reply: Logged<Verified<Reply>>) -> Result<(), CheckInError> {
        let revoked = matches!(reply.get().get(), Reply::Refusal(it) if it.error == RefusalCause::Revoked);
        let (issued, refused) = (reply.get().get().issued_at(), reply.get().get().set().is_none());
        let over = self.over(&row, index, refused).await?;
        let (key, sequence) = (row.key, row.sequence);
        let apply = move |c: &rusqlite::Connection| license_rows::applied(c, (key, sequence), index, revoked, &over);
        self.0.meta.write(move |c| Ok::<_, CheckInError>(apply(c)?)).await?;
        self.0.licenses.hold(reply, row.by_hand);
        self.0.licenses.say(Vec::new());
        self.observe(|observed| {
            observed.at = Timestamp::from_millisecond(row.received_ms).ok();
            observed.reachable = if row.by_hand { observed.reachable } else { Some(true) };
            observed.problem = None;
            observed.request = None;
        });
        tracing::info!(sequence, index, refused, by_hand = row.by_hand, "a licence reply counts from now on");
        let (floor, corrected) = self.0.licenses.correct_time(issued);
        self.keep_floor(floor).await?;
        if corrected {
            tracing::warn!(%issued, "a verified licence reply has put the licence clock right");
            let body = ClockCorrected { by: ClockAuthority::Reply };
            self.0.log.record(Body::ClockCorrected(body)).await?;
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

//! The one function that carries out what a vendor asked. It takes a request with proof that the log holds it under a signed checkpoint,
//! and nothing else in the process writes what it writes.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use paramant_licensing::actions::{Effect, Request, Support};
use paramant_licensing::{Logged, Verified};
use paramant_protocol::entry::Body;
use paramant_protocol::entry::body::{SupportKeyIssued, UpdateOffered};
use paramant_protocol::moment;

use super::settle::commitment;
use super::{ActionError, Actions};
use crate::store::Digest;
use crate::store::action_rows::{self, RequestRow, State, Step, SupportRow};

impl Actions {
    /// Carries out an accepted request: its effect and its row in one transaction, then in memory.
    pub(super) async fn apply(
        &self,
        row: &RequestRow,
        request: Logged<Verified<Request>>,
        at: Timestamp,
    ) -> Result<(), ActionError> {
        let seconds = Self::support_seconds(&self.policy());
        match Effect::of(request, at, seconds) {
            None => self.stand(row.hash, State::Refused).await,
            // Decided before the process was away for longer than the key would have worked.
            Some(Effect::Support(support)) if support.until() <= self.now() => {
                self.stand(row.hash, State::Lapsed).await
            }
            Some(Effect::Support(support)) => self.begin_support(row, support).await,
            Some(Effect::Offer(offered)) => {
                let (version, role) = (offered.offer().version.clone(), offered.role());
                let offered = || Ok(Body::UpdateOffered(UpdateOffered { version, role }));
                self.place(row.hash, Step::Effect, offered).await?;
                self.stand(row.hash, State::Accepted).await
            }
            Some(Effect::Drain(draining)) => {
                self.stand(row.hash, State::Accepted).await?;
                // Of several that waited for a log, the one that was agreed to last counts, not the one that comes last here.
                if self.standing_drain().await?.is_some_and(|standing| standing.hash == row.hash) {
                    self.0.drain.obey(&draining, self.now());
                }
                Ok(())
            }
            Some(Effect::Capability(_)) => {
                self.stand(row.hash, State::Accepted).await?;
                self.0.capability.notify_one();
                Ok(())
            }
        }
    }

    async fn begin_support(&self, row: &RequestRow, support: Support) -> Result<(), ActionError> {
        let (role, until) = (support.role(), moment::hour(support.until()));
        let key = commitment(&row.salt, &row.id);
        let issued = || Ok(Body::SupportKeyIssued(SupportKeyIssued { key, role, until }));
        self.place(row.hash, Step::Effect, issued).await?;
        let kept = SupportRow {
            id: support.id().to_owned(),
            request: row.hash,
            key_sha256: Digest(support.key_sha256()),
            role: super::report::word(&role),
            salt: row.salt,
            since_ms: support.since().as_millisecond(),
            until_ms: support.until().as_millisecond(),
            ended: None,
            told: false,
            uses: 0,
        };
        let hash = row.hash;
        let begin = move |c: &rusqlite::Connection| {
            action_rows::support_begins(c, &kept)?;
            action_rows::stands(c, hash, State::Accepted)
        };
        self.write(begin).await?;
        self.0.support.begin(support, row.salt, self.now());
        Ok(())
    }

    /// What earlier runs carried out is in force again, if the log still shows it.
    pub(super) async fn recall(&self) -> Result<(), ActionError> {
        let rows = self.rows().await?;
        let keys = self.keys().await?;
        let drain = self.standing_drain().await?;
        let supports = rows.iter().filter(|row| row.state == State::Accepted).filter_map(|row| {
            let key = keys.iter().find(|key| key.request == row.hash && key.ended.is_none())?;
            Some((row, u64::try_from(key.until_ms.saturating_sub(key.since_ms) / 1000).unwrap_or_default()))
        });
        for (row, seconds) in supports.chain(drain.as_ref().map(|row| (row, 0))) {
            let (Some(verified), Some(index)) = (self.reopen(row), row.log_index) else { continue };
            let at = row.decided_ms.and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or_default();
            let logged = match self.prove(verified, index).await {
                Ok(logged) => logged,
                Err(ActionError::NoCheckpoint) => return Ok(()),
                Err(error) => {
                    tracing::warn!(id = row.id, %error, "what the vendor was granted is not in force any more");
                    continue;
                }
            };
            let early = at > self.now();
            match Effect::of(logged, at, seconds) {
                // A clock that was set back before it began: were it only left out, it would begin anew some day.
                Some(Effect::Support(_)) if early => self.expire(&row.id).await?,
                Some(Effect::Drain(_)) if early => self.stand(row.hash, State::Lapsed).await?,
                Some(Effect::Support(support)) => self.0.support.begin(support, row.salt, self.now()),
                Some(Effect::Drain(draining)) => self.0.drain.obey(&draining, self.now()),
                Some(Effect::Offer(_) | Effect::Capability(_)) | None => {}
            }
        }
        self.0.unproven.store(false, Ordering::Relaxed);
        Ok(())
    }
}

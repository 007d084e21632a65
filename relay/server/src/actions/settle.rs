//! Rows are taken further: entry, checkpoint, answer, entry, effect. Each step is begun again until it is done.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use paramant_licensing::actions::{Answer, Ask, Offer, Request, Said, answer};
use paramant_licensing::{Logged, Verified};
use paramant_protocol::control::RemoteDirective;
use paramant_protocol::entry::Body;
use paramant_protocol::entry::body::{
    self, Document, RefusalReason, RemoteActionRefused, SupportKeyEnded, VendorRequest, VendorRequestDecided,
    VendorSilence,
};
use paramant_protocol::leaf::{self, Purpose};

use super::{ActionError, Actions};
use crate::store::Digest;
use crate::store::action_rows::{self, Decision, Ended, RequestRow, State, Step};

/// A checkpoint comes every second while the log grows.
const CHECKPOINT: Duration = Duration::from_secs(5);

impl Actions {
    /// Takes everything as far as it can go now.
    ///
    /// # Errors
    /// [`ActionError`]; what is left is begun again.
    pub(crate) async fn settle(&self) -> Result<(), ActionError> {
        let _working = self.0.working.lock().await;
        let settled = self.settle_in_turn().await;
        self.refresh().await?;
        settled
    }

    async fn settle_in_turn(&self) -> Result<(), ActionError> {
        if self.0.unproven.load(Ordering::Relaxed) {
            self.recall().await?;
        }
        self.end_what_ran_out().await?;
        for row in self.rows().await?.into_iter().filter(|row| row.state.is_open()) {
            self.carry(row).await?;
        }
        self.place_silences().await?;
        self.tell_ends().await
    }

    async fn carry(&self, row: RequestRow) -> Result<(), ActionError> {
        let verified = self.reopen(&row);
        let came = || match (row.seq, &verified) {
            (Some(_), _) => {
                let request = Document::parse(&row.bytes);
                let request =
                    request.ok_or_else(|| ActionError::Made("a request that is no document".into()))?;
                Ok(Body::VendorRequest(VendorRequest { request }))
            }
            (None, Some(verified)) => Ok(refused(&row, verified.get(), reason(&row))),
            (None, None) => Err(ActionError::Made("a refused request that does not verify any more".into())),
        };
        let index = self.place(row.hash, Step::Came, came).await?;
        let covered = self.0.log.covering(index, CHECKPOINT).await.ok_or(ActionError::NoCheckpoint)?;
        let hash = row.hash;
        self.write(move |c| action_rows::covered(c, hash, index, covered)).await?;
        if row.seq.is_none() {
            return self.stand(hash, State::Refused).await;
        }
        let Some((decision, at)) = self.decide(&row, verified.as_ref()).await? else {
            return self.write(move |c| action_rows::waits(c, hash)).await;
        };
        if let Some(decided) = decided(&row, verified.as_ref(), decision) {
            self.place(hash, Step::Decided, || Ok(decided)).await?;
        }
        match verified.filter(|_| decision.leads_to() == State::Accepted) {
            Some(verified) => {
                let logged = self.prove(verified, index).await?;
                self.apply(&row, logged, at).await
            }
            None => self.stand(hash, decision.leads_to()).await,
        }
    }

    /// What was decided, or is decided now; `None`: it waits. A decision is on disk before anything follows from it.
    async fn decide(
        &self,
        row: &RequestRow,
        verified: Option<&Verified<Request>>,
    ) -> Result<Option<(Decision, Timestamp)>, ActionError> {
        let known = row.decision.zip(row.decided_ms);
        if let Some((decision, at)) = known {
            return Ok(Some((decision, Timestamp::from_millisecond(at).unwrap_or_default())));
        }
        let now = self.now();
        let decision = match verified {
            // Its key is pinned no more: nobody can show any more that the vendor asked.
            None => Decision::Lapsed,
            Some(_) if row.refusal.is_some() => Decision::NotAllowed,
            Some(verified) => match self.answer_to(row, verified.get(), now).await? {
                Some(decision) => decision,
                None => return Ok(None),
            },
        };
        let (hash, at) = (row.hash, now.as_millisecond());
        self.write(move |c| action_rows::decided(c, hash, decision, at)).await?;
        tracing::warn!(id = row.id, kind = row.kind, ?decision, "a vendor's request is answered");
        Ok(Some((decision, now)))
    }

    async fn answer_to(
        &self,
        row: &RequestRow,
        asked: &Request,
        now: Timestamp,
    ) -> Result<Option<Decision>, ActionError> {
        if self.is_stale(row, asked).await? {
            return Ok(Some(Decision::Stale));
        }
        let policy = self.policy();
        let received = Timestamp::from_millisecond(row.received_ms).unwrap_or_default();
        let said = said(&policy, row);
        Ok(match answer(asked, received, &policy.answers, said, now) {
            Answer::Wait => None,
            Answer::Accept { by_admin: true } => Some(Decision::Approved),
            Answer::Accept { by_admin: false } => Some(Decision::Allowed),
            Answer::Deny => Some(Decision::Denied),
            Answer::Lapse => Some(Decision::Lapsed),
            Answer::Refuse => Some(Decision::NotAllowed),
        })
    }

    /// An offer that goes back behind an earlier one, or names an image that was recalled; a support key that was used before.
    async fn is_stale(&self, row: &RequestRow, asked: &Request) -> Result<bool, ActionError> {
        match &asked.ask {
            Ask::UpdateOffer(offer) => Ok(!fits(offer, &self.earlier_offers(row).await?)),
            Ask::SupportKey { key_sha256, .. } => {
                let keys = self.keys().await?;
                Ok(keys.iter().any(|key| key.key_sha256 == Digest(*key_sha256) && key.id != row.id))
            }
            _ => Ok(false),
        }
    }

    /// Offers that were accepted before this request.
    pub(super) async fn earlier_offers(&self, row: &RequestRow) -> Result<Vec<Offer>, ActionError> {
        let rows = self.rows().await?;
        let earlier =
            rows.iter().filter(|it| it.state == State::Accepted && it.seq.is_some() && it.seq < row.seq);
        let offers = earlier.filter_map(|it| match &self.reopen(it)?.get().ask {
            Ask::UpdateOffer(offer) => Some((**offer).clone()),
            _ => None,
        });
        Ok(offers.collect())
    }

    /// The request with proof that the log holds it.
    pub(super) async fn prove(
        &self,
        request: Verified<Request>,
        index: u64,
    ) -> Result<Logged<Verified<Request>>, ActionError> {
        let proof = self.0.log.proof(index).await?.ok_or(ActionError::NoCheckpoint)?;
        Logged::prove(request, &[0; 32], &proof, &self.0.log.verifiers())
            .map_err(|error| ActionError::Made(format!("a vendor's request is not in the log: {error}")))
    }

    pub(super) async fn stand(&self, hash: Digest, state: State) -> Result<(), ActionError> {
        self.write(move |c| action_rows::stands(c, hash, state)).await
    }

    async fn place_silences(&self) -> Result<(), ActionError> {
        let kept = self.read(action_rows::silences).await?;
        for (hash, bytes, _) in kept.into_iter().rev().filter(|(.., placed)| !placed) {
            let body = || {
                let statement = Document::parse(&bytes);
                let statement =
                    statement.ok_or_else(|| ActionError::Made("a statement that is no document".into()))?;
                Ok(Body::VendorSilence(VendorSilence { statement }))
            };
            self.place(hash, Step::Came, body).await?;
            self.write(move |c| action_rows::silence_placed(c, hash)).await?;
        }
        Ok(())
    }

    /// Support keys whose time is over.
    async fn end_what_ran_out(&self) -> Result<(), ActionError> {
        let now = self.now().as_millisecond();
        let keys = self.keys().await?;
        for key in keys.into_iter().filter(|key| key.ended.is_none() && key.until_ms <= now) {
            self.expire(&key.id).await?;
        }
        Ok(())
    }

    /// Ends a support key whose time is over.
    pub(super) async fn expire(&self, id: &str) -> Result<(), ActionError> {
        self.0.support.end(id);
        let of = id.to_owned();
        self.write(move |c| action_rows::support_ends(c, &of, Ended::Expired)).await.map(drop)
    }

    /// Entries for support keys that ended.
    async fn tell_ends(&self) -> Result<(), ActionError> {
        let keys = self.keys().await?;
        for key in keys.into_iter().filter(|key| !key.told) {
            let Some(ended) = key.ended else { continue };
            let body = SupportKeyEnded { key: commitment(&key.salt, &key.id) };
            let body = match ended {
                Ended::Revoked => Body::SupportKeyRevoked(body),
                Ended::Expired => Body::SupportKeyExpired(body),
            };
            self.place(key.request, Step::Ended, || Ok(body)).await?;
            self.write(move |c| action_rows::support_told(c, &key.id)).await?;
        }
        Ok(())
    }
}

/// What an admin said: in the policy, or on this relay. No beats yes.
fn said(policy: &RemoteDirective, row: &RequestRow) -> Option<Said> {
    let here = row.said.map(|said| said.0);
    if policy.denied.contains(&row.id) || here == Some(Said::Deny) {
        return Some(Said::Deny);
    }
    (policy.approved.contains(&row.id) || here == Some(Said::Approve)).then_some(Said::Approve)
}

/// Whether an offer follows from those before it.
fn fits(offer: &Offer, earlier: &[Offer]) -> bool {
    let floor = earlier.iter().map(|it| it.floor).max().unwrap_or_default().max(offer.floor);
    let recalled = |digest: &String| earlier.iter().chain([offer]).any(|it| it.recalled.contains(digest));
    earlier.iter().all(|it| it.sequence < offer.sequence)
        && offer.sequence >= floor
        && !recalled(&offer.digest)
}

/// What `support_key_issued` calls a key.
pub(super) fn commitment(salt: &Digest, id: &str) -> body::Digest {
    body::Digest(leaf::commit(Purpose::SupportKey, &salt.0, id.as_bytes()))
}

fn reason(row: &RequestRow) -> RefusalReason {
    row.refusal.map_or(RefusalReason::NotAllowed, |reason| reason.0)
}

fn refused(row: &RequestRow, asked: &Request, reason: RefusalReason) -> Body {
    let action = body::Digest(leaf::commit(Purpose::RemoteAction, &row.salt.0, &row.bytes));
    Body::RemoteActionRefused(RemoteActionRefused { action, role: asked.role, reason })
}

/// The entry about a decision; what the policy allows has none but those of its request and its effect.
fn decided(row: &RequestRow, verified: Option<&Verified<Request>>, decision: Decision) -> Option<Body> {
    let decided = |decision| {
        Body::VendorRequestDecided(VendorRequestDecided { request: body::Digest(row.hash.0), decision })
    };
    Some(match decision {
        Decision::Allowed => return None,
        Decision::Approved => decided(body::Decision::Approved),
        Decision::Denied => decided(body::Decision::Denied),
        Decision::Lapsed => decided(body::Decision::Lapsed),
        Decision::NotAllowed => refused(row, verified?.get(), reason(row)),
        Decision::Stale => refused(row, verified?.get(), RefusalReason::Stale),
    })
}

//! Another set of capabilities counts only once this relay has accepted the vendor's request for it (docs/spec/remote-actions.md, section 6).

use paramant_licensing::Verified;
use paramant_licensing::online::reply::Reply;
use paramant_protocol::control::RemoteState;
use paramant_protocol::entry::body::{self, CapabilityChanged};

use super::settle::Unprovable;
use super::{CheckInError, CheckIns};
use crate::store::Digest;
use crate::store::license_rows::{self, Change, Fate, ReplyRow};

impl Change {
    pub(super) fn body(&self) -> CapabilityChanged {
        let digest = |it: Digest| body::Digest(it.0);
        CapabilityChanged {
            request: digest(self.request),
            before: digest(self.before),
            after: digest(self.after),
        }
    }
}

impl Fate {
    /// What an admin is told.
    pub(super) fn problem(&self) -> Option<String> {
        match self {
            Self::Counts { .. } => None,
            Self::Waits(_) => Some(
                "the licence server gives another set of capabilities, and an admin has to agree to it first: what was granted before goes on to its end".to_owned(),
            ),
            Self::Void => Some(
                "the licence server gives another set of capabilities, and no request for it is accepted here: what was granted before goes on to its end".to_owned(),
            ),
        }
    }
}

impl CheckIns {
    /// What a reply is worth. The first set under a key changes nothing.
    pub(super) async fn fate(&self, key: Digest, reply: &Verified<Reply>) -> Result<Fate, CheckInError> {
        let Some(after) = reply.terms().map(Digest) else {
            return Ok(Fate::Counts { terms: None, change: None });
        };
        let before = self.0.meta.read(move |c| Ok::<_, CheckInError>(license_rows::terms(c, key)?)).await?;
        let Some(before) = before.filter(|before| *before != after) else {
            return Ok(Fate::Counts { terms: Some(after), change: None });
        };
        Ok(match self.0.actions.capability(after).await? {
            Some((request, RemoteState::Accepted)) => {
                Fate::Counts { terms: Some(after), change: Some(Change { request, before, after }) }
            }
            Some((request, RemoteState::Waiting)) => Fate::Waits(request),
            _ => Fate::Void,
        })
    }

    /// Sets that waited, and whose requests are answered by now.
    pub(super) async fn release(&self) -> Result<(), CheckInError> {
        let waiting = self.0.meta.read(|c| Ok::<_, CheckInError>(license_rows::waiting(c)?)).await?;
        for (row, awaits) in waiting {
            match self.0.actions.state_of(awaits).await? {
                Some(RemoteState::Waiting) => continue,
                Some(RemoteState::Accepted) => {}
                _ => {
                    self.forget_waiting(row).await?;
                    self.0.licenses.say(Fate::Void.problem().into_iter().collect());
                    continue;
                }
            }
            let Some(index) = row.log_index else { continue };
            let reply = match self.prove(&row, index).await {
                Ok(reply) => reply,
                Err(Unprovable::Now(_)) => return Err(CheckInError::NoCheckpoint),
                Err(Unprovable::Never(reason)) => {
                    tracing::warn!(
                        sequence = row.sequence,
                        reason,
                        "a set that waited does not count any more"
                    );
                    self.forget_waiting(row).await?;
                    continue;
                }
            };
            let fate = self.fate(row.key, reply.get()).await?;
            let Fate::Counts { terms, change } = fate else { continue };
            self.tell_change(&row, reply.get().get(), change.as_ref()).await?;
            let kept = row.clone();
            let release = move |c: &rusqlite::Connection| license_rows::released(c, &kept, terms);
            self.0.meta.write(move |c| Ok::<_, CheckInError>(release(c)?)).await?;
            self.hold(row.key, reply, row.by_hand).await?;
            self.0.licenses.say(Vec::new());
        }
        Ok(())
    }
    async fn forget_waiting(&self, row: ReplyRow) -> Result<(), CheckInError> {
        let forget = move |c: &rusqlite::Connection| license_rows::forget_waiting(c, &row);
        self.0.meta.write(move |c| Ok::<_, CheckInError>(forget(c)?)).await
    }
}

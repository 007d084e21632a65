//! From a verified reply to rows: each request is judged by itself, whatever the reply's own signature says.

use paramant_licensing::Verified;
use paramant_licensing::actions::{Chain, Judged, Request, Silence, judge};
use paramant_licensing::online::reply::Reply;
use paramant_protocol::leaf::sha256;

use super::{ActionError, Actions};
use crate::store::Digest;
use crate::store::action_rows::{self, RequestRow, State, Word};

impl Actions {
    /// Takes what a reply carries. What was taken before is known again: a crash on the way loses and doubles nothing.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub(crate) async fn take(&self, reply: &Reply) -> Result<(), ActionError> {
        let rows = self.rows().await?;
        let mut chain =
            Chain::of(rows.iter().filter(|row| row.seq.is_some()).map(|row| (row.hash.0, row.id.clone())));
        let (keys, now) = (self.0.licenses.keys(), self.now());
        for bytes in reply.actions() {
            let hash = Digest(sha256(&bytes));
            if rows.iter().any(|row| row.hash == hash) {
                continue;
            }
            let (request, refusal, takes_place) = match judge(&bytes, &self.0.relay_id, &chain, keys, now) {
                Judged::Unverifiable(reason) => {
                    self.count_unverifiable(&reason);
                    continue;
                }
                Judged::Known => continue,
                Judged::Admitted(request) => (request, None, true),
                Judged::Refused { request, reason, takes_place } => {
                    (request, Some(Word(reason)), takes_place)
                }
            };
            let seq = takes_place.then(|| chain.seq() + 1);
            if takes_place {
                chain.take(&request);
            }
            let asked = request.get();
            tracing::warn!(seq = asked.seq, id = asked.id, kind = asked.ask.kind(), role = ?asked.role, refused = ?refusal, "the vendor asks");
            let row = RequestRow {
                hash,
                seq,
                id: asked.id.clone(),
                kind: asked.ask.kind().to_owned(),
                salt: Digest::random()?,
                received_ms: now.as_millisecond(),
                refusal,
                state: State::New,
                said: None,
                decision: None,
                decided_ms: None,
                covered: None,
                log_index: None,
                bytes,
            };
            self.write(move |c| action_rows::came(c, &row)).await?;
        }
        match reply.silence() {
            Some(silence) => self.take_silence(silence).await,
            None => Ok(()),
        }
    }

    async fn take_silence(&self, bytes: Vec<u8>) -> Result<(), ActionError> {
        let silence = match Verified::open_silence(&bytes, self.0.licenses.keys()) {
            Ok(silence) => silence,
            Err(reason) => {
                self.count_unverifiable(&reason);
                return Ok(());
            }
        };
        if silence.get().relay_id != self.0.relay_id {
            self.count_unverifiable(&"it is about another relay");
            return Ok(());
        }
        let (hash, now) = (Digest(sha256(&bytes)), self.now().as_millisecond());
        self.write(move |c| action_rows::silence_came(c, hash, &bytes, now)).await
    }

    /// A kept request, verified anew. `None`: its key is pinned no more, or somebody edited the row.
    pub(super) fn reopen(&self, row: &RequestRow) -> Option<Verified<Request>> {
        let request = Verified::open_request(&row.bytes, self.0.licenses.keys()).ok()?;
        // What took no place may be for another relay: it is only refused.
        let ours = row.seq.is_none() || request.get().relay_id == self.0.relay_id;
        (request.hash() == row.hash.0 && ours).then_some(request)
    }

    /// The newest statement, verified anew.
    pub(super) async fn newest_silence(&self) -> Result<Option<Silence>, ActionError> {
        let kept = self.read(action_rows::silences).await?;
        let open = |bytes: &[u8]| Verified::open_silence(bytes, self.0.licenses.keys()).ok();
        Ok(kept.first().and_then(|(_, bytes, _)| open(bytes)).map(|silence| silence.get().clone()))
    }
}

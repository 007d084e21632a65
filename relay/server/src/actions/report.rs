//! What is told of a vendor's requests, to the operator and on the admin's pages: in the relay's words, never in the vendor's.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use paramant_licensing::actions::{Ask, Chain, Request, ends_at};
use paramant_protocol::control::{OfferReport, RemoteReport, RemoteRequest, SupportReport, SupportState};
use serde::Serialize;
use serde_json::Value;

use super::{ActionError, Actions};
use crate::store::action_rows::{Ended, RequestRow, State, SupportRow};

/// Requests and keys that are told of; those that wait are always among them.
const MOST: usize = 16;

impl Actions {
    /// Puts together anew what is told.
    pub(super) async fn refresh(&self) -> Result<(), ActionError> {
        let report = self.told_now().await?;
        self.0.told.send_if_modified(|told| {
            let news = *told != report;
            if news {
                *told = report;
            }
            news
        });
        Ok(())
    }

    async fn told_now(&self) -> Result<RemoteReport, ActionError> {
        let mut rows = self.rows().await?;
        let keys = self.keys().await?;
        let chain =
            Chain::of(rows.iter().filter(|row| row.seq.is_some()).map(|row| (row.hash.0, row.id.clone())));
        let offer = self.standing_offer(&rows);
        rows.sort_by_key(|row| (!row.state.is_open(), std::cmp::Reverse((row.received_ms, row.seq))));
        rows.truncate(MOST);
        rows.sort_by_key(|row| std::cmp::Reverse((row.received_ms, row.seq)));
        Ok(RemoteReport {
            sequence: chain.seq(),
            problems: self.problems(&chain).await?,
            unverifiable: self.0.unverifiable.load(Ordering::Relaxed),
            requests: rows.iter().filter_map(|row| self.shown(row)).collect(),
            support: keys.iter().take(MOST).map(told_key).collect(),
            offer,
        })
    }

    async fn problems(&self, chain: &Chain) -> Result<Vec<String>, ActionError> {
        let mut problems = Vec::new();
        if let Some(silence) = self.newest_silence().await? {
            let (stated, held) = (silence.seq, chain.seq());
            if stated > held {
                problems.push(format!(
                    "the vendor states that it has made {stated} requests, and {held} have come: ask the vendor to send them again from number {} on",
                    held.saturating_add(1)
                ));
            } else if stated < held || silence.head != chain.head() {
                problems.push(format!(
                    "the vendor states that it has made {stated} requests, and the log holds {held} that it signed: the vendor contradicts itself"
                ));
            }
        }
        Ok(problems)
    }

    /// The newest offer that was accepted and that has not run out.
    fn standing_offer(&self, rows: &[RequestRow]) -> Option<OfferReport> {
        let accepted = rows.iter().filter(|row| row.state == State::Accepted && row.kind == "update_offer");
        let row = accepted.max_by_key(|row| row.seq)?;
        let request = self.reopen(row)?;
        let asked = request.get();
        let Ask::UpdateOffer(offer) = &asked.ask else { return None };
        (self.now() < asked.expires_at).then(|| OfferReport {
            id: asked.id.clone(),
            version: offer.version.clone(),
            digest: offer.digest.clone(),
            sequence: offer.sequence,
            offered_at: asked.issued_at,
            notes_sha256: offer.notes_sha256.clone(),
            recalled: offer.recalled.clone(),
        })
    }

    /// One request as it is told; `None` for a row that does not verify any more.
    pub(crate) fn shown(&self, row: &RequestRow) -> Option<RemoteRequest> {
        let request = self.reopen(row)?;
        let asked = request.get();
        let received = Timestamp::from_millisecond(row.received_ms).ok()?;
        Some(RemoteRequest {
            sequence: row.seq,
            id: row.id.clone(),
            kind: row.kind.clone(),
            role: word(&asked.role),
            reason: word(&asked.why),
            received_at: received,
            ends_at: ends_at(asked, received),
            state: row.state.told(),
            asks: sentence(asked),
            log_index: row.log_index,
            checkpoint_size: row.covered,
        })
    }
}

fn told_key(key: &SupportRow) -> SupportReport {
    let moment = |ms| Timestamp::from_millisecond(ms).unwrap_or_default();
    SupportReport {
        id: key.id.clone(),
        role: key.role.clone(),
        since: moment(key.since_ms),
        until: moment(key.until_ms),
        state: match key.ended {
            None => SupportState::Active,
            Some(Ended::Revoked) => SupportState::Revoked,
            Some(Ended::Expired) => SupportState::Expired,
        },
        uses: key.uses,
    }
}

/// A word of a closed list.
pub(super) fn word(of: &impl Serialize) -> String {
    match serde_json::to_value(of) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

/// What a request asks, in our words.
fn sentence(asked: &Request) -> String {
    match &asked.ask {
        Ask::SupportKey { max_seconds, .. } => {
            format!("read diagnostics of this relay for at most {}, from approval on", time(*max_seconds))
        }
        Ask::UpdateOffer(offer) => format!("show that release {} can be had", offer.version),
        Ask::Drain { enabled: true, deadline_seconds: Some(seconds) } => {
            format!("take no new uploads for at most {}", time(*seconds))
        }
        Ask::Drain { enabled: true, deadline_seconds: None } => {
            "take no new uploads for at most a day".to_owned()
        }
        Ask::Drain { enabled: false, .. } => {
            "take uploads again, if it was the vendor who stopped them".to_owned()
        }
        Ask::CapabilitySet { .. } => "let another capability set count".to_owned(),
        Ask::Unknown(_) => "something that no relay does".to_owned(),
    }
}

fn time(seconds: u64) -> String {
    match (seconds / 3600, seconds.div_ceil(60)) {
        (0, minutes) => format!("{minutes} min"),
        (hours, _) if seconds.is_multiple_of(3600) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {} min", minutes - hours * 60),
    }
}

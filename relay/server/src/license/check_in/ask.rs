//! One question to the endpoint, and what came of it.

use std::path::Path;

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use jiff::Timestamp;
use paramant_licensing::Verified;
use paramant_licensing::online::reply::{Reply, accept, unknown_capabilities};
use paramant_licensing::online::{MAX_REPLY, request};
use paramant_protocol::control::CourierPurpose;
use paramant_protocol::entry::body::CheckinResult;
use paramant_protocol::leaf::sha256;

use super::freeze::{checkin, logged};
use super::{CheckInError, CheckIns, Desk, moment};
use crate::outbound::{self, OutboundError, Request, Way};
use crate::settings::{OnlineSettings, Reach};
use crate::store::Digest;
use crate::store::call_rows::{self, Caller};
use crate::store::license_rows::{self, Frozen, ReplyRow};

/// After so many attempts without one a courier is more than late.
const NO_COURIER: u32 = 2;

/// A failure, as it is told.
struct Failure {
    sentence: String,
    result: CheckinResult,
    /// Whether anything left. A courier needs a moment to come back after the relay, and says nothing of the endpoint.
    asked: bool,
}

impl CheckIns {
    /// Asks once. `true`: a verified reply came.
    pub(super) async fn ask(
        &self,
        online: &OnlineSettings,
        mut frozen: Frozen,
    ) -> Result<bool, CheckInError> {
        let way = match online.reach {
            Reach::Direct => Way::Direct,
            Reach::Courier => Way::Courier(self.0.couriers.clone(), CourierPurpose::License),
        };
        // What cannot leave is no call.
        if matches!(&way, Way::Courier(couriers, purpose) if !couriers.is_connected(*purpose)) {
            let sentence = OutboundError::NoCourier.to_string();
            self.failed(&mut frozen, Failure { sentence, result: CheckinResult::Unreachable, asked: false })
                .await?;
            return Ok(false);
        }
        self.announce(&mut frozen).await?;
        let destination = online.endpoint.authority();
        self.count(&destination, &frozen).await?;
        let asked = Request::new("", frozen.bytes.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .reading(MAX_REPLY);
        let reply = outbound::ask(&way, &online.endpoint, &online.trust(), asked).await;
        let (status, outcome) = match reply {
            Err(error) => {
                let result = CheckinResult::Unreachable;
                (0, Err(Failure { sentence: error.to_string(), result, asked: true }))
            }
            Ok(reply) => (reply.status, self.judge(&frozen, Some(reply.status), &reply.body)),
        };
        tracing::info!(
            destination,
            request = request::digest(&frozen.bytes),
            salt = %frozen.salt,
            entry = frozen.log_index,
            status,
            outcome = outcome.as_ref().map_or_else(|failure| failure.sentence.as_str(), |_| "verified"),
            "asked about the licence"
        );
        match outcome {
            Err(failure) => {
                self.failed(&mut frozen, failure).await?;
                Ok(false)
            }
            Ok(verified) => {
                self.receive(verified, false).await?;
                self.settle().await?;
                Ok(true)
            }
        }
    }

    /// A reply that somebody carried in, looked at once.
    pub(super) async fn take_carried(
        &self,
        desk: &mut Desk,
        file: &Path,
        frozen: &Frozen,
    ) -> Result<(), CheckInError> {
        // A file that is not there yet is how it begins.
        let Ok(bytes) = tokio::fs::read(file).await else { return Ok(()) };
        let digest = sha256(&bytes);
        if desk.carried == Some(digest) {
            return Ok(());
        }
        let known = self.0.meta.read(|c| Ok::<_, CheckInError>(license_rows::replies(c)?)).await?;
        if known.iter().any(|reply| reply.bytes == bytes) {
            desk.carried = Some(digest);
            return Ok(());
        }
        match self.judge(frozen, None, &bytes) {
            Ok(verified) => {
                let mut frozen = frozen.clone();
                self.announce(&mut frozen).await?;
                self.receive(verified, true).await?;
                self.settle().await
            }
            Err(failure) => {
                desk.carried = Some(digest);
                tracing::warn!(reason = failure.sentence, "the reply that was carried in does not count");
                self.0
                    .licenses
                    .say(vec![format!("the reply that was carried in does not count: {}", failure.sentence)]);
                Ok(())
            }
        }
    }

    fn judge(&self, frozen: &Frozen, status: Option<u16>, body: &[u8]) -> Result<Verified<Reply>, Failure> {
        let licenses = &self.0.licenses;
        accept(body, status, &frozen.bytes, licenses.keys(), licenses.last_sequence()).map_err(|rejected| {
            // An authority that is not well answers without a document; its status says more than its body.
            let sentence = match status {
                Some(status) if status != 200 && body.is_empty() => format!("the endpoint answered {status}"),
                Some(status) if status != 200 => format!("the endpoint answered {status}, and {rejected}"),
                _ => rejected.to_string(),
            };
            Failure { sentence, result: CheckinResult::Rejected, asked: true }
        })
    }

    async fn count(&self, destination: &str, frozen: &Frozen) -> Result<(), CheckInError> {
        let (destination, bytes, salt) = (destination.to_owned(), frozen.bytes.clone(), Digest::random()?);
        let now = Timestamp::now().as_second();
        let count = move |c: &rusqlite::Connection| {
            call_rows::count(c, Caller::License, &destination, &bytes, now, salt)
        };
        self.0.meta.write(move |c| Ok::<_, CheckInError>(count(c)?)).await
    }

    /// Keeps a verified reply before anything else: from here on a crash cannot lose it.
    async fn receive(&self, reply: Verified<Reply>, by_hand: bool) -> Result<(), CheckInError> {
        let salt = Digest::random()?;
        let unknown = unknown_capabilities(reply.bytes());
        if unknown > 0 {
            tracing::info!(
                unknown,
                "the reply has capabilities that this release does not know; they are ignored"
            );
        }
        let row = ReplyRow {
            key: Digest(reply.get().key_digest()),
            sequence: reply.get().sequence(),
            entry: Vec::new(),
            bytes: reply.bytes().to_vec(),
            salt,
            by_hand,
            received_ms: moment(),
            log_from: 0,
            log_index: None,
        };
        self.0.meta.write(move |c| Ok::<_, CheckInError>(license_rows::received(c, &row)?)).await
    }

    /// Tells of a failure; the log hears once of each sort for each request.
    async fn failed(&self, frozen: &mut Frozen, failure: Failure) -> Result<(), CheckInError> {
        let Failure { sentence, result, asked } = failure;
        self.0.licenses.say(vec![format!("the last check-in brought no verified reply: {sentence}")]);
        self.observe(|observed| {
            let told = asked || frozen.failed >= NO_COURIER;
            observed.reachable = if told { Some(false) } else { observed.reachable.map(|_| false) };
            observed.problem = Some(sentence);
        });
        let told = match result {
            CheckinResult::Rejected => &mut frozen.told.rejected,
            _ => &mut frozen.told.unreachable,
        };
        // What never left has no entry to follow.
        let first = frozen.log_index.is_some() && !std::mem::replace(told, true);
        frozen.failed = frozen.failed.saturating_add(1);
        if first {
            let entry = checkin(&frozen.bytes, frozen.salt, None, result)?;
            self.0.log.append(logged(&entry)?).await?;
        }
        self.keep(frozen).await
    }
}

//! `/log/gossip`: POST a checkpoint or tree head that you saw, and learn whether it is one of this log's; GET what contradicts it.
//!
//! Limited for each address, and in size. Nothing that arrives here is ever appended. What our own keys signed and this log
//! contradicts is an alarm: an error in the log file, a metric, and a row that everybody can read.

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use paramant_protocol::leaf::sha256;
use paramant_protocol::moment;
use paramant_protocol::transparency::{Contradiction, GossipAnswer, GossipEvidence, MAX_GOSSIP};

use super::credentials::Anyone;
use super::errors::Refused;
use super::representation::NO_STORE;
use crate::app::Shared;
use crate::gossip::{GossipError, judge};
use crate::store::evidence_rows::Evidence;
use crate::store::{Digest, now_ms};

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new().route("/log/gossip", get(evidence).post(gossip))
}

async fn gossip(State(app): State<Shared>, _: Anyone, body: Body) -> Result<Response, Refused> {
    let document = axum::body::to_bytes(body, MAX_GOSSIP).await.map_err(|_| {
        let why = format!("the body broke off, or is longer than {MAX_GOSSIP} bytes");
        Refused::new(StatusCode::PAYLOAD_TOO_LARGE, why)
    })?;
    let core = app.core.clone();
    let judging = {
        let document = document.clone();
        tokio::task::spawn_blocking(move || judge(&core.log, core.identity.public_key(), &document))
    };
    let judged = match judging.await.map_err(Refused::internal)? {
        Ok(judged) => judged,
        Err(error @ GossipError::Malformed(_)) => return Err(Refused::bad(error.to_string())),
        Err(error) => return Err(Refused::internal(error)),
    };
    app.core.metrics.gossip(judged.answer.verdict);
    if judged.accuses {
        accused(&app, &judged.answer, &document).await?;
    }
    Ok(([(header::CACHE_CONTROL, NO_STORE)], Json(judged.answer)).into_response())
}

/// Our own signature under another history: whoever runs this relay must know, and nobody may forget it.
async fn accused(app: &Shared, answer: &GossipAnswer, document: &[u8]) -> Result<(), Refused> {
    tracing::error!(
        verdict = answer.verdict.as_str(),
        detail = answer.detail,
        "ALARM: a head signed with this log's keys contradicts this log; see GET /log/gossip, and compare backups and copies of the data directory"
    );
    let evidence = Evidence { received_ms: now_ms(), document: document.to_vec() };
    let kept = app.store.keep_evidence(Digest(sha256(document)), evidence).await?;
    app.core.metrics.contradictions(kept);
    Ok(())
}

async fn evidence(State(app): State<Shared>, _: Anyone) -> Result<Response, Refused> {
    let shown = |evidence: Evidence| Contradiction {
        received: moment::hour(Timestamp::from_millisecond(evidence.received_ms).unwrap_or_default()),
        document: String::from_utf8_lossy(&evidence.document).into_owned(),
    };
    let evidence = app.store.evidence().await?.into_iter().map(shown).collect();
    Ok(([(header::CACHE_CONTROL, NO_STORE)], Json(GossipEvidence { evidence })).into_response())
}

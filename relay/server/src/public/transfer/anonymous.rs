//! Uploads without a key (protocol §4.1), where the admin allows them: few, small, for a day at most, read once.
//!
//! Nobody owns such a blob: it is kept for [`AccountId::NOBODY`] under its payload's hash, beside the drops, and like them is
//! readable by any active key that knows the name, and through its link. Nobody can cancel it. The published call is
//! deprecated, and every answer says so.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::inbound::{self, Sender};
use crate::app::Shared;
use crate::listener::client_address::block;
use crate::public::body::Stream;
use crate::public::credentials::Anyone;
use crate::public::errors::Refused;

const HOUR: Duration = Duration::from_secs(3600);
/// Addresses remembered, of those that uploaded within the hour; when there are more, others wait.
const REMEMBERED: usize = 50_000;

const DEPRECATED: [(HeaderName, HeaderValue); 3] = [
    (HeaderName::from_static("deprecation"), HeaderValue::from_static("true")),
    (HeaderName::from_static("sunset"), HeaderValue::from_static("Wed, 31 Dec 2026 00:00:00 GMT")),
    (header::LINK, HeaderValue::from_static("</v2/inbound>; rel=\"successor-version\"")),
];

pub(super) async fn upload(State(app): State<Shared>, request: Request) -> Response {
    (DEPRECATED, accept(&app, request).await).into_response()
}

async fn accept(app: &Shared, request: Request) -> Result<Response, Refused> {
    let (mut parts, body) = request.into_parts();
    let admitted = match Anyone::from_request_parts(&mut parts, app).await {
        Ok(Anyone(address)) => admit(app, address),
        Err(refused) => Err(refused),
    };
    let (slot, _upload) = match admitted {
        Ok(admitted) => admitted,
        // After the body: a client that is still sending would otherwise see a reset connection, and not why.
        Err(refused) => return Err(Stream::new(body, 0).refuse(refused).await),
    };
    let request = Request::from_parts(parts, body);
    let answer = inbound::from_json(app, Sender::Nobody, request).await?;
    slot.used();
    let answer = json!({
        "ok": answer.ok,
        "hash": answer.hash,
        "download_token": answer.download_token,
        "ttl_ms": answer.ttl_ms,
        "size": answer.size,
        "log_receipt": answer.log_receipt,
    });
    Ok(Json(answer).into_response())
}

fn admit(app: &Shared, address: IpAddr) -> Result<(Slot<'_>, crate::drain::UploadGuard), Refused> {
    let settings = app.core.settings.current();
    if !settings.anonymous_uploads {
        let refused = "this relay takes no uploads without a key; its admin allows them with anonymousUploads: true in relay.yaml";
        return Err(Refused::new(StatusCode::FORBIDDEN, refused));
    }
    let slot = app.store.anonymous.slot(address, settings.limits.anonymous_per_hour, Instant::now());
    let slot = slot.map_err(|wait| Refused::too_many(wait.as_secs() + 1))?;
    Ok((slot, app.core.drain.begin_upload()?))
}

/// Uploads without a key in the last hour, by address.
#[derive(Debug, Default)]
pub struct AnonymousUploads(Mutex<HashMap<IpAddr, VecDeque<Instant>>>);

/// One upload, counted from its start; one that does not succeed is taken back.
#[derive(Debug)]
pub(super) struct Slot<'u> {
    uploads: &'u AnonymousUploads,
    address: IpAddr,
    at: Instant,
    used: bool,
}

impl AnonymousUploads {
    fn slot(&self, address: IpAddr, per_hour: u32, now: Instant) -> Result<Slot<'_>, Duration> {
        let address = block(address);
        let mut uploads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if uploads.len() >= REMEMBERED && !uploads.contains_key(&address) {
            uploads.retain(|_, times| times.back().is_some_and(|last| now < *last + HOUR));
            if uploads.len() >= REMEMBERED {
                return Err(HOUR);
            }
        }
        let times = uploads.entry(address).or_default();
        while times.front().is_some_and(|first| now >= *first + HOUR) {
            times.pop_front();
        }
        match times.front() {
            Some(first) if times.len() >= per_hour as usize => {
                Err((*first + HOUR).saturating_duration_since(now))
            }
            _ => {
                times.push_back(now);
                Ok(Slot { uploads: self, address, at: now, used: false })
            }
        }
    }
}

impl Slot<'_> {
    fn used(mut self) {
        self.used = true;
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if self.used {
            return;
        }
        let mut uploads = self.uploads.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = uploads.get_mut(&self.address) {
            if let Some(place) = times.iter().position(|at| *at == self.at) {
                times.remove(place);
            }
            if times.is_empty() {
                uploads.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_what_succeeds_counts_and_only_for_an_hour() {
        let (uploads, now) = (AnonymousUploads::default(), Instant::now());
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..20 {
            drop(uploads.slot(address, 2, now).unwrap());
        }
        assert!(uploads.0.lock().unwrap().is_empty(), "nothing is remembered of those that failed");
        uploads.slot(address, 2, now).unwrap().used();
        let later = now + Duration::from_secs(60);
        let running = uploads.slot(address, 2, later).unwrap();
        assert_eq!(uploads.slot(address, 2, later).unwrap_err(), HOUR - Duration::from_secs(60));
        assert!(uploads.slot("192.0.2.2".parse().unwrap(), 2, later).is_ok());
        drop(running);
        uploads.slot(address, 2, later).unwrap().used();
        uploads.slot(address, 2, now + HOUR).unwrap().used();
        assert!(uploads.slot(address, 2, now + HOUR).is_err(), "the window slides");
    }
}

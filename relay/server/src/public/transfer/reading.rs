//! A read from its question to its bytes, whoever asks: the password first, where there is one, then the view.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use paramant_protocol::chunks::CHUNK_SIZE_HEADER;
use paramant_protocol::conditions::{self, Selection, Validators};
use paramant_protocol::download::{BURNED_HEADER, HASH_HEADER, PASSWORD_HEADER};
use paramant_protocol::receipt;

use super::log_receipt;
use crate::app::Shared;
use crate::passwords::{Password, PasswordError, Trier};
use crate::public::errors::Refused;
use crate::receipts::Delivery;
use crate::store::blob_rows::Asked;
use crate::transfer::{ClaimError, Claimed, Wanted};

/// The password in a reader's header. Scripts of web pages can send Latin-1 there and nothing else, others send UTF-8: what is
/// UTF-8 is taken as it is, what cannot be is read as Latin-1.
pub(in crate::public) fn in_header(headers: &HeaderMap) -> Result<Option<Password>, PasswordError> {
    let Some(value) = headers.get(PASSWORD_HEADER).map(HeaderValue::as_bytes) else { return Ok(None) };
    if value.is_empty() {
        return Ok(None);
    }
    match std::str::from_utf8(value) {
        Ok(text) => Password::new(text.as_bytes()),
        Err(_) => {
            let text: String = value.iter().map(|byte| char::from(*byte)).collect();
            Password::new(text.as_bytes())
        }
    }
    .map(Some)
}

/// Leases one view to who asks, having tried their password where one is asked for. `None`: nothing there for them.
pub(in crate::public) async fn claim(
    app: &Shared,
    asked: Asked,
    password: Option<Password>,
    address: IpAddr,
    wanted: impl Fn(u64) -> Wanted + Send + Sync,
) -> Result<Option<Claimed>, Refused> {
    let locked = match app.store.transfers.claim(asked, None, &wanted).await {
        Err(ClaimError::Locked(locked)) => locked,
        other => return Ok(other?),
    };
    let password = password.ok_or_else(Refused::password_missing)?;
    let unlocked = app.store.passwords.unlock(locked, password, Trier { asked, address }).await?;
    Ok(app.store.transfers.claim(asked, Some(unlocked), &wanted).await?)
}

/// The bytes of a claimed view, under the name that they were asked for by. A reader with a key may have the receipt again.
pub(in crate::public) async fn answer(
    app: &Shared,
    asked: Asked,
    claimed: Claimed,
    name: &str,
    version: Version,
) -> Result<Response, Refused> {
    let delivery = Delivery::now(&app.core, &claimed);
    // Should this fail, the claim drops before its first byte: the view can be leased again, as often as it takes.
    let receipt = delivery.header(&app.core).await.map_err(Refused::internal)?;
    let receipt = HeaderValue::from_str(&receipt).map_err(Refused::internal)?;
    if let Asked::ByName { account, lookup } = asked {
        app.store.copies.keep(account, lookup, delivery);
    }
    let (range, size) = (claimed.range.clone(), claimed.blob.size);
    app.core.metrics.sent(range.end - range.start);
    let text = |text: &str| HeaderValue::from_str(text).map_err(Refused::internal);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start)),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (header::ETAG, text(&etag(name))?),
        (
            HeaderName::from_static(BURNED_HEADER),
            HeaderValue::from_static(if claimed.last { "true" } else { "false" }),
        ),
        (HeaderName::from_static(HASH_HEADER), text(name)?),
        (HeaderName::from_static(receipt::HEADER), receipt),
        log_receipt(&claimed.receipt)?,
    ];
    // HTTP/1 asks for no chunk that it cannot write; HTTP/2 asks ahead of what the reader's window allows.
    let body = if version == Version::HTTP_2 { claimed.body.until_taken() } else { claimed.body };
    let mut response = (headers, Body::new(body)).into_response();
    if let Some(chunk_size) = claimed.blob.chunk_size {
        response
            .headers_mut()
            .insert(HeaderName::from_static(CHUNK_SIZE_HEADER), HeaderValue::from(chunk_size));
    }
    if range != (0..size) {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let part = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
        response.headers_mut().insert(header::CONTENT_RANGE, text(&part)?);
    }
    Ok(response)
}

/// What `Range` and `If-Range` ask for. Other conditions mean nothing here: a blob is never in a cache.
pub(in crate::public) fn wanted(
    headers: &HeaderMap,
    name: &str,
) -> impl Fn(u64) -> Wanted + Send + Sync + use<> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let mut conditions = conditions::Conditions::new(false);
    conditions.range(text(header::RANGE), text(header::IF_RANGE));
    let validators = Validators { etag: etag(name), modified: None };
    move |size| match conditions.select(&validators, size) {
        Selection::Part { first, last } => Wanted::Part { first, last },
        Selection::Beyond => Wanted::Beyond,
        Selection::Whole | Selection::NotModified => Wanted::Whole,
    }
}

/// A blob under a name never changes.
fn etag(name: &str) -> String {
    format!("\"{name}\"")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_password_is_the_same_however_a_client_writes_it() {
        let written = |bytes: &[u8]| {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static(PASSWORD_HEADER),
                HeaderValue::from_bytes(bytes).unwrap(),
            )]);
            in_header(&headers).unwrap().map(|password| password.bytes().to_vec())
        };
        assert_eq!(written("grün".as_bytes()).unwrap(), "grün".as_bytes());
        assert_eq!(written(b"gr\xfcn").unwrap(), "grün".as_bytes());
        assert_eq!(written(b"plain").unwrap(), b"plain");
        assert!(written(b"").is_none());
    }
}

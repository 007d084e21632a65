//! Refusals of the public listener: one type from cause to answer, so that equal causes look equal.
//!
//! Everything a caller may not read (unknown, expired, burned, somebody else's) is [`Refused::gone`], byte for byte. Causes
//! that are ours (disk, database) are logged where they are turned into an answer and say nothing about the inside.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use paramant_protocol::refusal::{DRAINING, Refusal, TIER_LIMIT_USERS};
use serde_json::{Value, json};

use crate::accounts::AccountError;
use crate::devices::DeviceError;
use crate::drain::UploadsRefused;
use crate::log_service::LogError;
use crate::passwords::PasswordError;
use crate::store::meta::MetaError;
use crate::transfer::{CancelError, ClaimError, UploadError};
use crate::unrecorded::Unrecorded;

/// An answer that is not what was asked for.
#[derive(Debug)]
pub struct Refused(Box<Answer>);

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    body: Value,
    headers: HeaderMap,
}

impl Refused {
    /// A refusal with a machine code or a sentence.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self::with_body(status, json!(Refusal::new(error)))
    }

    /// A refusal whose body the protocol fixes.
    pub fn with_body(status: StatusCode, body: Value) -> Self {
        Self(Box::new(Answer { status, body, headers: HeaderMap::new() }))
    }

    /// 400 with a sentence or code.
    pub fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// 401: no valid key.
    pub fn unauthorized() -> Self {
        let refusal = Refusal::new("a valid API key is required").hint("send it in the X-Api-Key header");
        Self::with_body(StatusCode::UNAUTHORIZED, json!(refusal))
    }

    /// 401: not the admin.
    pub fn not_admin() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "the admin token is required")
    }

    /// 403 with a sentence.
    pub fn forbidden(error: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, error)
    }

    /// The one 404 for whatever this caller may not read.
    pub fn gone() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not found: unknown, expired, or already read")
    }

    /// 429 with the time to wait.
    pub fn too_many(seconds: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too many requests; wait and try again").retry_after(seconds)
    }

    /// 403: the plan of this key does not offer it.
    pub fn upgrade_required(feature: &'static str) -> Self {
        let message = "the plan of this key does not offer this; an admin can give it another";
        let body = json!({ "error": "tier_upgrade_required", "feature": feature, "message": message });
        Self::with_body(StatusCode::FORBIDDEN, body)
    }

    /// 500, and the cause in the log.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the relay could not do this; its log says why")
    }

    /// 503: shutting down, or the log takes no entries.
    pub fn unavailable(cause: impl std::fmt::Display) -> Self {
        tracing::warn!(%cause, "a request was refused for now");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the relay cannot do this now; try again").retry_after(10)
    }

    /// With another header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// The status it will have.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// 401: a blob asks for its password.
    pub fn password_missing() -> Self {
        let refusal = Refusal::new("this blob asks for a password").hint("send it in X-Blob-Password");
        let scheme = HeaderValue::from_static("X-Blob-Password");
        Self::with_body(StatusCode::UNAUTHORIZED, json!(refusal)).header(header::WWW_AUTHENTICATE, scheme)
    }

    /// With `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        self
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Answer { status, body, headers } = *self.0;
        (status, headers, Json(body)).into_response()
    }
}

impl From<UploadsRefused> for Refused {
    fn from(refused: UploadsRefused) -> Self {
        let seconds = refused.retry_after.as_secs().max(1);
        let body = json!({ "error": DRAINING, "hint": refused.to_string(), "retry_after_s": seconds });
        Self::with_body(StatusCode::SERVICE_UNAVAILABLE, body).retry_after(seconds)
    }
}

impl From<MetaError> for Refused {
    fn from(error: MetaError) -> Self {
        match error {
            MetaError::Full => disk_full(),
            MetaError::Closed => Self::unavailable(error),
            MetaError::Sqlite(_) => Self::internal(error),
        }
    }
}

impl From<LogError> for Refused {
    fn from(error: LogError) -> Self {
        Self::unavailable(error)
    }
}

impl From<Unrecorded> for Refused {
    fn from(error: Unrecorded) -> Self {
        match error {
            Unrecorded::Meta(error) => error.into(),
            Unrecorded::Log(error) => error.into(),
            Unrecorded::Entry(_) => Self::internal(error),
        }
    }
}

impl From<UploadError> for Refused {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::DiskFull => disk_full(),
            UploadError::OverLimit(over) => {
                let body = json!({
                    "ok": false,
                    "error": over.to_string(),
                    "retry_after_s": 10,
                    "slots_available": 0,
                    "bytes_in_flight": over.bytes,
                });
                Self::with_body(StatusCode::SERVICE_UNAVAILABLE, body).retry_after(10)
            }
            UploadError::InProgress => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).retry_after(1)
            }
            UploadError::NotCommitted => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).retry_after(60)
            }
            UploadError::Quota(quota) => Self::with_body(
                StatusCode::PAYMENT_REQUIRED,
                json!({
                    "error": "monthly_transfer_quota_reached",
                    "dimension": "transfers_month",
                    "plan": quota.plan,
                    "limit": quota.limit,
                }),
            ),
            UploadError::TooManyOpen { .. } | UploadError::TooMuchOpen { .. } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()).retry_after(60)
            }
            UploadError::Log(error) => error.into(),
            UploadError::Meta(error) => error.into(),
            UploadError::Io(_) | UploadError::Internal(_) => Self::internal(error),
        }
    }
}

impl From<ClaimError> for Refused {
    fn from(error: ClaimError) -> Self {
        match error {
            // Whoever claims asks for the password first; only a blob that took another's place meanwhile comes here.
            ClaimError::Locked(_) => Self::password_missing(),
            ClaimError::Meta(error) => error.into(),
            ClaimError::Log(error) => error.into(),
            ClaimError::Beyond { size } => {
                let range = HeaderValue::try_from(format!("bytes */{size}"));
                let range = range.unwrap_or(HeaderValue::from_static("bytes */*"));
                Self::new(StatusCode::RANGE_NOT_SATISFIABLE, error.to_string())
                    .header(header::CONTENT_RANGE, range)
            }
            ClaimError::Entry(_) | ClaimError::Io(_) => Self::internal(error),
        }
    }
}

impl From<PasswordError> for Refused {
    fn from(error: PasswordError) -> Self {
        let text = error.to_string();
        match error {
            PasswordError::Length => Self::bad(text),
            PasswordError::Wrong => Self::new(StatusCode::FORBIDDEN, text),
            PasswordError::InProgress => Self::new(StatusCode::TOO_MANY_REQUESTS, text).retry_after(1),
            PasswordError::Exhausted { wait } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, text).retry_after(wait.as_secs() + 1)
            }
            PasswordError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(5),
            PasswordError::Internal(_) => Self::internal(text),
        }
    }
}

impl From<CancelError> for Refused {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::Meta(error) => error.into(),
            CancelError::NotDestroyed | CancelError::Burning => Self::unavailable(error).retry_after(1),
        }
    }
}

impl From<DeviceError> for Refused {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::Taken => Self::new(StatusCode::CONFLICT, error.to_string()),
            DeviceError::TooMany { limit, plan } => {
                let body = json!({ "error": error.to_string(), "limit": limit, "plan": plan });
                Self::with_body(StatusCode::TOO_MANY_REQUESTS, body).retry_after(3600)
            }
            DeviceError::Unrecorded(error) => error.into(),
        }
    }
}

impl From<AccountError> for Refused {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Cap { current, max } => Self::with_body(
                StatusCode::PAYMENT_REQUIRED,
                json!({
                    "error": TIER_LIMIT_USERS,
                    "message": error.to_string(),
                    "current_keys": current,
                    "max_keys": max,
                    "upgrade_url": "https://paramant.app/pricing",
                }),
            ),
            AccountError::Keys { max } => Self::with_body(
                StatusCode::PAYMENT_REQUIRED,
                json!({ "error": error.to_string(), "current_keys": max, "max_keys": max }),
            ),
            AccountError::Invalid(reason) => Self::bad(reason),
            AccountError::UnknownKey => Self::new(StatusCode::NOT_FOUND, "key_not_found"),
            AccountError::Unrecorded(error) => error.into(),
        }
    }
}

/// 507: nothing was kept, and nothing is left behind.
fn disk_full() -> Refused {
    let error = "the relay has no disk space left for this; nothing was kept";
    Refused::new(StatusCode::INSUFFICIENT_STORAGE, error).retry_after(60)
}

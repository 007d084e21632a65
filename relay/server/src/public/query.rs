//! What stands behind `?`, read into a type; what does not fit is refused as everything else is, in JSON.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::errors::Refused;

/// As axum's own, but for how it refuses.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        let read = axum::extract::Query::try_from_uri(&parts.uri);
        let axum::extract::Query(read) = read.map_err(|error| {
            // "Failed to deserialize query string: " is ours to say, what follows is about the caller's words.
            let why = error.body_text();
            let why = why.rsplit_once("string: ").map_or(why.as_str(), |(_, why)| why);
            Refused::bad(format!("the query does not fit: {why}"))
        })?;
        Ok(Self(read))
    }
}

//! Who is calling: an API key, a DID that acts for one, the admin, or just an address; and how often each may.
//!
//! Extractors: a handler that takes [`Key`] has the principal, however the request showed it, and answers 401 without; one that takes [`Admin`] without the admin's
//! token. All of them count against a rate ([`crate::rates`]). Reads of the log take none of these and are never limited.

pub(crate) mod signed;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use paramant_protocol::download::{ADMIN_TOKEN_HEADER, API_KEY_HEADER};

use super::errors::Refused;
use crate::accounts::Principal;
use crate::app::Shared;
use crate::listener::ClientAddress;
use crate::rates::Caller;

/// A request that carries an active API key, or that a DID signed which acts for one; within the key's rate.
#[derive(Debug, Clone)]
pub struct Key(pub Arc<Principal>);

/// A request that carries the admin's token.
#[derive(Debug, Clone, Copy)]
pub struct Admin;

/// A request from an address that is within its rate; for routes that need no key.
#[derive(Debug, Clone, Copy)]
pub struct Anyone(pub IpAddr);

impl FromRequestParts<Shared> for Key {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refused> {
        match known(parts, app).await? {
            Some(principal) => Ok(Self(principal)),
            None => {
                admit(app, Caller::at(address(parts)))?;
                Err(Refused::unauthorized())
            }
        }
    }
}

impl FromRequestParts<Shared> for Admin {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refused> {
        if is_admin(&parts.headers, app) {
            return Ok(Self);
        }
        admit(app, Caller::at(address(parts)))?;
        Err(Refused::not_admin())
    }
}

impl FromRequestParts<Shared> for Anyone {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refused> {
        let address = address(parts);
        admit(app, Caller::at(address))?;
        Ok(Self(address))
    }
}

/// Who this request acts for, within their rate; `None` for everybody else, who are not counted here.
pub async fn known(parts: &Parts, app: &Shared) -> Result<Option<Arc<Principal>>, Refused> {
    match principal(&parts.headers, app) {
        Some(principal) => {
            admit(app, Caller::Key(principal.kid.clone()))?;
            Ok(Some(principal))
        }
        None => signed::principal(parts, app).await,
    }
}

/// The holder of the API key in these headers.
pub fn principal(headers: &HeaderMap, app: &Shared) -> Option<Arc<Principal>> {
    app.store.accounts.authenticate(text(headers, API_KEY_HEADER)?)
}

/// Whether these headers carry the admin's token: `X-Admin-Token`, else `Authorization: Bearer`.
pub fn is_admin(headers: &HeaderMap, app: &Shared) -> bool {
    let bearer = || text(headers, AUTHORIZATION.as_str())?.strip_prefix("Bearer ");
    let presented = text(headers, ADMIN_TOKEN_HEADER).or_else(bearer);
    presented.is_some_and(|token| app.store.admin.is_admin(token))
}

pub(super) fn admit(app: &Shared, caller: Caller) -> Result<(), Refused> {
    let per_minute = app.core.settings.current().limits.requests_per_minute;
    let admitted = app.store.rates.admit(&caller, per_minute);
    admitted.map_err(|wait| Refused::too_many(wait.as_secs() + 1))
}

fn address(parts: &Parts) -> IpAddr {
    let known = parts.extensions.get::<ClientAddress>();
    known.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.0)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().filter(|value| !value.is_empty())
}

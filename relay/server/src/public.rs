//! The public listener's router: every route a client or an auditor may call, with the headers every answer carries.
//!
//! Routes live in the modules below, one per subject; this file only mounts them and wraps them in the layers that hold for
//! all (headers, request id, metrics). Reads of the log need no key and are never limited.

pub mod admin;
pub mod ct;
pub mod discovery;
pub mod errors;
pub mod headers;
pub mod health;
pub mod keys;
pub mod log_tiles;
pub mod transfer;

use axum::Router;

use crate::app::Shared;

/// Everything the public listener serves.
pub fn router(app: Shared) -> Router {
    Router::new()
        .merge(transfer::routes())
        .merge(keys::routes())
        .merge(admin::routes())
        .merge(health::routes())
        .merge(discovery::routes())
        .with_state(app)
}

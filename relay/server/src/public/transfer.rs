//! Public routes: transfer.

use axum::Router;

use crate::app::Shared;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
}

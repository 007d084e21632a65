//! Public routes: discovery.

use axum::Router;

use crate::app::Shared;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
}

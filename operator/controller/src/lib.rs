//! The operator process around the pure decisions of `paramant-operator-core`: watches, a queue, leader election, the control
//! channel to relays, and the few writes that follow from a decision.
//!
//! Two binaries' worth of parts, kept apart by what they may touch: only [`reconcile`] and [`leader`] write to the cluster
//! (and [`authority`], once), only [`control`] speaks to relays, only [`registry`] to registries. None of them waits for
//! another: they share the local stores, the queue, and values behind short locks.

pub mod api_client;
pub mod authority;
pub mod backoff;
pub mod census;
pub mod control;
#[cfg(test)]
mod fake_api;
pub mod first_pass;
pub mod health;
pub mod key;
pub mod leader;
pub mod logging;
pub mod metrics;
pub mod preflight;
pub mod probes;
pub mod queue;
pub mod reconcile;
pub mod registry;
pub mod release_keys;
pub mod rights;
pub mod run;
pub mod schema;
pub mod sentence;
pub mod settings;
pub mod staleness;
pub mod stores;
pub mod traces;
pub mod triggers;
pub mod watches;

/// The release this binary was built as; a build for a release sets `PARAMANT_VERSION`.
pub const VERSION: &str = match option_env!("PARAMANT_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// The one field manager of everything this operator writes.
pub const FIELD_MANAGER: &str = paramant_operator_core::children::FIELD_MANAGER;

/// The Lease by which operators of one namespace elect their leader.
pub const LEASE: &str = "paramant-operator";

//! The relay process as a library: the binary is a thin `main`, tests and benches start the same [`app::App`] in-process.
//!
//! Three rims (public, control, probes) share one [`app::App`]. Decisions are pure functions in `paramant-protocol`,
//! `paramant-licensing` and the `decide`-like functions here; this crate does the I/O. Only [`outbound`] dials, and in a cluster
//! not even that: there the [`courier`], another process of this program, carries what leaves.

pub mod account_views;
pub mod accounts;
pub mod actions;
pub mod adoption;
pub mod app;
mod archive;
pub mod backup;
pub mod backup_command;
pub mod control;
pub mod courier;
pub mod data_dir;
pub mod devices;
pub mod dids;
pub mod directives;
pub mod drain;
pub mod entries;
mod failed_sync;
mod gossip;
pub mod identity;
pub mod invitations;
pub mod license;
pub mod listener;
pub mod log_command;
mod log_copy;
mod log_search;
pub mod log_service;
mod logging;
pub mod metrics;
pub mod outbound;
pub mod panel_sessions;
pub mod passwords;
pub mod plans;
pub mod probes;
pub mod process;
pub mod program;
pub mod public;
pub mod rates;
pub mod receipts;
#[cfg(any(test, feature = "rehearsal"))]
pub mod rehearsal;
pub mod sessions;
pub mod settings;
pub mod setup_code;
pub mod shutdown;
pub mod store;
pub mod streams;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod test_relay;
mod totp;
pub mod transfer;
mod unattended;
pub mod unrecorded;
pub mod webhooks;
pub mod witnesses;
pub mod world;

/// The release, as images and reports name it.
pub const VERSION: &str = match option_env!("PARAMANT_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

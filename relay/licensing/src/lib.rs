//! What a licence grants, as pure functions: documents are verified here, time and accepted keys are passed in.
//!
//! Invariants: a licence that fails any check grants nothing and breaks nothing; no document, state or clock here can stop
//! a relay from starting, serving downloads, burning, logging or draining. [`offline::OfflineLicense`] can only come from a
//! verifier. Called by the relay (state), the authority (issuing) and the CLI (showing).
//!
//! Nothing of the online check counts before the relay's own log holds it: [`state::Evidence`] takes [`logged::Logged`] only.

pub mod actions;
pub mod clock;
pub mod logged;
pub mod offline;
pub mod online;
pub mod schedule;
mod signed;
pub mod state;
pub mod verified;

pub use logged::Logged;
pub use offline::{AcceptedKeys, OfflineError, OfflineLicense, UserCap};
pub use online::OnlineKey;
pub use state::{Evidence, State, state};
pub use verified::Verified;

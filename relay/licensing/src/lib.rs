//! What a licence grants, as pure functions: documents are verified here, time and accepted keys are passed in.
//!
//! Invariants: a licence that fails any check grants nothing and breaks nothing; no document, state or clock here can stop
//! a relay from starting, serving downloads, burning, logging or draining. [`offline::OfflineLicense`] can only come from a
//! verifier. Called by the relay (state), the authority (issuing) and the CLI (showing).
//!
//! Today's states are Community and Offline; the online check joins as further fields of [`state::Evidence`] and further
//! variants of [`state::State`], which is why both are `#[non_exhaustive]`.

pub mod clock;
pub mod offline;
pub mod state;

pub use offline::{AcceptedKeys, OfflineError, OfflineLicense, UserCap};
pub use state::{Evidence, State, state};

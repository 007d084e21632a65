//! Pure decisions of the operator: no Kubernetes client, no runtime, no clock, no I/O.
//!
//! [`decide`] is one function of what is seen and what time it is. It answers with the whole next status, the intents to
//! apply, what the relay shall be told, and at most one disruptive act, which was written to status in an earlier pass.
//! Everything it needs is handed in ([`observation`]), everything it wants is handed back ([`decision`]); the
//! controller does the rest. Applying a decision and deciding again must come to rest: see `tests/`.

pub mod acceptance;
pub mod change;
pub mod children;
pub mod conditions;
pub mod covers;
mod decide;
pub mod decision;
pub mod destination;
pub mod digest;
pub mod drain;
pub mod durable;
pub mod events;
pub mod gate;
pub mod kept;
pub mod log_check;
pub mod machine;
pub mod observation;
pub mod offer;
pub mod pod;
pub mod release;
pub mod remote;
pub mod rivals;
pub mod rotation;
pub mod rules;
pub mod signature;
pub mod situation;
pub mod standing;
pub mod status;
pub mod target;
pub mod validation;
pub mod way_back;
pub mod window;
pub mod witnessing;

pub use change::Change;
pub use covers::covers;
pub use decide::decide;
pub use decision::{Decision, DeletedKind, Deletion, Event, EventType, ImageRef};
pub use digest::Digest;
pub use durable::Durable;
pub use observation::{
    Children, Context, CourierChildren, LicenseServers, Observation, Referenced, Refused, Report, Resolution,
    Rival, Shared,
};
pub use standing::{license_end, license_status, policy_status};

/// An annotation by which a person agrees to a changed control key: its value is the key's SHA-256, lower-case hex.
pub const ACCEPT_CONTROL_KEY: &str = "paramant.app/accept-control-key";

//! Pure decisions of the operator: no Kubernetes client, no runtime, no clock, no I/O.
//!
//! [`decide`] is one function of what is seen and what time it is. It answers with the whole next status, the intents to
//! apply, what the relay shall be told, and at most one disruptive act, which was written to status in an earlier pass.
//! Everything it needs is handed in ([`observation`]), everything it wants is handed back ([`decision`]); the
//! controller does the rest. Applying a decision and deciding again must come to rest: see `tests/`.

pub mod children;
pub mod covers;
pub mod decision;
pub mod digest;
pub mod durable;
pub mod gate;
pub mod machine;
pub mod observation;

pub use covers::covers;
pub use decision::{Decision, DeletedKind, Deletion, Event, EventType, ImageRef};
pub use digest::Digest;
pub use durable::Durable;
pub use observation::{Children, Context, Observation, Referenced, Report, Resolution, Rival, Shared};

//! Remote actions: what a vendor may ask of a relay, as signed requests in a reply or an air-gap file. There are exactly four kinds.
//!
//! A request alone says everything: which relay, its place in that relay's chain, who asks in which role, why, until when. [`judge`]
//! decides whether it may be acted upon at all; what the policy then says, and any effect, comes only after this relay's log holds
//! it ([`crate::logged`]): then [`answer`] says what the admin's policy makes of it, and [`Effect`] what it brings about.

pub mod actor;
mod chain;
mod effect;
mod policy;
mod request;
mod silence;

pub use self::chain::{Chain, Judged, judge};
pub use self::effect::{Draining, Effect, Offered, Support, Terms};
pub use self::policy::{Answer, PATIENCE, Said, answer, ends_at, rule};
pub use self::request::{
    Ask, LONGEST_SUPPORT, MAX_REQUEST, Offer, Request, Role, SHORTEST_SUPPORT, Unverifiable, Why,
};
pub use self::silence::Silence;

#[cfg(test)]
mod tests;

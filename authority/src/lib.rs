//! The other side of licensing: a reference authority, for tests and for organisations that license their own relays.
//!
//! It issues offline licences ([`issue`]), keeps online ones in a book of its own ([`book`]), and answers check-ins ([`answer`])
//! with replies signed by ML-DSA-65 keys that rotate ([`keys`]). What it decides by cannot see telemetry ([`decide`]), and it
//! stores no more than the protocol sends. What it asks of relays stands in a chain for each ([`requests`]). The faults it can show on demand ([`faults`]) are for those who test relays.

pub mod answer;
pub mod book;
pub mod decide;
pub mod faults;
pub mod issue;
pub mod keys;
pub mod requests;
mod seed;
pub mod serve;

pub use seed::{Seed, create as create_seed, offline as offline_key, read as read_seed};

//! Wire types of the relay's interfaces. Pure: no I/O, no clock, no randomness; callers pass time, salts and keys in.
//!
//! Who may call it: every other crate but `crds` and `log`. Shapes follow the published protocol (its section numbers are
//! cited as "protocol §n"); where one differs, the item says why. What is signed or hashed is written by
//! [`canonical`] and nowhere else.

pub mod bound_token;
pub mod canonical;
pub mod chunks;
pub mod conditions;
pub mod control;
pub mod device;
pub mod did;
pub mod discovery;
pub mod download;
pub mod entry;
pub mod fingerprint;
pub mod gossip;
pub mod id;
pub mod leaf;
pub mod moment;
pub mod named_keys;
pub mod offered;
pub mod path;
pub mod period;
pub mod pqhb;
pub mod public_host;
pub mod receipt;
pub mod refusal;
pub mod size;
pub mod sth;
pub mod strict;
pub mod transparency;
pub mod upload;

//! One relay against a small make-believe cluster: decide, act, look again, until nothing changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod approvals;
mod cluster;
mod converge;
mod couriers;
mod directives;
mod faults;
mod fence;
mod interrupted;
mod killed;
mod lost;
mod memory;
mod mounts;
mod not_taken;
mod offers;
mod overrun;
mod properties;
mod refusals;
mod remote;
mod schema;
mod signatures;
mod status;
mod takeover;
mod verified;

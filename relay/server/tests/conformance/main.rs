//! The published wire protocol, case by case, as `docs/spec/conformance` holds it: data written from the protocol document alone,
//! run against real relay processes over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

mod compatibility;
mod coverage;
mod functions;
mod keys;
mod language;
mod matching;
mod relay;
mod runner;
mod selftest;
mod socket;
mod suite;
mod value;
mod vectors;
mod wire;

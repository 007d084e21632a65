//! The parts of the operator that speak to registries, against real ones and against hostile ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod hostile;
mod image;
mod private;
mod server;
mod signed;

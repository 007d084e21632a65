//! The client against a small relay in this process, and against the published Python SDK.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod hostile;
mod http;
mod sdk;

//! The client against a small relay in this process, against logs of the real engine, and against the published Python SDK.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod copies;
mod hostile;
mod http;
mod made_log;
mod sdk;
mod served;
mod tampering;
mod vectors;

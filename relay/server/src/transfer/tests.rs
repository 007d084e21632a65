//! The transfer path without HTTP, one file for each step that races with another.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cancel;
mod chunked;
mod clock;
mod lease;
mod repeat;
mod sweep;
mod upgrade;

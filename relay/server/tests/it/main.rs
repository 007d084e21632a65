//! The relay over a real socket: one process, a temporary data directory, real clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod admin;
mod control;
mod courier;
mod crash;
mod devices;
mod download;
mod full_disk;
mod limits;
mod listener;
mod log;
mod process;
mod relay;
mod sdk;
mod upload;
mod witness;
mod witnesses;

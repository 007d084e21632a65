//! The relay over a real socket: one process, a temporary data directory, real clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod admin;
mod adopt;
mod anchors;
mod archive;
mod browser;
mod caching;
mod control;
mod courier;
mod crash;
mod cutting_line;
mod devices;
mod download;
mod fence;
mod full_disk;
mod gossip;
mod large;
mod limits;
mod listener;
mod log;
mod log_index;
mod log_keys;
mod pages;
mod process;
mod ranges;
mod receipts;
mod relay;
mod sdk;
mod spawned;
mod stranger;
mod struck;
mod upload;
mod uploads;
mod witness;
mod witnesses;

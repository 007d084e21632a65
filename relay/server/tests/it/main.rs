//! The relay over a real socket: one process, a temporary data directory, real clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod admin;
mod adopt;
mod alike;
mod anchors;
mod anonymous;
mod archive;
mod browser;
mod caching;
mod control;
mod courier;
mod crash;
mod devices;
mod download;
mod fence;
mod full_disk;
mod gossip;
mod limits;
mod links;
mod listener;
mod log;
mod log_index;
mod log_keys;
mod pages;
mod passwords;
mod process;
mod receipts;
mod relay;
mod sdk;
mod sessions;
mod spawned;
mod stranger;
mod struck;
mod upload;
mod witness;
mod witnesses;

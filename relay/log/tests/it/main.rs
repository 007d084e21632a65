//! Integration tests of the log engine, through its public interface only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backup;
mod concurrency;
mod crash;
mod damage;
mod damaged_tiles;
mod judges;
mod reading;
mod restart;
mod strace;
mod support;

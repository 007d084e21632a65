//! The vectors of `docs/spec/vectors`, which a program that shares no code with this one made from the specification alone,
//! held against our readers, hashers and verifiers. What they accept we accept, what they refuse we refuse.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bundles;
mod canonical;
mod entries;
mod files;
mod heads;
mod keys;
mod leaves;
mod notes;
mod proofs;
mod receipts;
mod story;
mod transfers;
mod trees;
mod witnesses;

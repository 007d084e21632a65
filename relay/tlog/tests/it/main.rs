//! Integration tests of the tree mathematics and the signed formats.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cosignatures;
mod notes;
mod policies;
mod published_vectors;
mod tiles;
mod trees;
mod witnesses;

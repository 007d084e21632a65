//! `cargo xtask images`.

pub(crate) mod layer;

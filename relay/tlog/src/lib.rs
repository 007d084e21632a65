//! The mathematics of a dual-tree transparency log, with no input or output of its own.
//!
//! Two Merkle trees of one shape stand over the same entries: SHA-256 in the form of RFC 6962, which every outside
//! tool understands, and SHA3-256 as the relay's published protocol defines it. This crate hashes, appends, proves and
//! verifies in both, cuts and names tiles (C2SP tlog-tiles), and signs, formats and parses checkpoints
//! (C2SP signed-note, tlog-checkpoint, tlog-cosignature), and weighs cosignatures by a policy (C2SP tlog-policy).
//!
//! Invariant kept everywhere: the length and the sides of a proof follow from index and tree size, never from the proof.

pub mod bundle;
pub mod checkpoint;
pub mod cosignature;
pub mod hash;
pub mod keys;
pub mod legacy;
pub mod note;
pub mod policy;
pub mod proof;
pub mod range;
pub mod tile;
pub mod tlog_proof;
pub mod verify;
pub mod vkey;
pub mod witness;

pub use checkpoint::Checkpoint;
pub use hash::{Hash, Tree, entry_leaf};
pub use range::{CompactRange, Node};

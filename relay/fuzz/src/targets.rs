//! The targets, by what they read.

mod control;
mod documents;
mod notes;
mod proofs;
mod tiles;
mod witnesses;

use crate::Target;

/// Every target.
pub const ALL: &[Target] = &[
    notes::NOTE,
    notes::CHECKPOINT,
    notes::VKEY,
    tiles::PATH,
    tiles::BUNDLE,
    documents::ENTRY,
    documents::JSON,
    documents::RECEIPT,
    documents::STH,
    proofs::TLOG_PROOF,
    proofs::PROOF,
    tiles::PQHB,
    witnesses::WITNESS,
    witnesses::POLICY,
    control::CONTROL,
    control::SETTINGS,
];

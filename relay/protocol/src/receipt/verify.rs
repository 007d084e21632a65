//! Whether a receipt holds, offline, with nothing but the relay's identity key.
//!
//! Signature over the whole object, leaf recomputed from what the receipt opens, path with sides and length from (index,
//! tree size). It does not show that the leaf is an entry of the log rather than an inner node of it: only the SHA-256
//! tree shows that (`paramant verify --relay`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Document, Head};
use crate::canonical::CanonicalError;
use crate::leaf::{self, Hash};
use crate::path::{self, PathError, parse_hash};
use crate::sth::{Sth, SthError};

/// Why a receipt proves nothing, in the order of the published checks.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// It carries no signature.
    #[error("the receipt carries no signature")]
    NoSignature,
    /// The signature is not the relay identity's over these bytes.
    #[error("the signature does not verify under this relay identity")]
    SignatureInvalid,
    /// The proof names no leaf.
    #[error("the inclusion proof names no leaf")]
    MissingLeafHash,
    /// (blob hash, sector, ts) do not give the leaf.
    #[error("blob hash, sector and time give the leaf {expected}, the proof names {found}")]
    LeafHashMismatch {
        /// Recomputed.
        expected: String,
        /// In the proof.
        found: String,
    },
    /// The path does not lead from leaf to root.
    #[error("the inclusion proof does not hold: {0}")]
    Inclusion(#[from] PathError),
    /// The root is not a hash.
    #[error("the inclusion proof's root is not 64 lower-case hex digits")]
    Root,
    /// The tree head's signature fails.
    #[error("the tree head does not hold: {0}")]
    SthSignatureInvalid(#[from] SthError),
    /// The tree head is for another root or size.
    #[error("the tree head is for another root or size than the proof")]
    SthRootMismatch,
    /// A field has no canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

impl Invalid {
    /// The published machine code.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoSignature => "no_signature",
            Self::SignatureInvalid | Self::Canonical(_) => "signature_invalid",
            Self::MissingLeafHash => "inclusion_proof_missing_leaf_hash",
            Self::LeafHashMismatch { .. } => "leaf_hash_mismatch",
            Self::Inclusion(_) | Self::Root => "inclusion_proof_invalid",
            Self::SthSignatureInvalid(_) => "sth_signature_invalid",
            Self::SthRootMismatch => "sth_root_mismatch",
        }
    }
}

/// What a valid receipt shows: this leaf, at this index, under this root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The leaf, recomputed from the receipt.
    pub leaf: Hash,
    /// Its index in both trees.
    pub index: u64,
    /// The size of the tree proven.
    pub tree_size: u64,
    /// The root of the SHA3-256 tree at that size.
    pub root: Hash,
    /// The tree head it names, if any; its signature was checked when there was one.
    pub sth: Option<Sth>,
    /// Whether that tree head carried a (valid) signature.
    pub sth_signed: bool,
}

/// Checks a receipt. `signed_by_relay(message, signature)` answers for the relay identity (ML-DSA-65).
pub fn verify(
    document: &Document,
    signed_by_relay: &dyn Fn(&[u8], &[u8]) -> bool,
) -> Result<Opened, Invalid> {
    let receipt = document.receipt();
    let proof = &receipt.inclusion_proof;

    let signature =
        receipt.signature.as_deref().filter(|text| !text.is_empty()).ok_or(Invalid::NoSignature)?;
    let signature = BASE64_STANDARD.decode(signature).map_err(|_| Invalid::SignatureInvalid)?;
    if !signed_by_relay(&document.sign_bytes()?, &signature) {
        return Err(Invalid::SignatureInvalid);
    }

    if proof.leaf_hash.is_empty() {
        return Err(Invalid::MissingLeafHash);
    }
    let mismatch = |expected: String| Invalid::LeafHashMismatch { expected, found: proof.leaf_hash.clone() };
    let blob_hash =
        parse_hash(&receipt.blob_hash).ok_or_else(|| mismatch("none: the blob hash is not a hash".into()))?;
    let leaf = leaf::transfer_leaf(&blob_hash, &receipt.sector, &receipt.ts);
    if parse_hash(&proof.leaf_hash) != Some(leaf) {
        return Err(mismatch(hex::encode(leaf)));
    }

    let root = parse_hash(&proof.root).ok_or(Invalid::Root)?;
    path::check(&leaf, proof.leaf_index, proof.tree_size, &proof.audit_path, &root)?;

    let (sth, sth_signed) = match &proof.sth {
        None => (None, false),
        Some(Head::Bare(head)) => (Some(head.clone()), false),
        Some(Head::Signed(signed)) => (Some(signed.verify(signed_by_relay)?), true),
    };
    if sth.as_ref().is_some_and(|head| head.tree_size != proof.tree_size || head.sha3_root != proof.root) {
        return Err(Invalid::SthRootMismatch);
    }
    Ok(Opened { leaf, index: proof.leaf_index, tree_size: proof.tree_size, root, sth, sth_signed })
}

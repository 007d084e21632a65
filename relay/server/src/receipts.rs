//! Proofs for senders and readers: the entry's inclusion proof, and the signed receipt of a read.
//!
//! A receipt commits to what this relay computed itself (the payload's hash, the entry's exact time) and is signed with its
//! identity. The proof is in a tree whose head was signed, whenever one is to be had in time. Checking a receipt needs only
//! the identity's public key.

use std::time::Duration;

use aws_lc_rs::signature::{ML_DSA_65, UnparsedPublicKey};
use jiff::Timestamp;
use paramant_protocol::moment;
use paramant_protocol::receipt::{self, Document, InclusionProof, Invalid, Opening, Receipt, ReceiptError};
use serde_json::{Value, json};

use crate::app::Core;
use crate::log_service::LogError;
use crate::store::Digest;
use crate::store::blob_rows::BlobRow;
use crate::transfer::Claimed;

/// What a reader waits at most for a signed tree head; one is signed at least every 100 ms under load.
pub const READER_PATIENCE: Duration = Duration::from_millis(300);

/// A proof or receipt could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The proof does not have the shape of its tree: a fault of the log.
    #[error("the log gave a path that does not fit entry {index} of {size}")]
    Shape {
        /// The entry.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The identity refused to sign.
    #[error(transparent)]
    Sign(#[from] crate::identity::SignFailed),
    /// The receipt could not be written.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
}

impl From<paramant_protocol::canonical::CanonicalError> for ProofError {
    fn from(error: paramant_protocol::canonical::CanonicalError) -> Self {
        Self::Receipt(error.into())
    }
}

/// The proof of an entry, under a signed tree head if one covers it within `patience`, else under the durable head.
///
/// # Errors
/// When the log cannot be read.
pub async fn inclusion(
    core: &Core,
    leaf: Digest,
    index: u64,
    patience: Duration,
) -> Result<InclusionProof, ProofError> {
    let sth = core.log.sth_covering(index, patience).await;
    let size = sth.as_ref().map_or_else(|| core.log.head().size, |sth| sth.tree_size);
    let (path, root) = match core.log.new_legacy_inclusion(index, size) {
        Some(found) => found,
        None => {
            let log = core.log.clone();
            let reading = tokio::task::spawn_blocking(move || log.legacy_inclusion(index, size));
            reading.await.unwrap_or(Err(LogError::Ended))?
        }
    };
    let sth = sth.map(|sth| (*sth).clone());
    InclusionProof::new(&leaf.0, index, size, &path, &root, sth).ok_or(ProofError::Shape { index, size })
}

/// The receipt of a read, signed, as its header carries it.
///
/// # Errors
/// When the log cannot be read, or the identity does not sign.
pub async fn for_read(core: &Core, claimed: &Claimed) -> Result<String, ProofError> {
    let blob: &BlobRow = &claimed.blob;
    let index = blob.log_index.unwrap_or_default();
    let proof = inclusion(core, blob.leaf, index, READER_PATIENCE).await?;
    let receipt = Receipt {
        blob_hash: blob.hash.to_string(),
        ts: blob.ts.clone(),
        retrieved_at: Timestamp::now().as_millisecond(),
        sector: blob.sector.clone(),
        relay_id: core.log.relay_id().to_owned(),
        tree_size_at_retrieval: core.log.head().size,
        inclusion_proof: proof.for_header(),
        burn_confirmed: claimed.last,
        claim: Some(Opening { index: claimed.entry_index, salt: claimed.salt.to_string() }),
        signature: None,
    };
    let signature = core.identity.sign(&receipt.sign_bytes()?)?;
    Ok(receipt.signed(&signature).header_value()?)
}

/// The verdict on a receipt that claims to be this relay's, as the protocol words it.
///
/// # Errors
/// When the value is no receipt at all.
pub fn verdict(core: &Core, receipt: Value) -> Result<Value, ReceiptError> {
    let document = Document::from_value(receipt)?;
    let ours = UnparsedPublicKey::new(&ML_DSA_65, core.identity.public_key());
    let signed_by_us = |message: &[u8], signature: &[u8]| ours.verify(message, signature).is_ok();
    Ok(match receipt::verify(&document, &signed_by_us) {
        Ok(opened) => valid(document.receipt(), opened.tree_size, opened.index),
        Err(invalid) => refused(&invalid),
    })
}

fn valid(receipt: &Receipt, tree_size: u64, leaf_index: u64) -> Value {
    let at = Timestamp::from_millisecond(receipt.retrieved_at).unwrap_or_default();
    json!({
        "valid": true,
        "blob_hash": receipt.blob_hash,
        "retrieved_at": moment::millis(at),
        "sector": receipt.sector,
        "relay_id": receipt.relay_id,
        "burn_confirmed": receipt.burn_confirmed,
        "tree_size": tree_size,
        "leaf_index": leaf_index,
        "tree_size_at_retrieval": receipt.tree_size_at_retrieval,
    })
}

fn refused(invalid: &Invalid) -> Value {
    json!({ "valid": false, "reason": invalid.reason(), "detail": invalid.to_string() })
}

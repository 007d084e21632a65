//! Proofs for senders and readers: the entry's inclusion proof, and the signed receipt of a read.
//!
//! A receipt commits to what this relay computed itself (the payload's hash, the entry's exact time) and is signed with its
//! identity. The proof is in a tree whose head was signed, whenever one is to be had in time. Checking a receipt needs only
//! the identity's public key. What a receipt says is remembered for a while ([`copies`]), so that a reader who lost the header can
//! have it again.

pub mod copies;

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

/// What a receipt says, apart from the proof of it.
#[derive(Debug, Clone)]
pub struct Delivery {
    hash: Digest,
    leaf: Digest,
    index: u64,
    ts: String,
    sector: String,
    retrieved_at: i64,
    tree_size: u64,
    last: bool,
    claim: (u64, Digest),
}

impl Delivery {
    /// The read that begins with this claim, now.
    #[must_use]
    pub fn now(core: &Core, claimed: &Claimed) -> Self {
        let blob: &BlobRow = &claimed.blob;
        Self {
            hash: blob.hash,
            leaf: blob.leaf,
            index: blob.log_index.unwrap_or_default(),
            ts: blob.ts.clone(),
            sector: blob.sector.clone(),
            retrieved_at: Timestamp::now().as_millisecond(),
            tree_size: core.log.head().size,
            last: claimed.last,
            claim: (claimed.entry_index, claimed.salt),
        }
    }

    /// The receipt as its header carries it: the tree head without its signature, or published clients would lose the blob.
    ///
    /// # Errors
    /// When the log cannot be read, or the identity does not sign.
    pub async fn header(&self, core: &Core) -> Result<String, ProofError> {
        let proof = inclusion(core, self.leaf, self.index, READER_PATIENCE).await?;
        Ok(self.signed(core, proof.for_header())?.header_value()?)
    }

    /// The whole receipt, with the tree head's signature. Its proof is of now: of a tree at least as large.
    ///
    /// # Errors
    /// As [`Delivery::header`].
    pub async fn whole(&self, core: &Core) -> Result<Receipt, ProofError> {
        self.signed(core, inclusion(core, self.leaf, self.index, READER_PATIENCE).await?)
    }

    fn signed(&self, core: &Core, inclusion_proof: InclusionProof) -> Result<Receipt, ProofError> {
        let (index, salt) = self.claim;
        let receipt = Receipt {
            blob_hash: self.hash.to_string(),
            ts: self.ts.clone(),
            retrieved_at: self.retrieved_at,
            sector: self.sector.clone(),
            relay_id: core.log.relay_id().to_owned(),
            tree_size_at_retrieval: self.tree_size,
            inclusion_proof,
            burn_confirmed: self.last,
            claim: Some(Opening { index, salt: salt.to_string() }),
            signature: None,
        };
        let signature = core.identity.sign(&receipt.sign_bytes()?)?;
        Ok(receipt.signed(&signature))
    }
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

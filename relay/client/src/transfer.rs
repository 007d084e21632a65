//! Sending and receiving a file, whole: keys, envelope, upload; download, hash, envelope, receipt.

use paramant_protocol::device::DeviceKeys;
use paramant_protocol::id::BlobHash;
use paramant_protocol::pqhb::PadBlock;
use paramant_protocol::receipt::{Document, Invalid, ReceiptError, verify};
use paramant_protocol::upload::{UploadAnswer, UploadMeta, UploadTerms};

use crate::device::Device;
use crate::envelope::{self, OpenError, Opened, PreShared};
use crate::error::ClientError;
use crate::identity::RelayIdentity;
use crate::password::Password;
use crate::relay::{Progress, Relay};

/// How to send.
#[derive(Clone)]
pub struct Sending {
    /// The block to pad to.
    pub pad: PadBlock,
    /// Lifetime in milliseconds; `None` leaves it to the relay.
    pub ttl_ms: Option<u64>,
    /// How often it may be read.
    pub max_views: Option<u64>,
    /// Mixed into the key.
    pub pre_shared: Option<PreShared>,
    /// What the relay shall ask readers for.
    pub password: Option<Password>,
    /// Whether to sign.
    pub sign: bool,
}

impl Default for Sending {
    fn default() -> Self {
        Self {
            pad: PadBlock::M5,
            ttl_ms: None,
            max_views: None,
            pre_shared: None,
            password: None,
            sign: true,
        }
    }
}

/// A received blob, before anything is written.
pub struct Received {
    /// The bytes as they came: kept, since the relay may have none any more.
    pub blob: Vec<u8>,
    /// The content, or why it could not be opened.
    pub content: Result<Opened, OpenError>,
    /// Whether this read removed it from the relay.
    pub burned: bool,
    /// The receipt, if one came that can be read.
    pub receipt: Option<Result<Document, ReceiptError>>,
}

/// Encrypts and uploads.
pub async fn send(
    relay: &Relay,
    plaintext: Vec<u8>,
    from: &Device,
    to: &DeviceKeys,
    how: &Sending,
    progress: &Progress,
) -> Result<UploadAnswer, ClientError> {
    let sender = how.sign.then_some(from);
    let blob = envelope::seal(plaintext, &to.kem_pub, sender, how.pre_shared.as_ref(), how.pad)?;
    let terms = UploadTerms {
        ttl_ms: how.ttl_ms,
        max_views: how.max_views,
        meta: Some(UploadMeta { device_id: Some(from.name().clone()), ..UploadMeta::default() }),
        password: how.password.as_ref().map(|password| password.reveal().to_owned()),
        ..UploadTerms::default()
    };
    relay.upload(&blob, &terms, progress).await
}

/// Takes one view and decrypts it. From the moment the bytes are here, nothing more is asked of the relay.
pub async fn receive(
    relay: &Relay,
    hash: &BlobHash,
    device: &Device,
    pre_shared: Option<&PreShared>,
    password: Option<&Password>,
    progress: &Progress,
) -> Result<Received, ClientError> {
    let download = relay.download(hash, password, progress).await?;
    let found = BlobHash::of(&download.bytes);
    if found != *hash {
        return Err(ClientError::OtherBytes { asked: *hash, found });
    }
    let content = envelope::open(&download.bytes, device, pre_shared);
    let receipt = download.receipt.as_deref().map(Document::parse);
    Ok(Received { blob: download.bytes, content, burned: download.burned, receipt })
}

/// Checks a receipt against the relay's identity, and that it is for these bytes.
pub fn check_receipt(
    receipt: &Document,
    hash: &BlobHash,
    identity: &RelayIdentity,
) -> Result<paramant_protocol::receipt::Opened, ReceiptFault> {
    let opened = verify(receipt, &|message, signature| identity.signed(message, signature))?;
    if receipt.receipt().blob_hash != hash.to_string() {
        return Err(ReceiptFault::OtherBlob(receipt.receipt().blob_hash.clone()));
    }
    Ok(opened)
}

/// Why a receipt does not hold for a download.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptFault {
    /// It does not hold at all.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It is for another blob.
    #[error("the receipt is for {0}, not for the bytes received")]
    OtherBlob(String),
}

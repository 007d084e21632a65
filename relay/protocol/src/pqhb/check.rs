//! What a relay checks of a blob that starts with the magic, byte by byte as it arrives (protocol §5.3).
//!
//! Blobs that start otherwise pass unread. Field lengths are not held against algorithms and trailing bytes are allowed:
//! the published vectors use stand-ins, and padding follows. The order of refusals is the published one.

use serde_json::{Value, json};

use super::{HEADER, KEM_ML_KEM_768, MAGIC, NONCE, SIG_ML_DSA_65, SIG_NONE, VERSION};
use crate::discovery::Capabilities;
use crate::refusal::{MALFORMED_WIRE, UNSUPPORTED_ALGORITHM, UNSUPPORTED_WIRE};

/// Why a relay refuses a PQHB blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Too short, flags set, or a length prefix that runs past the end.
    #[error("malformed PQHB blob: {0}")]
    Malformed(&'static str),
    /// A version other than 1.
    #[error("PQHB version {0} is not supported, only 1")]
    Version(u8),
    /// A key encapsulation that is not loaded.
    #[error("KEM {0:#06x} is not supported, only ML-KEM-768 (0x0002)")]
    Kem(u16),
    /// A signature algorithm that is not loaded.
    #[error("signature algorithm {0:#06x} is not supported, only none (0x0000) and ML-DSA-65 (0x0002)")]
    Sig(u16),
}

impl HeaderError {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Version(_) | Self::Kem(_) | Self::Sig(_) => 415,
        }
    }

    /// The JSON body.
    pub fn body(&self) -> Value {
        let algorithm = |kind: &str, id: u16| json!({"error": UNSUPPORTED_ALGORITHM, "kind": kind, "id": id, "supported": Capabilities::ours()});
        match self {
            Self::Malformed(detail) => json!({"error": MALFORMED_WIRE, "detail": detail}),
            Self::Version(version) => {
                json!({"error": UNSUPPORTED_WIRE, "version": version, "supported": [VERSION]})
            }
            Self::Kem(id) => algorithm("KEM", *id),
            Self::Sig(id) => algorithm("SIG", *id),
        }
    }
}

/// Checks a whole blob.
pub fn check(blob: &[u8]) -> Result<(), HeaderError> {
    let mut check = HeaderCheck::default();
    check.push(blob)?;
    check.finish()
}

/// Checks a blob in pieces, holding at most ten bytes of it.
#[derive(Debug, Clone, Default)]
pub struct HeaderCheck {
    stage: Stage,
    unsigned: bool,
}

#[derive(Debug, Clone)]
enum Stage {
    Header {
        seen: usize,
        bytes: [u8; HEADER],
    },
    Length {
        seen: usize,
        bytes: [u8; 4],
        part: Part,
    },
    Skip {
        left: u64,
        part: Part,
    },
    /// Everything checked, or nothing to check.
    Through,
}

/// The part being read or skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    CtKem { signed: bool },
    SenderPub { signed: bool },
    Signature,
    Nonce,
    Ciphertext,
}

impl Part {
    fn next(self) -> Stage {
        let length = |part| Stage::Length { seen: 0, bytes: [0; 4], part };
        match self {
            Self::CtKem { signed } => length(Self::SenderPub { signed }),
            Self::SenderPub { signed: true } => length(Self::Signature),
            Self::SenderPub { signed: false } | Self::Signature => {
                Stage::Skip { left: NONCE as u64, part: Self::Nonce }
            }
            Self::Nonce => length(Self::Ciphertext),
            Self::Ciphertext => Stage::Through,
        }
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::Header { seen: 0, bytes: [0; HEADER] }
    }
}

impl HeaderCheck {
    /// Takes the next bytes of the blob.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), HeaderError> {
        while !bytes.is_empty() {
            match &mut self.stage {
                Stage::Through => return Ok(()),
                Stage::Header { seen, bytes: header } => {
                    fill(header, seen, &mut bytes);
                    let magic = (*seen).min(MAGIC.len());
                    if header.iter().zip(&MAGIC).take(magic).any(|(found, magic)| found != magic) {
                        self.stage = Stage::Through; // not ours to read
                    } else if *seen == HEADER {
                        self.stage = after_header(header)?;
                        self.unsigned =
                            matches!(self.stage, Stage::Length { part: Part::CtKem { signed: false }, .. });
                    }
                }
                Stage::Length { seen, bytes: length, part } => {
                    fill(length, seen, &mut bytes);
                    if *seen == length.len() {
                        self.stage = skip(u64::from(u32::from_be_bytes(*length)), *part);
                    }
                }
                Stage::Skip { left, part } => {
                    let step = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    bytes = bytes.get(step..).unwrap_or_default();
                    self.stage = skip(*left - step as u64, *part);
                }
            }
        }
        Ok(())
    }

    /// Whether its header says that the sender did not sign it.
    pub fn is_unsigned(&self) -> bool {
        self.unsigned
    }

    /// The blob ended.
    pub fn finish(&self) -> Result<(), HeaderError> {
        match &self.stage {
            Stage::Through => Ok(()),
            Stage::Header { seen, .. } if *seen < MAGIC.len() => Ok(()), // too short to be PQHB at all
            Stage::Header { .. } => Err(HeaderError::Malformed("shorter than its header")),
            Stage::Length { .. } | Stage::Skip { .. } => {
                Err(HeaderError::Malformed("a length runs past the end"))
            }
        }
    }
}

fn skip(left: u64, part: Part) -> Stage {
    if left == 0 { part.next() } else { Stage::Skip { left, part } }
}

fn fill(buffer: &mut [u8], seen: &mut usize, bytes: &mut &[u8]) {
    let step = bytes.len().min(buffer.len().saturating_sub(*seen));
    let (now, later) = bytes.split_at(step);
    if let Some(room) = buffer.get_mut(*seen..*seen + step) {
        room.copy_from_slice(now);
    }
    *seen += step;
    *bytes = later;
}

fn after_header(header: &[u8; HEADER]) -> Result<Stage, HeaderError> {
    let [_, _, _, _, version, k0, k1, s0, s1, flags] = *header;
    let (kem, sig) = (u16::from_be_bytes([k0, k1]), u16::from_be_bytes([s0, s1]));
    if version != VERSION {
        return Err(HeaderError::Version(version));
    }
    if flags != 0 {
        return Err(HeaderError::Malformed("flags are set"));
    }
    if kem != KEM_ML_KEM_768 {
        return Err(HeaderError::Kem(kem));
    }
    match sig {
        SIG_NONE | SIG_ML_DSA_65 => {
            Ok(Stage::Length { seen: 0, bytes: [0; 4], part: Part::CtKem { signed: sig != SIG_NONE } })
        }
        _ => Err(HeaderError::Sig(sig)),
    }
}

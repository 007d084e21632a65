//! PQHB v1, the envelope published clients upload (protocol §5.1): big-endian, length-prefixed, padded to a block.
//!
//! A relay reads as much of it as [`check()`] does and nothing of what it holds; clients build and parse it. Parsing borrows
//! from the blob; building writes once into a buffer of the padded size.

pub mod check;

pub use check::{HeaderCheck, HeaderError, check};

/// The first four bytes.
pub const MAGIC: [u8; 4] = *b"PQHB";
/// The only version.
pub const VERSION: u8 = 1;
/// Bytes before the first length prefix.
pub const HEADER: usize = 10;
/// Bytes of the AES-GCM nonce.
pub const NONCE: usize = 12;
/// Bytes of the associated data: header ‖ u32 chunk index.
pub const AAD: usize = HEADER + 4;

/// `ML-KEM-768`
pub const KEM_ML_KEM_768: u16 = 0x0002;
/// Unsigned.
pub const SIG_NONE: u16 = 0x0000;
/// `ML-DSA-65`
pub const SIG_ML_DSA_65: u16 = 0x0002;

/// The sizes a blob is padded to, so that its length says little about its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PadBlock {
    /// 4 KiB
    K4,
    /// 64 KiB
    K64,
    /// 512 KiB
    K512,
    /// 5 MiB, what clients choose by default.
    M5,
    /// 8 MiB, for relays with a larger limit; no published client chooses it.
    M8,
}

impl PadBlock {
    /// Every size, smallest first.
    pub const ALL: [Self; 5] = [Self::K4, Self::K64, Self::K512, Self::M5, Self::M8];

    /// In bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::K4 => 4 << 10,
            Self::K64 => 64 << 10,
            Self::K512 => 512 << 10,
            Self::M5 => 5 << 20,
            Self::M8 => 8 << 20,
        }
    }

    /// As people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::K4 => "4K",
            Self::K64 => "64K",
            Self::K512 => "512K",
            Self::M5 => "5M",
            Self::M8 => "8M",
        }
    }

    /// Reads `4K`, `64k`, `512K`, `5M`, `8M`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|block| block.name().eq_ignore_ascii_case(text))
    }
}

/// The parts of a blob, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob<'a> {
    /// The key encapsulation.
    pub kem_id: u16,
    /// The signature algorithm; 0 is none.
    pub sig_id: u16,
    /// The encapsulated key.
    pub ct_kem: &'a [u8],
    /// The sender's signing key (or, from unsigned JavaScript senders, their KEM key).
    pub sender_pub: &'a [u8],
    /// Absent when `sig_id` is 0.
    pub signature: Option<&'a [u8]>,
    /// The AES-GCM nonce.
    pub nonce: [u8; NONCE],
    /// AES-256-GCM output, tag last.
    pub ciphertext: &'a [u8],
}

/// Why bytes are not a PQHB v1 blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No magic.
    #[error("not a PQHB blob: it does not start with PQHB")]
    NoMagic,
    /// The header is wrong.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// Why a blob cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the blob needs {needed} bytes and the pad block has {block}: choose a larger block or a smaller file"
)]
pub struct DoesNotFit {
    /// Bytes without padding.
    pub needed: usize,
    /// Bytes of the block.
    pub block: usize,
}

/// The header of a blob.
pub fn header(kem_id: u16, sig_id: u16) -> [u8; HEADER] {
    let ([k0, k1], [s0, s1]) = (kem_id.to_be_bytes(), sig_id.to_be_bytes());
    let [p, q, h, b] = MAGIC;
    [p, q, h, b, VERSION, k0, k1, s0, s1, 0]
}

/// The associated data of the (only) chunk: header ‖ u32 0.
pub fn aad(kem_id: u16, sig_id: u16) -> [u8; AAD] {
    let mut aad = [0; AAD];
    let (start, _) = aad.split_at_mut(HEADER);
    start.copy_from_slice(&header(kem_id, sig_id));
    aad
}

impl<'a> Blob<'a> {
    /// Reads a blob; padding behind it is ignored. Algorithm ids and field lengths are left to the caller.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let Some(rest) = bytes.strip_prefix(&MAGIC) else { return Err(ParseError::NoMagic) };
        let Some(([version, k0, k1, s0, s1, flags], rest)) = rest.split_first_chunk::<6>() else {
            return Err(HeaderError::Malformed("shorter than its header").into());
        };
        if *version != VERSION {
            return Err(HeaderError::Version(*version).into());
        }
        if *flags != 0 {
            return Err(HeaderError::Malformed("flags are set").into());
        }
        let (kem_id, sig_id) = (u16::from_be_bytes([*k0, *k1]), u16::from_be_bytes([*s0, *s1]));
        let (ct_kem, rest) = field(rest)?;
        let (sender_pub, rest) = field(rest)?;
        let (signature, rest) = match sig_id {
            SIG_NONE => (None, rest),
            _ => field(rest).map(|(signature, rest)| (Some(signature), rest))?,
        };
        let Some((nonce, rest)) = rest.split_first_chunk::<NONCE>() else {
            return Err(HeaderError::Malformed("cut off in its nonce").into());
        };
        let (ciphertext, _) = field(rest)?;
        Ok(Self { kem_id, sig_id, ct_kem, sender_pub, signature, nonce: *nonce, ciphertext })
    }

    /// Bytes before padding.
    pub fn length(&self) -> usize {
        unpadded(
            self.ct_kem.len(),
            self.sender_pub.len(),
            self.signature.map(<[u8]>::len),
            self.ciphertext.len(),
        )
    }

    /// Writes the blob without padding, appending to `into`.
    pub fn write(&self, into: &mut Vec<u8>) {
        into.reserve(self.length());
        write_front(into, self.kem_id, self.sig_id, self.ct_kem, self.sender_pub);
        if let Some(signature) = self.signature {
            write_field(into, signature);
        }
        into.extend_from_slice(&self.nonce);
        write_field(into, self.ciphertext);
    }
}

/// Bytes of a blob before padding.
pub const fn unpadded(
    ct_kem: usize,
    sender_pub: usize,
    signature: Option<usize>,
    ciphertext: usize,
) -> usize {
    let signature = match signature {
        Some(length) => 4 + length,
        None => 0,
    };
    HEADER + 4 + ct_kem + 4 + sender_pub + signature + NONCE + 4 + ciphertext
}

fn write_front(into: &mut Vec<u8>, kem_id: u16, sig_id: u16, ct_kem: &[u8], sender_pub: &[u8]) {
    into.extend_from_slice(&header(kem_id, sig_id));
    write_field(into, ct_kem);
    write_field(into, sender_pub);
}

fn write_field(into: &mut Vec<u8>, bytes: &[u8]) {
    // A field beyond 4 GiB cannot be written; blocks end at 8 MiB, so saturating is never reached.
    into.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    into.extend_from_slice(bytes);
}

fn field(bytes: &[u8]) -> Result<(&[u8], &[u8]), HeaderError> {
    let cut = HeaderError::Malformed("a length runs past the end");
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(cut.clone())?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| cut.clone())?;
    rest.split_at_checked(length).ok_or(cut)
}

#[cfg(test)]
mod tests;

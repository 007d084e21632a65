//! Did a trusted key sign exactly this image? The rules by which cosign's signatures count here.
//!
//! Two forms are read, as cosign 2.6 writes them with `--key`: the classic one ([`classic`], a payload and a signature in the
//! manifest under the tag `sha256-….sig`) and the sigstore bundle ([`bundle`], an artifact that refers to the image). A
//! signature is verified over the bytes before anything in them is read. Keys are the policy's; a certificate adds nothing,
//! but one that is there must be valid and of the key that signed ([`certificate`]). Transparency logs are not asked.
//! Pure; the controller's registry tasks bring the bytes, already checked against their digests and limits.

pub mod bundle;
pub mod certificate;
pub mod classic;
pub mod key;
pub mod listed;

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::digest::Digest;
use crate::release::{Trust, Verdict};

use self::key::{KeyError, Keys};

/// Proofs that are looked at for one image. A release has a handful; each costs one verification per key and two requests.
pub const MAX_PROOFS: usize = 64;
/// A classic payload is about 300 bytes, and annotations of whoever signed.
pub const MAX_PAYLOAD: u64 = 64 * 1024;
/// A bundle is about 1 KiB, and some KiB more with proofs of a transparency log.
pub const MAX_BUNDLE: u64 = 1024 * 1024;

/// The image that is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// Its digest.
    pub digest: &'a Digest,
    /// Its manifest or index: the bytes with that digest.
    pub manifest: &'a [u8],
}

/// Something beside an image that may prove who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A layer of the classic form.
    Classic {
        /// The layer's bytes.
        payload: Vec<u8>,
        /// The layer's annotation [`classic::SIGNATURE`].
        signature: String,
        /// The layer's annotation [`classic::CERTIFICATE`].
        certificate: Option<String>,
    },
    /// A sigstore bundle, as it lies in the registry.
    Bundle(Vec<u8>),
    /// It was announced as a signature and is none; one clause that says why.
    Unreadable(&'static str),
}

/// Why a proof proves nothing. From the one that says least to the one that says most: the last is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Flaw {
    /// A trusted key says something else about the image.
    #[error("key {key} attests something about it, but did not sign it")]
    NoSignature {
        /// The key's name.
        key: String,
    },
    /// It cannot be read.
    #[error("what is attached as its signature cannot be used: {0}")]
    Malformed(String),
    /// It is valid under no trusted key.
    #[error("it is signed, but with none of the trusted keys")]
    WrongKey,
    /// It carries a certificate outside its time.
    #[error(
        "its signature carries a certificate that is valid from {from} to {to} only; sign with the key alone"
    )]
    Expired {
        /// The certificate's first second.
        from: Timestamp,
        /// Its last second.
        to: Timestamp,
    },
    /// A trusted key signed another image.
    #[error("the signature by key {key} that is attached to it is one for another image")]
    WrongDigest {
        /// The key's name.
        key: String,
    },
}

impl Flaw {
    /// For metrics and the condition.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoSignature { .. } => "Unsigned",
            Self::Malformed(_) => "Malformed",
            Self::WrongKey => "WrongKey",
            Self::Expired { .. } => "Expired",
            Self::WrongDigest { .. } => "WrongDigest",
        }
    }
}

/// Hears one proof after the other, so that nobody need hold all of them, and says whether the image may run. Equal proofs in
/// another order give an equal verdict.
pub struct Judge<'a> {
    trust: &'a Trust,
    image: Image<'a>,
    now: Timestamp,
    keys: Keys,
    unusable: Vec<(String, KeyError)>,
    signed: Vec<bool>,
    worst: Option<Flaw>,
}

impl<'a> Judge<'a> {
    /// Nothing was heard yet.
    pub fn new(trust: &'a Trust, image: Image<'a>, now: Timestamp) -> Self {
        let (keys, unusable) = Keys::parse(&trust.keys);
        let signed = vec![false; keys.len()];
        Self { trust, image, now, keys, unusable, signed, worst: None }
    }

    /// Takes a proof into account.
    pub fn hear(&mut self, proof: &Proof) {
        match self.signer(proof) {
            Ok(index) => self.signed.iter_mut().skip(index).take(1).for_each(|signed| *signed = true),
            Err(flaw) => self.worst = self.worst.take().max(Some(flaw)),
        }
    }

    /// Whether all keys have signed, or none is trusted: no further proof says anything new.
    pub fn is_done(&self) -> bool {
        self.signed.iter().all(|signed| *signed)
    }

    /// Whether the image may run, by what was heard.
    pub fn verdict(self) -> Verdict {
        let valid = self.signed.iter().filter(|signed| **signed).count();
        let needed = usize::try_from(self.trust.min_attestations).unwrap_or(usize::MAX).saturating_add(1);
        if let Some(first) = self.signed.iter().position(|signed| *signed)
            && valid >= needed
        {
            return Verdict::Verified { key: self.keys.name(first).to_owned() };
        }
        if self.trust.allow_unsigned {
            return Verdict::Unsigned;
        }
        let (kind, mut reason) = match self.worst {
            _ if self.keys.is_empty() => {
                ("Unsigned", "no key is trusted, so no signature can count".to_owned())
            }
            _ if valid > 0 => {
                ("Unsigned", format!("{valid} of the trusted keys signed it, and {needed} are needed"))
            }
            Some(flaw) => (flaw.kind(), flaw.to_string()),
            None => ("Unsigned", "no signature is attached to it".to_owned()),
        };
        for (name, error) in self.unusable {
            // A String takes every write.
            let _ = write!(reason, "; the trusted key {name} cannot be used: {error}");
        }
        Verdict::Refused { kind, reason }
    }

    /// Which key signed the image, by its index.
    fn signer(&self, proof: &Proof) -> Result<usize, Flaw> {
        let (keys, image, now) = (&self.keys, self.image, self.now);
        match proof {
            Proof::Classic { payload, signature, certificate } => {
                classic::verify(keys, image, payload, signature, certificate.as_deref(), now)
            }
            Proof::Bundle(bytes) => bundle::verify(keys, image, bytes, now),
            Proof::Unreadable(why) => Err(malformed(*why)),
        }
    }
}

fn malformed(why: impl Into<String>) -> Flaw {
    Flaw::Malformed(why.into())
}

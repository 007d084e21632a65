//! Keys that one device shows another at a rendezvous (protocol §4.4, §4.5), before either is registered anywhere.
//!
//! The relay only carries them: both sides know a secret, or compare fingerprints, and check for themselves. So nothing is asked of
//! a key but that it is hex and no longer than the longest there is, and clients of every age may leave out what they do not
//! have.

use crate::device::{KEM_PUB, MAX_ECDH_PUB, SIG_PUB};
use crate::named_keys::{NamedKeys, NamesDiffer};

/// Why keys are not carried (400).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// Neither of the two that a key can be agreed on with.
    #[error("ecdh_pub or kem_pub is required, as hex")]
    None,
    /// Not hex, or too long.
    #[error("{name} must be hex of at most {max} bytes")]
    NotHex {
        /// Which.
        name: &'static str,
        /// The longest.
        max: usize,
    },
    /// Both names of one key, with different values.
    #[error(transparent)]
    Conflict(#[from] NamesDiffer),
}

impl NamedKeys {
    /// The same keys under both pairs of names, if they can be carried.
    ///
    /// # Errors
    /// [`OfferError`].
    pub fn offered(&self) -> Result<Self, OfferError> {
        let kem = fitting(self.kem()?, "kem_pub", KEM_PUB)?;
        let sig = fitting(self.sig()?, "sig_pub", SIG_PUB)?;
        let ecdh = fitting(self.ecdh(), "ecdh_pub", MAX_ECDH_PUB)?;
        if kem.is_none() && ecdh.is_none() {
            return Err(OfferError::None);
        }
        Ok(Self::under_both(kem, sig, ecdh))
    }
}

fn fitting(key: Option<&str>, name: &'static str, max: usize) -> Result<Option<String>, OfferError> {
    let fits = |text: &str| {
        text.len() <= 2 * max && text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit())
    };
    match key {
        Some(text) if !fits(text) => Err(OfferError::NotHex { name, max }),
        key => Ok(key.map(str::to_owned)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_under_either_name_come_out_under_both() {
        let javascript =
            NamedKeys { kem_pub: Some("aa".into()), sig_pub: Some(String::new()), ..NamedKeys::default() };
        let python = NamedKeys { kyber_pub: Some("aa".into()), ..NamedKeys::default() };
        let carried = javascript.offered().unwrap();
        assert_eq!(carried, python.offered().unwrap());
        assert_eq!((carried.kem_pub.as_deref(), carried.kyber_pub.as_deref()), (Some("aa"), Some("aa")));
        assert_eq!(carried.sig_pub, None);
        let old = NamedKeys { ecdh_pub: Some("04Ab".into()), ..NamedKeys::default() };
        assert_eq!(old.offered().unwrap().ecdh_pub.as_deref(), Some("04Ab"), "exactly as it came");
    }

    #[test]
    fn what_cannot_be_carried_is_refused() {
        let none = NamedKeys { sig_pub: Some("aa".into()), ..NamedKeys::default() };
        assert_eq!(none.offered(), Err(OfferError::None));
        for text in ["a", "zz", &"aa".repeat(KEM_PUB + 1)] {
            let keys = NamedKeys { kem_pub: Some(text.to_owned()), ..NamedKeys::default() };
            assert!(matches!(keys.offered(), Err(OfferError::NotHex { name: "kem_pub", .. })), "{text}");
        }
        let both =
            NamedKeys { kem_pub: Some("aa".into()), kyber_pub: Some("bb".into()), ..NamedKeys::default() };
        assert!(matches!(both.offered(), Err(OfferError::Conflict(_))));
    }
}

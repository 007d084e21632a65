//! Keys that one device shows another at a rendezvous (protocol §4.4, §4.5), before either is registered anywhere.
//!
//! The relay only carries them: both sides know a secret, or compare fingerprints, and check for themselves. So nothing is asked of
//! a key but that it is hex and no longer than the longest there is, and clients of every age may leave out what they do not
//! have.

use serde::{Deserialize, Serialize};

use crate::device::{KEM_PUB, MAX_ECDH_PUB, SIG_PUB};
use crate::fingerprint;

/// The keys as they come, under the names of every published client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedKeys {
    /// Hex.
    #[serde(default)]
    pub kem_pub: Option<String>,
    /// Hex.
    #[serde(default)]
    pub sig_pub: Option<String>,
    /// The older name of `kem_pub`.
    #[serde(default)]
    pub kyber_pub: Option<String>,
    /// The older name of `sig_pub`.
    #[serde(default)]
    pub dsa_pub: Option<String>,
    /// Hex.
    #[serde(default)]
    pub ecdh_pub: Option<String>,
}

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
    #[error("{new} and {old} name the same key but differ")]
    Conflict {
        /// The newer name.
        new: &'static str,
        /// The older name.
        old: &'static str,
    },
}

impl OfferedKeys {
    /// The same keys under both pairs of names, if they can be carried.
    ///
    /// # Errors
    /// [`OfferError`].
    pub fn checked(self) -> Result<Self, OfferError> {
        let kem = one_of(self.kem_pub, self.kyber_pub, "kem_pub", "kyber_pub", KEM_PUB)?;
        let sig = one_of(self.sig_pub, self.dsa_pub, "sig_pub", "dsa_pub", SIG_PUB)?;
        let ecdh = one_of(self.ecdh_pub, None, "ecdh_pub", "ecdh_pub", MAX_ECDH_PUB)?;
        if kem.is_none() && ecdh.is_none() {
            return Err(OfferError::None);
        }
        Ok(Self { kem_pub: kem.clone(), sig_pub: sig.clone(), kyber_pub: kem, dsa_pub: sig, ecdh_pub: ecdh })
    }

    /// What both sides compare, as for registered keys.
    pub fn fingerprint(&self) -> String {
        let bytes =
            |key: &Option<String>| hex::decode(key.as_deref().unwrap_or_default()).unwrap_or_default();
        fingerprint::reported(&bytes(&self.kem_pub), &bytes(&self.sig_pub), &bytes(&self.ecdh_pub))
    }
}

fn one_of(
    new: Option<String>,
    old: Option<String>,
    new_name: &'static str,
    old_name: &'static str,
    max: usize,
) -> Result<Option<String>, OfferError> {
    let given = |key: Option<String>| key.filter(|text| !text.is_empty());
    let key = match (given(new), given(old)) {
        (Some(new), Some(old)) if !new.eq_ignore_ascii_case(&old) => {
            return Err(OfferError::Conflict { new: new_name, old: old_name });
        }
        (new, old) => new.or(old),
    };
    let fits = |text: &String| {
        text.len() <= 2 * max && text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit())
    };
    match key {
        Some(text) if !fits(&text) => Err(OfferError::NotHex { name: new_name, max }),
        key => Ok(key),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_under_either_name_come_out_under_both() {
        let javascript = OfferedKeys {
            kem_pub: Some("aa".into()),
            sig_pub: Some(String::new()),
            ..OfferedKeys::default()
        };
        let python = OfferedKeys { kyber_pub: Some("aa".into()), ..OfferedKeys::default() };
        let carried = javascript.checked().unwrap();
        assert_eq!(carried, python.checked().unwrap());
        assert_eq!((carried.kem_pub.as_deref(), carried.kyber_pub.as_deref()), (Some("aa"), Some("aa")));
        assert_eq!(carried.sig_pub, None);
        let old = OfferedKeys { ecdh_pub: Some("04Ab".into()), ..OfferedKeys::default() };
        assert_eq!(old.checked().unwrap().ecdh_pub.as_deref(), Some("04Ab"), "exactly as it came");
    }

    #[test]
    fn what_cannot_be_carried_is_refused() {
        let none = OfferedKeys { sig_pub: Some("aa".into()), ..OfferedKeys::default() };
        assert_eq!(none.checked(), Err(OfferError::None));
        for text in ["a", "zz", &"aa".repeat(KEM_PUB + 1)] {
            let keys = OfferedKeys { kem_pub: Some(text.to_owned()), ..OfferedKeys::default() };
            assert!(matches!(keys.checked(), Err(OfferError::NotHex { name: "kem_pub", .. })), "{text}");
        }
        let both = OfferedKeys {
            kem_pub: Some("aa".into()),
            kyber_pub: Some("bb".into()),
            ..OfferedKeys::default()
        };
        assert!(matches!(both.checked(), Err(OfferError::Conflict { .. })));
    }
}

//! A device's public keys under the names of every published client: the newer `kem_pub` and `sig_pub`, the older `kyber_pub` and
//! `dsa_pub`.
//!
//! One shape for whoever sends or shows keys: registrations, answers, offers at a rendezvous. Which of two names is meant is decided
//! here once. Nothing is asked of a key: that is the caller's part.

use serde::{Deserialize, Serialize};

use crate::fingerprint;

/// Keys as they come and go. What is absent is null.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedKeys {
    /// Hex.
    #[serde(default)]
    pub kem_pub: Option<String>,
    /// Hex; empty when the device does not sign.
    #[serde(default)]
    pub sig_pub: Option<String>,
    /// The older name of `kem_pub`.
    #[serde(default)]
    pub kyber_pub: Option<String>,
    /// The older name of `sig_pub`.
    #[serde(default)]
    pub dsa_pub: Option<String>,
    /// A legacy anchor, hex, kept exactly as it came.
    #[serde(default)]
    pub ecdh_pub: Option<String>,
}

/// Both names of one key, with different values: two clients would see two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{new} and {old} name the same key but differ")]
pub struct NamesDiffer {
    /// The newer name.
    pub new: &'static str,
    /// The older name.
    pub old: &'static str,
}

impl NamedKeys {
    /// Keys under both pairs of names.
    pub fn under_both(kem: Option<String>, sig: Option<String>, ecdh: Option<String>) -> Self {
        Self { kem_pub: kem.clone(), sig_pub: sig.clone(), kyber_pub: kem, dsa_pub: sig, ecdh_pub: ecdh }
    }

    /// The KEM key's text, by whichever name; `None` when it is absent or empty.
    pub fn kem(&self) -> Result<Option<&str>, NamesDiffer> {
        one_of(&self.kem_pub, &self.kyber_pub, NamesDiffer { new: "kem_pub", old: "kyber_pub" })
    }

    /// The signing key's text, as [`NamedKeys::kem`].
    pub fn sig(&self) -> Result<Option<&str>, NamesDiffer> {
        one_of(&self.sig_pub, &self.dsa_pub, NamesDiffer { new: "sig_pub", old: "dsa_pub" })
    }

    /// The legacy anchor's text; `None` when it is absent or empty.
    pub fn ecdh(&self) -> Option<&str> {
        given(&self.ecdh_pub)
    }

    /// What people compare, of keys under both names. What is no hex counts as absent.
    pub fn fingerprint(&self) -> String {
        let bytes = |key: Option<&str>| hex::decode(key.unwrap_or_default()).unwrap_or_default();
        let (kem, sig) = (self.kem_pub.as_deref(), self.sig_pub.as_deref());
        fingerprint::reported(&bytes(kem), &bytes(sig), &bytes(self.ecdh_pub.as_deref()))
    }
}

fn given(key: &Option<String>) -> Option<&str> {
    key.as_deref().filter(|text| !text.is_empty())
}

fn one_of<'k>(
    new: &'k Option<String>,
    old: &'k Option<String>,
    names: NamesDiffer,
) -> Result<Option<&'k str>, NamesDiffer> {
    match (given(new), given(old)) {
        (Some(new), Some(old)) if !new.eq_ignore_ascii_case(old) => Err(names),
        (new, old) => Ok(new.or(old)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn either_name_is_read_and_two_values_are_none() {
        let text = |text: &str| Some(text.to_owned());
        let old = NamedKeys { kyber_pub: text("aa"), dsa_pub: text("bb"), ..NamedKeys::default() };
        assert_eq!((old.kem(), old.sig(), old.ecdh()), (Ok(Some("aa")), Ok(Some("bb")), None));
        let unsigned = NamedKeys { kem_pub: text("AA"), sig_pub: text(""), ..old };
        assert_eq!((unsigned.kem(), unsigned.sig()), (Ok(Some("AA")), Ok(Some("bb"))));
        let two = NamedKeys { kem_pub: text("ab"), ..unsigned };
        assert_eq!(two.kem().unwrap_err().to_string(), "kem_pub and kyber_pub name the same key but differ");
    }
}

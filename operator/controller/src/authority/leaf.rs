//! The operator's client certificate: made in memory, valid for days, replaced daily.
//!
//! It carries the URI a relay looks for and may be used for nothing but client authentication. A relay that read the
//! authority's certificate needs nothing else, so replacing the leaf touches no relay.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use paramant_protocol::control::OPERATOR_URI;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Authority, Error, day, set_validity, yesterday};

/// Days a leaf is valid: three replacements may be missed (a suspended node).
const VALID_DAYS: i32 = 4;
/// When it is replaced.
const REPLACE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate and its key.
#[derive(Debug)]
pub struct Leaf {
    /// The leaf; the relay holds the authority's certificate itself.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS #8.
    pub key: PrivateKeyDer<'static>,
    /// TLS settings with this leaf, made when first needed and shared by all connections.
    pub settings: OnceLock<Arc<ClientConfig>>,
}

/// Makes leaves and keeps the current one.
#[derive(Debug)]
pub struct Leaves {
    authority: watch::Receiver<Authority>,
    current: Mutex<Option<Current>>,
}

#[derive(Debug)]
struct Current {
    leaf: Arc<Leaf>,
    of: Authority,
    made: Instant,
}

impl Leaves {
    /// Leaves of one authority, for ever.
    pub fn of(authority: Authority) -> Self {
        Self::following(watch::channel(authority).1)
    }

    /// Leaves of whichever authority signs.
    pub fn following(authority: watch::Receiver<Authority>) -> Self {
        Self { authority, current: Mutex::new(None) }
    }

    /// The authority as it is now.
    pub fn authority(&self) -> Authority {
        self.authority.borrow().clone()
    }

    /// The current leaf, made now if there is none, it is a day old, or another authority signs.
    pub fn current(&self) -> Result<Arc<Leaf>, Error> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let authority = self.authority();
        if let Some(Current { leaf, of, made }) = current.as_ref()
            && made.elapsed() < REPLACE_AFTER
            && of.signs_as(&authority)
        {
            return Ok(leaf.clone());
        }
        let leaf = Arc::new(make(&authority, Timestamp::now())?);
        *current = Some(Current { leaf: leaf.clone(), of: authority, made: Instant::now() });
        Ok(leaf)
    }
}

fn make(authority: &Authority, now: Timestamp) -> Result<Leaf, Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "paramant-operator");
    params.subject_alt_names = vec![SanType::URI(OPERATOR_URI.try_into()?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let today = day(now);
    set_validity(&mut params, yesterday(today), today.saturating_add(VALID_DAYS.days()));
    let certificate = params.signed_by(&key, &authority.issuer()?)?;
    Ok(Leaf {
        chain: vec![certificate.der().clone()],
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        settings: OnceLock::new(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use x509_parser::extensions::GeneralName;

    use super::super::Pair;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_leaf_names_the_operator_serves_clients_only_and_is_replaced_daily() {
        let authority = Authority::ephemeral().unwrap();
        let leaves = Leaves::of(authority.clone());
        let first = leaves.current().unwrap();
        assert!(Arc::ptr_eq(&first, &leaves.current().unwrap()));
        let (_, parsed) = x509_parser::parse_x509_certificate(&first.chain[0]).unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names, [GeneralName::URI(OPERATOR_URI)]);
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !usage.any);
        let (_, issuer) = x509_parser::parse_x509_certificate(&authority.inner.signs.certificate).unwrap();
        assert_eq!(parsed.issuer(), issuer.subject());
        tokio::time::advance(REPLACE_AFTER).await;
        assert!(!Arc::ptr_eq(&first, &leaves.current().unwrap()));
    }

    #[test]
    fn another_authority_signs_the_next_leaf_and_a_longer_bundle_changes_nothing() {
        let old = Authority::ephemeral().unwrap();
        let new = Authority::ephemeral().unwrap();
        let (sender, receiver) = watch::channel(old.clone());
        let leaves = Leaves::following(receiver);
        let first = leaves.current().unwrap();
        let longer = format!("{}{}", new.bundle_pem(), old.bundle_pem());
        let pair = Pair::of(&old.inner.signs.certificate_pem, &old.inner.signs.key.serialize_pem()).unwrap();
        sender.send_replace(Authority::new(pair, None, Some(longer)).unwrap());
        assert!(Arc::ptr_eq(&first, &leaves.current().unwrap()));
        sender.send_replace(new.clone());
        let second = leaves.current().unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        let (_, issuer) = x509_parser::parse_x509_certificate(&new.inner.signs.certificate).unwrap();
        let (_, leaf) = x509_parser::parse_x509_certificate(&second.chain[0]).unwrap();
        assert_eq!(leaf.issuer(), issuer.subject());
        assert_eq!(leaves.authority().bundle_pem(), new.bundle_pem());
    }
}

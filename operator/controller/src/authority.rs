//! The operator's own certificate authority: by it a relay knows that who dials its control port is the operator.
//!
//! The key lives in one Secret, by name, in the operator's own namespace (`secret.rs`); the chart creates that Secret empty
//! and the leader fills it once. Relays get certificates only. The client certificate is made in memory by [`leaf`] and never
//! stored. [`rotation`] replaces the authority before it expires, or when a person asks, without a moment in which a relay
//! would refuse the operator.

use std::sync::Arc;

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

use crate::sentence;

pub mod leaf;
pub mod rotation;
mod secret;

pub use self::secret::SECRET;

/// Ten years, of which the last is for replacing it: an operator that is switched off for months still has its relays.
const VALID_YEARS: i32 = 10;

/// A loaded authority, and what is published for relays to accept.
#[derive(Clone)]
pub struct Authority {
    inner: Arc<Inner>,
}

struct Inner {
    signs: Pair,
    /// Published already, and the one that signs after this.
    next: Option<Pair>,
    bundle_pem: String,
    /// How many are published.
    published: usize,
}

/// A certificate authority's certificate and key.
struct Pair {
    certificate: CertificateDer<'static>,
    key: KeyPair,
    certificate_pem: String,
    expires: Timestamp,
}

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Secret does not exist.
    #[error(
        "Secret {SECRET} does not exist in the operator's namespace; the chart creates it empty, so install or repair the release"
    )]
    NoSecret,
    /// What is in the Secret is no authority.
    #[error(
        "Secret {SECRET} holds `{key}` that is not usable ({why}); restore it, or empty the Secret to make a new authority, after which every relay waits for its new configuration"
    )]
    Unusable {
        /// Which entry.
        key: &'static str,
        /// What was wrong with it.
        why: String,
    },
    /// What is in the Secret besides the authority that signs.
    #[error(
        "Secret {SECRET} holds `{key}` that is not usable ({why}); remove `ca-bundle.pem`, `next.crt`, `next.key` and `next.since`, and the replacement begins again"
    )]
    UnusableNext {
        /// Which entry.
        key: &'static str,
        /// What was wrong with it.
        why: String,
    },
    /// The API server refused or did not answer.
    #[error("cannot read or fill Secret {SECRET}: {}", sentence::of_kube(.0))]
    Api(#[from] kube::Error),
    /// The API server did not answer.
    #[error("the API server did not answer when asked for Secret {SECRET}")]
    Timeout,
    /// Making a key or a certificate failed.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// What is wrong with a certificate, a key, or both together.
#[derive(Debug)]
enum Flaw {
    Certificate(String),
    Key(String),
}

impl Pair {
    fn of(certificate_pem: &str, key_pem: &str) -> Result<Self, Flaw> {
        let in_certificate = |why: &dyn std::fmt::Display| Flaw::Certificate(why.to_string());
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|error| in_certificate(&error))?;
        let key = KeyPair::from_pem(key_pem).map_err(|error| Flaw::Key(error.to_string()))?;
        let parsed =
            x509_parser::parse_x509_certificate(&certificate).map_err(|error| in_certificate(&error))?.1;
        if !parsed.is_ca() {
            return Err(in_certificate(&"it is not a certificate authority's"));
        }
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(Flaw::Key("it does not belong to the certificate".to_owned()));
        }
        let expires = Timestamp::from_second(parsed.validity().not_after.timestamp())
            .map_err(|error| in_certificate(&error))?;
        Ok(Self { certificate, key, certificate_pem: certificate_pem.to_owned(), expires })
    }
}

impl Authority {
    /// Puts together what is stored. A bundle that lacks one of the two is completed.
    fn new(signs: Pair, next: Option<Pair>, bundle_pem: Option<String>) -> Result<Self, String> {
        let mut bundle_pem = bundle_pem.unwrap_or_default();
        let listed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bundle_pem.as_bytes()).collect();
        let mut listed = listed.map_err(|error| error.to_string())?;
        for pair in std::iter::once(&signs).chain(&next) {
            if !listed.contains(&pair.certificate) {
                bundle_pem.insert_str(0, &pair.certificate_pem);
                listed.push(pair.certificate.clone());
            }
        }
        Ok(Self { inner: Arc::new(Inner { signs, next, bundle_pem, published: listed.len() }) })
    }

    /// A fresh authority that is stored nowhere, for tests.
    #[doc(hidden)]
    pub fn ephemeral() -> Result<Self, Error> {
        let (certificate, key) = generate(Timestamp::now())?;
        let flawed = |flaw: Flaw| Error::Unusable { key: "tls.crt", why: format!("{flaw:?}") };
        let pair = Pair::of(&certificate, &key).map_err(flawed)?;
        Self::new(pair, None, None).map_err(|why| flawed(Flaw::Certificate(why)))
    }

    /// What relays are told to accept, PEM.
    pub fn bundle_pem(&self) -> &str {
        &self.inner.bundle_pem
    }

    /// SHA-256 of [`Self::bundle_pem`], as relays report it.
    fn bundle_sha256(&self) -> String {
        sha256(self.bundle_pem())
    }

    /// Whether the other one's certificates are signed by the same authority.
    fn signs_as(&self, other: &Self) -> bool {
        self.inner.signs.certificate == other.inner.signs.certificate
    }

    fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, Error> {
        Ok(Issuer::from_ca_cert_der(&self.inner.signs.certificate, &self.inner.signs.key)?)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// A self-signed certificate and its key, both PEM.
fn generate(now: Timestamp) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "paramant-operator control CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let today = day(now);
    set_validity(&mut params, yesterday(today), today.saturating_add(VALID_YEARS.years()));
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn day(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}

/// Validity starts a day early: nodes' clocks differ.
fn yesterday(today: Date) -> Date {
    today.saturating_sub(1.day())
}

fn set_validity(params: &mut CertificateParams, from: Date, to: Date) {
    let at = |date: Date| {
        rcgen::date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = at(from);
    params.not_after = at(to);
}

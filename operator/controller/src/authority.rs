//! The operator's own certificate authority: by it a relay knows that who dials its control port is the operator.
//!
//! The key lives in one Secret, by name, in the operator's own namespace; the chart creates that Secret empty and the leader
//! fills it once, with the resourceVersion it saw as precondition, so that two leaders can never both fill it. Relays get the
//! certificate only. The client certificate is made in memory by [`leaf`] and never stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::sentence;

pub mod leaf;

/// The Secret's name, fixed because the chart's Role names it.
pub const SECRET: &str = "paramant-operator-ca";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// Certificates relays shall accept besides the newest: old and new during a rotation. Absent means just [`CERTIFICATE`].
const BUNDLE: &str = "ca-bundle.pem";
/// Ten years: replacing it is a rotation a person starts, not an expiry that surprises one.
const VALID_YEARS: i32 = 10;

/// A loaded authority.
#[derive(Clone)]
pub struct Authority {
    inner: Arc<Inner>,
}

struct Inner {
    certificate: CertificateDer<'static>,
    key: KeyPair,
    bundle_pem: String,
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
    /// The API server refused or did not answer.
    #[error("cannot read or fill Secret {SECRET}: {}", sentence::of_kube(.0))]
    Api(#[from] kube::Error),
    /// Making a key or a certificate failed.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

impl Authority {
    /// Reads the Secret, filling it first when it is empty.
    pub async fn load_or_create(secrets: &Api<Secret>, field_manager: &str) -> Result<Self, Error> {
        // Two rounds: whoever loses the race to fill the Secret reads what the winner wrote.
        for _ in 0..2 {
            let secret = secrets.get_opt(SECRET).await?.ok_or(Error::NoSecret)?;
            let data = secret.data.unwrap_or_default();
            if data.contains_key(CERTIFICATE) || data.contains_key(KEY) {
                return Self::from_data(&data);
            }
            let (certificate, key) = generate(Timestamp::now())?;
            let patch = serde_json::json!({
                "metadata": { "resourceVersion": secret.metadata.resource_version },
                "data": { CERTIFICATE: ByteString(certificate.into_bytes()), KEY: ByteString(key.into_bytes()) },
            });
            let params =
                PatchParams { field_manager: Some(field_manager.to_owned()), ..PatchParams::default() };
            match secrets.patch(SECRET, &params, &Patch::Merge(patch)).await {
                Ok(filled) => {
                    tracing::info!("made a new certificate authority in Secret {SECRET}");
                    return Self::from_data(&filled.data.unwrap_or_default());
                }
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Unusable { key: CERTIFICATE, why: "it keeps changing".to_owned() })
    }

    fn from_data(data: &BTreeMap<String, ByteString>) -> Result<Self, Error> {
        let text = |key: &'static str| -> Result<String, Error> {
            let bytes =
                data.get(key).ok_or_else(|| Error::Unusable { key, why: "it is missing".to_owned() })?;
            String::from_utf8(bytes.0.clone())
                .map_err(|_| Error::Unusable { key, why: "it is not text".to_owned() })
        };
        let certificate_pem = text(CERTIFICATE)?;
        let bundle_pem = if data.contains_key(BUNDLE) { text(BUNDLE)? } else { certificate_pem.clone() };
        Self::from_pem(&certificate_pem, &text(KEY)?, bundle_pem)
    }

    fn from_pem(certificate_pem: &str, key_pem: &str, bundle_pem: String) -> Result<Self, Error> {
        let unusable = |key, why: &dyn std::fmt::Display| Error::Unusable { key, why: why.to_string() };
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|error| unusable(CERTIFICATE, &error))?;
        let key = KeyPair::from_pem(key_pem).map_err(|error| unusable(KEY, &error))?;
        let parsed = x509_parser::parse_x509_certificate(&certificate)
            .map_err(|error| unusable(CERTIFICATE, &error))?
            .1;
        if !parsed.is_ca() {
            return Err(unusable(CERTIFICATE, &"it is not a certificate authority's"));
        }
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(unusable(KEY, &"it does not belong to the certificate"));
        }
        for listed in CertificateDer::pem_slice_iter(bundle_pem.as_bytes()) {
            listed.map_err(|error| unusable(BUNDLE, &error))?;
        }
        Ok(Self { inner: Arc::new(Inner { certificate, key, bundle_pem }) })
    }

    /// A fresh authority that is stored nowhere, for tests.
    #[doc(hidden)]
    pub fn ephemeral() -> Result<Self, Error> {
        let (certificate, key) = generate(Timestamp::now())?;
        Self::from_pem(&certificate, &key, certificate.clone())
    }

    /// What relays are told to accept, PEM.
    pub fn bundle_pem(&self) -> &str {
        &self.inner.bundle_pem
    }

    fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, Error> {
        Ok(Issuer::from_ca_cert_der(&self.inner.certificate, &self.inner.key)?)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn data(entries: &[(&str, &str)]) -> BTreeMap<String, ByteString> {
        entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())))
            .collect()
    }

    #[test]
    fn a_made_authority_reads_back_and_damage_is_named() {
        let (certificate, key) = generate(Timestamp::now()).unwrap();
        let (_, other_key) = generate(Timestamp::now()).unwrap();
        let whole = Authority::from_data(&data(&[(CERTIFICATE, &certificate), (KEY, &key)])).unwrap();
        assert_eq!(whole.bundle_pem(), certificate);
        let both = format!("{certificate}{certificate}");
        let rotating =
            Authority::from_data(&data(&[(CERTIFICATE, &certificate), (KEY, &key), (BUNDLE, &both)]))
                .unwrap();
        assert_eq!(rotating.bundle_pem(), both);
        let damaged = [
            (KEY, data(&[(CERTIFICATE, &certificate)])),
            (CERTIFICATE, data(&[(KEY, &key)])),
            (CERTIFICATE, data(&[(CERTIFICATE, "x"), (KEY, &key)])),
            (KEY, data(&[(CERTIFICATE, &certificate), (KEY, "x")])),
            (KEY, data(&[(CERTIFICATE, &certificate), (KEY, &other_key)])),
        ];
        for (expected, damaged) in damaged {
            match Authority::from_data(&damaged) {
                Err(Error::Unusable { key, .. }) => assert_eq!(key, expected),
                other => panic!("expected `{expected}` to be refused, found {other:?}"),
            }
        }
    }
}

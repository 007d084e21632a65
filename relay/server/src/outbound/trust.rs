//! Which certificates destinations may show: those of the public authorities, or of one bundle that a person named instead.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio_rustls::TlsConnector;

use super::dial::ByteStream;

/// The authorities that destinations are believed by; cheap to clone.
#[derive(Debug, Clone)]
pub struct Trust(Arc<RootCertStore>, &'static [&'static SupportedProtocolVersion]);

const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
const NEWEST: &[&SupportedProtocolVersion] = &[&TLS13];

/// The bundle holds no certificate authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it must be PEM with one or more CA certificates: {0}")]
pub struct UntrustedBundle(String);

impl Trust {
    /// The public authorities, as the release has them compiled in.
    pub fn public() -> Self {
        static PUBLIC: OnceLock<Trust> = OnceLock::new();
        let read = || {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
            Self(Arc::new(roots), BOTH)
        };
        PUBLIC.get_or_init(read).clone()
    }

    /// The authorities in a PEM bundle and no others.
    ///
    /// # Errors
    /// When it holds none.
    pub fn bundle(pem: &str) -> Result<Self, UntrustedBundle> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| UntrustedBundle(format!("{error:?}")))?;
            roots.add(certificate).map_err(|error| UntrustedBundle(error.to_string()))?;
        }
        if roots.is_empty() {
            Err(UntrustedBundle("there is none".to_owned()))
        } else {
            Ok(Self(Arc::new(roots), BOTH))
        }
    }

    /// The same authorities, by TLS 1.3 alone: that hides more of who speaks to whom.
    #[must_use]
    pub fn newest_tls(self) -> Self {
        Self(self.0, NEWEST)
    }

    /// Speaks TLS over a stream, as a client of `host`.
    ///
    /// # Errors
    /// When the name is none, or the handshake fails.
    pub async fn handshake(
        &self,
        host: &str,
        stream: Box<dyn ByteStream>,
    ) -> io::Result<Box<dyn ByteStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(self.1)
            .map_err(io::Error::other)?
            .with_root_certificates(self.0.clone())
            .with_no_client_auth();
        Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
    }
}

/// Why a handshake failed, in words that do not change from attempt to attempt: rustls tells how long ago a certificate ended.
pub(super) fn sentence(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { .. })) => {
            "its certificate has expired".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { .. })) => {
            "its certificate is not valid yet".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_bundle_without_a_certificate_is_refused() {
        for pem in ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(Trust::bundle(pem).is_err(), "{pem:?}");
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        assert!(Trust::bundle(&params.self_signed(&key).unwrap().pem()).is_ok());
    }
}

//! TLS 1.3 with a client certificate, under the CA bundle as it is on disk now.
//!
//! The bundle is read again when its content changes: CA rotation needs no restart. A bundle that cannot be read or parsed
//! leaves the last good one in force; before the first good one every connection is refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::operator::OperatorVerifier;
use crate::identity::ControlKey;
use crate::listener::TlsSource;

/// The operator waits for the reported digest of a new bundle before it goes on; nobody waits for less than this.
const POLL: Duration = Duration::from_secs(2);

/// The CA bundle in force: its digest, and news of a change.
#[derive(Debug, Clone)]
pub struct OperatorCa(watch::Receiver<InForce>);

#[derive(Debug, Clone, Default)]
struct InForce {
    sha256: String,
    /// Nobody without the operator's certificate.
    closed: Option<Arc<ServerConfig>>,
    /// Also those without a certificate, for the courier's route.
    open: Option<Arc<ServerConfig>>,
}

/// TLS settings of the control listener, kept fresh.
#[derive(Debug)]
pub struct ControlTls {
    path: PathBuf,
    key: Arc<ControlKey>,
    provider: Arc<CryptoProvider>,
    in_force: watch::Sender<InForce>,
}

impl OperatorCa {
    /// Lower-case hex SHA-256 of the bundle in force; empty before the first good one.
    pub fn sha256(&self) -> String {
        self.0.borrow().sha256.clone()
    }

    /// Resolves at the next change.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // Nothing changes any more.
            std::future::pending::<()>().await;
        }
    }
}

impl ControlTls {
    /// Reads the bundle once; a bundle that is not there yet is no error.
    pub fn new(path: PathBuf, key: Arc<ControlKey>) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let this = Self { path, key, provider, in_force: watch::Sender::default() };
        match std::fs::read(&this.path) {
            Ok(bundle) => this.take(&bundle),
            Err(error) => {
                tracing::warn!(file = %this.path.display(), %error, "no operator CA yet; the control listener refuses everybody");
            }
        }
        this
    }

    /// The bundle in force.
    pub fn ca(&self) -> OperatorCa {
        OperatorCa(self.in_force.subscribe())
    }

    /// For the listener. While `couriers` says so, a client may also come without a certificate; a wrong one is refused always.
    pub fn source(&self, couriers: impl Fn() -> bool + Send + Sync + 'static) -> TlsSource {
        let in_force = self.in_force.subscribe();
        Arc::new(move || {
            let in_force = in_force.borrow();
            if couriers() { in_force.open.clone() } else { in_force.closed.clone() }
        })
    }

    /// Reads the bundle again whenever its content changes. Runs until the process ends.
    pub async fn keep_fresh(self) {
        let mut seen: Option<Vec<u8>> = tokio::fs::read(&self.path).await.ok();
        loop {
            tokio::time::sleep(POLL).await;
            let Ok(bundle) = tokio::fs::read(&self.path).await else { continue };
            if seen.as_ref() != Some(&bundle) {
                self.take(&bundle);
                seen = Some(bundle);
            }
        }
    }

    fn take(&self, bundle: &[u8]) {
        let config = |mandatory| server_config(bundle, mandatory, &self.key, &self.provider);
        match config(true).and_then(|closed| Ok((closed, config(false)?))) {
            Ok((closed, open)) => {
                let sha256 = hex::encode(Sha256::digest(bundle));
                tracing::info!(sha256, "operator CA bundle in force");
                let (closed, open) = (Some(Arc::new(closed)), Some(Arc::new(open)));
                self.in_force.send_replace(InForce { sha256, closed, open });
            }
            Err(problem) => tracing::error!(
                file = %self.path.display(),
                problem,
                "the operator CA bundle is refused; the last good one stays in force"
            ),
        }
    }
}

fn server_config(
    bundle: &[u8],
    mandatory: bool,
    key: &ControlKey,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, String> {
    let verifier = OperatorVerifier::new(roots(bundle)?, mandatory, provider.clone())?;
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(vec![key.certificate()], key.private_key())
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(bundle: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle) {
        let certificate = certificate.map_err(|error| format!("not PEM certificates: {error:?}"))?;
        roots.add(certificate).map_err(|error| format!("not a CA certificate: {error}"))?;
    }
    if roots.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(roots) }
}

/// TLS settings of a public listener that ends TLS itself.
///
/// # Errors
/// When the files cannot be read or do not fit each other.
pub fn public_tls(certificates: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let named = |path: &Path| {
        let path = path.display().to_string();
        move |error: rustls::pki_types::pem::Error| format!("{path}: {error:?}")
    };
    let chain = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(named(certificates))?;
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(key).map_err(named(key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

//! One mutually authenticated connection to a relay's control port.
//!
//! The relay's certificate is self-signed and made anew at each start; only its key means anything. So no chain is built:
//! the verifier asks for the fixed server name, for the server usage, and that the handshake is signed by that key; the
//! SHA-256 of the SubjectPublicKeyInfo is what the caller compares with the pin *before* it sends anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use paramant_protocol::control::CONTROL_SERVER_NAME;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::extensions::GeneralName;

use crate::authority::leaf::Leaf;

/// A pod answers on its node's network or it does not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A handshake is two round trips and two signatures.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why no connection came about. The sentences do not change from attempt to attempt.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing answers there.
    #[error("the control port does not accept connections ({0})")]
    Connect(std::io::ErrorKind),
    /// It answers too slowly.
    #[error("the control port did not answer in time")]
    Timeout,
    /// It answers, but not as a relay's control port does.
    #[error("the TLS handshake on the control port failed: {0}")]
    Handshake(String),
    /// Our own side could not be prepared.
    #[error("the operator's client certificate cannot be used: {0}")]
    Client(String),
}

/// An open connection and the key it was opened with.
#[derive(Debug)]
pub struct Connection {
    /// The encrypted stream.
    pub stream: TlsStream<TcpStream>,
    /// Lower-case hex SHA-256 of the relay's SubjectPublicKeyInfo.
    pub spki_sha256: String,
}

/// Dials a relay and shakes hands.
pub async fn dial(address: SocketAddr, leaf: &Leaf) -> Result<Connection, Error> {
    let config = match leaf.settings.get() {
        Some(config) => config.clone(),
        None => {
            let config = client_config(leaf)?;
            leaf.settings.get_or_init(|| config).clone()
        }
    };
    let name = ServerName::try_from(CONTROL_SERVER_NAME).map_err(|error| Error::Client(error.to_string()))?;
    let tcp = timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
        .await
        .map_err(|_| Error::Timeout)?
        .map_err(|error| Error::Connect(error.kind()))?;
    tcp.set_nodelay(true).map_err(|error| Error::Connect(error.kind()))?;
    let stream = timeout(HANDSHAKE_TIMEOUT, TlsConnector::from(config).connect(name, tcp))
        .await
        .map_err(|_| Error::Timeout)?
        .map_err(|error| Error::Handshake(error.to_string()))?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let spki_sha256 = certificate
        .and_then(|der| spki_sha256(der))
        .ok_or_else(|| Error::Handshake("the relay showed no certificate".to_owned()))?;
    Ok(Connection { stream, spki_sha256 })
}

/// Lower-case hex SHA-256 of a certificate's SubjectPublicKeyInfo.
pub fn spki_sha256(der: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(hex::encode(Sha256::digest(certificate.public_key().raw)))
}

fn client_config(leaf: &Leaf) -> Result<Arc<ClientConfig>, Error> {
    let client = |error: rustls::Error| Error::Client(error.to_string());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(client)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(RelayVerifier { provider }))
        .with_client_auth_cert(leaf.chain.clone(), leaf.key.clone_key())
        .map_err(client)?;
    // A connection lives for hours; a ticket kept for resumption would only hold memory, and would outlive a key change.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// Accepts a relay's self-signed control certificate; see the head of this file.
#[derive(Debug)]
struct RelayVerifier {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for RelayVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let malformed = |_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding);
        let (_, certificate) = x509_parser::parse_x509_certificate(end_entity)
            .map_err(|_| rustls::Error::from(CertificateError::BadEncoding))?;
        let names = certificate.subject_alternative_name().map_err(malformed)?;
        let wanted = GeneralName::DNSName(CONTROL_SERVER_NAME);
        let named = names.is_some_and(|names| names.value.general_names.contains(&wanted));
        if !named {
            return Err(CertificateError::NotValidForName.into());
        }
        let serves =
            certificate.extended_key_usage().map_err(malformed)?.is_some_and(|usage| usage.value.server_auth);
        if !serves {
            return Err(CertificateError::InvalidPurpose.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

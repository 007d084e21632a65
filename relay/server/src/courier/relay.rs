//! The courier's way to its relay: TLS to a pinned key, the token, the upgrade.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONNECTION, HOST, UPGRADE};
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use paramant_protocol::control::{CONTROL_SERVER_NAME, COURIER_PATH, CourierPurpose, TUNNEL_PROTOCOL};
use paramant_protocol::refusal::Refusal;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// From dialling to the relay's answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A refusal is a sentence.
const MAX_REFUSAL: usize = 4096;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The token.
    #[error("the token file cannot be read: {0}")]
    Token(io::Error),
    /// Nobody there, or not the relay.
    #[error("the relay's control port cannot be reached: {0}")]
    Dial(io::Error),
    /// No answer.
    #[error("the relay's control port did not answer in time")]
    Slow,
    /// HTTP.
    #[error("the connection to the relay broke: {0}")]
    Http(hyper::Error),
    /// It said no.
    #[error("the relay refuses this courier ({status}): {why}")]
    Refused {
        /// As answered.
        status: StatusCode,
        /// The relay's sentence.
        why: String,
    },
    /// The token holds what no header may.
    #[error("the token cannot be sent: {0}")]
    Request(#[from] axum::http::Error),
}

/// Connects, and hands the connection over to the relay.
pub(super) async fn connect(
    relay: SocketAddr,
    key: &str,
    purpose: CourierPurpose,
    token: &str,
) -> Result<TokioIo<Upgraded>, Error> {
    timeout(PATIENCE, attempt(relay, key, purpose, token)).await.unwrap_or(Err(Error::Slow))
}

async fn attempt(
    relay: SocketAddr,
    key: &str,
    purpose: CourierPurpose,
    token: &str,
) -> Result<TokioIo<Upgraded>, Error> {
    let stream = TcpStream::connect(relay).await.map_err(Error::Dial)?;
    stream.set_nodelay(true).map_err(Error::Dial)?;
    let name =
        ServerName::try_from(CONTROL_SERVER_NAME).map_err(|error| Error::Dial(io::Error::other(error)))?;
    let config = client_config(key).map_err(|error| Error::Dial(io::Error::other(error)))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(Error::Dial)?;
    let (mut sender, connection) =
        http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(Error::Http)?;
    tokio::spawn(connection.with_upgrades());
    let request = Request::get(format!("{COURIER_PATH}{}", purpose.as_str()))
        .header(HOST, CONTROL_SERVER_NAME)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, TUNNEL_PROTOCOL)
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .body(Empty::new())?;
    let answer = sender.send_request(request).await.map_err(Error::Http)?;
    let status = answer.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let body = Limited::new(answer.into_body(), MAX_REFUSAL).collect().await;
        let refusal = body.ok().and_then(|body| serde_json::from_slice::<Refusal>(&body.to_bytes()).ok());
        return Err(Error::Refused { status, why: refusal.unwrap_or_default().error });
    }
    let upgraded = hyper::upgrade::on(answer).await.map_err(Error::Http)?;
    Ok(TokioIo::new(upgraded))
}

fn client_config(key: &str) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { key: key.to_owned(), provider }))
        .with_no_client_auth();
    // An upgrade is a thing of HTTP/1.1.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Accepts the one key that the operator pinned; names and issuers say nothing beside it.
#[derive(Debug)]
struct Pinned {
    key: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let (_, certificate) = x509_parser::parse_x509_certificate(end_entity)
            .map_err(|_| rustls::Error::from(CertificateError::BadEncoding))?;
        if hex::encode(Sha256::digest(certificate.public_key().raw)) == self.key {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
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

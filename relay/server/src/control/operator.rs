//! Who counts as the operator: a certificate from its CA, for client use, with its URI as subject alternative name.
//!
//! webpki checks chain, time and signature. It takes a certificate without extended key usage, and one with any name; both are
//! refused here, so that another certificate of the same CA is not an operator. Whoever shows no certificate at all gets as far as
//! the courier's route, while there is a courier; the router sees to that.

use std::sync::Arc;

use paramant_protocol::control::OPERATOR_URI;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Accepts the operator's certificate and no other.
#[derive(Debug)]
pub(super) struct OperatorVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    mandatory: bool,
}

impl OperatorVerifier {
    /// Without `mandatory`, a client may also come without a certificate.
    pub(super) fn new(
        roots: RootCertStore,
        mandatory: bool,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { chain, mandatory })
    }
}

/// Whether the certificate names the operator and is for client use.
fn names_the_operator(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let is_ours = |name: &GeneralName<'_>| matches!(name, GeneralName::URI(uri) if *uri == OPERATOR_URI);
    let named = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .is_some_and(|names| names.value.general_names.iter().any(is_ours));
    let for_clients =
        certificate.extended_key_usage().ok().flatten().is_some_and(|usage| usage.value.client_auth);
    named && for_clients && !certificate.is_ca()
}

impl ClientCertVerifier for OperatorVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        if names_the_operator(end_entity) {
            Ok(verified)
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

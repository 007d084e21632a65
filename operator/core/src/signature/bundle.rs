//! The sigstore bundle, version 0.3: what `cosign sign --new-bundle-format` attaches to an image as an artifact that refers to it.
//!
//! A bundle holds either a DSSE envelope around an in-toto statement, whose subject is the image and whose predicate type says
//! "signature", or a signature over the manifest's bytes. Provenance, bills of material and other statements come in
//! the same form with another predicate type; cosign itself labels some of them as signatures in the registry, so only the
//! signed statement is believed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::key::Keys;
use super::{Flaw, Image, certificate, malformed};

/// The media type of a bundle, and the artifact type of what holds one.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The predicate type of a signature.
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
const IN_TOTO: &str = "application/vnd.in-toto+json";
const STATEMENTS: [&str; 2] = ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Option<Envelope>,
    message_signature: Option<MessageSignature>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    certificate: Option<RawCertificate>,
    x509_certificate_chain: Option<Chain>,
}

#[derive(Deserialize)]
struct Chain {
    certificates: Vec<RawCertificate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawCertificate {
    raw_bytes: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageSignature {
    message_digest: MessageDigest,
    signature: String,
}

#[derive(Deserialize)]
struct MessageDigest {
    algorithm: String,
    digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    type_: String,
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: Digests,
}

#[derive(Default, Deserialize)]
struct Digests {
    sha256: Option<String>,
}

/// Which key signed the image, by its index.
pub(super) fn verify(keys: &Keys, image: Image<'_>, bytes: &[u8], now: Timestamp) -> Result<usize, Flaw> {
    let bundle: Bundle =
        serde_json::from_slice(bytes).map_err(|_| malformed("it is no sigstore bundle of version 0.3"))?;
    if bundle.media_type != MEDIA_TYPE {
        return Err(malformed("it is no sigstore bundle of version 0.3"));
    }
    let certificate = bundle.verification_material.certificate()?;
    match (bundle.dsse_envelope, bundle.message_signature) {
        (Some(envelope), None) => envelope.verify(keys, image, certificate.as_deref(), now),
        (None, Some(message)) => message.verify(keys, image, certificate.as_deref(), now),
        _ => Err(malformed("the bundle holds not exactly one of an envelope and a message signature")),
    }
}

impl Material {
    /// The certificate of the signer, in DER.
    fn certificate(self) -> Result<Option<Vec<u8>>, Flaw> {
        let listed = self.x509_certificate_chain.map(|chain| chain.certificates).unwrap_or_default();
        let first = self.certificate.or_else(|| listed.into_iter().next());
        first.map(|certificate| decode(&certificate.raw_bytes)).transpose()
    }
}

impl Envelope {
    fn verify(
        self,
        keys: &Keys,
        image: Image<'_>,
        certificate: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<usize, Flaw> {
        let [signature] = self.signatures.as_slice() else {
            return Err(malformed("the bundle's envelope holds not exactly one signature"));
        };
        let (payload, signature) = (decode(&self.payload)?, decode(&signature.sig)?);
        let message = pre_authentication_encoding(&self.payload_type, &payload);
        let signer = certificate::agree(keys, keys.signer(&message, &signature), certificate, now)?;
        if self.payload_type != IN_TOTO {
            return Err(Flaw::NoSignature { key: keys.name(signer).to_owned() });
        }
        let statement: Statement = serde_json::from_slice(&payload)
            .map_err(|_| malformed("the bundle holds no in-toto statement"))?;
        if !STATEMENTS.contains(&statement.type_.as_str()) {
            return Err(malformed("the bundle holds no in-toto statement of a known version"));
        }
        if !statement
            .subject
            .iter()
            .any(|subject| subject.digest.sha256.as_deref() == Some(image.digest.hex()))
        {
            return Err(Flaw::WrongDigest { key: keys.name(signer).to_owned() });
        }
        if statement.predicate_type != SIGN {
            return Err(Flaw::NoSignature { key: keys.name(signer).to_owned() });
        }
        Ok(signer)
    }
}

impl MessageSignature {
    /// The signed message is the manifest. The digest in the bundle is not signed; it tells a signature of another artefact from
    /// one by another key.
    fn verify(
        self,
        keys: &Keys,
        image: Image<'_>,
        certificate: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<usize, Flaw> {
        let signature = decode(&self.signature)?;
        let of = &self.message_digest;
        if of.algorithm != "SHA2_256" || decode(&of.digest)? != Sha256::digest(image.manifest).as_slice() {
            return Err(malformed("the bundle's message signature is for another artefact"));
        }
        certificate::agree(keys, keys.signer(image.manifest, &signature), certificate, now)
    }
}

/// What a DSSE signature is made over: <https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

fn decode(text: &str) -> Result<Vec<u8>, Flaw> {
    STANDARD.decode(text).map_err(|_| malformed("the bundle holds a field that is not base64"))
}

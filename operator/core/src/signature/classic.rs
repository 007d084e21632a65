//! The classic form: a manifest under the tag `sha256-<hex>.sig` of the same repository. Each layer is a payload in JSON
//! ("simple signing") that names the image's digest; the signature over its bytes is an annotation of the layer.
//!
//! `critical.identity.docker-reference` is what the image was called when it was signed. It is not compared: a mirror has
//! another name and the same bytes, and `cosign verify --key` does not compare it either.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;

use super::key::Keys;
use super::{Flaw, Image, certificate, malformed};

/// The media type of a layer that is a payload.
pub const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation with the signature, in base64.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The annotation with a certificate, in PEM.
pub const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// What `critical.type` must be.
const TYPE: &str = "cosign container image signature";

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Named,
    #[serde(rename = "type")]
    type_: String,
}

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Which key signed the image, by its index.
pub(super) fn verify(
    keys: &Keys,
    image: Image<'_>,
    payload: &[u8],
    signature: &str,
    certificate: Option<&str>,
    now: Timestamp,
) -> Result<usize, Flaw> {
    let signature = STANDARD.decode(signature).map_err(|_| malformed("the signature is not base64"))?;
    let certificate = match certificate {
        Some(pem) if !pem.is_empty() => Some(certificate::from_pem(pem)?),
        _ => None,
    };
    let signer = certificate::agree(keys, keys.signer(payload, &signature), certificate.as_deref(), now)?;
    let payload: Payload =
        serde_json::from_slice(payload).map_err(|_| malformed("the payload is not one of cosign's"))?;
    if payload.critical.type_ != TYPE {
        return Err(Flaw::NoSignature { key: keys.name(signer).to_owned() });
    }
    if payload.critical.image.digest != image.digest.as_str() {
        return Err(Flaw::WrongDigest { key: keys.name(signer).to_owned() });
    }
    Ok(signer)
}

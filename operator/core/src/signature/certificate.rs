//! Certificates beside a signature. Policies name keys, not authorities, so a certificate is never a reason to trust; but who
//! attached one to a signature said until when it may count, and that is held to.
//!
//! Keyless signatures carry a certificate of some minutes and no key that a policy could name: they do not count.

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::time::ASN1Time;

use super::key::Keys;
use super::{Flaw, malformed};

/// The first certificate of a PEM text, in DER.
pub(super) fn from_pem(text: &str) -> Result<Vec<u8>, Flaw> {
    CertificateDer::from_pem_slice(text.as_bytes())
        .map(|certificate| certificate.to_vec())
        .map_err(|_| malformed("its certificate is not PEM"))
}

/// The signer, unless a certificate speaks against it.
pub(super) fn agree(
    keys: &Keys,
    signer: Option<usize>,
    certificate: Option<&[u8]>,
    now: Timestamp,
) -> Result<usize, Flaw> {
    let Some(der) = certificate else { return signer.ok_or(Flaw::WrongKey) };
    let (rest, certificate) =
        x509_parser::parse_x509_certificate(der).map_err(|_| malformed("its certificate cannot be read"))?;
    if !rest.is_empty() {
        return Err(malformed("its certificate cannot be read"));
    }
    let validity = certificate.validity();
    let (from, to) = (instant(validity.not_before)?, instant(validity.not_after)?);
    if now < from || now > to {
        return Err(Flaw::Expired { from, to });
    }
    let signer = signer.ok_or(Flaw::WrongKey)?;
    if !keys.is(signer, certificate.public_key().raw) {
        return Err(malformed("its certificate is for another key than the one that signed"));
    }
    Ok(signer)
}

fn instant(time: ASN1Time) -> Result<Timestamp, Flaw> {
    Timestamp::from_second(time.timestamp()).map_err(|_| malformed("its certificate names no usable time"))
}

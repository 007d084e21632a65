//! Whether a relay could read a bundle of authorities: by the very store of roots that the relay puts it into.
//!
//! The schema sees that a text has the marks of PEM, not what is between them. A relay refuses its whole settings file for a
//! bundle without a certificate, and would serve on with settings that nobody can change any more.

use paramant_crds::network::CaBundle;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// What a person must write differently in the field at `path`.
pub(super) fn problem(path: &str, bundle: Option<&CaBundle>) -> Option<String> {
    let why = unreadable(bundle?.as_str())?;
    Some(format!("{path}: write one or more CA certificates as PEM ({why})"))
}

/// Why no relay could read a bundle, if that is so.
pub fn unreadable(pem: &str) -> Option<String> {
    let mut roots = RootCertStore::empty();
    for (number, certificate) in CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate() {
        let taken = certificate
            .map_err(|error| format!("{error:?}"))
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
        if let Err(why) = taken {
            return Some(format!("certificate {} cannot be read: {why}", number.saturating_add(1)));
        }
    }
    roots.is_empty().then(|| "there is none".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn said(pem: &str) -> Option<String> {
        let bundle: CaBundle = serde_json::from_value(pem.into()).unwrap();
        problem("spec.webhooks.caBundle", Some(&bundle))
    }

    #[test]
    fn what_looks_like_pem_and_holds_no_certificate_is_told_with_its_place() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let good = params.self_signed(&key).unwrap().pem();
        let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let open = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert_eq!(said(&good), None);
        assert_eq!(said(&format!("# ours\n{good}{good}")), None);
        assert_eq!(problem("spec.webhooks.caBundle", None), None);
        for (pem, says) in [
            (hollow, "certificate 1"),
            (open, "certificate 1"),
            ("the text -----BEGIN CERTIFICATE----- in passing", "there is none"),
            (&format!("{good}{hollow}"), "certificate 2"),
        ] {
            let found = said(pem).unwrap();
            assert!(found.starts_with("spec.webhooks.caBundle") && found.contains(says), "{pem:?}: {found}");
        }
    }
}

//! What people compare over the phone: SHA-256(KEM key ‖ second key), ten bytes, five groups of four (protocol §4.4).
//!
//! Two forms exist. Newer clients put the signing key second, `paramant-sdk` 3.0.0 and the browser pages its `ecdh_pub`. A
//! relay reports the first when a signing key is registered, and accepts either when asked to compare.

use sha2::{Digest as _, Sha256};

/// `8D70-D691-C822-D556-38B6` for the KEM key `aabb` and the second key `ccdd`.
pub fn fingerprint(kem_pub: &[u8], second: &[u8]) -> String {
    let digest = Sha256::new().chain_update(kem_pub).chain_update(second).finalize();
    let groups: Vec<String> = digest.chunks(2).take(5).map(hex::encode_upper).collect();
    groups.join("-")
}

/// The form a relay reports: KEM ‖ signing key when there is one, else KEM ‖ `ecdh_pub`.
pub fn reported(kem_pub: &[u8], sig_pub: &[u8], ecdh_pub: &[u8]) -> String {
    fingerprint(kem_pub, if sig_pub.is_empty() { ecdh_pub } else { sig_pub })
}

/// Whether `provided` is either form of a device's fingerprint; dashes and case do not matter.
pub fn matches(provided: &str, kem_pub: &[u8], sig_pub: &[u8], ecdh_pub: &[u8]) -> bool {
    let provided = plain(provided);
    [sig_pub, ecdh_pub].into_iter().any(|second| plain(&fingerprint(kem_pub, second)) == provided)
}

fn plain(text: &str) -> String {
    text.chars()
        .filter(|character| *character != '-')
        .map(|character| character.to_ascii_uppercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_fingerprint_comes_out() {
        assert_eq!(fingerprint(&[0xaa, 0xbb], &[0xcc, 0xdd]), "8D70-D691-C822-D556-38B6");
    }

    #[test]
    fn both_published_forms_match_and_others_do_not() {
        let (kem, sig, ecdh) = ([1; 4], [2; 4], [3; 4]);
        assert_eq!(reported(&kem, &sig, &ecdh), fingerprint(&kem, &sig));
        assert_eq!(reported(&kem, &[], &ecdh), fingerprint(&kem, &ecdh));
        for form in [fingerprint(&kem, &sig), fingerprint(&kem, &ecdh)] {
            assert!(matches(&form, &kem, &sig, &ecdh));
            assert!(matches(&form.replace('-', "").to_lowercase(), &kem, &sig, &ecdh));
        }
        assert!(!matches(&fingerprint(&sig, &kem), &kem, &sig, &ecdh));
        assert!(!matches("", &kem, &sig, &ecdh));
    }
}

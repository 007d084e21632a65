//! How a receiver knows that a call is its relay's: hex HMAC-SHA256 of the body under the secret both have (protocol §4.3).

use aws_lc_rs::hmac;

use crate::store::webhook_rows::Secret;

/// The value of `X-Paramant-Sig`; empty without a secret, as published.
pub(super) fn sign(secret: &Secret, body: &[u8]) -> String {
    if secret.0.is_empty() {
        return String::new();
    }
    hex::encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret.0), body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vector_holds() {
        let hash = "a".repeat(64);
        let body = format!(
            r#"{{"event":"blob_ready","device_id":"d1","ts":"2026-01-02T03:04:05.678Z","hash":"{hash}","size":5242880,"ttl_ms":3600000,"sig_valid":false}}"#
        );
        assert_eq!(
            sign(&Secret(b"topsecret".to_vec()), body.as_bytes()),
            "83cdae85d3fc4894a93ec2e7e9b9ffcd4fba0c5ceda46ed2e31f2bba4bbcfe9c"
        );
        assert_eq!(sign(&Secret::default(), body.as_bytes()), "");
    }
}

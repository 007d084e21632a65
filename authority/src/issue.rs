//! Issuing one offline licence. Refuses what would be useless the moment it is issued.

use anyhow::{Context as _, ensure};
use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use paramant_licensing::offline::{AcceptedKeys, OfflineLicense, Terms, UserCap, issue};
use paramant_protocol::moment;

/// A licence, checked as a relay will check it.
pub fn license(
    key: &SigningKey,
    max_users: UserCap,
    expires_at: String,
    issued_to: String,
    now: Timestamp,
) -> anyhow::Result<String> {
    let terms = Terms { max_keys: max_users, expires_at, issued_to, issued_at: Some(moment::millis(now)) };
    let token = issue(&terms, key)?;
    let keys = AcceptedKeys::of([key.verifying_key().to_bytes()]);
    let license = OfflineLicense::verify(&token, &keys).context("the licence just issued does not verify")?;
    ensure!(
        license.valid_at(now),
        "a licence that ends at {} is expired already: choose a later date",
        license.until()
    );
    Ok(token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_licence_is_issued_unless_it_would_be_useless() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let now: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
        let issue = |cap, expires: &str, to: &str| license(&key, cap, expires.into(), to.into(), now);
        let token = issue(UserCap::Users(50), "2027-01-01", "Acme").unwrap();
        let keys = AcceptedKeys::of([key.verifying_key().to_bytes()]);
        let license = OfflineLicense::verify(&token, &keys).unwrap();
        assert_eq!(license.cap(), UserCap::Users(50));
        assert_eq!(license.terms().issued_at.as_deref(), Some("2026-01-02T03:04:05.678Z"));
        assert!(
            issue(UserCap::Unlimited, "2026-01-02", "Acme")
                .unwrap_err()
                .to_string()
                .contains("expired already")
        );
        assert!(issue(UserCap::Unlimited, "soon", "Acme").is_err());
        assert!(issue(UserCap::Unlimited, "2027-01-01", "").is_err());
    }
}

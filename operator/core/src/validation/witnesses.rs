//! Whether a relay could read its witnesses: keys that are keys, of a type that cosigns, each once; addresses that are addresses.

use paramant_crds::relay::Witnesses;
use paramant_tlog::policy::{Log, Policy, Witness};
use paramant_tlog::vkey::VerifierKey;

use super::ca_bundle;
use crate::destination::Destination;

/// What a person must write differently.
pub(super) fn problem(wanted: &Witnesses) -> Option<String> {
    let mut read = Vec::new();
    for (number, member) in wanted.members.iter().enumerate() {
        let at = format!("spec.log.witnesses.members[{number}]");
        let key = match VerifierKey::parse(member.public_key.as_str()) {
            Ok(key) => key,
            Err(error) => return Some(format!("{at}.publicKey: {error}")),
        };
        if Destination::of_url(member.url.as_str()).is_none() {
            return Some(format!(
                "{at}.url: write it as https://witness.example/path, without user, query and fragment"
            ));
        }
        read.push(Witness { name: member.name.as_str().to_owned(), key, url: None });
    }
    if let Some(proxy) = &wanted.egress.proxy
        && Destination::of_url(proxy.as_str()).is_none()
    {
        return Some("spec.log.witnesses.egress.proxy: write it as http://proxy.example:3128".to_owned());
    }
    let quorum = usize::try_from(wanted.quorum).unwrap_or(usize::MAX);
    Policy::threshold(Vec::<Log>::new(), read, quorum)
        .err()
        .map(|error| format!("spec.log.witnesses: {error}"))
        .or_else(|| ca_bundle::problem("spec.log.witnesses.caBundle", wanted.ca_bundle.as_ref()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use paramant_tlog::keys::{CosignatureKey, Ed25519Key, Seed, Signer as _};
    use serde_json::json;

    use super::*;

    fn key(n: u8) -> String {
        CosignatureKey::from_seed("witness.example/w", &Seed::new([n; 32])).unwrap().verifier().to_string()
    }

    fn said(members: &[(&str, &str, &str)]) -> Option<String> {
        let members: Vec<_> = members
            .iter()
            .map(|(name, key, url)| json!({ "name": name, "publicKey": key, "url": url }))
            .collect();
        let wanted = json!({ "quorum": 1, "members": members, "egress": { "cidrs": ["192.0.2.0/24"] } });
        problem(&serde_json::from_value(wanted).unwrap())
    }

    #[test]
    fn what_the_relay_could_not_read_is_told_with_its_place() {
        let (good, other, url) = (key(1), key(2), "https://witness.example/w");
        assert_eq!(said(&[("a", &good, url), ("b", &other, url)]), None);
        let log_key = Ed25519Key::from_seed("witness.example/w", &Seed::new([3; 32])).unwrap();
        let log_key = log_key.verifier().to_string();
        for (members, says) in [
            ([("a", "witness.example+0123abcd+BBBB", url), ("b", &other, url)], "members[0].publicKey"),
            ([("a", &good, url), ("b", &log_key, url)], "Ed25519"),
            ([("a", &good, url), ("b", &good, url)], "public key"),
            ([("a", &good, url), ("b", &other, "https://w:99999")], "members[1].url"),
        ] {
            let found = said(&members).unwrap();
            assert!(found.contains(says), "{found}");
        }
    }
}

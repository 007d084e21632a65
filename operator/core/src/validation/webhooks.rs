//! Whether a relay could read its hosts of webhooks: hosts of the public internet, by the rule the relay itself goes by.

use paramant_crds::relay::Webhooks;
use paramant_protocol::public_host;

use super::ca_bundle;
use crate::destination::Destination;

/// What a person must write differently.
pub(super) fn problem(wanted: &Webhooks) -> Option<String> {
    let unreadable = wanted.hosts.iter().enumerate().find_map(|(number, host)| {
        let error = public_host::judge(host.as_str()).err()?;
        Some(format!("spec.webhooks.hosts[{number}]: {error}"))
    });
    let proxy = wanted.egress.proxy.as_ref().filter(|proxy| Destination::of_url(proxy.as_str()).is_none());
    unreadable
        .or_else(|| {
            proxy.map(|_| "spec.webhooks.egress.proxy: write it as http://proxy.example:3128".to_owned())
        })
        .or_else(|| ca_bundle::problem("spec.webhooks.caBundle", wanted.ca_bundle.as_ref()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn said(host: &str, proxy: &str) -> Option<String> {
        let wanted = json!({ "hosts": ["hooks.example", host], "egress": { "proxy": proxy } });
        problem(&serde_json::from_value(wanted).unwrap())
    }

    #[test]
    fn a_host_that_the_relay_would_refuse_is_told_with_its_place() {
        let good = "http://proxy.example:3128";
        for host in ["hooks.example.org", "1.1.1.1"] {
            assert_eq!(said(host, good), None, "{host}");
        }
        for host in ["localhost", "10.0.0.1", "127.1", "hooks.internal", "2130706433"] {
            let found = said(host, good).unwrap();
            assert!(found.starts_with("spec.webhooks.hosts[1]"), "{found}");
        }
        assert!(said("hooks.example.org", "http://proxy:99999").unwrap().contains("egress.proxy"));
    }
}

//! Hosts, addresses and where a courier may connect to.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{clause, text::shaped_text};

shaped_text! {
    /// A host name, such as `relay.acme.example`.
    HostName, length 1..=253, pattern "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
}

shaped_text! {
    /// An address range, such as `10.0.0.0/8` or `2001:db8::/32`.
    Cidr, length 3..=43, pattern "^[0-9a-fA-F:.]+/[0-9]{1,3}$"
}

shaped_text! {
    /// An `https` address.
    HttpsUrl, length 9..=512, pattern "^https://[^\\s@]+$"
}

shaped_text! {
    /// A forward proxy, such as `http://proxy.acme.example:3128`.
    ProxyUrl, length 8..=512, pattern "^https?://[^\\s@]+$"
}

shaped_text! {
    /// Certificates in PEM, one after the other.
    CaBundle, length 1..=65536, pattern "^[\\x20-\\x7e\\r\\n\\t]+$"
}

/// Where one courier may connect to. Nothing else is opened for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = clause::EGRESS_NAMES_A_WAY)]
pub struct Egress {
    /// Address ranges it may reach directly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = clause::CIDRS)]
    pub cidrs: Vec<Cidr>,
    /// A forward proxy to go through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyUrl>,
}

//! How much a relay takes. Absent fields leave the relay's own defaults in force.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{clause, network::Cidr, size::Size, span::Span};

/// How much the relay takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = clause::BLOB_FITS_IN_FLIGHT)]
#[x_kube(validation = clause::BLOB_FITS_OPEN)]
pub struct Limits {
    /// The largest sealed file; 5Mi when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = clause::MAX_BLOB_RANGE)]
    pub max_blob: Option<Size>,
    /// How long a file may wait for its receiver; 168h when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = clause::MAX_TTL_RANGE)]
    pub max_ttl: Option<Span>,
    /// How many bytes may wait at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<Size>,
    /// How many bytes the unfinished uploads of one account may hold; half of maxInFlight, but at least maxBlob, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_open_per_account: Option<Size>,
    /// Uploads are refused when less than this is free on the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_free_disk: Option<Size>,
    /// Requests a minute from one address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_minute: Option<u32>,
    /// Connections at once altogether; 8192 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: Option<u32>,
    /// Connections at once from one address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub connections_per_address: Option<u32>,
    /// Proxies whose `X-Forwarded-For` is believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = clause::CIDRS)]
    pub trusted_proxies: Vec<Cidr>,
    /// Uploads an hour without a key from one address; 10 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub anonymous_per_hour: Option<u32>,
    /// Whether the plans of API keys limit what they may do; no when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_quotas: Option<bool>,
}

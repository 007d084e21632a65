//! Counters and gauges of this relay, as `/metrics` shows them.

use prometheus::Registry;

/// Every metric of the relay. Others register theirs in [`Metrics::registry`] once, at start.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Where all of them live.
    pub registry: Registry,
}

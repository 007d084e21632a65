//! What webhooks add to the metrics. No label names a host or an account.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};

use super::Builder;

/// Calls, and what waits.
#[derive(Debug, Clone)]
pub struct WebhookMetrics {
    /// Events that wait to be delivered.
    pub waiting: IntGauge,
    /// Events that were not delivered in time.
    pub given_up: IntCounter,
    calls: IntCounterVec,
}

impl WebhookMetrics {
    pub(super) fn new(new: &Builder<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            waiting: new
                .gauge("paramant_webhook_events_waiting", "Events that wait to be delivered to webhooks")?,
            given_up: new.counter(
                "paramant_webhook_events_given_up_total",
                "Events that no webhook took within a day or the upload's life",
            )?,
            calls: new.add(IntCounterVec::new(
                Opts::new("paramant_webhook_calls_total", "Calls of webhooks, by outcome"),
                &["outcome"],
            ))?,
        })
    }

    /// Counts one call.
    pub fn called(&self, outcome: &str) {
        self.calls.with_label_values(&[outcome]).inc();
    }
}

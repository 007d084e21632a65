//! What the WebSockets of account holders add to the metrics.

use prometheus::{IntCounterVec, IntGauge, Opts};

use super::Builder;

/// Sockets that are open, and how they ended.
#[derive(Debug, Clone)]
pub struct StreamMetrics {
    /// Open now.
    pub open: IntGauge,
    ended: IntCounterVec,
}

impl StreamMetrics {
    pub(super) fn new(new: &Builder<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            open: new.gauge("paramant_streams", "Open WebSockets of account holders")?,
            ended: new.add(IntCounterVec::new(
                Opts::new("paramant_streams_ended_total", "WebSockets that ended, by why"),
                &["ending"],
            ))?,
        })
    }

    /// Counts one that ended.
    pub fn ended(&self, ending: &str) {
        self.ended.with_label_values(&[ending]).inc();
    }
}

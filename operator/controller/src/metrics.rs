//! The operator's own numbers, in Prometheus' words.
//!
//! Everything is registered once, here, so the names below are the whole list. Labels are small closed sets: no relay name
//! becomes a label, a thousand relays stay a handful of series.

use prometheus::{
    Encoder as _, Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// All metrics of one process.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// `paramant_operator_reconciles_total{outcome}`.
    pub reconciles: IntCounterVec,
    /// `paramant_operator_reconcile_seconds`.
    pub reconcile_seconds: Histogram,
    /// `paramant_operator_queue_length`: keys that are due or running.
    pub queue_length: IntGauge,
    /// `paramant_operator_queue_wait_seconds`: from the moment an object is due to the start of its reconcile.
    pub queue_wait: Histogram,
    /// `paramant_operator_first_pass_seconds`: from the start of the process to the end of the first pass over everything.
    pub first_pass: Gauge,
    /// `paramant_operator_watch_errors_total{kind}`.
    pub watch_errors: IntCounterVec,
    /// `paramant_operator_watch_age_seconds{collection}`: since the watch last heard anything.
    pub watch_age: IntGaugeVec,
    /// `paramant_operator_writes_total{kind,verb}`.
    pub writes: IntCounterVec,
    /// `paramant_operator_conflicts_total{kind}`.
    pub conflicts: IntCounterVec,
    /// `paramant_operator_leader`: 1 while leading.
    pub leader: IntGauge,
    /// `paramant_operator_control_connects_total{outcome}`.
    pub control_connects: IntCounterVec,
    /// `paramant_operator_control_connected`: relays whose event stream is open.
    pub control_connected: IntGauge,
    /// `paramant_operator_directives_total{outcome}`.
    pub directives: IntCounterVec,
    /// `paramant_operator_image_lookups_total{outcome}`.
    pub image_lookups: IntCounterVec,
}

impl Metrics {
    /// Registers everything. Fails only when a name is registered twice, which the test below rules out.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let metric = IntCounterVec::new(Opts::new(name, help).namespace("paramant_operator"), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let metric = IntGauge::with_opts(Opts::new(name, help).namespace("paramant_operator"))?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let watch_age = IntGaugeVec::new(
            Opts::new("watch_age_seconds", "Seconds since the watch last heard anything.")
                .namespace("paramant_operator"),
            &["collection"],
        )?;
        registry.register(Box::new(watch_age.clone()))?;
        let reconcile_seconds = Histogram::with_opts(
            HistogramOpts::new("reconcile_seconds", "Duration of one reconcile.")
                .namespace("paramant_operator")
                .buckets(vec![0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0]),
        )?;
        registry.register(Box::new(reconcile_seconds.clone()))?;
        let queue_wait = Histogram::with_opts(
            HistogramOpts::new(
                "queue_wait_seconds",
                "From the moment an object is due to the start of its reconcile.",
            )
            .namespace("paramant_operator")
            .buckets(vec![0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0]),
        )?;
        registry.register(Box::new(queue_wait.clone()))?;
        let first_pass = Gauge::with_opts(
            Opts::new(
                "first_pass_seconds",
                "From the start of the process to the end of the first pass over every object; 0 until then.",
            )
            .namespace("paramant_operator"),
        )?;
        registry.register(Box::new(first_pass.clone()))?;
        let build = IntGaugeVec::new(
            Opts::new("build_info", "Always 1; the label says which release runs.")
                .namespace("paramant_operator"),
            &["version"],
        )?;
        build.with_label_values(&[crate::VERSION]).set(1);
        registry.register(Box::new(build))?;
        Ok(Self {
            reconciles: counter("reconciles_total", "Reconciles by outcome.", &["outcome"])?,
            reconcile_seconds,
            queue_length: gauge("queue_length", "Relays that are due or being reconciled.")?,
            queue_wait,
            first_pass,
            watch_errors: counter("watch_errors_total", "Watch errors by kind.", &["kind"])?,
            watch_age,
            writes: counter("writes_total", "Writes to the API server.", &["kind", "verb"])?,
            conflicts: counter(
                "conflicts_total",
                "Writes refused because the object had changed.",
                &["kind"],
            )?,
            leader: gauge("leader", "1 while this process leads.")?,
            control_connects: counter(
                "control_connects_total",
                "Attempts to open a relay's event stream.",
                &["outcome"],
            )?,
            control_connected: gauge("control_connected", "Relays whose event stream is open.")?,
            directives: counter("directives_total", "Directives pushed to relays by outcome.", &["outcome"])?,
            image_lookups: counter(
                "image_lookups_total",
                "Tags asked of registries by outcome.",
                &["outcome"],
            )?,
            registry,
        })
    }

    /// The exposition format.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn every_metric_registers_once_and_renders() {
        let metrics = Metrics::new().unwrap();
        metrics.reconciles.with_label_values(&["ok"]).inc();
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        assert!(text.contains("paramant_operator_reconciles_total{outcome=\"ok\"} 1"), "{text}");
        assert!(text.contains("paramant_operator_build_info{version="), "{text}");
    }
}

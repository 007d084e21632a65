//! The operator's own numbers, in Prometheus' words.
//!
//! Everything is registered once, here or as [`crate::census`]; docs/metrics.md is the whole list. Labels here are small closed
//! sets: no relay name becomes a label, a thousand relays stay a handful of series.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::{
    Encoder as _, Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// All metrics of one process.
#[derive(Debug, Clone)]
pub struct Metrics {
    builder: Builder,
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
    /// `paramant_operator_image_inspections_total{outcome}`.
    pub image_inspections: IntCounterVec,
}

impl Metrics {
    /// Registers everything. Fails only when a name is registered twice, which the test below rules out.
    pub fn new() -> Result<Self, prometheus::Error> {
        let builder = Builder::default();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            builder.add(IntCounterVec::new(Opts::new(name, help).namespace("paramant_operator"), labels))
        };
        let gauge = |name: &str, help: &str| {
            builder.add(IntGauge::with_opts(Opts::new(name, help).namespace("paramant_operator")))
        };
        let watch_age = builder.add(IntGaugeVec::new(
            Opts::new("watch_age_seconds", "Seconds since the watch last heard anything.")
                .namespace("paramant_operator"),
            &["collection"],
        ))?;
        let reconcile_seconds = builder.add(Histogram::with_opts(
            HistogramOpts::new("reconcile_seconds", "Duration of one reconcile.")
                .namespace("paramant_operator")
                .buckets(vec![0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0]),
        ))?;
        let queue_wait = builder.add(Histogram::with_opts(
            HistogramOpts::new(
                "queue_wait_seconds",
                "From the moment an object is due to the start of its reconcile.",
            )
            .namespace("paramant_operator")
            .buckets(vec![0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0]),
        ))?;
        let first_pass = builder.add(Gauge::with_opts(
            Opts::new(
                "first_pass_seconds",
                "From the start of the process to the end of the first pass over every object; 0 until then.",
            )
            .namespace("paramant_operator"),
        ))?;
        let build = builder.add(IntGaugeVec::new(
            Opts::new("build_info", "Always 1; the label says which release runs.")
                .namespace("paramant_operator"),
            &["version"],
        ))?;
        build.with_label_values(&[crate::VERSION]).set(1);
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
            image_inspections: counter(
                "image_inspections_total",
                "Looks at an image's signatures by outcome.",
                &["outcome"],
            )?,
            builder,
        })
    }

    /// Adds what measures itself when it is read.
    pub fn register(&self, collector: impl Collector + 'static) -> Result<(), prometheus::Error> {
        self.builder.register(collector)
    }

    /// The exposition format.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.builder.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// Registers metrics and remembers what they are.
#[derive(Debug, Clone, Default)]
struct Builder {
    registry: Registry,
    described: Arc<Mutex<Vec<Desc>>>,
}

impl Builder {
    fn add<M: Collector + Clone + 'static>(
        &self,
        metric: Result<M, prometheus::Error>,
    ) -> Result<M, prometheus::Error> {
        let metric = metric?;
        self.register(metric.clone())?;
        Ok(metric)
    }

    fn register(&self, collector: impl Collector + 'static) -> Result<(), prometheus::Error> {
        let described = collector.desc().into_iter().cloned().collect::<Vec<_>>();
        self.registry.register(Box::new(collector))?;
        self.described.lock().unwrap_or_else(PoisonError::into_inner).extend(described);
        Ok(())
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

    #[test]
    fn the_documentation_lists_exactly_the_metrics_there_are() {
        let metrics = Metrics::new().unwrap();
        let leadership =
            crate::leader::election::Leadership::fixed(crate::leader::election::Standing::Follower);
        let census = crate::census::Census::new(crate::stores::World::default(), leadership).unwrap();
        metrics.register(census).unwrap();
        let described = metrics.builder.described.lock().unwrap();
        let mut rows: Vec<String> = described
            .iter()
            .map(|it| {
                let labels = it.variable_labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>();
                format!("| `{}` | {} | {} |", it.fq_name, labels.join(", "), it.help)
            })
            .collect();
        rows.sort();
        let page = include_str!("../../../docs/metrics.md");
        let listed: Vec<&str> =
            page.lines().filter(|line| line.starts_with("| `paramant_operator_")).collect();
        assert_eq!(listed, rows, "docs/metrics.md should say:\n{}", rows.join("\n"));
    }
}

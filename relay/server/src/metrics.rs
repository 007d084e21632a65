//! Counters and gauges of this relay, as `/metrics` shows them. Labels are closed sets: a route is its pattern, never a path.
//!
//! What another part owns (uploads in progress, log size) is read when somebody looks, not counted twice.

mod streams;
mod webhooks;
mod witnesses;

use std::cell::RefCell;
use std::time::Duration;

use paramant_protocol::control::FenceState;
use prometheus::core::{Collector, Desc};
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use paramant_protocol::transparency::GossipVerdict;

pub use self::streams::StreamMetrics;
pub use self::webhooks::WebhookMetrics;
pub use self::witnesses::WitnessMetrics;
use crate::app::Core;

/// Seconds; a durable upload of a few KiB takes about one to ten milliseconds.
const BUCKETS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];

/// Every metric of the relay. Others register theirs in [`Metrics::registry`] once, at start.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Where all of them live.
    pub registry: Registry,
    /// What they are: docs/metrics.md lists them.
    pub described: Vec<Desc>,
    connections: IntGaugeVec,
    refused: IntCounterVec,
    requests: IntCounterVec,
    durations: HistogramVec,
    bytes_in: IntCounter,
    bytes_out: IntCounter,
    lost: IntCounterVec,
    drain: IntGaugeVec,
    in_flight: IntGaugeVec,
    log_entries: IntGauge,
    log_published: IntGauge,
    log_work: IntGaugeVec,
    log_fence: IntGaugeVec,
    tree_heads: IntGauge,
    gossip: IntCounterVec,
    contradictions: IntGauge,
    license: IntGaugeVec,
    settings_refused: IntGauge,
    uptime: IntGauge,
    /// About witnesses.
    pub witnesses: WitnessMetrics,
    /// About the WebSockets of account holders.
    pub streams: StreamMetrics,
    /// About webhooks.
    pub webhooks: WebhookMetrics,
}

/// Connections of one listener.
#[derive(Debug, Clone)]
pub struct Connections {
    /// Open now.
    pub open: IntGauge,
    /// Cut off at a cap.
    pub refused: IntCounter,
}

/// What of an acknowledged payload is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Its key: the slot is empty.
    Key,
    /// Its file, or the end of it.
    File,
    /// Its seal does not hold.
    Damaged,
}

impl Loss {
    fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::File => "file",
            Self::Damaged => "damaged",
        }
    }
}

impl Metrics {
    /// A fresh set, all zero.
    ///
    /// # Errors
    /// When two metrics have one name: a mistake in this file that every test of the process finds.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let new = Builder { registry: &registry, described: RefCell::default() };
        new.gauges("paramant_build_info", "Always 1; the label is the release", &["version"])?
            .with_label_values(&[crate::VERSION])
            .set(1);
        Ok(Self {
            connections: new.gauges("paramant_connections", "Open connections", &["listener"])?,
            refused: new.add(IntCounterVec::new(
                Opts::new("paramant_connections_refused_total", "Connections cut off at a cap"),
                &["listener"],
            ))?,
            requests: new.add(IntCounterVec::new(
                Opts::new("paramant_http_requests_total", "Answers of the public listener"),
                &["route", "method", "status"],
            ))?,
            durations: new.add(HistogramVec::new(
                HistogramOpts::new(
                    "paramant_http_request_duration_seconds",
                    "From the end of a request's header to the beginning of its answer",
                )
                .buckets(BUCKETS.to_vec()),
                &["route", "method"],
            ))?,
            bytes_in: new.counter("paramant_payload_received_bytes_total", "Payload bytes accepted")?,
            bytes_out: new
                .counter("paramant_payload_sent_bytes_total", "Payload bytes handed to the network")?,
            lost: losses(new.add(IntCounterVec::new(
                Opts::new(
                    "paramant_payloads_lost_total",
                    "Payloads that were acknowledged and cannot be read any more; anything above 0 is an alarm",
                ),
                &["what"],
            ))?),
            drain: new.gauges("paramant_drain_state", "1 for the state the relay is in", &["state"])?,
            in_flight: new.gauges("paramant_in_flight", "Work in progress", &["kind"])?,
            log_entries: new.gauge("paramant_log_entries", "Durable entries of the log")?,
            log_published: new
                .gauge("paramant_log_published_entries", "Entries under the newest published checkpoint")?,
            log_fence: new.gauges(
                "paramant_log_fence_state",
                "1 for the state the fence against old copies is in; heads are signed only in Signing",
                &["state"],
            )?,
            tree_heads: new
                .gauge("paramant_log_tree_heads", "Legacy tree heads signed since the log began")?,
            gossip: verdicts(new.add(IntCounterVec::new(
                Opts::new("paramant_log_gossip_total", "Heads that strangers sent to /log/gossip"),
                &["verdict"],
            ))?),
            contradictions: new.gauge(
                "paramant_log_contradictions",
                "Heads signed with this log's keys that contradict it; anything above 0 is an alarm",
            )?,
            log_work: new.gauges(
                "paramant_log_work",
                "What the log engine did since it was opened; entries over batches is the batch size",
                &["kind"],
            )?,
            license: new.gauges(
                "paramant_license_seconds_until_expiry",
                "Until what the licence grants ends without newer word; negative once it has, no series without a licence",
                &[],
            )?,
            settings_refused: new.gauge(
                "paramant_settings_refused",
                "1 while the settings file as it is now is refused and older settings are in force",
            )?,
            uptime: new.gauge("paramant_uptime_seconds", "Since the process started")?,
            witnesses: WitnessMetrics::new(&new)?,
            streams: StreamMetrics::new(&new)?,
            webhooks: WebhookMetrics::new(&new)?,
            described: new.described.take(),
            registry,
        })
    }

    /// The counters of one listener.
    pub fn connections(&self, listener: &str) -> Connections {
        Connections {
            open: self.connections.with_label_values(&[listener]),
            refused: self.refused.with_label_values(&[listener]),
        }
    }

    /// Counts one answer. `route` is the pattern, such as `/v2/outbound/{hash}`.
    pub fn answered(&self, route: &str, method: &str, status: u16, after: Duration) {
        self.requests.with_label_values(&[route, method, &status.to_string()]).inc();
        self.durations.with_label_values(&[route, method]).observe(after.as_secs_f64());
    }

    /// Counts payload bytes of an accepted upload.
    pub fn received(&self, bytes: u64) {
        self.bytes_in.inc_by(bytes);
    }

    /// Counts payload bytes handed to the network.
    pub fn sent(&self, bytes: u64) {
        self.bytes_out.inc_by(bytes);
    }

    /// Counts a payload that cannot be read any more.
    pub fn lost(&self, loss: Loss) {
        self.lost.with_label_values(&[loss.as_str()]).inc();
    }

    /// Counts one verdict on a head that somebody sent.
    pub fn gossip(&self, verdict: GossipVerdict) {
        self.gossip.with_label_values(&[verdict.as_str()]).inc();
    }

    /// How many heads are known that contradict the log.
    pub fn contradictions(&self, count: i64) {
        self.contradictions.set(count);
    }

    /// How long what the licence grants goes on, in seconds.
    pub fn license_ends_in(&self, left: Option<i64>) {
        self.license.reset();
        if let Some(left) = left {
            self.license.with_label_values::<&str>(&[]).set(left);
        }
    }

    /// The text that Prometheus reads, with everything brought up to date first.
    ///
    /// # Errors
    /// When a metric cannot be written as text, which none of ours can cause.
    pub fn render(&self, core: &Core) -> Result<String, prometheus::Error> {
        let drain = core.drain.report();
        for state in ["Serving", "Draining", "Drained"] {
            self.drain.with_label_values(&[state]).set(i64::from(format!("{:?}", drain.state) == state));
        }
        for (kind, count) in
            [("uploads", drain.uploads), ("claims", drain.claims), ("unclaimed", drain.unclaimed)]
        {
            self.in_flight.with_label_values(&[kind]).set(gauge(count));
        }
        self.log_entries.set(gauge(core.log.head().size));
        self.log_published.set(gauge(core.log.published().map_or(0, |published| published.head.size)));
        let fence = core.log.guard().report().state;
        for state in [FenceState::Signing, FenceState::Waiting, FenceState::Refused] {
            self.log_fence.with_label_values(&[format!("{state:?}").as_str()]).set((fence == state).into());
        }
        let work = core.log.engine().counters();
        for (kind, count) in [
            ("entries", work.appended),
            ("batches", work.batches),
            ("segments", work.segments),
            ("checkpoints", work.checkpoints),
        ] {
            self.log_work.with_label_values(&[kind]).set(gauge(count));
        }
        self.settings_refused.set(core.settings.file_refused().into());
        self.tree_heads.set(gauge(core.log.tree_heads().total()));
        core.witnesses.measure();
        self.uptime.set(jiff::Timestamp::now().duration_since(core.started_at).as_secs());
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// As [`verdicts`].
fn losses(counter: IntCounterVec) -> IntCounterVec {
    for loss in [Loss::Key, Loss::File, Loss::Damaged] {
        counter.with_label_values(&[loss.as_str()]);
    }
    counter
}

/// Each verdict is shown from the start, so that the first alarm is a change and not a new line.
fn verdicts(counter: IntCounterVec) -> IntCounterVec {
    for verdict in GossipVerdict::ALL {
        counter.with_label_values(&[verdict.as_str()]);
    }
    counter
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Makes metrics and registers them.
struct Builder<'a> {
    registry: &'a Registry,
    described: RefCell<Vec<Desc>>,
}

impl Builder<'_> {
    fn add<M: Collector + Clone + 'static>(&self, metric: prometheus::Result<M>) -> prometheus::Result<M> {
        let metric = metric?;
        self.registry.register(Box::new(metric.clone()))?;
        self.described.borrow_mut().extend(metric.desc().into_iter().cloned());
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.add(IntCounter::new(name, help))
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.add(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_metrics_share_a_name() {
        assert!(Metrics::new().is_ok());
    }

    #[test]
    fn the_documentation_lists_exactly_the_metrics_there_are() -> prometheus::Result<()> {
        let mut rows: Vec<String> = Metrics::new()?
            .described
            .iter()
            .map(|it| {
                let labels = it.variable_labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>();
                format!("| `{}` | {} | {} |", it.fq_name, labels.join(", "), it.help)
            })
            .collect();
        rows.sort();
        let page = include_str!("../../../docs/metrics.md");
        let listed: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("| `paramant_") && !line.starts_with("| `paramant_operator_"))
            .collect();
        assert_eq!(listed, rows, "docs/metrics.md should say:\n{}", rows.join("\n"));
        Ok(())
    }
}

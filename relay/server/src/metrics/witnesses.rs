//! What witnesses add to the metrics. The label is the witness's name in the settings: a few, chosen by a person.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts};

use super::Builder;

/// Gauges and counters about witnesses.
#[derive(Debug, Clone)]
pub struct WitnessMetrics {
    cosigned: IntGaugeVec,
    lag: IntGaugeVec,
    age: IntGaugeVec,
    pushes: IntCounterVec,
    witnessed: IntGauge,
}

impl WitnessMetrics {
    pub(super) fn new(new: &Builder<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            cosigned: new.gauges(
                "paramant_witness_cosigned_entries",
                "Entries under the checkpoint a witness cosigned last",
                &["witness"],
            )?,
            lag: new.gauges(
                "paramant_witness_lag_entries",
                "Entries under the newest local checkpoint that a witness has not cosigned",
                &["witness"],
            )?,
            age: new.gauges(
                "paramant_witness_cosignature_age_seconds",
                "Since a witness last cosigned; -1 when it never did. Grows on an idle log, where lag is what counts",
                &["witness"],
            )?,
            pushes: new.add(IntCounterVec::new(
                Opts::new("paramant_witness_pushes_total", "Checkpoints pushed to a witness, by outcome"),
                &["witness", "outcome"],
            ))?,
            witnessed: new.gauge(
                "paramant_log_witnessed_entries",
                "Entries under the newest checkpoint with a quorum of cosignatures",
            )?,
        })
    }

    /// Where one witness is.
    pub fn witness(&self, name: &str, cosigned: u64, lag: u64, age: i64) {
        self.cosigned.with_label_values(&[name]).set(super::gauge(cosigned));
        self.lag.with_label_values(&[name]).set(super::gauge(lag));
        self.age.with_label_values(&[name]).set(age);
    }

    /// How far the quorum is.
    pub fn witnessed(&self, entries: u64) {
        self.witnessed.set(super::gauge(entries));
    }

    /// Counts one push.
    pub fn pushed(&self, name: &str, outcome: &str) {
        self.pushes.with_label_values(&[name, outcome]).inc();
    }

    /// Forgets where witnesses are that are not asked any more; counters stay.
    pub fn clear(&self) {
        for gauges in [&self.cosigned, &self.lag, &self.age] {
            gauges.reset();
        }
        self.witnessed.set(0);
    }
}

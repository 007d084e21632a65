//! A relay's fast counters: uploads and claims in flight, entries of the log. They live in its metrics, not in status.
//!
//! Read through the API server's proxy to the pod, so it takes the right `get pods/proxy`, and the relay's NetworkPolicy
//! must let the API server's node in. Without either, the rest of the status is shown all the same.

use crate::cluster::{Cluster, PODS, Place};

/// The port of probes and metrics.
pub(crate) const METRICS_PORT: &str = "9090";

/// Where the metrics of a relay are.
pub(crate) fn place(namespace: &str, pod: &str) -> Place {
    Place::proxy(PODS, namespace, pod, METRICS_PORT, "metrics")
}

/// One line for people: the counters, or why they are not there.
pub(crate) async fn line(cluster: &Cluster, namespace: &str, relay: &str) -> String {
    match cluster.bytes(&place(namespace, &format!("{relay}-0"))).await {
        Ok(metrics) => match counted(&String::from_utf8_lossy(&metrics)) {
            Some(line) => format!("In flight {line}\n"),
            None => "In flight not shown: the relay's metrics hold no such counters\n".to_owned(),
        },
        Err(refusal) => format!("In flight not shown: {refusal}\n"),
    }
}

fn counted(metrics: &str) -> Option<String> {
    let in_flight = |kind: &str| value(metrics, &format!("paramant_in_flight{{kind=\"{kind}\"}}"));
    let (uploads, claims, unclaimed) = (in_flight("uploads")?, in_flight("claims")?, in_flight("unclaimed")?);
    let entries = value(metrics, "paramant_log_entries")?;
    let published = value(metrics, "paramant_log_published_entries")?;
    Some(format!(
        "{uploads} uploads, {claims} claims; {unclaimed} files wait for their reader; the log has {entries} entries, {published} published"
    ))
}

/// The value of a series that is written exactly so.
fn value<'m>(metrics: &'m str, series: &str) -> Option<&'m str> {
    let mut lines = metrics.lines();
    lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_from_what_prometheus_reads() {
        let metrics = "# HELP paramant_in_flight Work\n# TYPE paramant_in_flight gauge\n\
            paramant_in_flight{kind=\"claims\"} 2\nparamant_in_flight{kind=\"unclaimed\"} 7\n\
            paramant_in_flight{kind=\"uploads\"} 3\nparamant_log_entries 12\nparamant_log_published_entries 11\n";
        let line = counted(metrics).unwrap_or_default();
        assert_eq!(
            line,
            "3 uploads, 2 claims; 7 files wait for their reader; the log has 12 entries, 11 published"
        );
        assert_eq!(counted("paramant_log_entries 12\n"), None);
    }
}

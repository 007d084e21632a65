//! Log lines: JSON for machines or text for people, filtered by `RUST_LOG`; beside them spans, where a collector is named.

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::settings::LogFormat;
use crate::traces::Traces;

/// kube logs each failed request as an error of its own; ours say what it means. hyper and rustls only matter when asked for.
const DEFAULT_FILTER: &str = "info,kube_client=off,kube_runtime=error,hyper=warn,rustls=warn,h2=warn";

/// Installs the subscriber. A second call does nothing, so tests may call it too.
pub fn install(format: LogFormat, traces: Option<&Traces>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
        LogFormat::Text => lines.boxed(),
    };
    let installed = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(traces.map(Traces::layer))
        .try_init();
    if let Err(error) = installed {
        tracing::debug!(%error, "logging was installed before");
    }
}

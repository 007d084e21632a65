//! Log lines: JSON for machines or text for people, filtered by `RUST_LOG`.

use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;

/// kube logs each failed request as an error of its own; ours say what it means. hyper and rustls only matter when asked for.
const DEFAULT_FILTER: &str = "info,kube_client=off,kube_runtime=error,hyper=warn,rustls=warn,h2=warn";

/// Installs the subscriber. A second call does nothing, so tests may call it too.
pub fn install(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match format {
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
        LogFormat::Text => builder.try_init(),
    };
    if let Err(error) = installed {
        tracing::debug!(%error, "logging was installed before");
    }
}

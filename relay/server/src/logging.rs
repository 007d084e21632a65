//! Log lines on standard error: JSON, or text for people. What is said follows `PARAMANT_LOG`: a level, or levels of targets.

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::settings::LogFormat;

/// From here on everything is told.
pub(crate) fn start(format: LogFormat) {
    let wanted = std::env::var("PARAMANT_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry();
    match format {
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(true).with_span_list(false);
            registry.with(lines.with_filter(filter)).init();
        }
        LogFormat::Text => registry.with(lines.with_filter(filter)).init(),
    }
}

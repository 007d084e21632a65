//! Log lines: JSON for machines or text for people, filtered by `RUST_LOG`; beside them spans, where a collector is named.

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
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
    if let Err(error) = subscriber(format, filter, traces, std::io::stderr).try_init() {
        tracing::debug!(%error, "logging was installed before");
    }
}

fn subscriber<W>(
    format: LogFormat,
    filter: EnvFilter,
    traces: Option<&Traces>,
    writer: W,
) -> impl Subscriber + Send + Sync + use<W>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match format {
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
        LogFormat::Text => lines.boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(traces.map(Traces::layer))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(traces: Option<&Traces>) -> String {
        let page = Page::default();
        let writer = page.clone();
        let subscriber =
            subscriber(LogFormat::Json, EnvFilter::new(DEFAULT_FILTER), traces, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::info_span!("reconcile", subject = "relay n/health").entered();
            tracing::info!("a line");
            tracing::debug!("nobody asked for this");
            tracing::error!(target: "kube_client", "ours say what it means");
        });
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_are_the_same_whether_spans_are_sent_or_not_and_name_what_they_are_about() {
        let traces = Traces::to("http://127.0.0.1:9", "operator-0").unwrap();
        for traces in [None, Some(&traces)] {
            let text = written(traces);
            let lines: Vec<&str> = text.lines().collect();
            let [line] = lines.as_slice() else { panic!("{text}") };
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["message"], "a line");
            assert_eq!(line["span"]["subject"], "relay n/health");
        }
    }
}

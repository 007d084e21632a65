//! Spans for a collector, where one is named: off unless `--otlp-endpoint` says where to (adr/0058).
//!
//! A span says which object a pass, a write, a call or a lookup was about, how long it took and how it ended. It never holds
//! what was written or answered. Export runs on a thread of its own with a bounded queue: a collector that is slow or away
//! costs spans, never a reconcile. Everything else OpenTelemetry leaves to its environment variables (batching, headers,
//! resource attributes), this does too.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// What the process is called in a trace.
const SERVICE: &str = "paramant-operator";
/// One batch. A collector that needs longer is as good as away.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// What is left of the queue may take so long when the process ends; the pod has more, but the Lease was released already.
const LAST_EXPORT: Duration = Duration::from_secs(2);

/// Why no spans can be sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP client.
    #[error("cannot prepare to send spans: {0}")]
    Client(#[from] reqwest::Error),
    /// The exporter.
    #[error("cannot send spans to {endpoint}: {source}")]
    Exporter {
        /// Where.
        endpoint: String,
        /// Why.
        source: opentelemetry_otlp::ExporterBuildError,
    },
}

/// Where spans go until this is told to end.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Prepares to send spans to `endpoint`, the base URL of an OTLP/HTTP receiver. Not to be called from within a runtime: the
    /// client brings its own.
    pub fn to(endpoint: &str, instance: &str) -> Result<Self, Error> {
        // The image is empty: there is no certificate store in it to fall back on.
        let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS
            .iter()
            .map(|root| reqwest::Certificate::from_der(root))
            .collect::<Result<Vec<_>, _>>()?;
        let client = reqwest::blocking::Client::builder()
            .tls_certs_only(roots)
            .timeout(EXPORT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(SERVICE)
            .build()?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|source| Error::Exporter { endpoint: endpoint.to_owned(), source })?;
        let resource = Resource::builder()
            .with_service_name(SERVICE)
            .with_attribute(opentelemetry::KeyValue::new("service.version", crate::VERSION))
            .with_attribute(opentelemetry::KeyValue::new("service.instance.id", instance.to_owned()))
            .build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource);
        Ok(Self(provider.build()))
    }

    /// Hands the spans of this crate over, whatever the log shows.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    {
        let layer: OpenTelemetryLayer<S, Tracer> =
            tracing_opentelemetry::layer().with_tracer(self.0.tracer(SERVICE));
        let ours = Targets::new().with_target("paramant_operator", LevelFilter::INFO);
        layer.with_location(false).with_threads(false).with_filter(ours)
    }

    /// Sends what is left.
    pub fn end(&self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_EXPORT) {
            tracing::debug!(%error, "the last spans were not sent");
        }
    }
}

#[cfg(test)]
mod tests;

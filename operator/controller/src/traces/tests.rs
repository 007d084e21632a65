#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

/// An OTLP receiver on the loopback interface; hands on the path and the body of each POST.
fn receiver() -> (SocketAddr, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, posted) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            stream.read_exact(&mut body).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let _ = sender.send((path, body));
        }
    });
    (address, posted)
}

fn attributes(span: &Span) -> String {
    let mut all: Vec<String> =
        span.attributes.iter().map(|it| format!("{}={:?}", it.key, it.value)).collect();
    all.sort();
    all.join(" ")
}

#[test]
fn a_receiver_gets_the_span_of_a_pass_with_its_outcome_and_the_writes_below_it() {
    let (address, posted) = receiver();
    let traces = Traces::to(&format!("http://{address}"), "operator-0").unwrap();
    let subscriber = tracing_subscriber::registry().with(traces.layer());
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(crate::reconcile::one_pass_that_is_refused());
        tracing::info_span!(target: "hyper", "not ours").in_scope(|| {});
    });
    traces.end();
    let (path, body) = posted.recv_timeout(Duration::from_secs(10)).expect("spans were posted");
    assert_eq!(path, "/v1/traces");
    let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
    let resource = &request.resource_spans[0];
    assert!(format!("{:?}", resource.resource).contains("operator-0"));
    let spans: Vec<&Span> = resource.scope_spans.iter().flat_map(|scope| &scope.spans).collect();
    let of = |name: &str| {
        spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name} in {spans:#?}"))
    };
    let pass = of("reconcile");
    let said = attributes(pass);
    assert!(said.contains("policy n/production") && said.contains("failed"), "{said}");
    let write = of("write");
    assert_eq!(write.parent_span_id, pass.span_id);
    assert!(attributes(write).contains("patch-status"), "{}", attributes(write));
    assert!(spans.iter().all(|span| span.name != "not ours"));
}

#[test]
fn a_collector_that_is_away_costs_nothing_but_spans() {
    // Bound and dropped: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let traces = Traces::to(&format!("http://{address}/"), "operator-0").unwrap();
    let subscriber = tracing_subscriber::registry().with(traces.layer());
    let began = std::time::Instant::now();
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..10_000 {
            tracing::info_span!(target: "paramant_operator", "reconcile").in_scope(|| {});
        }
    });
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    traces.end();
}

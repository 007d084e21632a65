//! An audit tells a log that is wrong from one that cannot be asked just now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::http::StatusCode;
use paramant_client::audit::{Baggage, Source as _, audit};
use paramant_client::relay::Progress;
use paramant_client::{Category, Relay, RelayAddress};

/// Answers with a status so many times, then with `200`; counts the requests.
async fn gateway(status: u16, times: u32) -> (Relay, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let answer = move || {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        let refused = StatusCode::from_u16(status).unwrap();
        async move { if number < times { (refused, "<html>") } else { (StatusCode::OK, "here") } }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    (Relay::new(RelayAddress::parse(&address, false).unwrap(), None, None).unwrap(), asked)
}

#[tokio::test]
async fn a_gateway_without_a_relay_behind_it_is_no_finding() {
    for status in [502, 503, 504] {
        let (relay, _) = gateway(status, u32::MAX).await;
        let error = audit(&relay, &Baggage::default(), &Progress::silent()).await.unwrap_err();
        assert_eq!(error.category(), Category::Network, "{error}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_at_a_later_try_is_taken() {
    for status in [502, 503, 429] {
        let (relay, asked) = gateway(status, 2).await;
        assert_eq!(relay.get("/log/checkpoint").await.unwrap().as_deref(), Some(&b"here"[..]));
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }
}

#[tokio::test]
async fn a_refusal_that_stays_is_not_asked_for_again() {
    let (relay, asked) = gateway(403, u32::MAX).await;
    let error = audit(&relay, &Baggage::default(), &Progress::silent()).await.unwrap_err();
    assert_eq!(error.category(), Category::Network, "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;

use super::*;
use crate::registry::access::Access;
use crate::registry::lookup::RegistryLookup;

/// Answers from a script, then always with the last line.
struct Script(Vec<Result<String, LookupError>>, AtomicUsize);

impl Lookup for Script {
    fn digest<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<String, LookupError>> {
        let turn = self.1.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(self.0[turn.min(self.0.len() - 1)].clone()))
    }
}

fn resolver(script: Vec<Result<String, LookupError>>) -> (Resolver, Arc<Script>) {
    let script = Arc::new(Script(script, AtomicUsize::new(0)));
    (Resolver::new(script.clone(), Queue::default(), Metrics::new().unwrap()), script)
}

fn digest(fill: char) -> String {
    format!("sha256:{}", fill.to_string().repeat(64))
}

fn key() -> RelayKey {
    RelayKey::new("n", "r")
}

fn lookup(plain_http: &[String]) -> RegistryLookup {
    RegistryLookup::new(Arc::new(Access::new(plain_http.to_vec(), None, None)))
}

async fn settle() {
    tokio::time::sleep(Duration::from_secs(1000)).await;
}

#[tokio::test(start_paused = true)]
async fn a_tag_is_asked_once_and_a_new_reference_once_more() {
    let (resolver, script) = resolver(vec![Ok(digest('a')), Ok(digest('b'))]);
    let first = ImageRef("r.example/relay:1".to_owned());
    resolver.want(&key(), &first);
    assert_eq!(resolver.resolution(&key()), Resolution::Pending);
    settle().await;
    resolver.want(&key(), &first);
    settle().await;
    assert_eq!(
        resolver.resolution(&key()),
        Resolution::Resolved { image: first.0, digest: digest('a').parse().unwrap() }
    );
    assert_eq!(script.1.load(Ordering::SeqCst), 1);
    resolver.want(&key(), &ImageRef("r.example/relay:2".to_owned()));
    settle().await;
    assert_eq!(script.1.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_reference_with_a_digest_needs_no_registry() {
    let (resolver, script) = resolver(vec![Err(LookupError::unavailable("down"))]);
    resolver.want(&key(), &ImageRef(format!("r.example/relay@{}", digest('c'))));
    assert!(matches!(resolver.resolution(&key()), Resolution::Resolved { .. }));
    assert_eq!(script.1.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_retried_until_the_registry_answers() {
    let down = || Err(LookupError::unavailable("down"));
    let (resolver, script) = resolver(vec![down(), down(), down(), Ok(digest('d'))]);
    resolver.want(&key(), &ImageRef("r.example/relay:1".to_owned()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(matches!(resolver.resolution(&key()), Resolution::Unavailable { .. }));
    settle().await;
    assert!(matches!(resolver.resolution(&key()), Resolution::Resolved { .. }));
    assert_eq!(script.1.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_malformed_reference_is_refused_without_asking_anyone() {
    let lookup = lookup(&[]);
    assert!(matches!(lookup.digest("UPPER CASE").await, Err(LookupError::Refused(_))));
}

#[tokio::test]
async fn a_registry_that_cannot_be_reached_is_unavailable_and_says_which() {
    let lookup = lookup(&["127.0.0.1:9".to_owned()]);
    let expected = LookupError::unavailable("the registry 127.0.0.1:9 cannot be reached");
    assert_eq!(lookup.digest("127.0.0.1:9/relay:1").await, Err(expected));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_says_when_is_not_asked_earlier() {
    let after = Some(Duration::from_secs(600));
    let busy = Err(LookupError::Unavailable { reason: "busy".to_owned(), after });
    let (resolver, script) = resolver(vec![busy, Ok(digest('e'))]);
    resolver.want(&key(), &ImageRef("r.example/relay:1".to_owned()));
    tokio::time::sleep(Duration::from_secs(599)).await;
    assert_eq!(script.1.load(Ordering::SeqCst), 1);
    settle().await;
    assert!(matches!(resolver.resolution(&key()), Resolution::Resolved { .. }));
}

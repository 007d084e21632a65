#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use paramant_operator_core::release::{Release, Trust};

use super::*;

type Answer = Result<(Release, Verdict), LookupError>;

/// Answers from a script, then always with the last line; hangs where the repository says so.
struct Script(Vec<Answer>, AtomicUsize);

impl Examine for Script {
    fn examine<'a>(&'a self, asked: &'a Inspect) -> BoxFuture<'a, Answer> {
        if asked.repository.starts_with("hangs") {
            return Box::pin(std::future::pending());
        }
        let turn = self.1.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(self.0[turn.min(self.0.len() - 1)].clone()))
    }
}

fn inspector(script: Vec<Answer>) -> (Inspector, Arc<Script>) {
    let script = Arc::new(Script(script, AtomicUsize::new(0)));
    (Inspector::new(script.clone(), Queue::default(), Metrics::new().unwrap()), script)
}

fn question(repository: &str, fill: char) -> Inspect {
    let digest = format!("sha256:{}", fill.to_string().repeat(64)).parse().unwrap();
    Inspect { repository: repository.to_owned(), digest, trust: Trust::default() }
}

fn verified() -> Answer {
    Ok((Release::default(), Verdict::Verified { key: "release".to_owned() }))
}

fn refused() -> Answer {
    Ok((Release::default(), Verdict::Refused { kind: "Unsigned", reason: "no".to_owned() }))
}

fn relay(name: &str) -> RelayKey {
    RelayKey::new("n", name)
}

fn signature(known: Inspection) -> Option<Verdict> {
    match known {
        Inspection::Answered { signature, .. } => Some(signature),
        _ => None,
    }
}

async fn later(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_digest_is_verified_once_however_many_relays_ask() {
    let (inspector, script) = inspector(vec![verified()]);
    let asked = question("r.example/relay", 'a');
    for name in ["one", "two", "three"] {
        inspector.want(&relay(name), &asked);
        later(1).await;
        inspector.want(&relay(name), &asked);
        assert!(matches!(signature(inspector.inspection(&relay(name))), Some(Verdict::Verified { .. })));
    }
    inspector.forget(&relay("one"));
    inspector.forget(&relay("two"));
    inspector.forget(&relay("three"));
    assert_eq!(inspector.inspection(&relay("one")), Inspection::Pending);
    inspector.want(&relay("four"), &asked);
    assert!(signature(inspector.inspection(&relay("four"))).is_some());
    later(5000).await;
    assert_eq!(script.1.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_names_its_question_and_another_trust_is_another_question() {
    let (inspector, script) = inspector(vec![verified(), refused()]);
    let first = question("r.example/relay", 'a');
    inspector.want(&relay("r"), &first);
    later(1).await;
    let mut second = first.clone();
    second.trust.min_attestations = 1;
    inspector.want(&relay("r"), &second);
    assert_eq!(inspector.inspection(&relay("r")), Inspection::Pending);
    later(1).await;
    let Inspection::Answered { asked, signature, .. } = inspector.inspection(&relay("r")) else { panic!() };
    assert_eq!(asked, second);
    assert!(matches!(signature, Verdict::Refused { .. }));
    assert_eq!(script.1.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_may_not_run_is_looked_at_again_and_found_signed() {
    let (inspector, script) = inspector(vec![refused(), refused(), verified()]);
    inspector.want(&relay("r"), &question("r.example/relay", 'a'));
    later(1).await;
    assert!(matches!(signature(inspector.inspection(&relay("r"))), Some(Verdict::Refused { .. })));
    later(300).await;
    assert!(matches!(signature(inspector.inspection(&relay("r"))), Some(Verdict::Verified { .. })));
    later(5000).await;
    assert_eq!(script.1.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_retried_not_before_the_registry_wants_it() {
    let busy = LookupError::Unavailable { reason: "busy".to_owned(), after: Some(Duration::from_secs(100)) };
    let (inspector, script) =
        inspector(vec![Err(busy), Err(LookupError::Refused("no".to_owned())), verified()]);
    inspector.want(&relay("r"), &question("r.example/relay", 'a'));
    later(99).await;
    assert!(
        matches!(inspector.inspection(&relay("r")), Inspection::Unavailable { reason, .. } if reason == "busy")
    );
    assert_eq!(script.1.load(Ordering::SeqCst), 1);
    later(100).await;
    assert!(signature(inspector.inspection(&relay("r"))).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_hangs_delays_no_other_and_says_so_in_the_end() {
    let (inspector, _) = inspector(vec![verified()]);
    for fill in ['a', 'b', 'c', 'd', 'e', 'f'] {
        inspector.want(&relay(&format!("hung-{fill}")), &question("hangs.example/relay", fill));
    }
    inspector.want(&relay("r"), &question("r.example/relay", 'a'));
    later(1).await;
    assert!(signature(inspector.inspection(&relay("r"))).is_some());
    later(125).await;
    let Inspection::Unavailable { reason, .. } = inspector.inspection(&relay("hung-a")) else { panic!() };
    assert_eq!(reason, "the registry hangs.example did not answer in time");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_asks_any_more_is_not_asked_again() {
    let (inspector, script) = inspector(vec![refused()]);
    inspector.want(&relay("r"), &question("r.example/relay", 'a'));
    later(1).await;
    inspector.forget(&relay("r"));
    later(5000).await;
    assert_eq!(script.1.load(Ordering::SeqCst), 1);
    assert!(inspector.lock().asked.is_empty());
}

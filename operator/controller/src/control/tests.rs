#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fake_relay;

use futures::future::BoxFuture;
use paramant_protocol::control::{CONTROL_SERVER_NAME, DrainDirective};

use self::fake_relay::{FakeRelay, Manner};
use super::token::{Expected, Rejected};
use super::*;
use crate::authority::Authority;

/// Accepts the one token that fake relays show, for the one pod they run in.
struct OneToken;

impl TokenCheck for OneToken {
    fn check<'a>(&'a self, token: &'a str, expected: Expected<'a>) -> BoxFuture<'a, Result<(), keys::Error>> {
        let good = token == "good token"
            && expected
                == Expected {
                    audience: "paramant-operator",
                    namespace: "n",
                    service_account: "r",
                    pod_uid: Some("pod-1"),
                };
        Box::pin(std::future::ready(if good { Ok(()) } else { Err(Rejected::Pod.into()) }))
    }
}

struct Bench {
    authority: Authority,
    plane: ControlPlane,
}

fn key() -> RelayKey {
    RelayKey::new("n", "r")
}

impl Bench {
    fn new() -> Self {
        let authority = Authority::ephemeral().unwrap();
        let plane = ControlPlane::new(
            Leaves::of(authority.clone()),
            Arc::new(OneToken),
            Queue::default(),
            Metrics::new().unwrap(),
        );
        Self { authority, plane }
    }

    async fn relay(&self, manner: Manner) -> FakeRelay {
        FakeRelay::start(self.authority.bundle_pem(), CONTROL_SERVER_NAME, manner).await
    }

    fn aim(&self, relay: &FakeRelay, pinned: Option<&str>) {
        let target = Target {
            address: relay.address,
            pod_uid: "pod-1".to_owned(),
            pinned: pinned.map(str::to_owned),
            pod_ready: false,
        };
        self.plane.aim(&key(), Some(target));
    }

    /// Waits for a report of a certain kind.
    async fn report(&self, wanted: impl Fn(&Report) -> bool) -> Report {
        self.report_within(5, wanted).await
    }

    async fn report_within(&self, seconds: u32, wanted: impl Fn(&Report) -> bool) -> Report {
        for _ in 0..seconds * 100 {
            let report = self.plane.report(&key());
            if wanted(&report) {
                return report;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("still {:?} after {seconds} s", self.plane.report(&key()));
    }

    async fn reason(&self) -> String {
        self.reason_within(5).await
    }

    /// Why it is unreachable. Two attempts without any answer take ten seconds.
    async fn reason_within(&self, seconds: u32) -> String {
        match self.report_within(seconds, |report| matches!(report, Report::Unreachable { .. })).await {
            Report::Unreachable { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }
}

fn reachable(report: &Report) -> bool {
    matches!(report, Report::Reachable { .. })
}

fn directives(seq: u64) -> Directives {
    Directives {
        relay_uid: "uid".to_owned(),
        epoch: 1,
        seq,
        drain: DrainDirective { spec: Some(true), ..DrainDirective::default() },
        log_high_water: None,
        log_identity: None,
        log_refused: None,
        commit_schema: None,
        deleting: false,
        couriers: None,
        remote: None,
    }
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 5 s: {what}");
}

#[tokio::test]
async fn an_unpinned_relay_proves_itself_first_and_is_then_believed() {
    let bench = Bench::new();
    let relay = bench.relay(Manner::Good).await;
    bench.aim(&relay, None);
    let Report::Reachable { state, pod_uid, .. } = bench.report(reachable).await else { panic!() };
    assert_eq!(state.identity.control_spki_sha256, relay.spki);
    assert_eq!(pod_uid, "pod-1");
    assert_eq!(relay.requests(), ["GET /control/v1/proof", "GET /control/v1/events"]);
}

#[tokio::test]
async fn a_pinned_relay_needs_no_proof() {
    let bench = Bench::new();
    let relay = bench.relay(Manner::Good).await;
    bench.aim(&relay, Some(&relay.spki.clone()));
    bench.report(reachable).await;
    assert_eq!(relay.requests(), ["GET /control/v1/events"]);
}

#[tokio::test]
async fn a_changed_key_is_reported_and_hears_nothing() {
    let bench = Bench::new();
    let relay = bench.relay(Manner::Good).await;
    bench.plane.direct(&key(), directives(1));
    bench.aim(&relay, Some(&"0".repeat(64)));
    match bench.report(|report| matches!(report, Report::KeyChanged { .. })).await {
        Report::KeyChanged { found, .. } => assert_eq!(found, relay.spki),
        other => panic!("{other:?}"),
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(relay.requests().is_empty(), "{:?}", relay.requests());
    bench.aim(&relay, Some(&relay.spki.clone()));
    bench.report(reachable).await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_in_the_handshake() {
    let bench = Bench::new();
    let relay = FakeRelay::start(bench.authority.bundle_pem(), "relay.example", Manner::Good).await;
    bench.aim(&relay, None);
    let reason = bench.reason().await;
    assert!(reason.starts_with("the TLS handshake on the control port failed"), "{reason}");
    assert!(relay.requests().is_empty());
}

#[tokio::test]
async fn a_certificate_that_serves_clients_only_is_refused() {
    let bench = Bench::new();
    let relay = bench.relay(Manner::ClientUsage).await;
    bench.aim(&relay, None);
    assert!(bench.reason().await.starts_with("the TLS handshake"));
    assert!(relay.requests().is_empty());
}

#[tokio::test]
async fn a_relay_without_a_token_or_with_another_pods_is_not_believed() {
    for (manner, expected) in [
        (Manner::NoToken, "the relay answered 503 Service Unavailable to GET /control/v1/proof"),
        (
            Manner::WrongToken,
            "the relay's proof counts for nothing: the token is not bound to the pod that shows it",
        ),
    ] {
        let bench = Bench::new();
        let relay = bench.relay(manner).await;
        bench.plane.direct(&key(), directives(1));
        bench.aim(&relay, None);
        assert_eq!(bench.reason().await, expected);
        assert!(
            relay.requests().iter().all(|request| request == "GET /control/v1/proof"),
            "{:?}",
            relay.requests()
        );
    }
}

/// Each is told of in one steady sentence, hears nothing before it has proved who it is, and holds up nobody else.
#[tokio::test]
async fn a_relay_that_answers_nothing_or_nonsense_is_not_believed_and_others_are() {
    for (manner, says) in [
        (Manner::Mute, "the control port did not answer in time"),
        (Manner::Silent, "the relay did not answer in time"),
        (Manner::GarbageProof, "GET /control/v1/proof cannot be read"),
        (Manner::GarbageState, "GET /control/v1/events cannot be read"),
        (Manner::Busy, "503 Service Unavailable to GET /control/v1/events"),
    ] {
        let bench = Bench::new();
        let bad = bench.relay(manner).await;
        let good = bench.relay(Manner::Good).await;
        bench.plane.direct(&key(), directives(1));
        bench.aim(&bad, None);
        let other = RelayKey::new("n", "other");
        let target = Target {
            address: good.address,
            pod_uid: "pod-1".to_owned(),
            pinned: Some(good.spki.clone()),
            pod_ready: false,
        };
        bench.plane.aim(&other, Some(target));
        bench.plane.direct(&other, directives(1));
        eventually("the good relay to hold its directives", || good.held().is_some()).await;

        let said = bench.reason_within(30).await;
        assert!(said.contains(says), "{manner:?}: {said}");
        // The last two have proved which pod they are, and are told what to do whatever they report.
        let proved = matches!(manner, Manner::GarbageState | Manner::Busy);
        assert!(proved || bad.puts() == 0, "{manner:?} was told what to do before it was believed");
        assert!(reachable(&bench.plane.report(&other)), "{manner:?}: {:?}", bench.plane.report(&other));
    }
}

#[tokio::test]
async fn a_pinned_relay_that_never_answers_is_unreachable() {
    let bench = Bench::new();
    let relay = bench.relay(Manner::Silent).await;
    bench.aim(&relay, Some(&relay.spki.clone()));
    assert_eq!(bench.reason_within(30).await, "the relay did not answer in time on its control port");
}

#[tokio::test]
async fn a_long_state_is_read_whole_each_time() {
    let bench = Bench::new();
    let relay = bench.relay(Manner::Long).await;
    bench.aim(&relay, None);
    bench.report(reachable).await;
    for seq in 1..20 {
        bench.plane.direct(&key(), directives(seq));
        bench.report(|report| matches!(report, Report::Reachable { state, .. } if state.directives.as_ref().is_some_and(|it| it.seq == seq))).await;
    }
    assert_eq!(
        relay.requests(),
        ["GET /control/v1/proof", "GET /control/v1/events"],
        "one stream brought all"
    );
}

#[tokio::test]
async fn a_relay_that_reports_another_key_than_it_shows_is_not_believed() {
    let bench = Bench::new();
    let relay = bench.relay(Manner::LyingState).await;
    bench.aim(&relay, None);
    assert_eq!(bench.reason().await, "the relay reports another control key than it shows");
}

#[tokio::test]
async fn a_relay_that_trusts_another_authority_refuses_the_operator() {
    let bench = Bench::new();
    let other = Authority::ephemeral().unwrap();
    let relay = FakeRelay::start(other.bundle_pem(), CONTROL_SERVER_NAME, Manner::Good).await;
    bench.aim(&relay, None);
    bench.reason().await;
    assert!(relay.requests().is_empty());
}

#[tokio::test]
async fn nobody_listening_is_said_in_one_steady_sentence() {
    let bench = Bench::new();
    let relay = bench.relay(Manner::Good).await;
    let address = relay.address;
    drop(relay);
    bench
        .plane
        .aim(&key(), Some(Target { address, pod_uid: "pod-1".to_owned(), pinned: None, pod_ready: false }));
    assert_eq!(bench.reason().await, "the control port does not accept connections (connection refused)");
}

#[tokio::test]
async fn directives_arrive_once_and_a_change_at_once() {
    let bench = Bench::new();
    let relay = bench.relay(Manner::Good).await;
    bench.aim(&relay, None);
    bench.plane.direct(&key(), directives(1));
    eventually("the first directives are held", || relay.held().is_some_and(|held| held.seq == 1)).await;
    bench.plane.direct(&key(), directives(1));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(relay.puts(), 1);
    let sent = std::time::Instant::now();
    bench.plane.direct(&key(), directives(2));
    eventually("the second directives are held", || relay.held().is_some_and(|held| held.seq == 2)).await;
    // At once, as far as a machine with other work goes; retries are up to ten seconds apart.
    assert!(sent.elapsed() < Duration::from_secs(3), "took {:?}", sent.elapsed());
}

#[tokio::test]
async fn refused_directives_are_not_repeated_but_newer_ones_are_sent() {
    let bench = Bench::new();
    let relay = bench.relay(Manner::Good).await;
    relay.hold(5);
    bench.aim(&relay, None);
    bench.plane.direct(&key(), directives(3));
    eventually("the directives were refused", || relay.puts() == 1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((relay.puts(), relay.held().unwrap().seq), (1, 5));
    bench.plane.direct(&key(), directives(6));
    eventually("the newer directives are held", || relay.held().is_some_and(|held| held.seq == 6)).await;
}

#[tokio::test]
async fn a_relay_that_lost_its_directives_gets_them_again() {
    let bench = Bench::new();
    let relay = bench.relay(Manner::Good).await;
    bench.aim(&relay, None);
    bench.plane.direct(&key(), directives(1));
    eventually("the directives are held", || relay.held().is_some()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    relay.forget();
    eventually("the directives are held again", || relay.held().is_some_and(|held| held.seq == 1)).await;
}

#[tokio::test]
async fn a_relay_that_started_anew_in_its_pod_is_told_again_what_it_holds() {
    let bench = Bench::new();
    let relay = bench.relay(Manner::Good).await;
    bench.aim(&relay, None);
    bench.plane.direct(&key(), directives(1));
    eventually("the directives are held", || relay.held().is_some()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(relay.puts(), 1);
    relay.restart();
    eventually("it hears that its log may be signed", || !relay.waits()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((relay.puts(), relay.told()), (2, Some(directives(1))), "once, and the same");
}

#[tokio::test]
async fn a_cut_stream_is_opened_again_and_changes_no_report() {
    let bench = Bench::new();
    let relay = bench.relay(Manner::Good).await;
    bench.aim(&relay, None);
    bench.report(reachable).await;
    relay.cut();
    eventually("a second stream is open", || {
        relay.requests().iter().filter(|it| it.ends_with("events")).count() >= 2
    })
    .await;
    assert!(reachable(&bench.plane.report(&key())));
}

#[tokio::test]
async fn a_forgotten_relay_has_no_tasks_left() {
    let bench = Bench::new();
    let relay = bench.relay(Manner::Good).await;
    bench.aim(&relay, None);
    bench.report(reachable).await;
    bench.plane.forget(&key());
    eventually("the stream is closed", || relay.open_streams() == 0).await;
    assert!(matches!(bench.plane.report(&key()), Report::Unknown));
}

#[tokio::test]
async fn a_relay_that_vanished_is_told_so_before_its_tasks_end() {
    let bench = Bench::new();
    let relay = bench.relay(Manner::Good).await;
    bench.aim(&relay, None);
    bench.plane.direct(&key(), directives(1));
    eventually("the directives are held", || relay.held().is_some_and(|held| held.seq == 1)).await;
    bench.plane.forget(&key());
    assert!(matches!(bench.plane.report(&key()), Report::Unknown), "nobody believes it any more");
    eventually("the farewell is held", || {
        relay.told().is_some_and(|told| told.deleting && told.seq == 2 && told.relay_uid == "uid")
    })
    .await;
    eventually("the stream is closed", || relay.open_streams() == 0).await;
    bench.plane.forget(&key());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(relay.puts(), 2, "and it is told once");
}

#[tokio::test]
async fn directives_that_were_refused_are_named_until_some_are_taken() {
    let bench = Bench::new();
    let relay = bench.relay(Manner::Good).await;
    relay.hold(5);
    bench.aim(&relay, None);
    bench.plane.direct(&key(), directives(1));
    let refused = || bench.plane.refused(&key()).map(|mark| mark.seq);
    eventually("the refusal is known", || refused() == Some(1)).await;
    bench.plane.direct(&key(), directives(6));
    eventually("the refusal is over", || refused().is_none()).await;
}

#[tokio::test]
async fn a_relay_made_again_at_once_hears_no_farewell_of_the_one_before() {
    let bench = Bench::new();
    let relay = bench.relay(Manner::Good).await;
    relay.hold(5);
    bench.aim(&relay, None);
    bench.plane.direct(&key(), directives(1));
    eventually("the directives were refused", || relay.puts() == 1).await;
    bench.plane.forget(&key());
    bench.aim(&relay, None);
    let again = Directives { relay_uid: "another".to_owned(), ..directives(9) };
    bench.plane.direct(&key(), again);
    eventually("the new relay's directives are held", || relay.held().is_some_and(|it| it.seq == 9)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(relay.told().is_some_and(|told| !told.deleting && told.seq == 9), "{:?}", relay.told());
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_vanished_and_does_not_answer_is_let_go_after_a_minute() {
    let bench = Bench::new();
    let relay = bench.relay(Manner::Good).await;
    bench.aim(&relay, Some(&relay.spki.clone()));
    drop(relay);
    bench.plane.direct(&key(), directives(1));
    bench.plane.forget(&key());
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(bench.plane.lock().parting.len(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.plane.lock().parting.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_restless_relay_is_calmed_and_a_quiet_one_is_heard_at_once() {
    let relay = Bench::new().plane.relay(&key());
    assert_eq!(relay.calmed(Wake::Now), Wake::Now);
    assert_eq!(relay.calmed(Wake::Now), Wake::Child);
    tokio::time::advance(RESTLESS_WITHIN).await;
    assert_eq!(relay.calmed(Wake::Now), Wake::Now);
}

#[tokio::test]
async fn what_waits_for_a_quiet_relay_is_small() {
    let relay = Bench::new().plane.relay(&key());
    let (follows, pushes) = (follow::run(relay.clone()), push::run(relay));
    let sizes = (size_of_val(&follows), size_of_val(&pushes));
    // A thousand relays have two such tasks each. Connections are opened in boxes that go when they are open.
    assert!(sizes.0 + sizes.1 < 6 * 1024, "{sizes:?} bytes");
}

#[test]
fn growth_of_the_log_wakes_nobody_and_a_shrunken_log_everybody() {
    let quiet = fake_relay::a_state();
    let change = |change: fn(&mut paramant_protocol::control::RelayState)| {
        let mut state = quiet.clone();
        change(&mut state);
        follow::urgency(&quiet, &state)
    };
    assert_eq!(change(|_| {}), None);
    assert_eq!(change(|state| state.log.size = 9), None);
    assert_eq!(change(|state| state.drain.uploads = 1), None);
    assert_eq!(
        change(|state| state.drain.state = paramant_protocol::control::DrainState::Draining),
        Some(Wake::Now)
    );
    assert_eq!(change(|state| state.ready = false), Some(Wake::Now));
    let mut grown = quiet.clone();
    grown.log.size = 9;
    assert_eq!(follow::urgency(&grown, &quiet), Some(Wake::Now));
}

#[test]
fn what_a_vendor_asks_wakes_and_how_often_a_key_was_used_does_not() {
    use paramant_protocol::control::{RemoteReport, SupportReport, SupportState};
    let key = SupportReport {
        id: "0".repeat(32),
        role: "support".to_owned(),
        since: jiff::Timestamp::UNIX_EPOCH,
        until: jiff::Timestamp::UNIX_EPOCH,
        state: SupportState::Active,
        uses: 1,
    };
    let with = |remote| {
        let mut state = fake_relay::a_state();
        state.remote = Some(remote);
        state
    };
    let before = with(RemoteReport { support: vec![key.clone()], ..RemoteReport::default() });
    let used = SupportReport { uses: 9, ..key.clone() };
    let used = with(RemoteReport { unverifiable: 3, support: vec![used], ..RemoteReport::default() });
    assert_eq!(follow::urgency(&before, &used), None);
    let revoked = SupportReport { state: SupportState::Revoked, ..key };
    let revoked = with(RemoteReport { support: vec![revoked], ..RemoteReport::default() });
    assert_eq!(follow::urgency(&before, &revoked), Some(Wake::Now));
}

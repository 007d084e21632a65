//! The online check through a courier that fails at every step, alters what it carries, or leads somewhere else: always an outage,
//! never anything more, and the same request is asked again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use paramant_authority::faults::Fault;
use paramant_licensing::online::request;
use paramant_protocol::control::{
    AdmittedCourier, CourierPurpose, CouriersDirective, Directives, LicenseSource,
};
use paramant_protocol::entry::body::CheckinResult;
use paramant_relay::settings::{Control, Reach};
use reqwest::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::check_in::check_ins;
use crate::control::{Authority, OPERATOR, directives, fingerprint, put, spec};
use crate::courier::{Cluster, Courier, claims, courier_for, key};
use crate::relay::{Relay, until};
use crate::vendor::{Clock, Vendor, ask, asking, licence_directory, online, report};

/// What the line between courier and vendor does once so many bytes have passed, in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    /// Nothing passes any more.
    Hold(u64),
    /// The next byte passes with a bit turned.
    Turn(u64),
}

/// The way from the courier to the vendor.
struct Line {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    leads_to: Mutex<SocketAddr>,
    trouble: Mutex<Trouble>,
    passed: AtomicU64,
    /// The trouble has come.
    came: AtomicBool,
}

impl Line {
    async fn to(vendor: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            leads_to: Mutex::new(vendor),
            trouble: Mutex::new(Trouble::None),
            passed: AtomicU64::new(0),
            came: AtomicBool::new(false),
        });
        let of_task = shared.clone();
        tokio::spawn(async move {
            while let Ok((courier, _)) = listener.accept().await {
                let shared = of_task.clone();
                tokio::spawn(async move { carry(courier, &shared).await });
            }
        });
        Self { address, shared }
    }

    /// From here on.
    fn set(&self, trouble: Trouble) {
        *self.shared.trouble.lock().unwrap() = trouble;
        self.shared.passed.store(0, Ordering::SeqCst);
        self.shared.came.store(false, Ordering::SeqCst);
    }

    fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::SeqCst)
    }

    fn came(&self) -> bool {
        self.shared.came.load(Ordering::SeqCst)
    }
}

async fn carry(courier: TcpStream, shared: &Shared) {
    let address = *shared.leads_to.lock().unwrap();
    let Ok(vendor) = TcpStream::connect(address).await else { return };
    let ((mut from_courier, mut to_courier), (mut from_vendor, mut to_vendor)) =
        (courier.into_split(), vendor.into_split());
    tokio::select! {
        () = one_way(&mut from_courier, &mut to_vendor, shared) => {}
        () = one_way(&mut from_vendor, &mut to_courier, shared) => {}
    }
}

/// Byte by byte, so that trouble comes exactly where it was asked for.
async fn one_way(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin), shared: &Shared) {
    loop {
        let Ok(mut byte) = from.read_u8().await else { return };
        let trouble = *shared.trouble.lock().unwrap();
        let passed = shared.passed.load(Ordering::SeqCst);
        match trouble {
            Trouble::Hold(after) if passed >= after => {
                shared.came.store(true, Ordering::SeqCst);
                return std::future::pending().await;
            }
            Trouble::Turn(after) if passed >= after && !shared.came.swap(true, Ordering::SeqCst) => {
                byte ^= 0x10;
            }
            _ => {}
        }
        shared.passed.fetch_add(1, Ordering::SeqCst);
        if to.write_all(&[byte]).await.is_err() {
            return;
        }
    }
}

/// A relay in a cluster, with a vendor at the end of a line, and a courier that may be started.
struct Stage {
    relay: Relay,
    vendor: Vendor,
    line: Line,
    cluster: Cluster,
}

impl Stage {
    async fn set() -> Self {
        let (vendor, clock) = (Vendor::start().await, Clock::default());
        let line = Line::to(vendor.address).await;
        let (operator, cluster) = (Authority::new(), Cluster::new());
        let dir = TempDir::new().unwrap();
        let ca = dir.path().join("operator-ca.pem");
        std::fs::write(&ca, &operator.pem).unwrap();
        let directory = licence_directory(&dir);
        let endpoint = format!("https://{}/v1/license/check", line.address);
        let relay = Relay::in_world(vendor.world(&clock), dir, |settings| {
            asking(&vendor, settings, directory);
            let mut online = vendor.online(Reach::Courier);
            online.endpoint = endpoint.parse().unwrap();
            settings.online = Some(Arc::new(online));
            settings.listen.control.set_port(0);
            settings.control = Some(Control { operator_ca: ca, token_file: None });
        })
        .await;
        let admitted = AdmittedCourier {
            purpose: CourierPurpose::License,
            namespace: "transfers".into(),
            service_account: "health-courier-license".into(),
        };
        let couriers = CouriersDirective { token_keys: cluster.key_set(), admitted: vec![admitted] };
        let log_identity = Some(fingerprint(&relay));
        let directives = Directives { couriers: Some(couriers), log_identity, ..directives(1, spec(false)) };
        let answer = put(&operator.client(&relay, &OPERATOR()), &relay, &directives).await;
        assert_eq!(answer.0, StatusCode::OK);
        let stage = Self { relay, vendor, line, cluster };
        // From here on it waits for a courier, and asks as soon as there is one.
        until("the relay says that it has no courier", async || stage.problem().contains("courier")).await;
        stage
    }

    /// The real program.
    async fn courier(&self) -> Courier {
        let token = self.relay.dir.path().join("control-token");
        let mut claims = claims();
        *claims.pointer_mut("/sub").unwrap() =
            json!("system:serviceaccount:transfers:health-courier-license");
        std::fs::write(&token, self.cluster.token(&claims)).unwrap();
        let courier =
            courier_for("license", &self.relay, &key(&self.relay), &token, &[self.line.address], &[]);
        let couriers = &self.relay.running.app.core.couriers;
        until("the courier is there", async || couriers.is_connected(CourierPurpose::License)).await;
        courier
    }

    async fn gone(&self) {
        let couriers = &self.relay.running.app.core.couriers;
        until("the courier is gone", async || !couriers.is_connected(CourierPurpose::License)).await;
    }

    /// Digest of the request that is out; between an answer and the next request there is none.
    async fn out(&self) -> Option<String> {
        let next = self.relay.running.app.store.check_ins.next_request().await.unwrap();
        next.map(|next| request::digest(&next.bytes))
    }

    async fn frozen(&self) -> String {
        loop {
            match self.out().await {
                Some(out) => return out,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    fn problem(&self) -> String {
        report(&self.relay).check_in.and_then(|it| it.problem).unwrap_or_default()
    }

    /// Until nothing is on its way.
    async fn quiet(&self) {
        let still = async || {
            let before = self.line.passed();
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.line.passed() == before
        };
        until("the line is quiet", still).await;
    }

    /// Whether the vendor's answer to this request counts now: it is the next one's turn.
    async fn answered(&self, digest: &str) {
        let next = async || self.out().await.is_some_and(|out| out != digest);
        until("the request is answered", next).await;
        until("nothing is wrong", async || report(&self.relay).problems.is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_courier_killed_at_any_step_costs_one_attempt_and_no_request() {
    let stage = Stage::set().await;
    assert_eq!(report(&stage.relay).source, LicenseSource::None);
    assert_eq!(check_ins(&stage.relay).len(), 0, "what cannot leave is not announced");
    let first = stage.frozen().await;
    let mut courier = stage.courier().await;
    online(&stage.relay).await;
    stage.answered(&first).await;
    stage.quiet().await;
    let before = report(&stage.relay);

    // How many bytes one whole check-in is.
    stage.line.set(Trouble::None);
    let second = stage.frozen().await;
    ask(&stage.relay).await;
    stage.answered(&second).await;
    let whole = stage.line.passed();
    assert!(whole > 8_000, "a check-in has only {whole} bytes");

    let steps = [0, 1, whole / 16, whole / 8, whole / 4, whole / 2, whole - whole / 8, whole - 200];
    for step in steps {
        let frozen = stage.frozen().await;
        stage.line.set(Trouble::Hold(step));
        ask(&stage.relay).await;
        until(&format!("{step} bytes have passed"), async || stage.line.came()).await;
        drop(courier);
        stage.gone().await;
        until(&format!("it is told after {step} bytes"), async || !stage.problem().is_empty()).await;
        let now = report(&stage.relay);
        assert_eq!(
            (&now.tier, now.max_users, now.source, now.problems.len()),
            (&before.tier, before.max_users, before.source, 1),
            "after {step} bytes: {:?}",
            now.problems
        );
        assert_eq!(stage.frozen().await, frozen, "after {step} bytes the same request is still out");
        stage.line.set(Trouble::None);
        // Whoever waits after a failure asks as soon as there is a courier.
        courier = stage.courier().await;
        stage.answered(&frozen).await;
        stage.quiet().await;
    }
    drop(courier);

    // One announcement for each request, one failure for each that met one, one answer for each.
    let count = |wanted: CheckinResult| {
        check_ins(&stage.relay).iter().filter(|(result, ..)| *result == wanted).count()
    };
    assert_eq!(count(CheckinResult::Sent), 2 + steps.len());
    assert_eq!(count(CheckinResult::Unreachable), steps.len());
    assert_eq!(count(CheckinResult::Accepted), 2 + steps.len());
    assert_eq!(count(CheckinResult::Rejected), 0);
    stage.relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_courier_that_alters_a_byte_is_an_outage() {
    let stage = Stage::set().await;
    let _courier = stage.courier().await;
    online(&stage.relay).await;
    stage.quiet().await;
    let first = stage.frozen().await;
    stage.line.set(Trouble::None);
    ask(&stage.relay).await;
    stage.answered(&first).await;
    let (before, whole) = (report(&stage.relay), stage.line.passed());
    assert!(whole > 8_000, "a check-in has only {whole} bytes");
    // In the hello of either side, in certificates, in the request, in the reply.
    for at in [0, 60, whole / 16, whole / 8, whole / 4, whole / 2, whole - whole / 4, whole - 200] {
        let frozen = stage.frozen().await;
        stage.line.set(Trouble::Turn(at));
        ask(&stage.relay).await;
        until(&format!("byte {at} was turned"), async || stage.line.came()).await;
        until(&format!("it is told, after byte {at}"), async || !stage.problem().is_empty()).await;
        let now = report(&stage.relay);
        assert_eq!((&now.tier, now.max_users, now.source), (&before.tier, before.max_users, before.source));
        assert_eq!(now.problems.len(), 1, "byte {at}: {:?}", now.problems);
        assert_eq!(stage.frozen().await, frozen, "byte {at}");
        stage.line.set(Trouble::None);
        ask(&stage.relay).await;
        stage.answered(&frozen).await;
        stage.quiet().await;
    }
    stage.relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_courier_that_leads_to_somebody_else_hears_nothing_of_the_request() {
    let stage = Stage::set().await;
    let stranger = Vendor::start().await;
    *stage.line.shared.leads_to.lock().unwrap() = stranger.address;
    let _courier = stage.courier().await;
    until("the certificate is refused", async || stage.problem().contains("certificate")).await;
    assert_eq!(stranger.checks().len() + stage.vendor.checks().len(), 0);
    assert_eq!(report(&stage.relay).source, LicenseSource::None);
    *stage.line.shared.leads_to.lock().unwrap() = stage.vendor.address;
    ask(&stage.relay).await;
    online(&stage.relay).await;
    assert_eq!((stranger.checks().len(), stage.vendor.checks().len()), (0, 1));
    stage.relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_is_silent_or_slow_is_an_outage_within_half_a_minute() {
    let stage = Stage::set().await;
    let _courier = stage.courier().await;
    online(&stage.relay).await;
    until("nothing is wrong", async || report(&stage.relay).problems.is_empty()).await;
    for fault in [Fault::Silent, Fault::Slow] {
        let frozen = stage.frozen().await;
        stage.vendor.authority.book.set_fault(Some(fault)).unwrap();
        ask(&stage.relay).await;
        let began = std::time::Instant::now();
        until(&format!("{fault} is told"), async || stage.problem().contains("did not answer")).await;
        assert!(began.elapsed() > Duration::from_secs(5), "{fault} was not waited for: {}", stage.problem());
        assert_eq!(report(&stage.relay).source, LicenseSource::Online);
        stage.vendor.authority.book.set_fault(None).unwrap();
        ask(&stage.relay).await;
        stage.answered(&frozen).await;
    }
    stage.relay.stop().await;
}

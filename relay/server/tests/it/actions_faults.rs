//! A relay killed between each two steps of what a vendor asked: whatever step was the last, the act happens once after the restart.
//!
//! The relay is a process of its own (this test again, since only a test has another world than the release). The step that would come
//! next is refused by a trigger in its database, so that it stands still exactly there; then it is killed, and the trigger is taken away.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use paramant_authority::requests::{By, Secret};
use paramant_licensing::actions::{Ask, Offer, Role, Why};
use paramant_licensing::online::capability::Tier;
use paramant_licensing::online::keys::{LicensingKey, LicensingKeys};
use paramant_protocol::control::{RemoteAnswer, RemoteState};
use paramant_protocol::entry::Kind;
use paramant_protocol::entry::body::Decision;
use paramant_relay::process::{Options, Running};
use paramant_relay::settings::{OnlineSettings, Reach, SettingsHandle};
use paramant_relay::world::World;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::relay::{self, ADMIN, Relay, User, noise, until};
use crate::remote_actions::{count, decisions, offer, rules, sell, settled, told};
use crate::vendor::{Clock, Vendor, asking, licence_directory};

const CHILD: &str = "PARAMANT_ACTIONS_CHILD";
const TEST: &str = "actions_faults::whatever_step_was_the_last_before_a_kill_the_act_happens_once";
/// What a refused step says.
const CUT: &str = "the relay is cut off here";
/// Relays that run at one time.
const WORKERS: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Drain,
    Support,
    Offer,
    Capability,
}

const ACTS: [Act; 4] = [Act::Drain, Act::Support, Act::Offer, Act::Capability];

/// The last step that was taken, and the write that would be the next one. Without one the relay is killed as soon as it is done.
#[derive(Debug, Clone, Copy)]
struct Cut {
    after: &'static str,
    next: Option<(&'static str, &'static str)>,
    /// Before the admin's answer.
    unanswered: bool,
}

const fn unanswered(after: &'static str, event: &'static str, when: &'static str) -> Cut {
    Cut { after, next: Some((event, when)), unanswered: true }
}

const fn answered(after: &'static str, event: &'static str, when: &'static str) -> Cut {
    Cut { after, next: Some((event, when)), unanswered: false }
}

const ENTRIES: &str = "INSERT ON vendor_entries";
const STATE: &str = "UPDATE OF state ON vendor_requests";
/// Of every request.
const CUTS: [Cut; 10] = [
    unanswered("the reply came", "INSERT ON vendor_requests", "1"),
    unanswered("its row", ENTRIES, "NEW.step = 0 AND NEW.log_index IS NULL"),
    unanswered("its entry", ENTRIES, "NEW.step = 0 AND NEW.log_index IS NOT NULL"),
    unanswered("the place of its entry", "UPDATE OF covered ON vendor_requests", "1"),
    unanswered("a checkpoint over it", STATE, "NEW.state = 'waiting'"),
    answered("the admin's word", "UPDATE OF decision ON vendor_requests", "1"),
    answered("the decision", ENTRIES, "NEW.step = 1 AND NEW.log_index IS NULL"),
    answered("the decision's entry", ENTRIES, "NEW.step = 1 AND NEW.log_index IS NOT NULL"),
    answered("all but the effect", STATE, "NEW.state = 'accepted'"),
    Cut { after: "the effect", next: None, unanswered: false },
];
/// Of those whose effect has an entry before it.
const EFFECT_CUTS: [Cut; 2] = [
    answered("the place of the decision's entry", ENTRIES, "NEW.step = 2 AND NEW.log_index IS NULL"),
    answered("the effect's entry", ENTRIES, "NEW.step = 2 AND NEW.log_index IS NOT NULL"),
];
/// Of a set that waited.
const SET_CUTS: [Cut; 1] = [answered("the entry of the change", "INSERT ON license_terms", "1")];

fn cuts() -> Vec<(Act, Cut)> {
    let of = |act| {
        let more: &[Cut] = match act {
            Act::Drain => &[],
            Act::Support | Act::Offer => &EFFECT_CUTS,
            Act::Capability => &SET_CUTS,
        };
        CUTS.iter().chain(more).map(move |cut| (act, *cut)).collect::<Vec<_>>()
    };
    ACTS.into_iter().flat_map(of).collect()
}

/// A relay in a process of its own, in the world of a vendor.
struct Killable {
    child: Child,
    url: String,
    relay: String,
    /// Kept open: a relay that cannot write ends.
    stdout: Option<BufReader<std::process::ChildStdout>>,
}

impl Killable {
    fn start(dir: &Path, vendor: &Vendor) -> Self {
        let online = vendor.online(Reach::Direct);
        let key = vendor.authority.signer().unwrap().public;
        let world = json!({
            "endpoint": online.endpoint.to_string(), "ca": online.ca_bundle, "licence": vendor.key.expose(),
            "key": hex::encode(&key.public), "until": key.not_after,
        });
        std::fs::write(dir.join("world.json"), world.to_string()).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(CHILD, dir)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(dir.join("said")).unwrap())
            .spawn()
            .unwrap();
        // It is ended and waited for even if what follows panics.
        let mut started = Self { child, url: String::new(), relay: String::new(), stdout: None };
        let mut stdout = BufReader::new(started.child.stdout.take().unwrap());
        loop {
            let mut line = String::new();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "it did not start: {}", said(dir));
            if let Some(("listens", rest)) = line.trim().split_once(' ') {
                let (url, relay) = rest.split_once(' ').unwrap();
                (started.url, started.relay) = (url.to_owned(), relay.to_owned());
                started.stdout = Some(stdout);
                return started;
            }
        }
    }

    /// As the power cut would.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Killable {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn said(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("said")).unwrap()
}

/// What the child does: serve until it is killed.
async fn serve(dir: PathBuf) {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let read: Value = serde_json::from_slice(&std::fs::read(dir.join("world.json")).unwrap()).unwrap();
    let text = |name: &str| read[name].as_str().unwrap();
    let public = hex::decode(text("key")).unwrap();
    let key = LicensingKey { public, not_after: text("until").parse().unwrap() };
    let mut settings = relay::settings(&dir);
    rules(RemoteAnswer::Ask)(&mut settings);
    let licence = dir.join("licence");
    std::fs::create_dir_all(&licence).unwrap();
    std::fs::write(licence.join("licence"), text("licence")).unwrap();
    settings.license_directory = Some(licence);
    settings.online = Some(Arc::new(OnlineSettings {
        endpoint: text("endpoint").parse().unwrap(),
        interval: Duration::from_secs(6 * 3600),
        ca_bundle: Some(text("ca").to_owned()),
        reach: Reach::Direct,
    }));
    let options = Options {
        data: dir.join("data"),
        settings: SettingsHandle::fixed(settings),
        public_tls: None,
        world: World { online: LicensingKeys::of([key]), ..World::default() },
    };
    let running = Running::start(options).await.unwrap();
    let (url, id) = (running.addresses.public, running.app.core.identity.fingerprint());
    println!("\nlistens http://{url} {id}");
    std::future::pending::<()>().await;
}

fn database(dir: &Path) -> rusqlite::Connection {
    let open = rusqlite::Connection::open(dir.join("data/meta.db")).unwrap();
    open.busy_timeout(Duration::from_secs(30)).unwrap();
    open
}

/// From now on the relay cannot take this step.
fn plant(dir: &Path, (event, when): (&str, &str)) {
    // Statements of silence have entries of the first step too.
    let of_a_request = if event == ENTRIES { "NEW.hash IN (SELECT hash FROM vendor_requests)" } else { "1" };
    let trigger = format!(
        "CREATE TRIGGER cut BEFORE {event} WHEN {when} AND {of_a_request} BEGIN SELECT RAISE(ABORT, '{CUT}'); END"
    );
    database(dir).execute_batch(&trigger).unwrap();
}

fn states(dir: &Path) -> Vec<String> {
    let open = database(dir);
    let mut rows = open.prepare("SELECT state FROM vendor_requests").unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// One relay, from its first check-in to the end of the act.
struct Case {
    act: Act,
    vendor: Vendor,
    secret: Secret,
    id: String,
}

impl Case {
    /// The vendor asks.
    fn asks(&mut self, relay: &str) {
        let ask = match self.act {
            Act::Drain => Ask::Drain { enabled: true, deadline_seconds: None },
            Act::Support => Ask::SupportKey { key_sha256: self.secret.key_sha256(relay), max_seconds: 3600 },
            Act::Offer => Ask::UpdateOffer(Box::new(Offer { ..offer(1) })),
            Act::Capability => return sell(&self.vendor, Tier::Enterprise),
        };
        let by = By::new(Role::Support, Why::SupportCase, "Ada of support").unwrap();
        let lasts = paramant_authority::requests::USUAL;
        let asking = paramant_authority::requests::Asking { relay: relay.to_owned(), ask, by, lasts };
        let signer = self.vendor.authority.signer().unwrap();
        self.id = self.vendor.authority.book.ask(&asking, &signer, jiff::Timestamp::now()).unwrap().id;
    }

    /// Whether the relay does what was asked.
    async fn in_force(&self, user: &User) -> bool {
        let get = async |path: &str| -> Value {
            let asked = user.http.get(format!("{}{path}", user.url)).header("X-Admin-Token", ADMIN);
            asked.send().await.unwrap().json().await.unwrap()
        };
        match self.act {
            Act::Drain => {
                let sent = user.upload(&noise(1, 10), json!({ "ttl_ms": 1000 })).await.status();
                sent == StatusCode::SERVICE_UNAVAILABLE
            }
            Act::Support => {
                let url = format!("{}/v2/support", user.url);
                let asked = user.http.get(url).header("x-support-key", self.secret.expose());
                asked.send().await.unwrap().status() == StatusCode::OK
            }
            Act::Offer => !get("/v2/admin/actions").await["offer"].is_null(),
            Act::Capability => get("/v2/admin/license").await["tier"] == "Enterprise",
        }
    }

    /// Entries that only the effect has.
    fn effects(&self, relay: &Relay) -> usize {
        match self.act {
            Act::Drain => 1,
            Act::Support => count(relay, Kind::SupportKeyIssued),
            Act::Offer => count(relay, Kind::UpdateOffered),
            Act::Capability => count(relay, Kind::CapabilityChanged),
        }
    }
}

async fn post(url: &str, path: &str, body: Value) -> StatusCode {
    let asked = Client::new().post(format!("{url}{path}")).header("X-Admin-Token", ADMIN);
    asked.json(&body).send().await.unwrap().status()
}

/// Brings a relay to the cut, kills it there, and looks what became of the act.
async fn cut_off(act: Act, cut: Cut) {
    let what = format!("{act:?} after {}", cut.after);
    let (vendor, dir) = (Vendor::start().await, TempDir::new().unwrap());
    let mut case = Case { act, vendor, secret: Secret::new().unwrap(), id: String::new() };
    let mut process = Killable::start(dir.path(), &case.vendor);
    let url = process.url.clone();
    let tier = async || -> Value {
        let asked = Client::new().get(format!("{url}/v2/admin/license")).header("X-Admin-Token", ADMIN);
        asked.send().await.unwrap().json::<Value>().await.unwrap()["source"].clone()
    };
    until("a set counts", async || tier().await == "Online").await;
    let user = User::new(&url).await;
    if let Some(next) = cut.next.filter(|_| cut.unanswered) {
        plant(dir.path(), next);
    }
    case.asks(&process.relay);
    let relay = process.relay.clone();
    let stands_still = async || said(dir.path()).contains(CUT);
    until("the relay has heard of it", async || {
        post(&url, "/v2/admin/license/check-in", json!({})).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        stands_still().await || states(dir.path()) == ["waiting"]
    })
    .await;
    let id = case.vendor.authority.book.requests(&relay).unwrap()[0].id.clone();
    let approve = json!({ "answer": "approve" });
    if !cut.unanswered {
        if let Some(next) = cut.next {
            plant(dir.path(), next);
        }
        post(&url, &format!("/v2/admin/actions/{id}"), approve.clone()).await;
    }
    match cut.next {
        Some(_) => {
            until(&format!("{what}: it stands still"), stands_still).await;
            assert!(!case.in_force(&user).await, "{what}: it acts before that is written");
        }
        None => until("it is done", async || states(dir.path()) == ["accepted"]).await,
    }
    process.kill();
    let database = database(dir.path());
    assert_eq!(database.execute_batch("DROP TRIGGER cut").is_ok(), cut.next.is_some(), "{what}");
    drop(database);

    let directory = licence_directory(&dir);
    let relay = Relay::in_world(case.vendor.world(&Clock::default()), dir, |settings| {
        asking(&case.vendor, settings, directory);
        rules(RemoteAnswer::Ask)(settings);
    })
    .await;
    let user = User { url: relay.url.clone(), ..user };
    settled(&relay).await;
    if cut.unanswered {
        assert_eq!(told(&relay).requests.len(), 1, "{what}");
        assert_eq!(told(&relay).requests[0].state, RemoteState::Waiting, "{what}");
        assert_eq!((case.in_force(&user).await, decisions(&relay)), (false, Vec::new()), "{what}");
        assert_eq!(
            post(&relay.url, &format!("/v2/admin/actions/{id}"), approve).await,
            StatusCode::ACCEPTED,
            "{what}"
        );
    }
    until(&format!("{what}: it is in force"), async || case.in_force(&user).await).await;
    settled(&relay).await;
    assert_eq!(told(&relay).requests[0].state, RemoteState::Accepted, "{what}");
    let entries = (count(&relay, Kind::VendorRequest), decisions(&relay), case.effects(&relay));
    assert_eq!(entries, (1, vec![Decision::Approved], 1), "{what}");
    // The first set under the key changed what is granted, and so did the one that was agreed to.
    let granted = 1 + usize::from(act == Act::Capability);
    assert_eq!(count(&relay, Kind::LicenseChanged), granted, "{what}");
    relay.stop().await;
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().unwrap().block_on(work);
}

/// Takes one case after the other; answers those that went wrong.
fn work(queue: &Mutex<Vec<(Act, Cut)>>) -> Vec<String> {
    let mut wrong = Vec::new();
    loop {
        let Some((act, cut)) = queue.lock().unwrap().pop() else { return wrong };
        if std::thread::spawn(move || run(cut_off(act, cut))).join().is_err() {
            wrong.push(format!("{act:?} after {}", cut.after));
        }
    }
}

#[test]
fn whatever_step_was_the_last_before_a_kill_the_act_happens_once() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return run(serve(dir.into()));
    }
    let queue = Mutex::new(cuts());
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(|| work(&queue))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{wrong:?}");
}

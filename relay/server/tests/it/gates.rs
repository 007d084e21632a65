//! What a licence gates, over all routes and all of its states. The routes are read from the source, so that a new one is in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use paramant_authority::decide::Standing;
use paramant_authority::{create_seed, issue, offline_key};
use paramant_licensing::AcceptedKeys;
use paramant_licensing::offline::UserCap;
use paramant_protocol::control::LicenseSource;
use paramant_protocol::entry::{Entry, Kind};
use paramant_relay::world::World;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;

use crate::relay::{ADMIN, Relay, User, hash, until};
use crate::vendor::{self, Clock, Vendor};

const DAY: i64 = 24 * 3600;
/// Accounts that are there before the state begins: one more than Community admits.
const USERS: usize = 6;
/// All that a licence may refuse: one more account.
const GATED: &[(&str, &str)] = &[("POST", "/v2/admin/keys")];
/// Answered by waiting for something to happen, or by asking the vendor, which is a change of state.
const NOT_WALKED: &[(&str, &str)] =
    &[("POST", "/v2/admin/license/check-in"), ("POST", "/v2/admin/license/reset-clock")];

/// Shows a request of the online check: there is one, or there is none.
const OF_THE_CHECK: &[(&str, &str)] =
    &[("GET", "/v2/admin/license/request"), ("GET", "/v2/admin/telemetry/preview")];

/// Its answers where the online check is off.
const NO_CHECK: [StatusCode; 2] = [StatusCode::NOT_FOUND, StatusCode::CONFLICT];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Licensed,
    Expired,
    Online,
    Grace,
    Outage,
    Unpaid,
    Revoked,
    Community,
}

const STATES: [State; 8] = [
    State::Licensed,
    State::Expired,
    State::Online,
    State::Grace,
    State::Outage,
    State::Unpaid,
    State::Revoked,
    State::Community,
];

impl State {
    /// Whether one more account is admitted beside those that are there.
    const fn admits(self) -> bool {
        matches!(self, Self::Licensed | Self::Online | Self::Grace)
    }
}

/// All routes of the public listener, with their methods.
pub fn routes() -> Vec<(Method, String)> {
    let mut files = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/public")];
    let mut found = Vec::new();
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.extend(routes_of(&std::fs::read_to_string(&path).unwrap(), &path));
        }
    }
    found.sort_by_key(|(method, path)| (path.clone(), method.to_string()));
    found
}

fn routes_of(source: &str, file: &Path) -> Vec<(Method, String)> {
    let mut found = Vec::new();
    for (at, opening) in source.match_indices(".route(") {
        let call = balanced(&source[at + opening.len()..]);
        let (path, handlers) = call.split_once(',').unwrap_or_else(|| panic!("{}: {call}", file.display()));
        let path = match path.trim().strip_prefix('"') {
            Some(literal) => literal.trim_end_matches('"').to_owned(),
            None => constant(source, path.trim()),
        };
        let methods = [
            ("get(", Method::GET),
            ("post(", Method::POST),
            ("put(", Method::PUT),
            ("delete(", Method::DELETE),
            ("head(", Method::HEAD),
        ];
        let before = found.len();
        for (word, method) in methods {
            let starts = |at: usize| !handlers[..at].ends_with(|it: char| it.is_alphanumeric() || it == '_');
            if handlers.match_indices(word).any(|(at, _)| starts(at)) {
                found.push((method, path.clone()));
            }
        }
        assert!(found.len() > before, "{}: no method in {call}", file.display());
    }
    found
}

/// What stands before the parenthesis that closes a call.
fn balanced(text: &str) -> &str {
    let mut depth = 1;
    let end = text.find(|letter| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        depth == 0
    });
    &text[..end.unwrap()]
}

fn constant(source: &str, name: &str) -> String {
    let declared = format!("const {name}: &str = \"");
    let (_, after) = source.split_once(&declared).unwrap_or_else(|| panic!("no {declared}"));
    after.split('"').next().unwrap().to_owned()
}

/// A path with something in the place of each parameter.
pub fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{index}" | "{number}" | "{millis}" => "0".to_owned(),
        it if it.starts_with('{') => "a".repeat(64),
        it => it.to_owned(),
    });
    parts.collect::<Vec<String>>().join("/")
}

/// Something that a relay and its licence stand in, and what must live as long.
struct Stage {
    relay: Relay,
    users: Vec<User>,
    _vendor: Option<Vendor>,
}

impl Stage {
    /// With accounts that a licence admitted, now in a state.
    async fn set(state: State) -> Self {
        let clock = Clock::default();
        let (relay, vendor) = match state {
            State::Licensed | State::Expired => (offline(&clock).await, None),
            _ => {
                let vendor = Vendor::start().await;
                let relay = vendor::relay(&vendor, &clock).await;
                vendor::online(&relay).await;
                (relay, Some(vendor))
            }
        };
        let mut users = Vec::new();
        for _ in 0..USERS {
            users.push(relay.user().await);
        }
        match (state, &vendor) {
            (State::Licensed | State::Online, _) => {}
            (State::Expired, _) => clock.set(31 * DAY),
            (State::Grace, _) => clock.set(DAY),
            (State::Outage, _) => clock.set(8 * DAY),
            (State::Unpaid, Some(vendor)) => refused(&relay, vendor, &clock, Standing::Unpaid).await,
            (State::Revoked, Some(vendor)) => refused(&relay, vendor, &clock, Standing::Revoked).await,
            (State::Community, _) => {
                let directory = relay.dir.path().join("licence");
                std::fs::write(directory.join("licence"), "").unwrap();
                let none = async || relay.running.app.store.license_report().source == LicenseSource::None;
                until("the licence is gone", none).await;
            }
            _ => unreachable!(),
        }
        Self { relay, users, _vendor: vendor }
    }

    /// Who is there goes on: send, read, read once only, withdraw, see the log.
    async fn goes_on(&self, state: State) {
        let user = self.users.last().unwrap();
        let payload = format!("in {state:?}").into_bytes();
        let log = &self.relay.running.app.core.log;
        let before = log.head().size;
        assert_eq!(user.upload(&payload, json!({})).await.status(), StatusCode::OK, "{state:?}");
        let new = (before..log.head().size).map(|index| log.engine().entry(index).unwrap().unwrap().bytes);
        let kinds: Vec<Kind> = new.map(|bytes| Entry::parse(&bytes).unwrap().kind()).collect();
        assert!(kinds.contains(&Kind::Transfer), "{state:?}: the log has {kinds:?} of an upload");
        assert_eq!(user.download(&hash(&payload)).await.status(), StatusCode::OK, "{state:?}");
        assert_eq!(user.download(&hash(&payload)).await.status(), StatusCode::NOT_FOUND, "{state:?}");
        let again = format!("withdrawn in {state:?}").into_bytes();
        assert_eq!(user.upload(&again, json!({})).await.status(), StatusCode::OK, "{state:?}");
        let path = format!("/v2/inbound/{}", hash(&again));
        let withdrawn = user.request(Method::DELETE, &path).send().await.unwrap();
        assert_eq!(withdrawn.status(), StatusCode::OK, "{state:?}");
        assert!(!user.available(&hash(&again)).await, "{state:?}");
        let health = user.request(Method::GET, "/health").send().await.unwrap();
        assert_eq!(health.status(), StatusCode::OK, "{state:?}");
        let ready = format!("http://{}/readyz", self.relay.running.addresses.probes);
        assert_eq!(reqwest::get(ready).await.unwrap().status(), StatusCode::OK, "{state:?}");
    }

    /// The metric that alerts are made of: above 0 while something counts, below once it has ended, absent without a licence.
    async fn tells_its_end(&self, state: State) {
        let address = self.relay.running.addresses.probes;
        let text = reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap();
        let mut lines = text.lines();
        let left = lines.find_map(|line| line.strip_prefix("paramant_license_seconds_until_expiry "));
        let left = left.map(|left| left.parse::<i64>().unwrap());
        let ended = matches!(state, State::Expired | State::Outage | State::Unpaid | State::Revoked);
        assert_eq!(
            left.map(|left| left < 0),
            (state != State::Community).then_some(ended),
            "{state:?}: {left:?}"
        );
    }

    /// The status of every route, each asked with all credentials there are.
    async fn walk(&self, routes: &[(Method, String)]) -> Vec<StatusCode> {
        let mut all = Vec::new();
        for (method, path) in routes {
            let asked = self.users[0].request(method.clone(), &filled(path)).header("X-Admin-Token", ADMIN);
            let asked = match *method {
                Method::POST => asked.body("{}"),
                Method::PUT => asked.body("payload"),
                _ => asked,
            };
            let answer = asked.timeout(Duration::from_secs(20)).send().await;
            all.push(answer.unwrap_or_else(|error| panic!("{method} {path}: {error}")).status());
        }
        all
    }
}

/// A relay with a licence for thirty days that is checked offline.
pub async fn offline(clock: &Clock) -> Relay {
    let dir = TempDir::new().unwrap();
    let key = offline_key(&create_seed(&dir.path().join("seed")).unwrap());
    let now = Timestamp::now();
    let until = (now + SignedDuration::from_hours(24 * 30)).to_string();
    let licence = issue::license(&key, UserCap::Users(25), until, "Acme".to_owned(), now).unwrap();
    let directory = dir.path().join("licence");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("licence"), licence).unwrap();
    let world = World { offline: AcceptedKeys::of([key.verifying_key().to_bytes()]), ..clock.world() };
    Relay::in_world(world, dir, |settings| settings.license_directory = Some(directory)).await
}

/// The vendor refuses the licence, the relay hears it, and the set that it had before has ended.
async fn refused(relay: &Relay, vendor: &Vendor, clock: &Clock, standing: Standing) {
    vendor.stand(standing);
    relay.running.app.store.check_ins.ask_now().await.unwrap();
    until("the refusal was heard", async || !relay.running.app.store.license_report().problems.is_empty())
        .await;
    clock.set(13 * 3600);
    assert_eq!(relay.running.app.store.license_report().source, LicenseSource::None);
}

#[test]
fn every_route_is_found() {
    let routes = routes();
    let has = |method: Method, path: &str| routes.contains(&(method, path.to_owned()));
    assert!(routes.len() > 90, "{}", routes.len());
    assert!(has(Method::POST, "/v2/inbound") && has(Method::HEAD, "/v2/outbound/{hash}"));
    assert!(has(Method::DELETE, "/v2/did/{did}") && has(Method::POST, "/admin/sign-in"));
    assert!(has(Method::PUT, "/v3/uploads/{id}/chunks/{number}") && has(Method::GET, "/log/checkpoint"));
    let planted = ".route(\n \"/v2/planted/{id}\",\n post(widget_get).delete(off),\n)";
    let found = routes_of(planted, Path::new("planted"));
    let path = "/v2/planted/{id}".to_owned();
    assert_eq!(found, [(Method::POST, path.clone()), (Method::DELETE, path)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_state_of_a_licence_gates_anything_but_one_more_account() {
    let mut routes = routes();
    routes.retain(|(method, path)| !NOT_WALKED.contains(&(method.as_str(), path)));
    let mut answers: BTreeMap<State, Vec<StatusCode>> = BTreeMap::new();
    for state in STATES {
        let stage = Stage::set(state).await;
        stage.goes_on(state).await;
        let one_more = stage.relay.admin(Method::POST, "/v2/admin/keys").body("{}").send().await.unwrap();
        stage.tells_its_end(state).await;
        let wanted = if state.admits() { StatusCode::OK } else { StatusCode::PAYMENT_REQUIRED };
        assert_eq!(one_more.status(), wanted, "{state:?}");
        answers.insert(state, stage.walk(&routes).await);
    }
    let usual = &answers[&State::Online];
    for (place, (method, path)) in routes.iter().enumerate() {
        for (state, said) in &answers {
            let gated = GATED.contains(&(method.as_str(), path)) && !state.admits();
            if OF_THE_CHECK.contains(&(method.as_str(), path)) && NO_CHECK.contains(&said[place]) {
                continue;
            }
            let wanted = if gated { StatusCode::PAYMENT_REQUIRED } else { usual[place] };
            assert_eq!(said[place], wanted, "{method} {path} in {state:?}");
        }
    }
    // A walk that only ever knocked at closed doors would find nothing.
    let open = usual.iter().filter(|status| status.is_success()).count();
    assert!(open > 30, "only {open} of {} routes answered", routes.len());
}

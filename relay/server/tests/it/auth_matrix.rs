//! Who may do what: every route of the public listener under every credential. The table is data, printed to docs/auth-matrix.md; the
//! routes are read from the source, so that a new one is missing here until somebody says whose it is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use paramant_authority::requests::{Asking, By, Secret};
use paramant_licensing::actions::{Ask, Role, Why};
use paramant_protocol::control::RemoteAnswer;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, StatusCode};
use tempfile::TempDir;

use crate::gates::{filled, routes};
use crate::relay::{ADMIN, Relay, User, until};
use crate::vendor::{Clock, Vendor, ask, asking, licence_directory, online};

/// Whose a route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    /// Anybody's: the log, health, pages, and what a link or an invitation opens.
    Anybody,
    /// Whose request shows a secret: the admin's token in the form of the panel, a set-up code. Tries are limited.
    Secret,
    /// An API key's, or a DID's that acts for one.
    User,
    /// The admin's, by the token.
    Admin,
    /// The admin's, in a session of the panel that began with the token.
    SignedIn,
    /// The admin's, in such a session once the second factor was shown.
    Panel,
    /// A support key's in force.
    Support,
    /// Nobody's here: relays of other organisations are not kept, and uploads without a key are off unless the admin switches them on.
    Nobody,
}

/// Every route.
const RULES: &[(&str, &str, Whose)] = &include!("auth_matrix/rules.rs");

/// Credentials that are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Nothing,
    User,
    Admin,
    AdminWithoutSecondFactor,
    Support,
    SupportRevoked,
    SupportExpired,
    SupportOfAnotherRelay,
    Courier,
    Operator,
}

const SHOWN: [Shown; 10] = [
    Shown::Nothing,
    Shown::User,
    Shown::Admin,
    Shown::AdminWithoutSecondFactor,
    Shown::Support,
    Shown::SupportRevoked,
    Shown::SupportExpired,
    Shown::SupportOfAnotherRelay,
    Shown::Courier,
    Shown::Operator,
];

impl Shown {
    /// Whether it opens a route.
    fn opens(self, whose: Whose) -> bool {
        match whose {
            Whose::Anybody => true,
            Whose::User => self == Self::User,
            Whose::Admin => self == Self::Admin,
            Whose::SignedIn => self == Self::AdminWithoutSecondFactor,
            // The tests of the panel come with both factors.
            Whose::Panel | Whose::Secret | Whose::Nobody => false,
            Whose::Support => self == Self::Support,
        }
    }
}

fn whose(method: &Method, path: &str) -> Whose {
    let found = RULES.iter().find(|rule| (rule.0, rule.1) == (method.as_str(), path));
    found.unwrap_or_else(|| panic!("{method} {path}: say in auth_matrix/rules.rs whose it is")).2
}

struct Stage {
    relay: Relay,
    user: User,
    http: Client,
    live: Secret,
    revoked: Secret,
    expired: Secret,
    other: Secret,
    cookie: String,
    _vendor: Vendor,
}

impl Stage {
    async fn set() -> Self {
        let (vendor, clock) = (Vendor::start().await, Clock::default());
        let dir = TempDir::new().unwrap();
        let directory = licence_directory(&dir);
        let relay = Relay::in_world(vendor.world(&clock), dir, |settings| {
            asking(&vendor, settings, directory);
            settings.remote.answers.support_key = RemoteAnswer::Allow;
            settings.limits.requests_per_minute = 100_000;
        })
        .await;
        online(&relay).await;
        let id = relay.running.app.core.identity.fingerprint().to_owned();
        let mut keys = Vec::new();
        for (seconds, of) in [(300, &id), (3600, &id), (3600, &id), (3600, &"ab".repeat(32))] {
            let secret = Secret::new().unwrap();
            let ask = Ask::SupportKey { key_sha256: secret.key_sha256(of), max_seconds: seconds };
            let by = By::new(Role::Support, Why::SupportCase, "Ada").unwrap();
            let asking = Asking { relay: id.clone(), ask, by, lasts: SignedDuration::from_hours(90) };
            let signer = vendor.authority.signer().unwrap();
            let made = vendor.authority.book.ask(&asking, &signer, Timestamp::now()).unwrap();
            keys.push((secret, made.id));
        }
        ask(&relay).await;
        let actions = || relay.running.app.store.actions.clone();
        until("the keys are in force", async || actions().support().count() == 4).await;
        let (other, _) = keys.pop().unwrap();
        let (live, _) = keys.pop().unwrap();
        let (revoked, id) = keys.pop().unwrap();
        let (expired, _) = keys.pop().unwrap();
        actions().end(&id).await.unwrap();
        clock.set(600);
        until("one has run out", async || actions().support().count() == 2).await;
        let http = Client::builder().redirect(Policy::none()).build().unwrap();
        let signed_in = http
            .post(format!("{}/admin/sign-in", relay.url))
            .body(format!("token={}", ADMIN.replace(' ', "+")));
        let signed_in = signed_in.send().await.unwrap();
        let cookie =
            signed_in.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let user = relay.user().await;
        Self { user, http, live, revoked, expired, other, cookie, relay, _vendor: vendor }
    }

    async fn status(&self, method: &Method, path: &str, shown: Shown) -> StatusCode {
        let request = self.http.request(method.clone(), format!("{}{}", self.relay.url, filled(path)));
        let key = |secret: &Secret| secret.expose().to_owned();
        let request = match shown {
            Shown::Nothing => request,
            Shown::User => request.header("x-api-key", &self.user.key),
            Shown::Admin => request.header("x-admin-token", ADMIN),
            Shown::AdminWithoutSecondFactor => request.header("cookie", &self.cookie),
            Shown::Support => request.header("x-support-key", key(&self.live)),
            Shown::SupportRevoked => request.header("x-support-key", key(&self.revoked)),
            Shown::SupportExpired => request.header("x-support-key", key(&self.expired)),
            Shown::SupportOfAnotherRelay => request.header("x-support-key", key(&self.other)),
            // What a courier and the operator prove themselves with means nothing on this listener.
            Shown::Courier => request.bearer_auth("eyJhbGciOiJSUzI1NiJ9.courier.token"),
            Shown::Operator => {
                request.header("x-forwarded-client-cert", "URI=spiffe://paramant.app/operator")
            }
        };
        request.send().await.unwrap().status()
    }
}

/// Whether an answer lets somebody in. The panel shows strangers the way to its sign-in.
fn is_let_in(whose: Whose, status: StatusCode) -> bool {
    match whose {
        // A form without the session's own token is refused, to the right person too: they were let in as far as that.
        Whose::SignedIn => !status.is_redirection(),
        Whose::Panel => !status.is_redirection() && status != StatusCode::FORBIDDEN,
        Whose::Nobody => ![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::METHOD_NOT_ALLOWED]
            .contains(&status),
        Whose::Secret => ![StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS].contains(&status),
        _ => status != StatusCode::UNAUTHORIZED && status != StatusCode::FORBIDDEN,
    }
}

fn document(routes: &[(Method, String)]) -> String {
    let mut text = String::from(
        "# Who may do what\n\nEvery route of the public listener, and which credential opens it. Made and checked by `cargo test -p paramant-relay auth_matrix`, which shows\n\
         every credential below at every route; the routes are read from the source. The control listener takes the operator (client certificate) and couriers (bound token)\n\
         alone, the listener of probes has `/livez`, `/readyz` and `/metrics` for whoever reaches its port (in a cluster a NetworkPolicy says who does).\n\n\
         A credential opens nothing where another is asked for: 401 or 403, and pages lead to the sign-in. A path that is not here is 401 without a key and 404 with one, another method 405.\n\nTried: none · an API key · the admin's token · a session of the panel without the second factor · a support key in force, revoked, expired, of another relay · a courier's and an operator's proof.\n\n\
         | whose | credential | what it is |\n|---|---|---|\n\
         | anybody | none | the log, health, pages; what a link or an invitation opens |\n\
         | secret | one in the request's body | signing in, and redeeming a set-up code; tries are limited |\n\
         | user | `X-Api-Key`, or a DID's signature | transfers and keys of the account |\n\
         | admin | `X-Admin-Token` or `Authorization: Bearer` | accounts and more API keys for them, licence, telemetry, a vendor's requests, keys of the log; no route that sends or reads files |\n\
         | signedin | a session of the panel that began with the token | the second factor, and signing out |\n\
         | panel | the same, once the second factor was shown | what the admin may do, in pages |\n\
         | support | `X-Support-Key`, while it is in force | diagnostics, by GET |\n\
         | nobody | | other methods of a route that has but one; what older relays had and this one refuses, or what is off unless the admin switches it on |\n\n| method | path | whose |\n|---|---|---|\n",
    );
    for (method, path) in routes {
        let word = format!("{:?}", whose(method, path)).to_lowercase();
        let _ = writeln!(text, "| {method} | `{path}` | {word} |");
    }
    text
}

#[test]
fn the_table_in_docs_is_the_one_that_is_tried() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/auth-matrix.md");
    let made = document(&routes());
    if std::env::var_os("PARAMANT_WRITE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, made, "write it anew: PARAMANT_WRITE_DOCS=1 cargo test -p paramant-relay auth_matrix");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_opens_to_whom_the_table_says_and_to_nobody_else() {
    let stage = Stage::set().await;
    let mut opened: BTreeMap<Whose, usize> = BTreeMap::new();
    for (method, path) in routes() {
        // It goes on for as long as the key: `remote_actions` reads it.
        if path == "/v2/support/watch" || path == "/v2/admin/license/reset-clock" {
            continue;
        }
        let whose = whose(&method, &path);
        for shown in SHOWN {
            let status = stage.status(&method, &path, shown).await;
            let wanted = shown.opens(whose);
            assert_eq!(is_let_in(whose, status), wanted, "{method} {path} with {shown:?} answers {status}");
            if wanted {
                *opened.entry(whose).or_default() += 1;
            }
        }
    }
    for (whose, least) in [(Whose::Anybody, 400), (Whose::User, 30), (Whose::Admin, 20), (Whose::Support, 7)]
    {
        assert!(opened[&whose] >= least, "a walk that only knocks at closed doors finds nothing: {opened:?}");
    }
    stage.relay.stop().await;
}

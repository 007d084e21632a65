//! The admin's pages: who gets in, what a form must hold, and what a browser makes of them.

use std::collections::HashMap;

use aws_lc_rs::hmac;
use jiff::Timestamp;
use paramant_licensing::actions::Said;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, header};
use serde_json::json;

use crate::browser::{self, ACCESSIBLE, OVERFLOWS};
use crate::log::text;
use crate::relay::{ADMIN, Relay, until};
use crate::remote_actions;
use crate::vendor::{Clock, Vendor, online, relay as licensed};

/// Somebody at a browser, as far as HTTP sees them.
pub struct Person {
    pub http: Client,
    pub url: String,
    pub cookie: Option<String>,
    /// The token in the forms of the last page.
    pub forms: String,
}

pub struct Answer {
    pub status: StatusCode,
    pub location: String,
    pub body: String,
}

impl Person {
    pub fn new(relay: &Relay) -> Self {
        let http = Client::builder().redirect(Policy::none()).build().unwrap();
        Self { http, url: relay.url.clone(), cookie: None, forms: String::new() }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        let request = self.http.get(format!("{}{path}", self.url));
        self.send(request).await
    }

    pub async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let request = self.http.post(format!("{}{path}", self.url)).body(encoded(form));
        self.send(request).await
    }

    /// A form of the last page.
    pub async fn press(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let forms = self.forms.clone();
        let form: Vec<_> = form.iter().copied().chain([("forms", forms.as_str())]).collect();
        self.post(path, &form).await
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Answer {
        let request = match &self.cookie {
            Some(cookie) => request.header(header::COOKIE, cookie),
            None => request,
        };
        let answer = request.send().await.unwrap();
        if let Some(set) = answer.headers().get(header::SET_COOKIE) {
            let set = set.to_str().unwrap();
            assert!(
                set.contains("HttpOnly") && set.contains("SameSite=Strict") && set.contains("Path=/admin"),
                "{set}"
            );
            self.cookie = Some(set.split(';').next().unwrap().to_owned());
        }
        let text = |name: header::HeaderName| {
            answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let (status, location) = (answer.status(), text(header::LOCATION));
        if status == StatusCode::OK {
            let policy = text(header::CONTENT_SECURITY_POLICY);
            assert!(policy.contains("default-src 'none'") && !policy.contains("script-src"), "{policy}");
            assert_eq!(text(header::CACHE_CONTROL), "no-store");
        }
        let body = answer.text().await.unwrap();
        if let Some((_, rest)) = body.split_once("name=\"forms\" value=\"") {
            self.forms = rest.split('"').next().unwrap().to_owned();
        }
        Answer { status, location, body }
    }

    /// Signs in, setting the second factor up. Answers its secret.
    pub async fn sign_in(&mut self) -> Vec<u8> {
        let answer = self.post("/admin/sign-in", &[("token", ADMIN)]).await;
        assert_eq!(
            (answer.status, answer.location.as_str()),
            (StatusCode::SEE_OTHER, "/admin/second-factor")
        );
        let secret = secret_of(&self.get("/admin/second-factor").await.body);
        let answer = self.press("/admin/second-factor", &[("code", &code(&secret, 0))]).await;
        assert_eq!((answer.status, answer.location.as_str()), (StatusCode::SEE_OTHER, "/admin/license"));
        secret
    }
}

fn encoded(form: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

fn secret_of(page: &str) -> Vec<u8> {
    let (_, rest) = page.split_once("secret=").unwrap();
    let text: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    let bits = text.bytes().flat_map(|letter| {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|it| *it == letter).unwrap();
        (0..5).rev().map(move |bit| value >> bit & 1)
    });
    let bits: Vec<usize> = bits.collect();
    bits.chunks_exact(8)
        .map(|byte| byte.iter().fold(0, |all, bit| all << 1 | u8::try_from(*bit).unwrap()))
        .collect()
}

/// What an authenticator shows, some steps from now (RFC 6238).
pub fn code(secret: &[u8], steps: i64) -> String {
    let step = u64::try_from(Timestamp::now().as_second() / 30 + steps).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_token_and_second_factor() {
    let relay = Relay::start().await;
    let mut person = Person::new(&relay);
    for path in ["/admin", "/admin/license", "/admin/telemetry", "/admin/calls", "/admin/second-factor"] {
        let answer = person.get(path).await;
        assert_eq!(
            (answer.status, answer.location.as_str()),
            (StatusCode::SEE_OTHER, "/admin/sign-in"),
            "{path}"
        );
    }
    let wrong = person.post("/admin/sign-in", &[("token", "wrong")]).await;
    assert_eq!(wrong.status, StatusCode::FORBIDDEN);
    assert!(person.cookie.is_none() && wrong.body.contains("not the admin token"));

    // The token alone opens nothing.
    person.post("/admin/sign-in", &[("token", ADMIN)]).await;
    let cookie = person.cookie.clone().unwrap();
    assert!(!cookie.contains(ADMIN));
    for path in ["/admin/license", "/admin/actions", "/admin/telemetry", "/admin/calls"] {
        assert_eq!(person.get(path).await.location, "/admin/second-factor", "{path}");
    }
    let secret = secret_of(&person.get("/admin/second-factor").await.body);
    let wrong = person.press("/admin/second-factor", &[("code", "000000")]).await;
    assert_eq!((wrong.status, wrong.body.contains("wrong or was used")), (StatusCode::FORBIDDEN, true));
    assert_eq!(secret_of(&wrong.body), secret, "the secret stays, so that it need not be scanned again");
    let used = code(&secret, 0);
    assert_eq!(person.press("/admin/second-factor", &[("code", &used)]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(person.get("/admin/license").await.status, StatusCode::OK);

    // Another sign-in: no secret is shown any more, and the code is spent.
    let mut other = Person::new(&relay);
    other.post("/admin/sign-in", &[("token", ADMIN)]).await;
    let page = other.get("/admin/second-factor").await.body;
    assert!(!page.contains("secret=") && !page.contains("<svg"));
    assert_eq!(other.press("/admin/second-factor", &[("code", &used)]).await.status, StatusCode::FORBIDDEN);

    // Signing out ends it; the cookie from before the second factor opens nothing any more.
    let signed_in = person.cookie.clone().unwrap();
    assert_ne!(signed_in, cookie);
    person.get("/admin/license").await;
    assert_eq!(person.post("/admin/sign-out", &[("forms", "other")]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(person.press("/admin/sign-out", &[]).await.location, "/admin/sign-in");
    for cookie in [cookie, signed_in] {
        person.cookie = Some(cookie);
        assert_eq!(person.get("/admin/license").await.location, "/admin/sign-in");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_are_limited_for_each_address() {
    let relay = Relay::start().await;
    let mut person = Person::new(&relay);
    let mut answers: HashMap<StatusCode, u32> = HashMap::new();
    for _ in 0..8 {
        *answers.entry(person.post("/admin/sign-in", &[("token", "wrong")]).await.status).or_default() += 1;
    }
    assert_eq!(answers, HashMap::from([(StatusCode::FORBIDDEN, 5), (StatusCode::TOO_MANY_REQUESTS, 3)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_form_counts_that_another_site_sent() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = licensed(&vendor, &clock).await;
    online(&relay).await;
    let mut person = Person::new(&relay);
    let elsewhere =
        person.http.post(format!("{}/admin/sign-in", relay.url)).header("sec-fetch-site", "cross-site");
    let elsewhere = elsewhere.body(encoded(&[("token", ADMIN)])).send().await.unwrap();
    assert_eq!(elsewhere.status(), StatusCode::FORBIDDEN);
    person.sign_in().await;
    person.get("/admin/telemetry").await;
    for (path, form) in [("/admin/telemetry", vec![("enabled", "true")]), ("/admin/license/check-in", vec![])]
    {
        assert_eq!(person.post(path, &form).await.status, StatusCode::FORBIDDEN, "{path}");
        let mut forged = form.clone();
        forged.push(("forms", "0000000000000000000000000000000000000000000000000000000000000000"));
        assert_eq!(person.post(path, &forged).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert!(!relay.running.app.store.check_ins.sends_telemetry());
    assert_eq!(person.press("/admin/license/check-in", &[]).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_of_telemetry_is_unlocked_by_the_preview_on_its_page() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = licensed(&vendor, &clock).await;
    online(&relay).await;
    let mut person = Person::new(&relay);
    person.sign_in().await;
    let unseen = "a".repeat(64);
    person.get("/admin/license").await;
    let form = [("enabled", "true"), ("schema", "1"), ("preview", unseen.as_str())];
    assert_eq!(person.press("/admin/telemetry", &form).await.status, StatusCode::CONFLICT);
    let page = person.get("/admin/telemetry").await.body;
    assert!(page.contains("Telemetry is off") && page.contains("user_count"));
    let (_, rest) = page.split_once("name=\"preview\" value=\"").unwrap();
    let preview: String = rest.chars().take(64).collect();
    let form = [("enabled", "true"), ("schema", "1"), ("preview", preview.as_str())];
    assert_eq!(person.press("/admin/telemetry", &form).await.location, "/admin/telemetry");
    assert!(person.get("/admin/telemetry").await.body.contains("Telemetry is on"));
    until("the preview is the next request", async || {
        person.get("/admin/license").await.body.contains(&format!("<code class=\"hash\">{preview}</code>"))
    })
    .await;
    let calls = person.get("/admin/calls").await.body;
    assert!(calls.contains(&vendor.address.to_string()) && calls.contains("this process dials"));
    person.get("/admin/telemetry").await;
    person.press("/admin/telemetry", &[("enabled", "false")]).await;
    assert!(person.get("/admin/telemetry").await.body.contains("Telemetry is off"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_answers_the_vendor_and_ends_what_is_in_force() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = licensed(&vendor, &clock).await;
    online(&relay).await;
    let [key, drain] = remote_actions::asks_of_every_kind(&vendor, &relay).await;
    let mut person = Person::new(&relay);
    person.sign_in().await;
    let page = person.get("/admin/actions").await.body;
    assert!(
        page.contains("The vendor asks: read diagnostics")
            && page.contains("The vendor asks: take no new uploads")
    );
    assert!(page.contains("nothing can be changed with it") && page.contains("drain ends by itself"));
    assert!(page.contains("The vendor never had one") && page.contains("new uploads are taken"));
    assert!(page.contains("The vendor offers release 9.0.1"), "the policy allows that without asking");
    let press = [("id", key.as_str()), ("answer", "approve")];
    assert_eq!(person.press("/admin/actions/answer", &press).await.location, "/admin/actions");
    person.get("/admin/actions").await;
    let press = [("id", drain.as_str()), ("answer", "deny")];
    assert_eq!(person.press("/admin/actions/answer", &press).await.location, "/admin/actions");
    let page = person.get("/admin/actions").await.body;
    assert!(page.contains("Revoke now, for good") && page.contains("denied, or ended by an admin"));
    assert_eq!(person.press("/admin/actions/end", &[("id", key.as_str())]).await.location, "/admin/actions");
    let page = person.get("/admin/actions").await.body;
    assert!(!page.contains("Revoke now, for good") && page.contains("revoked by an admin"), "one click");
    // Each entry about it is one click away, and that page shows the proof.
    relay.running.app.core.log.engine().publish_now().unwrap();
    let (_, past) = page.split_once("id=\"past\"").unwrap();
    for what in ["request", "answer", "effect"] {
        let (_, rest) = past.split_once(&format!("{what} <a href=\"")).unwrap_or_else(|| panic!("no {what}"));
        let entry = text(&relay, rest.split('"').next().unwrap()).await;
        assert!(entry.contains("Download the proof"), "{what}");
    }
    assert_eq!(
        person.press("/admin/actions/end", &[("id", key.as_str())]).await.status,
        StatusCode::NOT_FOUND
    );
    let again = [("id", drain.as_str()), ("answer", "approve")];
    person.get("/admin/actions").await;
    assert_eq!(person.press("/admin/actions/answer", &again).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_the_pages_without_any_script_from_the_relay_alone() {
    let Some(driver) = browser::driver("panel").await else { return };
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = licensed(&vendor, &clock).await;
    online(&relay).await;
    // What waits, what is in force, and what was refused, on the page about the vendor.
    let actions = &relay.running.app.store.actions;
    for id in remote_actions::asks_of_every_kind(&vendor, &relay).await {
        actions.answer(&id, Said::Approve).await.unwrap();
    }
    remote_actions::asks_of_every_kind(&vendor, &relay).await;
    relay.running.app.core.log.engine().publish_now().unwrap();
    let browser = driver.browser().await;
    // Planted: a page that loads from elsewhere is seen to.
    browser.go(&browser::plant("<img src=\"http://planted.invalid/seen.png\">").await).await;
    assert!(browser.requests().await.iter().any(|it| it.contains("planted.invalid")));
    let url = |path: &str| format!("{}{path}", relay.url);
    browser.go(&url("/admin/sign-in")).await;
    assert_eq!(browser.run(ACCESSIBLE).await, json!([]), "sign-in");
    browser.picture("panel-sign-in").await;
    let fill = |name: &str, value: &str| {
        format!(
            "document.getElementById('{name}').value = '{value}'; document.querySelector('main form').requestSubmit();"
        )
    };
    browser.run(&fill("token", ADMIN)).await;
    let secret = loop {
        let page = browser.run("return document.documentElement.outerHTML;").await;
        let page = page.as_str().unwrap().replace("&amp;", "&");
        if page.contains("secret=") {
            break secret_of(&page);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(browser.run(ACCESSIBLE).await, json!([]), "enrolment");
    browser.picture("panel-enrolment").await;
    browser.run(&fill("code", &code(&secret, 0))).await;
    for (name, width, scheme) in
        [("desktop", 1280, "light"), ("dark", 1280, "dark"), ("phone", 390, "light"), ("narrow", 320, "dark")]
    {
        browser.look(width, scheme).await;
        for path in ["/admin/license", "/admin/actions", "/admin/telemetry", "/admin/calls", "/trust"] {
            browser.go(&url(path)).await;
            let here = browser.run("return location.pathname;").await;
            assert_eq!(here, path, "signed in");
            if ["/admin/license", "/admin/actions", "/trust"].contains(&path) {
                browser
                    .run("document.querySelectorAll('details').forEach((it) => { it.open = true; });")
                    .await;
            }
            assert_eq!(browser.run(ACCESSIBLE).await, json!([]), "{name} {path}");
            assert_eq!(browser.run(OVERFLOWS).await, 0, "{name} {path}");
            browser.picture(&format!("panel-{name}{}", path.replace('/', "-"))).await;
        }
    }
    assert_eq!(browser.run("return document.scripts.length;").await, 0);
    let requests = browser.requests().await;
    let elsewhere: Vec<_> = requests.iter().filter(|it| !it.starts_with(&relay.url)).collect();
    assert!(elsewhere.is_empty() && requests.len() > 6, "{elsewhere:?}");
    drop(browser);
    relay.stop().await;
}

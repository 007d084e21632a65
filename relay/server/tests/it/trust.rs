//! The page at `/trust`: every promise of the document, evidence that follows what it is about, and nothing that is anybody's own.

use paramant_canary::found_in;
use paramant_licensing::actions::Said;
use paramant_protocol::entry::{Entry, Kind};
use paramant_relay::settings::Settings;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;

use crate::canary::{self, CANARIES};
use crate::gates;
use crate::log::{get, text};
use crate::relay::{ADMIN, Relay, until};
use crate::remote_actions;
use crate::vendor::{Clock, Vendor, asking, licence_directory, online};

const DOCUMENT: &str = include_str!("../../../../docs/trust.md");
const ADDRESS: &str = "https://relay.example";

/// The page as somebody reads it: no tags, one space between words.
fn read(page: &str) -> String {
    let tags = regex::Regex::new("<[^>]*>").unwrap();
    let text = tags.replace_all(page, "").replace("&#34;", "\"").replace("&#39;", "'").replace("&#38;", "&");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One promise of the page, likewise.
fn promise(page: &str, id: &str) -> String {
    let (_, rest) = page.split_once(&format!("<h3 id=\"{id}\">")).unwrap_or_else(|| panic!("no {id}"));
    read(rest.split("</article>").next().unwrap())
}

/// The page, once it shows the newest checkpoint.
async fn newest(relay: &Relay) -> String {
    relay.running.app.core.log.engine().publish_now().unwrap();
    text(relay, "/trust").await
}

async fn stage(change: impl FnOnce(&mut Settings)) -> (Vendor, Relay) {
    let (vendor, clock, dir) = (Vendor::start().await, Clock::default(), TempDir::new().unwrap());
    let directory = licence_directory(&dir);
    let relay = Relay::in_world(vendor.world(&clock), dir, |settings| {
        asking(&vendor, settings, directory);
        change(settings);
    });
    let relay = relay.await;
    online(&relay).await;
    (vendor, relay)
}

fn in_the_log(relay: &Relay, kind: Kind) -> usize {
    let log = &relay.running.app.core.log;
    let size = log.published().unwrap().head.size;
    let kinds = (0..size)
        .map(|index| Entry::parse(&log.engine().entry(index).unwrap().unwrap().bytes).unwrap().kind());
    kinds.filter(|it| *it == kind).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_of_the_document_is_on_the_page_with_its_limits_and_its_command() {
    let relay = Relay::with(|settings| settings.public_url = Some(ADDRESS.to_owned())).await;
    let page = newest(&relay).await;
    let here = |text: &str| read(&text.replace(" URL`", &format!(" {ADDRESS}`")).replace('`', ""));
    let mut found = 0;
    for section in DOCUMENT.split("\n### ").skip(1) {
        let mut lines = section.lines();
        let (id, sentence) = (lines.next().unwrap(), lines.next().unwrap());
        let shown = promise(&page, id);
        assert!(shown.starts_with(&format!("{id} {}", here(sentence))), "{id}: {shown}");
        for line in lines.take_while(|line| !line.starts_with('#')).filter(|line| !line.is_empty()) {
            if let Some(tests) = line.strip_prefix("- Tests: ") {
                let named = tests.split('`').nth(1).unwrap();
                assert!(shown.contains(named), "{id}: {named}");
                found += 1;
                continue;
            }
            let said = line.trim_start_matches("- Limits: ").trim_start_matches("- Check it: ");
            let said = here(said);
            assert!(shown.contains(&said), "{id}: {said}\nis not in: {shown}");
        }
    }
    assert_eq!((found, page.matches("<h3 ").count()), (30, 30));
    assert!(
        promise(&page, "R1").contains(&format!("paramant audit --actions --licensing-key HEX {ADDRESS}"))
    );
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_evidence_is_that_of_the_log_and_leads_to_it() {
    let (vendor, relay) = stage(|_| ()).await;
    remote_actions::asks_of_every_kind(&vendor, &relay).await;
    let page = newest(&relay).await;
    let published = relay.running.app.core.log.published().unwrap();
    let now = read(&page);
    assert!(now.contains(&format!("Published entries{}", published.head.size)), "{now}");
    assert!(
        page.contains(&hex::encode(published.head.sha256_root)) && page.contains("href=\"/log/checkpoint\"")
    );
    assert!(page.contains(relay.running.app.core.identity.fingerprint()));
    for kind in [
        Kind::VendorRequest,
        Kind::RemoteActionRefused,
        Kind::VendorSilence,
        Kind::LicenseCheckin,
        Kind::UpdateOffered,
    ] {
        let (name, count) = (kind.name(), in_the_log(&relay, kind));
        let entries = if count == 1 { "entry" } else { "entries" };
        let link = format!("<a href=\"/ct?kind={name}\">{count} {entries}</a>");
        assert!(count > 0 && page.contains(&link), "{link}");
        assert_eq!(get(&relay, &format!("/ct?kind={name}")).await.status(), StatusCode::OK);
    }
    for path in page.split("href=\"/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let status = get(&relay, &format!("/{path}")).await.status();
        assert_eq!(status, StatusCode::OK, "/{path}");
    }
    let keys = vendor.world(&Clock::default()).online.hashes();
    assert!(!keys.is_empty() && keys.iter().all(|key| promise(&page, "L6").contains(key)));
    relay.stop().await;

    let relay = Relay::start().await;
    let page = newest(&relay).await;
    assert!(
        promise(&page, "L6").contains("none is pinned")
            && promise(&page, "S5").contains("nothing is switched on")
    );
    assert!(promise(&page, "L4").contains("switched off") && promise(&page, "L4").contains("0 entries"));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_and_what_is_in_force_shows_while_it_is() {
    let (vendor, relay) = stage(|_| ()).await;
    let page = newest(&relay).await;
    assert!(
        promise(&page, "S1").contains("Telemetryoff")
            && promise(&page, "S1").contains("Telemetry changed0 entries")
    );
    assert!(
        promise(&page, "R3").contains("none is in force")
            && promise(&page, "R5").contains("none is in force")
    );
    assert!(promise(&page, "L4").contains("there is a key to ask with"));

    let shown = relay.admin(Method::GET, "/v2/admin/telemetry/preview").send().await.unwrap();
    let preview = shown.headers()["x-paramant-sha256"].to_str().unwrap().to_owned();
    let consent = json!({ "enabled": true, "schema": 1, "previewSha256": preview });
    let agreed =
        relay.admin(Method::POST, "/v2/admin/telemetry").body(consent.to_string()).send().await.unwrap();
    assert!(agreed.status().is_success());
    let page = newest(&relay).await;
    assert!(
        promise(&page, "S1").contains("Telemetryon")
            && promise(&page, "S1").contains("Telemetry changed1 entry")
    );

    let [key, drain] = remote_actions::asks_of_every_kind(&vendor, &relay).await;
    let page = newest(&relay).await;
    assert!(
        promise(&page, "R3").contains("none is in force")
            && promise(&page, "R5").contains("none is in force"),
        "it waits"
    );
    let actions = &relay.running.app.store.actions;
    for id in [&key, &drain] {
        actions.answer(id, Said::Approve).await.unwrap();
    }
    let page = newest(&relay).await;
    for (id, says) in [
        ("R3", "one is in force now"),
        ("N4", "one is in force now"),
        ("R3", "issued1 entry"),
        ("R5", "in force now"),
    ] {
        assert!(promise(&page, id).contains(says), "{id} does not say {says}: {}", promise(&page, id));
    }
    for id in [&key, &drain] {
        actions.end(id).await.unwrap();
    }
    let ended = async || in_the_log(&relay, Kind::SupportKeyRevoked) == 1;
    until("the end is in the log", ended).await;
    let page = newest(&relay).await;
    for id in ["R3", "R5"] {
        assert!(promise(&page, id).contains("none is in force"), "{id}");
    }
    assert!(promise(&page, "R3").contains("revoked1 entry"), "{}", promise(&page, "R3"));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_on_the_page_is_anybodys_own() {
    let (vendor, relay) = stage(|_| ()).await;
    canary::fill(&relay).await;
    let [key, _] = remote_actions::asks_of_every_kind(&vendor, &relay).await;
    relay.running.app.store.actions.answer(&key, Said::Approve).await.unwrap();
    let endpoint = vendor.address.to_string();
    let secrets: Vec<&str> = CANARIES
        .iter()
        .copied()
        .chain([ADMIN, vendor.key.expose(), key.as_str(), endpoint.as_str(), "Acme", "Ada of support"])
        .collect();
    let mut page = newest(&relay).await.into_bytes();
    assert!(promise(&String::from_utf8_lossy(&page), "R3").contains("one is in force now"));
    assert_eq!(found_in(&secrets, &page), [""; 0]);
    for secret in &secrets {
        page.extend(secret.as_bytes());
    }
    assert_eq!(found_in(&secrets, &page), secrets, "each is found where it is planted");

    // How many accounts there are changes nothing on it, and neither does who calls.
    let before = newest(&relay).await;
    relay.user().await;
    let after = newest(&relay).await;
    assert!(before.len() > 10_000 && in_the_log(&relay, Kind::AdminChanged) > 1);
    let same = |page: &str| -> Vec<String> {
        let lines = page
            .lines()
            .filter(|line| !line.contains("Published entries") && !line.contains("Root (SHA-256)"));
        lines
            .filter(|line| !line.contains("<dt>Checkpoint") && !line.contains("Entries that are published"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(same(&before), same(&after));
    let as_admin = relay.admin(Method::GET, "/trust").send().await.unwrap().text().await.unwrap();
    assert_eq!(same(&as_admin), same(&after));
    relay.stop().await;

    let relay = gates::offline(&Clock::default()).await;
    let licensed = newest(&relay).await;
    assert!(text(&relay, "/health").await.contains("Acme"), "the licence counts");
    assert!(promise(&licensed, "L1").contains("a licence") && !licensed.contains("Acme"));
    relay.stop().await;
}

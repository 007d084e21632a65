//! The pages at `/ct` as they leave the relay: readable without a script, strict about what they load, and they show proofs.

use paramant_tlog::entry_leaf;
use reqwest::StatusCode;

use crate::log::{filled, get, published, text};
use crate::relay::Relay;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_loads_nothing_from_elsewhere_and_runs_nothing_of_its_own() {
    let relay = Relay::start().await;
    filled(&relay, 2).await;
    for path in ["/ct", "/ct/", "/ct/entry/1", "/ct/verify", "/ct/entry/999", "/ct?kind=nonsense", "/trust"] {
        let answer = get(&relay, path).await;
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8", "{path}");
        let page = answer.text().await.unwrap();
        for inline in ["<style", " style=", " onclick", "javascript:", "<script>", "http://", "https://"] {
            assert!(!page.contains(inline), "{path} has {inline}");
        }
        assert_eq!(page.contains("<script"), path == "/ct/verify", "{path}");
        for landmark in
            ["<header>", "<nav ", "<main ", "<footer>", "lang=\"en\"", "<h1>", "name=\"viewport\""]
        {
            assert!(page.contains(landmark), "{path} lacks {landmark}");
        }
    }
    assert!(text(&relay, "/ct/verify").await.contains("<noscript>"));
    for asset in ["log.css", "verify.js", "icon.svg"] {
        assert_eq!(get(&relay, &format!("/ct/assets/{asset}")).await.status(), StatusCode::OK, "{asset}");
    }
    for absent in ["x.css", "..%2fverify.js", "%2e%2e%2f%2e%2e%2fCargo.toml"] {
        assert_eq!(
            get(&relay, &format!("/ct/assets/{absent}")).await.status(),
            StatusCode::NOT_FOUND,
            "{absent}"
        );
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_shown_with_every_hash_from_its_leaf_to_the_signed_root() {
    let relay = Relay::start().await;
    filled(&relay, 5).await;
    let checkpoint = published(&relay).await.1;
    let page = text(&relay, "/ct/entry/3").await;
    let engine = relay.running.app.core.log.engine();
    let stored = engine.entry(3).unwrap().unwrap();
    let path = engine.inclusion(paramant_tlog::Tree::Sha256, 3, checkpoint.size).unwrap();
    assert!(page.contains(&hex::encode(entry_leaf(&stored.bytes))));
    for sibling in path {
        assert!(page.contains(&hex::encode(sibling)));
    }
    assert!(page.contains(&hex::encode(checkpoint.root)));
    assert!(page.contains("The last hash is the root that the checkpoint"));
    for absent in [checkpoint.size.to_string(), "x".into(), "-1".into(), "03".into()] {
        let answer = get(&relay, &format!("/ct/entry/{absent}")).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{absent}");
        assert_eq!(answer.headers()["cache-control"], "no-store", "{absent}");
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_entries_can_be_narrowed_and_paged_without_a_script() {
    let relay = Relay::start().await;
    filled(&relay, 60).await;
    let page = text(&relay, "/ct?kind=transfer&since=&until=").await;
    assert!(page.contains("File accepted") && !page.contains("class=\"kind\">relay_started"));
    let older = page
        .split("href=\"/ct?before=")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .replace("&#38;", "&")
        .replace("&amp;", "&");
    assert!(older.ends_with("&kind=transfer"), "{older}");
    let rest = text(&relay, &format!("/ct?before={older}")).await;
    assert_eq!(rest.matches("<th scope=\"row\"").count(), 10);
    let refused = get(&relay, "/ct?kind=%3Cscript%3E").await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let refused = refused.text().await.unwrap();
    assert!(refused.contains("role=\"alert\"") && !refused.contains("<script"));
    relay.stop().await;
}

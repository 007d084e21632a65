//! The pages at `/ct` in a real browser: headless Chromium, driven over WebDriver. `PARAMANT_CHROMEDRIVER` names the driver.
//!
//! Every check that expects nothing (no request to elsewhere, no refused load, no overflow) first plants one and sees it found.

mod webdriver;

use paramant_protocol::receipt::HEADER as DELIVERY_RECEIPT;
use paramant_protocol::upload::UploadAnswer;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use self::webdriver::Driver;
use crate::log::{filled, text};
use crate::relay::{Relay, hash, noise};

const PAGES: [&str; 5] = ["/ct", "/trust", "/ct/entry/3", "/ct/verify", "/ct/entry/999"];

/// Contrast of every text with what is behind it, labels of every field, landmarks, headings that skip no level: what WCAG 2.2
/// asks for and a program can see.
pub const ACCESSIBLE: &str = r#"
const luminance = (colour) => {
  const parts = colour.match(/[\d.]+/g).slice(0, 3).map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
};
const behind = (node) => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (!/, 0\)$|transparent/.test(colour)) return colour;
  }
  return "rgb(255, 255, 255)";
};
const problems = [];
for (const node of document.body.querySelectorAll("*")) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  if (!own || !node.checkVisibility()) continue;
  const [a, b] = [getComputedStyle(node).color, behind(node)].map(luminance).sort();
  const ratio = (b + 0.05) / (a + 0.05);
  if (ratio < 4.5) problems.push(`contrast ${ratio.toFixed(2)}: ${node.outerHTML.slice(0, 80)}`);
}
for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea, button")) {
  if (!(field.labels?.length || field.textContent.trim())) problems.push(`no label: ${field.outerHTML.slice(0, 80)}`);
}
for (const landmark of ["header", "nav", "main", "footer"]) {
  if (!document.querySelector(landmark)) problems.push(`no ${landmark}`);
}
let before = 0;
for (const heading of document.querySelectorAll("h1, h2, h3")) {
  const level = Number(heading.tagName[1]);
  if (level > before + 1) problems.push(`heading skips a level: ${heading.textContent}`);
  before = level;
}
if (!document.title || document.documentElement.lang !== "en") problems.push("no title or language");
return problems;
"#;

pub const OVERFLOWS: &str =
    "return document.documentElement.scrollWidth - document.documentElement.clientWidth;";

pub async fn driver(test: &str) -> Option<Driver> {
    let Ok(program) = std::env::var("PARAMANT_CHROMEDRIVER") else {
        println!("skipped {test}: PARAMANT_CHROMEDRIVER does not name a chromedriver");
        return None;
    };
    Some(Driver::start(&program).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_load_from_the_relay_alone_and_fit_every_reader() {
    let Some(driver) = driver("pages").await else { return };
    let relay = Relay::start().await;
    filled(&relay, 60).await;
    let browser = driver.browser().await;

    // Planted: a page that loads from elsewhere is seen to.
    let planted = plant("<img src=\"http://planted.invalid/seen.png\">").await;
    browser.go(&planted).await;
    let requests = browser.requests().await;
    assert!(requests.iter().any(|url| url.contains("planted.invalid")), "{requests:?}");

    for path in PAGES {
        browser.go(&format!("{}{path}", relay.url)).await;
    }
    let requests = browser.requests().await;
    assert!(requests.len() > 6, "{requests:?}");
    let elsewhere: Vec<_> = requests.iter().filter(|url| !url.starts_with(&relay.url)).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");

    // Planted: the policy stops a script of the page that would connect.
    browser.go(&format!("{}/ct/verify", relay.url)).await;
    let refused = "return await fetch('/log/checkpoint').then(() => 'sent', () => 'refused');";
    assert_eq!(browser.run(refused).await, "refused");
    assert!(browser.complaints().await.iter().any(|line| line.contains("Content Security Policy")));
    for path in PAGES.iter().take(4) {
        browser.go(&format!("{}{path}", relay.url)).await;
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());

    // Planted: too faint a text and a field without a label are found.
    let faint = "<body style='background:#fff'><p style='color:#aaa'>faint</p><input></body>";
    browser.go(&plant(faint).await).await;
    let problems = browser.run(ACCESSIBLE).await.to_string();
    assert!(
        problems.contains("contrast") && problems.contains("no label") && problems.contains("no main"),
        "{problems}"
    );
    let wide = "<div style='width:3000px'>wide</div>";
    browser.go(&plant(wide).await).await;
    assert!(browser.run(OVERFLOWS).await.as_i64().unwrap() > 0);

    let mut papers = Vec::new();
    for (name, width, scheme) in
        [("desktop", 1280, "light"), ("dark", 1280, "dark"), ("phone", 390, "light"), ("narrow", 320, "dark")]
    {
        browser.look(width, scheme).await;
        for path in PAGES {
            browser.go(&format!("{}{path}", relay.url)).await;
            assert_eq!(browser.run(ACCESSIBLE).await, json!([]), "{name} {path}");
            assert_eq!(browser.run(OVERFLOWS).await, 0, "{name} {path}");
            browser.picture(&format!("{name}{}", path.replace('/', "-"))).await;
        }
        papers.push(browser.run("return getComputedStyle(document.documentElement).backgroundColor;").await);
    }
    assert_ne!(papers[0], papers[1], "dark looks like light");
    drop(browser);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_reaches_everything_in_order() {
    let Some(driver) = driver("keyboard").await else { return };
    let relay = Relay::start().await;
    filled(&relay, 2).await;
    let browser = driver.browser().await;
    browser.go(&format!("{}/ct", relay.url)).await;
    let focused = "return document.activeElement.textContent.trim() || document.activeElement.id;";
    let mut order = Vec::new();
    for _ in 0..9 {
        browser.press("\u{E004}").await;
        order.push(browser.run(focused).await.as_str().unwrap().to_owned());
    }
    assert_eq!(order[..4], ["Skip to the content", "Newest entries", "Check a receipt", "Promises"]);
    let form: Vec<_> =
        order[4..].iter().map(|text| text.split_whitespace().next().unwrap_or_default()).collect();
    assert_eq!(form[0], "Everything", "{order:?}");
    let outline =
        "const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.outlineWidth;";
    assert_eq!(browser.run(outline).await, "solid3px");
    browser.go(&format!("{}/ct", relay.url)).await;
    browser.press("\u{E004}").await;
    browser.press("\u{E007}").await;
    assert_eq!(browser.run("return document.activeElement.id;").await, "main");
    drop(browser);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_checked_in_the_browser_and_a_forged_one_refused() {
    let Some(driver) = driver("receipt").await else { return };
    let relay = Relay::start().await;
    let user = relay.user().await;
    for seed in 0..5 {
        user.upload(&noise(seed, 200), json!({})).await.bytes().await.unwrap();
    }
    let payload = noise(9, 300);
    let sent: UploadAnswer = user.upload(&payload, json!({})).await.json().await.unwrap();
    let read = user.request(Method::GET, &format!("/v2/outbound/{}", hash(&payload))).send().await.unwrap();
    let delivery = read.headers()[DELIVERY_RECEIPT].to_str().unwrap().to_owned();
    read.bytes().await.unwrap();
    relay.running.app.core.log.engine().publish_now().unwrap();
    let proof = text(&relay, &format!("/log/receipt/{}", sent.log_receipt.unwrap())).await;
    let admin = text(&relay, "/log/proof/0").await;
    let keys = text(&relay, "/log/vkeys").await;
    let browser = driver.browser().await;
    browser.go(&format!("{}/ct/verify", relay.url)).await;
    browser.requests().await;

    let decoded: Value = serde_json::from_slice(&base64_url(&delivery)).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut forged = decoded.clone();
        change(&mut forged);
        forged.to_string()
    };
    let lines: Vec<&str> = proof.lines().collect();
    let swapped_neighbour = proof.replacen(lines[3], lines[4], 1);
    let other_key = "relay.example/log+00000000+AQAA";
    for (what, receipt, trusted, state, says) in [
        ("a transfer's proof", proof.clone(), keys.as_str(), "good", "the log's Ed25519 key signed that"),
        (
            "an entry with a body",
            admin.clone(),
            keys.as_str(),
            "good",
            "SHA3-256 tree is that of kind, body and hour",
        ),
        ("without a trusted key", proof.clone(), "", "open", "not among those you trust"),
        ("another neighbour", swapped_neighbour, keys.as_str(), "bad", "another root"),
        (
            "an index beyond",
            proof.replacen("\nindex ", "\nindex 9", 1),
            keys.as_str(),
            "bad",
            "is not in a tree of",
        ),
        ("a changed checkpoint", changed_size(&proof), keys.as_str(), "bad", ""),
        ("a key with another id", proof.clone(), other_key, "bad", "id of the key"),
        ("nothing", String::new(), keys.as_str(), "bad", "nothing to check"),
        ("nonsense", "hello, world".into(), keys.as_str(), "bad", ""),
        ("a delivery receipt", delivery.clone(), keys.as_str(), "open", "The leaf is that of this file"),
        ("as JSON", decoded.to_string(), keys.as_str(), "open", "the root of the tree head in the receipt"),
        (
            "for another file",
            with(&|r| r["blob_hash"] = "00".repeat(32).into()),
            "",
            "bad",
            "The leaf is not that",
        ),
        ("over another tree", with(&|r| r["inclusion_proof"]["tree_size"] = json!(3)), "", "bad", ""),
        (
            "with another root",
            with(&|r| r["inclusion_proof"]["sth"]["sha3_root"] = "00".repeat(32).into()),
            "",
            "bad",
            "another root",
        ),
        (
            "with other sides",
            with(&|r| {
                let side = &mut r["inclusion_proof"]["audit_path"][0]["position"];
                *side = if *side == "left" { "right".into() } else { "left".into() };
            }),
            "",
            "bad",
            "",
        ),
    ] {
        let outcome = browser.check(&receipt, trusted).await;
        assert_eq!(outcome["state"], state, "{what}: {outcome}");
        assert!(outcome["text"].as_str().unwrap().contains(says), "{what}: {outcome}");
        assert_eq!(outcome["focused"], true, "{what}");
    }
    browser.check(&proof, &keys).await;
    browser.picture("checked").await;
    assert_eq!(browser.run(ACCESSIBLE).await, json!([]));
    let mut asked = browser.requests().await;
    // The browser fetches the page's own icon whenever it likes.
    asked.retain(|url| *url != format!("{}/ct/assets/icon.svg", relay.url));
    assert_eq!(asked, Vec::<String>::new(), "checking asks nobody");
    drop(browser);
    relay.stop().await;
}

/// The size under the checkpoint of a proof, one less: same text otherwise, so only signature and path can tell.
fn changed_size(proof: &str) -> String {
    let (path, note) = proof.split_once("\n\n").unwrap();
    let size: u64 = note.lines().nth(1).unwrap().parse().unwrap();
    format!("{path}\n\n{}", note.replacen(&format!("\n{size}\n"), &format!("\n{}\n", size - 1), 1))
}

fn base64_url(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// Serves one page to whoever asks; for what a check must find.
pub async fn plant(body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let page = format!("<!doctype html><title>planted</title>{body}");
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                page.len()
            );
            let _ = stream.write_all(format!("{head}{page}").as_bytes()).await;
        }
    });
    url
}

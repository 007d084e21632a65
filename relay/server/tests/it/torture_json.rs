//! Bodies that are no uploads, or only just: what is answered, and that none of them makes the relay hold much.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures::future::join_all;
use reqwest::Method;
use tempfile::TempDir;

use crate::relay::{User, hash, noise, until};
use crate::spawned::Process;
use crate::vitals::{Vitals, forget_peak};

const MEGABYTE: usize = 1 << 20;

struct Row {
    what: &'static str,
    path: &'static str,
    body: Bytes,
    status: u16,
}

fn inbound(what: &'static str, body: impl Into<Vec<u8>>, status: u16) -> Row {
    elsewhere(what, "/v2/inbound", body, status)
}

fn elsewhere(what: &'static str, path: &'static str, body: impl Into<Vec<u8>>, status: u16) -> Row {
    Row { what, path, body: Bytes::from(body.into()), status }
}

/// An upload of these bytes, with these fields in front and behind.
fn upload(front: &str, payload: &str, bytes: &[u8], behind: &str) -> String {
    format!("{{{front}\"hash\":\"{}\",\"payload\":\"{payload}\"{behind}}}", hash(bytes))
}

fn grammar() -> Vec<Row> {
    let bytes = noise(1, 1000);
    let text = BASE64_STANDARD.encode(&bytes);
    let good = |front: &str, behind: &str| upload(front, &text, &bytes, behind);
    let other = noise(2, 1000);
    let two_hashes = format!("{{\"hash\":\"{}\",{}", hash(&other), &good("", "")[1..]);
    let mut rows = vec![
        inbound("an upload", good("", ""), 200),
        inbound("fields nobody knows", good("\"a\":[1,{\"b\":null}],", ",\"c\":true"), 200),
        inbound("a surrogate pair", good("\"meta\":{\"device_id\":\"\\ud83d\\ude00\"},", ""), 200),
        inbound("white space between tokens", good(" \t\r\n", " \n"), 200),
        inbound("half a surrogate pair", good("\"a\":\"\\ud800\",", ""), 400),
        inbound("a surrogate pair the wrong way round", good("\"a\":\"\\ude00\\ud83d\",", ""), 400),
        inbound(
            "a field that is not UTF-8",
            good("\"a\":\"?\",", "")
                .replace('?', "\u{fffd}")
                .into_bytes()
                .into_iter()
                .map(|byte| if byte == 0xef { 0xff } else { byte })
                .collect::<Vec<_>>(),
            400,
        ),
        inbound("a control character", good("\"a\":\"\u{1}\",", ""), 400),
        inbound("a comma too many", good("", ","), 400),
        inbound("something behind it", good("", "") + "x", 400),
        inbound("two of them", good("", "").repeat(2), 400),
        inbound("a byte order mark", format!("\u{feff}{}", good("", "")), 400),
        inbound("nothing", "", 400),
        inbound("an array", format!("[{}]", good("", "")), 400),
        inbound("not to its end", &good("", "").as_bytes()[..700], 400),
        inbound("payload twice", good("\"payload\":\"QQ==\",", ""), 400),
        inbound("payload twice, once in disguise", good("\"pa\\u0079load\":1,", ""), 400),
        // As every reader of JSON does that published clients use: the last one counts.
        inbound("hash twice", two_hashes, 200),
        inbound("payload is a number", format!("{{\"hash\":\"{}\",\"payload\":7}}", hash(&bytes)), 400),
        inbound("payload is null", format!("{{\"hash\":\"{}\",\"payload\":null}}", hash(&bytes)), 400),
        inbound("a time below nothing", good("\"ttl_ms\":-1,", ""), 400),
        inbound("a time beyond all numbers", good("\"ttl_ms\":1e400,", ""), 400),
        inbound("a time beyond all time", good("\"ttl_ms\":1e300,", ""), 400),
        inbound("a time in words", good("\"ttl_ms\":\"1\",", ""), 400),
    ];
    for (what, spelt, status) in [
        ("the URL alphabet without padding", BASE64_URL_SAFE_NO_PAD.encode(&bytes), 200),
        ("the standard alphabet without padding", text.trim_end_matches('=').to_owned(), 200),
        ("every character escaped", text.bytes().map(|byte| format!("\\u{byte:04x}")).collect(), 200),
        ("escaped slashes", text.replace('/', "\\/"), 200),
        (
            "lines",
            text.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line) + "\\r\\n").collect(),
            400,
        ),
        ("a space", text.replacen('A', " ", 1) + " ", 400),
        ("too much padding", format!("{text}="), 400),
        ("padding in the middle", format!("QQ=={text}"), 400),
        ("a lone character", format!("{}A", text.trim_end_matches('=')), 400),
        ("a letter that looks like one", text.replacen(|c: char| c.is_ascii_uppercase(), "\u{410}", 1), 400),
        ("half a surrogate", format!("\\udc00{text}"), 400),
        ("NUL", format!("{text}\\u0000"), 400),
    ] {
        rows.push(inbound(what, upload("", &spelt, &bytes, ""), status));
    }
    rows
}

/// Bodies whose only purpose is to be held.
fn bombs() -> Vec<Row> {
    let bytes = noise(1, 1000);
    let text = BASE64_STANDARD.encode(&bytes);
    let field = |value: &str| upload(&format!("\"a\":{value},"), &text, &bytes, "");
    let of = |piece: &str, count: usize| piece.repeat(count);
    let nines = of("9", MEGABYTE);
    vec![
        inbound("nested a thousand deep", field(&(of("[", 1000) + &of("]", 1000))), 400),
        inbound("nested thirty thousand deep", field(&(of("[", 30_000) + &of("]", 30_000))), 400),
        inbound("objects nested without end", of("{\"a\":", MEGABYTE), 400),
        inbound("arrays nested without end", of("[", 9 * MEGABYTE), 400),
        inbound("a number of a million digits", field(&nines), 400),
        inbound("a number of sixty thousand digits", field(&of("9", 60_000)), 400),
        inbound("a fraction of sixty thousand digits", field(&format!("0.{}1", of("0", 60_000))), 200),
        inbound("an exponent of sixty thousand digits", field(&format!("1e{}", of("9", 60_000))), 400),
        inbound("a string of nine megabytes", field(&format!("\"{}\"", of("a", 9 * MEGABYTE))), 400),
        inbound("a string of escapes", field(&format!("\"{}\"", of("\\u0000", MEGABYTE))), 400),
        inbound("a name of nine megabytes", format!("{{\"{}\":1}}", of("a", 9 * MEGABYTE)), 400),
        inbound("names without end", format!("{{{}", of("\"a\":1,", MEGABYTE)), 400),
        inbound("nine megabytes of space before", of(" ", 9 * MEGABYTE) + &field("1"), 400),
        inbound("nine megabytes of space behind", field("1") + &of("\n", 9 * MEGABYTE), 400),
        inbound("commas without end", of(",", 9 * MEGABYTE), 400),
        inbound("NUL without end", vec![0; 9 * MEGABYTE], 400),
        inbound("a payload over the limit", upload("", &of("QUJD", 2 * MEGABYTE), b"x", ""), 413),
        inbound("a payload of escapes", upload("", &of("\\u0041", 9 * MEGABYTE / 6), b"x", ""), 400),
        inbound(
            "a payload that is not base64 from its first byte on",
            upload("", &of("*", 9 * MEGABYTE), b"x", ""),
            400,
        ),
        inbound("far more than any body may have", vec![b' '; 40 * MEGABYTE], 413),
        elsewhere(
            "a receipt nested without end",
            "/v2/verify-receipt",
            format!("{{\"receipt\":{}", of("[", 200_000)),
            400,
        ),
        elsewhere(
            "a receipt of three hundred kilobytes",
            "/v2/verify-receipt",
            format!("{{\"receipt\":\"{}\"}}", of("A", 300_000)),
            413,
        ),
        elsewhere(
            "a receipt of digits",
            "/v2/verify-receipt",
            format!("{{\"receipt\":{}}}", of("9", 200_000)),
            400,
        ),
        elsewhere(
            "device keys nested without end",
            "/v2/pubkey",
            format!("{{\"device_id\":{}", of("{\"a\":", 50_000)),
            400,
        ),
        elsewhere(
            "a document nested without end",
            "/v2/did/register",
            format!("{{\"did\":{}", of("[", 200_000)),
            400,
        ),
    ]
}

async fn judge(user: &User, row: &Row) -> Option<String> {
    let answer = user.request(Method::POST, row.path).body(row.body.clone()).send().await;
    let status = answer.as_ref().map(|answer| answer.status().as_u16()).map_err(ToString::to_string);
    if let (Ok(200), "/v2/inbound") = (&status, row.path) {
        // Taken back, so that the next row's upload of the same bytes is judged by itself.
        let said: serde_json::Value = answer.unwrap().json().await.unwrap();
        user.request(Method::DELETE, &format!("/v2/inbound/{}", said["hash"].as_str().unwrap()))
            .send()
            .await
            .unwrap();
    }
    (status != Ok(row.status)).then(|| format!("{}: {status:?}, expected {}", row.what, row.status))
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_uploads_are_refused_and_those_that_are_taken() {
    let dir = TempDir::new().unwrap();
    let process = Process::start(dir.path());
    let user = User::new(&process.url).await;
    let mut faults = Vec::new();
    for row in grammar() {
        faults.extend(judge(&user, &row).await);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_makes_the_relay_hold_more_than_an_upload_does() {
    const AT_ONCE: usize = 8;
    let dir = TempDir::new().unwrap();
    let process = Process::start(dir.path());
    let user = User::new(&process.url).await;
    user.upload_raw(noise(1, 5_000_000), "").await;
    let idle = Vitals::of(process.id());
    let mut faults = Vec::new();
    for row in bombs() {
        let before = Vitals::of(process.id());
        forget_peak(process.id());
        faults.extend(join_all((0..AT_ONCE).map(|_| judge(&user, &row))).await.into_iter().flatten());
        let each = Vitals::of(process.id()).peak.saturating_sub(before.memory) / AT_ONCE as u64;
        if each > 1 << 20 {
            faults.push(format!("{}: {} KiB held for each", row.what, each >> 10));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let grown = Vitals::of(process.id()).memory.saturating_sub(idle.memory);
    assert!(grown < 16 << 20, "{grown} bytes more than before");
    until("descriptors are back", async || Vitals::of(process.id()).descriptors <= idle.descriptors + 8)
        .await;
}

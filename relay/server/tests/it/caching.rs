//! What lets a content network carry the log: tags, 304, parts, gzip, `Vary`, HEAD, and what must never be kept.

use std::io::Read as _;
use std::process::{Command, Stdio};

use paramant_protocol::entry::Entry;
use paramant_protocol::leaf::sha3;
use paramant_protocol::transparency::{SthHistory, TreeHeadPage};
use reqwest::{Method, RequestBuilder, Response, StatusCode};

use crate::log::{filled, get, json_of, published, settled, text};
use crate::relay::Relay;

fn ask(relay: &Relay, method: Method, path: &str) -> RequestBuilder {
    relay.http.request(method, format!("{}{path}", relay.url))
}

async fn with(relay: &Relay, path: &str, headers: &[(&str, &str)]) -> Response {
    let request = ask(relay, Method::GET, path);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
}

fn value<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// A log with a full tile and a partial one.
async fn grown() -> Relay {
    let relay = Relay::start().await;
    for number in 0..300_u64 {
        let entry = Entry::transfer(sha3(&number.to_be_bytes()), jiff::Timestamp::now());
        let entry =
            paramant_relay::log_service::Entry { legacy_leaf: entry.leaf(), bytes: entry.into_bytes() };
        relay.running.app.core.log.append(entry).await.unwrap();
    }
    filled(&relay, 0).await;
    // The last tree head is signed a little later.
    settled(&relay).await;
    relay
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut child =
        Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writing = std::thread::spawn(move || input.write_all(&bytes).unwrap());
    let mut out = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    writing.join().unwrap();
    assert!(child.wait().unwrap().success());
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_it_is_told_so_and_sent_nothing() {
    let relay = grown().await;
    for path in [
        "/log/checkpoint",
        "/log/tile/0/000",
        "/log/tile/entries/000",
        "/log/tile/entries/001.p/45",
        "/log/vkeys",
        "/log/policy",
        "/log/proof/7",
        "/log/sth/0",
        "/log/sth?limit=3",
        "/log/feed.atom",
        "/log/feed.json",
        "/log/archive",
        "/log/archive/0.zip",
        "/ct",
        "/ct/entry/7",
        "/ct/verify",
        "/trust",
        "/ct/assets/log.css",
    ] {
        let first = get(&relay, path).await;
        assert_eq!(first.status(), StatusCode::OK, "{path}");
        let tag = value(&first, "etag").to_owned();
        assert!(tag.starts_with('"'), "{path}: {tag}");
        let (cache, vary) = (value(&first, "cache-control").to_owned(), value(&first, "vary").to_owned());
        for name in ["if-none-match", "x"] {
            let again = with(&relay, path, &[(name, &tag)]).await;
            let expected = if name == "x" { StatusCode::OK } else { StatusCode::NOT_MODIFIED };
            assert_eq!(again.status(), expected, "{path}");
            assert_eq!(value(&again, "cache-control"), cache, "{path}");
            assert_eq!(value(&again, "vary"), vary, "{path}");
            assert_eq!(value(&again, "etag"), tag, "{path}");
            let body = again.bytes().await.unwrap();
            assert_eq!(body.is_empty(), expected == StatusCode::NOT_MODIFIED, "{path}");
        }
        let length = first.bytes().await.unwrap().len();
        let head = ask(&relay, Method::HEAD, path).send().await.unwrap();
        assert_eq!((head.status(), value(&head, "etag")), (StatusCode::OK, tag.as_str()), "{path}");
        assert_eq!(value(&head, "content-length"), length.to_string(), "{path}");
    }
    let feed = get(&relay, "/log/feed.atom").await;
    let date = value(&feed, "last-modified").to_owned();
    assert!(date.ends_with(" GMT"), "{date:?}");
    let again = with(&relay, "/log/feed.atom", &[("if-modified-since", &date)]).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_tiles_and_bundles_are_parts_of_the_whole() {
    let relay = grown().await;
    for path in ["/log/tile/0/000", "/log/tile/entries/000", "/log/tile/0/001.p/3"] {
        let whole = get(&relay, path).await;
        assert_eq!(value(&whole, "accept-ranges"), "bytes", "{path}");
        let tag = value(&whole, "etag").to_owned();
        let whole = whole.bytes().await.unwrap();
        let length = whole.len();
        for (range, first, last) in [
            ("bytes=0-31".to_owned(), 0, 31),
            (format!("bytes={}-", length - 5), length - 5, length - 1),
            ("bytes=-7".to_owned(), length - 7, length - 1),
            ("bytes=32-99999999999999999999999999".to_owned(), 32, length - 1),
        ] {
            let part = with(&relay, path, &[("range", &range), ("if-range", &tag)]).await;
            assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT, "{path} {range}");
            assert_eq!(value(&part, "content-range"), format!("bytes {first}-{last}/{length}"));
            assert_eq!(part.bytes().await.unwrap(), whole[first..=last], "{path} {range}");
        }
        let beyond = with(&relay, path, &[("range", "bytes=18446744073709551615-")]).await;
        assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE, "{path}");
        assert_eq!(value(&beyond, "content-range"), format!("bytes */{length}"));
        assert_eq!(value(&beyond, "cache-control"), "no-store");
        let other = with(&relay, path, &[("range", "bytes=0-0"), ("if-range", "\"other\"")]).await;
        assert_eq!(other.status(), StatusCode::OK, "a part of something else is no use");
        // Parts are of the content as it is, not of a compressed form of it.
        let part = with(&relay, path, &[("range", "bytes=0-31"), ("accept-encoding", "gzip")]).await;
        assert_eq!((part.status(), value(&part, "content-encoding")), (StatusCode::PARTIAL_CONTENT, ""));
        assert_eq!(part.bytes().await.unwrap(), whole[..32], "{path}");
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gains_from_it_is_compressed_for_who_takes_it_and_hash_tiles_never_are() {
    let relay = grown().await;
    for path in [
        "/log/tile/entries/000",
        "/log/feed.json",
        "/log/feed.atom",
        "/v2/ct/log?limit=100",
        "/ct",
        "/trust",
        "/log/sth?limit=3",
    ] {
        let plain = with(&relay, path, &[("accept-encoding", "identity")]).await;
        assert_eq!(value(&plain, "content-encoding"), "", "{path}");
        assert!(value(&plain, "vary").eq_ignore_ascii_case("accept-encoding"), "{path}");
        let tag = value(&plain, "etag").to_owned();
        let plain = plain.bytes().await.unwrap();
        let small = with(&relay, path, &[("accept-encoding", "br, gzip;q=0.5")]).await;
        assert_eq!(value(&small, "content-encoding"), "gzip", "{path}");
        assert!(value(&small, "vary").eq_ignore_ascii_case("accept-encoding"), "{path}");
        if !tag.is_empty() {
            // Other bytes of the same content: a weak tag, and it is known again.
            assert_eq!(value(&small, "etag"), format!("W/{tag}"), "{path}");
            let again =
                with(&relay, path, &[("if-none-match", &format!("W/{tag}")), ("accept-encoding", "gzip")])
                    .await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
        }
        let small = small.bytes().await.unwrap();
        assert!(small.len() < plain.len() * 9 / 10, "{path}: {} of {}", small.len(), plain.len());
        assert_eq!(gunzip(&small), plain, "{path}");
    }
    let tile = with(&relay, "/log/tile/0/000", &[("accept-encoding", "gzip")]).await;
    assert_eq!((value(&tile, "content-encoding"), value(&tile, "vary")), ("", ""));
    assert_eq!(tile.bytes().await.unwrap().len(), 8192);
    // Who takes neither form is refused, and no cache may keep that in the tile's place.
    let refused = with(&relay, "/log/tile/0/000", &[("accept-encoding", "identity;q=0, *;q=0")]).await;
    assert_eq!(
        (refused.status(), value(&refused, "cache-control")),
        (StatusCode::NOT_ACCEPTABLE, "no-store")
    );
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tile_paths_of_every_wrong_shape_are_absent_and_never_kept() {
    let relay = grown().await;
    let size = published(&relay).await.1.size;
    assert_eq!(get(&relay, "/log/tile/0/000").await.status(), StatusCode::OK);
    let beyond = format!("tile/entries/001.p/{}", size % 256 + 1);
    for path in [
        // Beyond the checkpoint.
        beyond.as_str(),
        "tile/0/001",
        "tile/entries/001",
        "tile/0/002.p/1",
        "tile/1/000",
        "tile/1/001.p/1",
        "tile/2/000.p/1",
        "tile/7/000.p/1",
        "tile/0/x999/999",
        "tile/entries/x018/x446/x744/x073/x709/x551/615",
        // No such width.
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p/01",
        "tile/0/000.p/-1",
        "tile/0/000.p/+1",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000.p/1/",
        "tile/0/000.p/1.p/1",
        "tile/0/000.P/1",
        // No such level.
        "tile/8/000",
        "tile/63/000",
        "tile/256/000",
        "tile/00/000",
        "tile/-1/000",
        "tile/x/000",
        "tile/entry/000",
        "tile/Entries/000",
        "tile//000",
        // No such spelling of the number.
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000",
        "tile/0/x000/000",
        "tile/0/x000/001",
        "tile/0/001/001",
        "tile/0/X001/001",
        "tile/0/x001",
        "tile/0/xx01/001",
        "tile/0/x001/x001",
        "tile/0/x1/001",
        "tile/0/000/",
        "tile/0/ 00",
        "tile/0/0a0",
        "tile/0/٠٠٠",
        "tile/0/%30%30%30",
        "tile/0/000%00",
        "tile/0/..%2f..%2fcheckpoint",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
    ] {
        for more in [&[][..], &[("range", "bytes=0-1")][..], &[("if-none-match", "*")][..]] {
            let answer = with(&relay, &format!("/log/{path}"), more).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
            assert_eq!(value(&answer, "cache-control"), "no-store", "{path}");
        }
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_never_hit_what_the_log_serves() {
    let relay = Relay::with(|settings| settings.limits.requests_per_minute = 1).await;
    relay.running.app.core.log.engine().publish_now().unwrap();
    // The rate is there, and used up.
    while get(&relay, "/health").await.status() != StatusCode::TOO_MANY_REQUESTS {}
    for path in [
        "/log/tile/0/000.p/1",
        "/log/tile/entries/000.p/1",
        "/log/checkpoint",
        "/v2/ct",
        "/ct",
        "/trust",
        "/log/archive/0.zip",
    ] {
        for _ in 0..5 {
            assert_eq!(get(&relay, path).await.status(), StatusCode::OK, "{path}");
        }
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tree_head_has_its_number() {
    let relay = Relay::start().await;
    filled(&relay, 4).await;
    settled(&relay).await;
    let history: SthHistory = json_of(&relay, "/v2/sth/history").await;
    let page: TreeHeadPage = json_of(&relay, "/log/sth").await;
    assert_eq!((page.total, page.from, &page.sths), (history.total, 0, &history.sths));
    let later: TreeHeadPage = json_of(&relay, "/log/sth?from=1&limit=1").await;
    assert_eq!((later.from, later.sths.as_slice()), (1, &history.sths[1..2]));
    let beyond: TreeHeadPage = json_of(&relay, "/log/sth?from=18446744073709551615&limit=1000").await;
    assert!(beyond.sths.is_empty() && beyond.total == history.total);
    for (number, head) in history.sths.iter().enumerate() {
        let answer = get(&relay, &format!("/log/sth/{number}")).await;
        assert!(value(&answer, "cache-control").contains("immutable"));
        assert_eq!(answer.json::<paramant_protocol::sth::SignedSth>().await.unwrap(), *head);
    }
    for absent in
        [history.total.to_string(), "00".into(), "-1".into(), "x".into(), "99999999999999999999".into()]
    {
        let answer = get(&relay, &format!("/log/sth/{absent}")).await;
        assert_eq!((answer.status(), value(&answer, "cache-control")), (StatusCode::NOT_FOUND, "no-store"));
    }
    for bad in ["from=x", "from=-1", "limit=x", "from=1.5"] {
        let answer = get(&relay, &format!("/log/sth?{bad}")).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{bad}");
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_names_the_logs_keys_and_no_witness() {
    let relay = Relay::start().await;
    let policy = text(&relay, "/log/policy").await;
    let keys = text(&relay, "/log/vkeys").await;
    let lines: Vec<_> = policy.lines().collect();
    assert_eq!(lines.last(), Some(&"quorum none"));
    let logs: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("log ")).collect();
    assert_eq!(logs.len(), 2);
    assert!(logs.iter().all(|key| keys.lines().any(|known| known == *key)), "{policy}");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn feeds_show_the_newest_published_entries_with_their_proofs() {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use paramant_tlog::{Checkpoint, Tree, entry_leaf, note::Note, verify};

    let relay = grown().await;
    let size = published(&relay).await.1.size;
    let feed: serde_json::Value = serde_json::from_str(&text(&relay, "/log/feed.json").await).unwrap();
    assert_eq!(feed["version"], "https://jsonfeed.org/version/1.1");
    assert!(feed["description"].as_str().unwrap().starts_with("Unauthenticated"));
    let note = Note::parse(feed["_paramant"]["checkpoint"].as_str().unwrap().as_bytes()).unwrap();
    let checkpoint = Checkpoint::parse(&note.text).unwrap();
    let items = feed["items"].as_array().unwrap();
    assert_eq!((items.len(), checkpoint.size), (50, size));
    for (item, index) in items.iter().zip((0..size).rev()) {
        let proof = &item["_paramant"];
        let bytes = |value: &serde_json::Value| BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap();
        let path: Vec<_> =
            proof["path"].as_array().unwrap().iter().map(|hash| bytes(hash).try_into().unwrap()).collect();
        let leaf = entry_leaf(&bytes(&proof["extra"]));
        assert_eq!(proof["index"], index);
        verify::inclusion(Tree::Sha256, &leaf, index, size, &path, &checkpoint.root).unwrap();
        assert!(item["date_published"].as_str().unwrap().ends_with(":00:00.000Z"));
    }

    let atom = get(&relay, "/log/feed.atom").await;
    assert_eq!(value(&atom, "content-type"), "application/atom+xml; charset=utf-8");
    assert_eq!(value(&atom, "cache-control"), "public, max-age=30");
    let atom = atom.text().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("feed.atom");
    std::fs::write(&path, &atom).unwrap();
    let output = Command::new("python3").args(["-c", ATOM]).arg(&path).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    assert_eq!(out.trim(), format!("50 {}", size - 1));
    std::fs::write(&path, atom.replacen("<updated>", "<updated>yesterday ", 2)).unwrap();
    assert!(!Command::new("python3").args(["-c", ATOM]).arg(&path).output().unwrap().status.success());
    relay.stop().await;
}

/// What RFC 4287 demands of a feed and of each entry.
const ATOM: &str = r#"
import sys, datetime, xml.etree.ElementTree as E
A = "{http://www.w3.org/2005/Atom}"
feed = E.parse(sys.argv[1]).getroot()
assert feed.tag == A + "feed"
def one(of, name):
    found = of.findall(A + name)
    assert len(found) == 1, (of.tag, name, len(found))
    return found[0]
def when(of):
    return datetime.datetime.strptime(one(of, "updated").text, "%Y-%m-%dT%H:%M:%S.%fZ")
assert one(feed, "title").text and one(feed, "author").find(A + "name").text
assert "Unauthenticated" in one(feed, "subtitle").text
ids = [one(feed, "id").text]
assert [l.get("href") for l in feed.findall(A + "link") if l.get("rel") == "self"][0].endswith("/log/feed.atom")
entries = feed.findall(A + "entry")
for entry in entries:
    ids.append(one(entry, "id").text)
    assert one(entry, "title").text and one(entry, "summary").text
    assert when(entry) <= when(feed)
    links = {l.get("rel"): l.get("href") for l in entry.findall(A + "link")}
    assert "/log/proof/" in links["related"] and "/ct/entry/" in links["alternate"]
assert len(set(ids)) == len(ids) and all(":" in i for i in ids)
print(len(entries), links and entries[0].find(A + "link[@rel='related']").get("href").rsplit("/", 1)[1])
"#;

//! Archives over HTTP: announced, whole, in parts, and gone on with.

use std::process::Command;

use paramant_protocol::transparency::ArchiveIndex;
use reqwest::{Method, StatusCode};

use crate::log::{filled, get, json_of, published};
use crate::relay::Relay;

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_announced_and_unpacks_with_an_outside_program() {
    let relay = Relay::start().await;
    filled(&relay, 5).await;
    let size = published(&relay).await.1.size;
    let index: ArchiveIndex = json_of(&relay, "/log/archive").await;
    let line = &index.archives[0];
    assert_eq!(
        (index.archives.len(), line.number, line.first, line.entries, line.complete),
        (1, 0, 0, size, false)
    );
    let answer = get(&relay, &format!("/log/{}", line.path)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/zip");
    assert_eq!(answer.headers()["cache-control"], "public, max-age=60");
    let announced: u64 = answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let zip = answer.bytes().await.unwrap();
    assert_eq!(zip.len() as u64, announced);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.zip"), &zip).unwrap();
    let script = "import zipfile\nz = zipfile.ZipFile('a.zip')\nassert z.testzip() is None\nprint(z.read('checkpoint').decode(), end='')";
    let output = Command::new("python3").args(["-c", script]).current_dir(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8(output.stdout).unwrap().contains(&format!("\n{size}\n")));
    for absent in ["1.zip", "00.zip", "0", "0.tar", "-1.zip", "18446744073709551615.zip", "x.zip"] {
        let answer = get(&relay, &format!("/log/archive/{absent}")).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{absent}");
        assert_eq!(answer.headers()["cache-control"], "no-store", "{absent}");
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_download_goes_on_where_it_stopped_though_the_log_has_grown() {
    let relay = Relay::start().await;
    filled(&relay, 20).await;
    let whole = get(&relay, "/log/archive/0.zip").await;
    let tag = whole.headers()["etag"].to_str().unwrap().to_owned();
    let whole = whole.bytes().await.unwrap();
    filled(&relay, 20).await;
    let half = whole.len() / 2;
    let rest = relay
        .http
        .request(Method::GET, format!("{}/log/archive/0.zip", relay.url))
        .header("range", format!("bytes={half}-"))
        .header("if-range", &tag)
        .send()
        .await
        .unwrap();
    assert_eq!(rest.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(rest.headers()["content-length"], (whole.len() - half).to_string());
    assert_eq!(rest.bytes().await.unwrap(), whole[half..]);
    let head = relay.http.head(format!("{}/log/archive/0.zip", relay.url)).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], whole.len().to_string());
    relay.stop().await;
}

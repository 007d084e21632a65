//! The commands of docs/audit.md that need nothing of ours, taken out of the page and run against a relay with uploads.
//!
//! They run when `PARAMANT_JUDGES` is set, as `cargo xtask test` does; Go, bash and curl must be there then. The page's program is
//! built with the versions of `e2e/judges/go.mod`, which are the page's, so that the judges' module cache serves it.

use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::relay::{Relay, noise};

const PAGE: &str = include_str!("../../../../docs/audit.md");
const JUDGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../e2e/judges");

/// What the page says to save and to run, in its order.
struct Page<'p> {
    fetch: &'p str,
    program: &'p str,
    build: &'p str,
    first: &'p str,
    again: &'p str,
}

impl Page<'_> {
    fn read() -> Self {
        let section =
            PAGE.split("\n## ").find(|section| section.starts_with("With programs we did not write"));
        let mut blocks =
            section.unwrap().split("\n```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap());
        let mut block = |language: &str| {
            let (found, text) = blocks.next().unwrap();
            assert_eq!(found, language);
            text
        };
        Self {
            fetch: block("bash"),
            program: block("go"),
            build: block("bash"),
            first: block("bash"),
            again: block("bash"),
        }
    }
}

/// A person in an empty directory.
struct Stranger {
    home: TempDir,
    url: String,
}

impl Stranger {
    /// Saves what the page says and builds its program.
    fn prepared(page: &Page<'_>, url: &str) -> Self {
        let home = TempDir::new().unwrap();
        std::fs::write(home.path().join("fetch.sh"), page.fetch).unwrap();
        let check = home.path().join("check");
        std::fs::create_dir(&check).unwrap();
        std::fs::write(check.join("main.go"), page.program).unwrap();
        let modules = std::fs::read_to_string(Path::new(JUDGES).join("go.mod")).unwrap();
        let named: Vec<&str> = page.build.split_whitespace().filter(|word| word.contains('@')).collect();
        assert_eq!(named.len(), 2, "{}", page.build);
        for module in named {
            let required = module.replacen('@', " ", 1);
            assert!(
                modules.contains(&format!("\t{required}\n")),
                "e2e/judges/go.mod does not require {module}"
            );
        }
        for file in ["go.mod", "go.sum"] {
            std::fs::copy(Path::new(JUDGES).join(file), check.join(file)).unwrap();
        }
        let built = Command::new("go").args(["build", "-o", "../checklog", "."]).current_dir(&check).output();
        let built = built.expect("PARAMANT_JUDGES is set, but there is no go");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Self { home, url: url.to_owned() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs a script; answers its exit code and what it said.
    fn run(&self, script: &str) -> (i32, String) {
        let script = script.replace("https://relay.example", &self.url);
        let output =
            Command::new("bash").args(["-c", &script]).current_dir(self.home.path()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Shows a damaged copy; the copy is mended again.
    fn refuses_a_flipped_byte(&self, file: &str, at: usize) {
        let path = self.path("relay-log").join(file);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, bad).unwrap();
        let (code, said) = self.run("timeout 5 ./checklog relay-log \"$(cat trusted.vkey)\"");
        assert!(code == 1 || code == 124, "{file} at {at}: {code}\n{said}");
        assert!(!said.contains("ok:"), "{file} at {at}: {said}");
        std::fs::write(&path, good).unwrap();
    }
}

/// Uploads, several at once.
async fn filled(relay: &Relay, first: u64, count: u64) {
    let user = relay.user().await;
    let mut senders = JoinSet::new();
    for sender in 0..16 {
        let user = user.clone();
        senders.spawn(async move {
            for seed in (first..first + count).skip(sender).step_by(16) {
                assert_eq!(user.upload(&noise(seed, 200), json!({})).await.status(), StatusCode::OK);
            }
        });
    }
    senders.join_all().await;
    relay.running.app.core.log.engine().publish_now().unwrap();
}

async fn rotation(relay: &Relay, step: &str) {
    let answer = relay.admin(Method::POST, &format!("/v2/admin/log/{step}")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[test]
fn the_page_has_the_blocks_that_are_run() {
    let page = Page::read();
    assert!(page.fetch.starts_with("#!/bin/bash\n") && page.program.starts_with("package main\n"));
    assert!(page.first.contains("kept.checkpoint") && page.again.contains("kept.checkpoint"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_with_the_page_alone_fetches_a_log_checks_it_and_sees_damage_refused() {
    if std::env::var_os("PARAMANT_JUDGES").is_none() {
        eprintln!("PARAMANT_JUDGES is not set: the commands of docs/audit.md were not run");
        return;
    }
    let page = Page::read();
    let relay = Relay::start().await;
    filled(&relay, 0, 260).await;
    let stranger = Stranger::prepared(&page, &relay.url);
    let (code, said) = stranger.run(page.first);
    assert!(code == 0 && said.contains("ok: "), "{code}\n{said}");

    let text = std::fs::read_to_string(stranger.path("relay-log/checkpoint")).unwrap();
    let ed25519 = text.find("\n— ").unwrap();
    let base64 = ed25519 + text[ed25519 + 5..].find(' ').unwrap() + 5 + 20;
    for (file, at) in [
        ("tile/0/000", 4000),
        ("tile/1/000.p/1", 5),
        ("tile/entries/000", 3000),
        ("checkpoint", 3),
        ("checkpoint", base64),
    ] {
        stranger.refuses_a_flipped_byte(file, at);
    }

    // The log grows; its keys change, and for a while either is good.
    filled(&relay, 300, 60).await;
    rotation(&relay, "rotate").await;
    let (code, said) = stranger.run(page.again);
    assert!(code == 0 && said.contains("ok: "), "{code}\n{said}");
    let earlier = std::fs::read(stranger.path("kept.checkpoint")).unwrap();
    rotation(&relay, "rotate/finish").await;
    filled(&relay, 600, 1).await;
    let (code, said) = stranger.run(page.again);
    assert!(code == 1 && said.contains("note has no verifiable signatures"), "{code}\n{said}");
    let handed_over =
        "./checklog relay-log \"$(head -1 relay-log/vkeys)\" kept.checkpoint \"$(cat trusted.vkey)\"";
    let (code, said) = stranger.run(handed_over);
    assert!(code == 0 && said.contains("ok: "), "{code}\n{said}");

    // Another log in its place does not go on from the checkpoint that was kept.
    let other = Relay::start().await;
    filled(&other, 1000, 340).await;
    let elsewhere = Stranger { url: other.url.clone(), ..stranger };
    std::fs::remove_dir_all(elsewhere.path("relay-log")).unwrap();
    assert_eq!(std::fs::read(elsewhere.path("kept.checkpoint")).unwrap(), earlier);
    let (code, said) = elsewhere.run(page.again);
    assert!(code == 1 && said.contains("FAILED"), "{code}\n{said}");
    let (code, said) = elsewhere.run("bash fetch.sh http://127.0.0.1:1");
    assert!(code != 0 && said.contains("curl") && !said.contains("sed"), "{code}\n{said}");
    relay.stop().await;
    other.stop().await;
}

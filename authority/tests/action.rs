//! `paramant-authority action …`, as docs/authority.md shows it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use paramant_licensing::actions::{Chain, Judged, Role, Why, actor, judge};
use paramant_licensing::online::keys::{LicensingKey, LicensingKeys};
use paramant_protocol::leaf::sha256;
use serde_json::{Value, json};

struct Cli {
    data: String,
    relay: String,
    pinned: LicensingKeys,
    directory: tempfile::TempDir,
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paramant-authority"));
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn said(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl Cli {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("authority").display().to_string();
        let added = said(&["key", "add", "--data", &data]);
        let words: Vec<&str> = added.split_whitespace().collect();
        let key =
            LicensingKey { public: hex::decode(words[0]).unwrap(), not_after: words[1].parse().unwrap() };
        Self { data, relay: "ab".repeat(32), pinned: LicensingKeys::of([key]), directory }
    }

    /// The command, with what all have in common.
    fn with<'a>(&'a self, action: &[&'a str]) -> Vec<&'a str> {
        [&["action"], action, &["--data", &self.data, "--relay", &self.relay]].concat()
    }

    fn ask(&self, action: &[&str]) -> Value {
        let by = ["--role", "support", "--reason", "support-case", "--actor", "Eve Example"];
        serde_json::from_str(&said(&self.with(&[action, &by].concat()))).unwrap()
    }

    fn refuses(&self, action: &[&str]) -> String {
        let by = ["--reason", "support_case", "--actor", "Eve Example"];
        let output = run(&self.with(&[action, &by].concat()));
        assert!(!output.status.success() && output.stdout.is_empty(), "{action:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn list(&self) -> Vec<Value> {
        said(&self.with(&["list"])).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Whether any file below holds it.
fn holds(directory: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return holds(&path, needle);
        }
        std::fs::read(path).unwrap().windows(needle.len()).any(|window| window == needle)
    })
}

#[test]
fn all_that_is_asked_is_listed_and_a_relay_takes_it() {
    let cli = Cli::new();
    let image = format!("sha256:{}", "cd".repeat(32));
    let notes = "ef".repeat(32);
    let support = cli.ask(&["support-key", "--hours", "2"]);
    let offer = ["offer", "--version", "1.2.3", "--digest", &image, "--sequence", "4", "--floor", "2"];
    let recalled = ["--recalled", &image, "--recalled", &image, "--notes-sha256", &notes];
    let made = [
        support.clone(),
        cli.ask(&[offer.as_slice(), &recalled].concat()),
        cli.ask(&["drain", "on", "--deadline-seconds", "600"]),
        cli.ask(&["drain", "off"]),
        cli.ask(&["other", "--kind", "trigger_backup"]),
    ];
    let (listed, mut chain, mut kinds) = (cli.list(), Chain::default(), Vec::new());
    for (made, listed) in made.iter().zip(&listed) {
        for field in ["id", "seq", "kind", "made", "sha256"] {
            assert_eq!(made[field], listed[field], "{field}");
        }
        let bytes = paramant_protocol::canonical::value_to_vec(&listed["request"]).unwrap();
        assert_eq!(hex::encode(sha256(&bytes)), listed["sha256"]);
        match judge(&bytes, &cli.relay, &chain, &cli.pinned, jiff::Timestamp::now()) {
            Judged::Admitted(request) | Judged::Refused { request, takes_place: true, .. } => {
                let asked = request.get();
                assert_eq!((asked.role, asked.why), (Role::Support, Why::SupportCase));
                kinds.push(asked.ask.kind().to_owned());
                chain.take(&request);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(kinds, ["support_key", "update_offer", "drain", "drain", "trigger_backup"]);
    assert_eq!((listed.len(), chain.seq()), (5, 5));
    assert_eq!(listed[1]["request"]["details"]["recalled"], json!([image, image]));
    assert_eq!(listed[2]["request"]["details"], json!({ "enabled": true, "deadline_seconds": 600 }));

    // The secret: printed once, hashed as the documentation says, kept nowhere.
    let secret = support["secret"].as_str().unwrap();
    let hash = hex::encode(sha256(format!("paramant/support/v1{}{secret}", cli.relay).as_bytes()));
    assert_eq!(
        (&support["key_sha256"], &listed[0]["request"]["details"]["key_sha256"]),
        (&json!(hash), &json!(hash))
    );
    assert_eq!(listed[0]["request"]["details"]["max_seconds"], json!(7200));
    let (digits, directory) = (secret.strip_prefix("psk_").unwrap(), cli.directory.path());
    assert!(holds(directory, hash.as_bytes()), "what is kept is found, so the search works");
    assert!(!holds(directory, digits.as_bytes()) && !holds(directory, &hex::decode(digits).unwrap()));
    assert!(!said(&["record", "--data", &cli.data]).contains(digits));

    // Who it was is in the book, and nowhere else until it is opened.
    assert!(!said(&cli.with(&["list"])).contains("Eve Example"));
    let id = support["id"].as_str().unwrap();
    let opened: Value = serde_json::from_str(&said(&cli.with(&["open", "--id", id]))).unwrap();
    let salt = hex::decode(opened["salt"].as_str().unwrap()).unwrap().try_into().unwrap();
    let commitment = actor::commit(&cli.relay, id, opened["actor"].as_str().unwrap(), &salt).unwrap();
    assert_eq!(opened["actor"], "Eve Example");
    assert_eq!(listed[0]["request"]["actor_commitment"], hex::encode(commitment));
}

#[test]
fn what_is_wrong_is_said_and_not_asked() {
    let cli = Cli::new();
    let digest = ["offer", "--version", "1", "--digest", "latest", "--sequence", "1", "--notes-sha256", "x"];
    let wrong: [(&[&str], &str); 8] = [
        (&["support-key", "--hours", "25"], "1..=24"),
        (&["support-key", "--max-seconds", "299"], "300..=86400"),
        (&["support-key", "--hours", "1", "--max-seconds", "300"], "cannot be used with"),
        (&["drain", "perhaps"], "on or off"),
        (&["drain", "on", "--expires-hours", "721"], "1..=720"),
        (&["drain", "on", "--role", "admin"], "unknown variant"),
        (&["other", "--kind", "drain"], "no relay could read this"),
        (&digest, "no relay could read this"),
    ];
    for (action, expected) in wrong {
        let error = cli.refuses(action);
        assert!(error.contains(expected), "{action:?}: {error}");
    }
    let error = run(&["action", "list", "--data", &cli.data, "--relay", "AB"]).stderr;
    assert!(String::from_utf8_lossy(&error).contains("64 hex digits"));
    assert!(cli.list().is_empty());
    assert!(!run(&cli.with(&["open", "--id", "00"])).status.success());
}

#[test]
fn processes_that_ask_at_once_make_one_chain_and_the_ninth_is_told_why_not() {
    let cli = Cli::new();
    let command = cli.with(&["drain", "on", "--reason", "maintenance", "--actor", "Eve"]);
    let children: Vec<_> = (0..8)
        .map(|_| {
            let mut command_line = Command::new(env!("CARGO_BIN_EXE_paramant-authority"));
            command_line.args(&command).stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    // Listing checks the chain.
    let seqs: Vec<u64> = cli.list().iter().map(|it| it["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=8).collect::<Vec<_>>());
    let error = cli.refuses(&["drain", "off"]);
    assert!(error.contains("within 24 hours") && error.contains("refuses all that follow"), "{error}");
    assert_eq!(cli.list().len(), 8);
}

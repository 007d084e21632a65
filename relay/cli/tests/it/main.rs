//! The command as a script sees it: exit codes, output, and no secret in either.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod actions;
#[path = "../../../server/tests/it/cutting_line.rs"]
#[allow(dead_code, reason = "the relay's own tests need more of it")]
mod cutting_line;
mod fake_relay;
mod large;
mod log;
#[path = "../../../client/tests/it/made_log.rs"]
#[allow(dead_code, reason = "the client's tests need more of it")]
mod made_log;
mod receive;
#[path = "../../../server/tests/it/relay.rs"]
#[allow(dead_code, reason = "the relay's own tests need more of it")]
mod relay;

use std::path::Path;

use assert_cmd::Command;
use paramant_protocol::discovery::Identity;
use paramant_protocol::leaf;
use paramant_protocol::receipt::{InclusionProof, Receipt};
use paramant_tlog::keys::{MlDsa65Key, Seed, Signer as _};

const KEY: &str = "pgp_5ec2e7c0de5ec2e7c0de5ec2e7c0de5e";
const HASH: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn paramant(home: &Path) -> Command {
    let mut command = Command::cargo_bin("paramant").unwrap();
    command.env_clear().env("HOME", home).env("PARAMANT_API_KEY", KEY);
    command
}

struct Said {
    code: i32,
    out: String,
    err: String,
}

/// Runs a command; nothing it says may hold the API key.
fn run(home: &Path, arguments: &[&str]) -> Said {
    let output = paramant(home).args(arguments).output().unwrap();
    let said = Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!leaks(&said), "{arguments:?} shows the API key");
    said
}

fn leaks(said: &Said) -> bool {
    let secret = KEY.strip_prefix("pgp_").unwrap();
    said.out.contains(secret) || said.err.contains(secret)
}

/// A receipt for the blob with this hash, and the identity that signed it.
fn signed_receipt(hash: &[u8; 32]) -> (String, Identity) {
    let key = MlDsa65Key::from_seed("relay", &Seed::new([7; 32])).unwrap();
    let ts = "2026-01-02T03:04:05.678Z";
    let leaf = leaf::transfer_leaf(hash, "relay", ts);
    let root = leaf::node(&[1; 32], &leaf);
    let receipt = Receipt {
        blob_hash: hex::encode(hash),
        ts: ts.into(),
        retrieved_at: 1_767_323_050_000,
        sector: "relay".into(),
        relay_id: "https://relay.example".into(),
        tree_size_at_retrieval: 2,
        inclusion_proof: InclusionProof::new(&leaf, 1, 2, &[[1; 32]], &root, None).unwrap(),
        burn_confirmed: true,
        claim: None,
        signature: None,
    };
    let signature = key.sign_document(&receipt.sign_bytes().unwrap()).unwrap();
    let receipt = serde_json::to_string(&receipt.signed(&signature)).unwrap();
    (receipt, Identity::of(key.verifier().public_key()))
}

/// The same as files.
fn receipt(directory: &Path) -> (String, String) {
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (receipt, identity) = signed_receipt(&[0xaa; 32]);
    (write("receipt.json", receipt), write("identity.json", serde_json::to_string(&identity).unwrap()))
}

#[test]
fn the_search_for_leaks_finds_a_planted_one() {
    assert!(leaks(&Said { code: 0, out: String::new(), err: format!("error: {KEY}") }));
    assert!(leaks(&Said { code: 0, out: format!("{{\"key\":\"{KEY}\"}}"), err: String::new() }));
}

#[test]
fn help_lists_the_exit_codes_and_every_shell_has_completions() {
    let home = tempfile::tempdir().unwrap();
    let help = run(home.path(), &["--help"]);
    assert!(help.code == 0 && help.out.contains("Exit codes:") && help.out.contains("the blob is gone"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(home.path(), &["completions", shell]);
        assert!(script.code == 0 && script.out.contains("paramant"), "{shell}");
    }
}

#[test]
fn wrong_calls_exit_with_2_and_say_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let large = home.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(5 << 20).unwrap();
    let large = large.to_str().unwrap();
    let relay = ["--relay", "http://127.0.0.1:1", "--device", "d"];
    let cases: [(Vec<&str>, &str); 7] = [
        (vec![], "Usage"),
        (vec!["receive", "abc", "--out", "x"], "64 lower-case hex"),
        (vec!["send", large], "--relay <URL>"),
        ([&["send", large, "--pad", "5M"][..], &relay].concat(), "choose --pad 8M"),
        ([&["send", large, "--pad", "6M"][..], &relay].concat(), "4K, 64K, 512K, 5M or 8M"),
        ([&["receive", HASH, "--out", "x"][..], &relay].concat(), "paramant register"),
        (vec!["status", HASH, "--relay", "http://relay.example"], "https://"),
    ];
    for (arguments, expected) in cases {
        let said = run(home.path(), &arguments);
        let text = said.out + &said.err;
        assert!(said.code == 2 && text.contains(expected), "{arguments:?}: {} {text}", said.code);
    }
}

#[test]
fn a_relay_that_cannot_be_reached_exits_with_3() {
    let home = tempfile::tempdir().unwrap();
    let said = run(home.path(), &["--json", "status", HASH, "--relay", "http://127.0.0.1:1"]);
    assert_eq!((said.code, said.out.as_str()), (3, ""));
    let error: serde_json::Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!((&error["ok"], &error["exit"]), (&false.into(), &3.into()));
    let said = run(home.path(), &["audit", "http://127.0.0.1:1"]);
    assert_eq!((said.code, said.err.matches("Connection refused").count()), (3, 1), "{}", said.err);
}

#[test]
fn a_reader_that_has_gone_changes_nothing_about_the_result() {
    let home = tempfile::tempdir().unwrap();
    let (receipt, identity) = receipt(home.path());
    for arguments in
        [&["verify", &receipt, "--identity", &identity][..], &["completions", "bash"], &["--help"]]
    {
        let closed = || {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            writer
        };
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("paramant"));
        command.args(arguments).env("HOME", home.path()).stdout(closed()).stderr(closed());
        assert_eq!(command.status().unwrap().code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn a_local_file_that_cannot_be_read_exits_with_6() {
    let home = tempfile::tempdir().unwrap();
    let arguments = ["status", HASH, "--relay", "http://127.0.0.1:1", "--key-file", "/nonexistent/key"];
    let said = run(home.path(), &arguments);
    assert!(said.code == 6 && said.err.contains("/nonexistent/key"), "{}", said.err);
    let said = run(home.path(), &["audit", "http://127.0.0.1:1", "--state", "nowhere/relay.state"]);
    assert!(said.code == 6 && said.err.contains("no directory nowhere"), "{}", said.err);
    let said = run(home.path(), &["audit", "relay.example"]);
    assert!(said.code == 6 && said.err.contains("address of a relay begins with https://"), "{}", said.err);
}

#[test]
fn a_receipt_is_verified_offline_and_any_change_exits_with_1() {
    let home = tempfile::tempdir().unwrap();
    let (receipt, identity) = receipt(home.path());
    let verify = |receipt: &str| run(home.path(), &["verify", receipt, "--identity", &identity]);
    let said = verify(&receipt);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("leaf 1 of the 2") && said.err.contains("--relay checks it"), "{}", said.out);

    let text = std::fs::read_to_string(&receipt).unwrap();
    let changed = home.path().join("changed.json").display().to_string();
    for (from, to, reason) in [
        ("\"burn_confirmed\":true", "\"burn_confirmed\":false", "signature_invalid"),
        ("05.678Z", "05.679Z", "signature_invalid"),
        ("\"signature\":\"", "\"signed\":\"", "no_signature"),
        ("{", "", "neither JSON nor base64"),
    ] {
        std::fs::write(&changed, text.replacen(from, to, 1)).unwrap();
        let said = verify(&changed);
        assert!(said.code == 1 && said.err.contains(reason), "{reason}: {} {}", said.code, said.err);
    }
    let said = run(home.path(), &["verify", &receipt]);
    assert!(said.code == 2 && said.err.contains("--identity"), "{}", said.err);
    let said = run(home.path(), &["verify", &receipt, "--identity", &receipt]);
    assert!(said.code == 2 && said.err.contains("no relay identity"), "{}", said.err);
}

//! Logs as a script sees them: audits of copies, single entries, offline proofs.

use std::fs;
use std::path::Path;

use paramant_protocol::entry::Body;
use paramant_protocol::entry::body::{AdminChange, AdminChanged};
use paramant_tlog::Tree;
use paramant_tlog::policy::{Log, Policy};
use paramant_tlog::tlog_proof::TlogProof;

use crate::fake_relay::{FakeRelay, Served};
use crate::made_log::{AT, MadeLog, cosign};
use crate::run;

struct Bench {
    home: tempfile::TempDir,
    made: MadeLog,
    copy: tempfile::TempDir,
}

/// A log of 303 entries: the relay's start, transfers, two changes by the admin.
fn bench() -> Bench {
    let mut made = MadeLog::new();
    made.transfers(300, "").head();
    for _ in 0..2 {
        made.body(Body::AdminChanged(AdminChanged { what: AdminChange::Token }));
    }
    made.head().anchor();
    let copy = made.copy();
    Bench { home: tempfile::tempdir().unwrap(), made, copy }
}

impl Bench {
    fn run(&self, arguments: &[&str]) -> crate::Said {
        run(self.home.path(), arguments)
    }

    fn copy(&self) -> &str {
        self.copy.path().to_str().unwrap()
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.home.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn vkey(&self, number: usize) -> String {
        self.made.keys.verifiers()[number].to_string()
    }

    fn proof(&self, index: u64) -> String {
        let published = self.made.log.published().unwrap();
        let path = self.made.log.inclusion(Tree::Sha256, index, published.head.size).unwrap();
        let extra = Some(self.made.log.entry(index).unwrap().unwrap().bytes);
        TlogProof { extra, index, path, checkpoint: published.note.clone() }.to_text()
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_copy_is_audited_and_remembered_and_damage_exits_with_1() {
    let bench = bench();
    let state = bench.home.path().join("state").display().to_string();
    let said = bench.run(&["audit", bench.copy(), "--state", &state]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(said.out.contains("ok    anchors") && said.out.contains("--    witnesses"), "{}", said.out);
    assert!(said.out.trim_end().lines().last().unwrap().contains("holds: 304 entries"), "{}", said.out);

    let said = bench.run(&[
        "--json",
        "audit",
        bench.copy(),
        "--state",
        &state,
        "--vkey",
        &bench.vkey(1),
        "--require-pq",
    ]);
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (said.code, &report["ok"], &report["timing"]["entries"]),
        (0, &true.into(), &48.into()),
        "{}",
        said.out
    );

    let remembered = fs::read(&state).unwrap();
    flip(&bench.copy.path().join("tile/entries/001.p/48"), 70);
    let said = bench.run(&["audit", bench.copy(), "--state", &state]);
    assert!(said.code == 1 && said.out.contains("FAIL"), "{} {}", said.code, said.out);
    assert_eq!(fs::read(&state).unwrap(), remembered, "what was found must not be remembered");
}

#[test]
fn what_cannot_be_audited_is_told_apart_from_what_does_not_hold() {
    let bench = bench();
    let zip = bench.file("no.zip", "this is no zip");
    for (arguments, code, expected) in [
        (&["audit", "/nonexistent/log"][..], 6, "/nonexistent/log"),
        (&["audit", &zip], 6, "no zip"),
        (&["audit", &zip, bench.copy()], 6, "zips only"),
        (&["audit", "http://127.0.0.1:1", bench.copy()], 2, "not both"),
        (&["audit"], 2, "URL|DIR|ZIP"),
        (&["audit", bench.copy(), "--policy", &zip], 2, "policy"),
        (&["audit", bench.copy(), "--max-witness-age", "1h"], 2, "--policy"),
        (&["audit", bench.copy(), "--state", &zip], 2, "state"),
    ] {
        let said = bench.run(arguments);
        assert!(
            said.code == code && said.err.contains(expected),
            "{arguments:?}: {} {}",
            said.code,
            said.err
        );
    }
}

#[test]
fn a_policy_decides_about_witnesses() {
    let bench = bench();
    let policy = bench.file("policy", &bench.made.policy().to_text());
    let audit = ["audit", bench.copy(), "--policy", &policy];
    let said = bench.run(&audit);
    assert!(said.code == 1 && said.err.contains("0 of 3 witnesses"), "{} {}", said.code, said.err);
    cosign(bench.copy.path(), &[0, 2], AT);
    let said = bench.run(&audit);
    assert!(
        said.code == 0 && said.out.contains("w0 at 2026-01-02T03:04:05.000Z, w2 at"),
        "{} {}",
        said.code,
        said.out
    );
    let said = bench.run(&[&audit[..], &["--max-witness-age", "1h"]].concat());
    assert!(said.code == 1 && said.err.contains("older than 3600 s"), "{} {}", said.code, said.err);
}

#[test]
fn an_offline_proof_is_believed_by_a_key_or_a_policy() {
    let bench = bench();
    let proof = bench.file("entry.tlog-proof", &bench.proof(7));
    let said = bench.run(&["verify", &proof]);
    assert!(said.code == 2 && said.err.contains("--vkey") && said.err.contains("--policy"), "{}", said.err);
    let said = bench.run(&["verify", &proof, "--vkey", &bench.vkey(0)]);
    assert!(
        said.code == 0 && said.out.contains("entry 7 lies under it: a transfer"),
        "{} {}",
        said.out,
        said.err
    );
    let stranger = MadeLog::with_seed(40).keys.verifiers()[0].to_string();
    assert_eq!(bench.run(&["verify", &proof, "--vkey", &stranger]).code, 1);

    let witnessed = bench.file("witnessed", &bench.made.policy().to_text());
    let said = bench.run(&["verify", &proof, "--policy", &witnessed]);
    assert!(said.code == 1 && said.err.contains("no quorum"), "{} {}", said.code, said.err);
    let log = Log { key: bench.made.keys.verifiers()[0].clone(), url: None };
    let alone = bench.file("alone", &Policy::threshold([log], [], 0).unwrap().to_text());
    let said = bench.run(&["--json", "verify", &proof, "--policy", &alone]);
    let value: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &value["index"], &value["entry"]["k"]), (0, &7.into(), &"transfer".into()));

    let text = bench.proof(7);
    for (from, to) in [("index 7", "index 8"), ("extra ey", "extra eY"), ("\n304\n", "\n305\n")] {
        let bad = bench.file("bad.tlog-proof", &text.replacen(from, to, 1));
        assert_eq!(bench.run(&["verify", &bad, "--vkey", &bench.vkey(0)]).code, 1, "{from}");
    }
}

#[test]
fn entries_are_shown_and_proven() {
    let bench = bench();
    fs::create_dir(bench.copy.path().join("proof")).unwrap();
    fs::write(bench.copy.path().join("proof/7"), bench.proof(7)).unwrap();
    let log = Some(bench.copy.path().to_owned());
    let relay = FakeRelay::start(Served { log, ..Served::default() });
    let at = |command: &[&str]| -> Vec<String> {
        [&["log"][..], command, &["--relay", &relay.url]].concat().into_iter().map(str::to_owned).collect()
    };
    let run = |command: &[&str]| {
        let arguments = at(command);
        bench.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };

    let said = run(&["tail", "-n", "3"]);
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(said.code == 0 && lines.len() == 3, "{}{}", said.out, said.err);
    assert!(lines[0].contains("301") && lines[0].contains("admin_changed"), "{}", lines[0]);
    assert!(
        lines[2].contains("303") && lines[2].contains("sth_anchor") && lines[2].contains("\"count\":2"),
        "{}",
        lines[2]
    );
    let said = run(&["tail", "--kind", "relay_started"]);
    assert!(
        said.code == 0 && said.out.lines().count() == 1 && said.out.trim().starts_with("0 "),
        "{}",
        said.out
    );
    let said = run(&["tail", "--since", "2026-01-02T03:59:59Z"]);
    assert_eq!((said.code, said.out.lines().count()), (0, 304), "{}", said.err);
    let said = run(&["tail", "--since", "2026-01-02T05:00:00Z"]);
    assert!(said.out.is_empty() && said.err.contains("no such entry"), "{}", said.err);
    let said = run(&["tail", "--kind", "nonsense"]);
    assert!(said.code == 2 && said.err.contains("relay_started"), "{}", said.err);

    let said = run(&["get", "7"]);
    assert!(
        said.code == 0 && said.out.starts_with("{\"k\":\"transfer\"") && said.err.contains("304 entries"),
        "{}{}",
        said.out,
        said.err
    );
    let proof = bench.home.path().join("p.tlog-proof").display().to_string();
    let said = run(&["proof", "7", "--out", &proof]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(fs::read_to_string(&proof).unwrap(), bench.proof(7));
    let said = run(&["proof", "7", "--out", &proof]);
    assert!(said.code == 2 && said.err.contains("--force"), "{}", said.err);
    assert_eq!(run(&["proof", "7", "--out", &proof, "--force"]).code, 0);

    // The keys were remembered at the first command: another log in its place is not believed, and no proof is written.
    let other = MadeLog::with_seed(40);
    other.copy_to(bench.copy.path());
    fs::write(bench.copy.path().join("proof/7"), bench.proof(7).replace("index 7", "index 6")).unwrap();
    let missing = bench.home.path().join("missing.tlog-proof").display().to_string();
    assert_eq!(run(&["proof", "7", "--out", &missing]).code, 1);
    assert!(!Path::new(&missing).exists());
    assert_eq!(run(&["tail"]).code, 1);
}

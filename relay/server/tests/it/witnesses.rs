//! Witnesses from outside: honest ones are heard, hostile ones cost nothing but their own signature, an idle log asks nobody.

use std::sync::Arc;
use std::time::Duration;

use paramant_protocol::control::{Directives, WitnessState};
use paramant_relay::witnesses::WitnessVerdict;
use paramant_tlog::note::Note;
use paramant_tlog::policy::{Policy, Verdict};
use paramant_tlog::tlog_proof::TlogProof;
use paramant_tlog::{Checkpoint, Tree, entry_leaf, verify};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::control::{directives, spec};
use crate::relay::{Relay, noise, until};
use crate::witness::{FakeWitness, Manner, settings, witnessed_by};

async fn text(relay: &Relay, path: &str) -> Option<String> {
    let answer = relay.http.get(format!("{}{path}", relay.url)).send().await.unwrap();
    match answer.status() {
        StatusCode::OK => Some(answer.text().await.unwrap()),
        StatusCode::NOT_FOUND => {
            assert_eq!(answer.headers()["cache-control"], "no-store", "{path}");
            None
        }
        other => panic!("{path} answered {other}"),
    }
}

/// What a reader who pinned the policy makes of a checkpoint.
async fn judged(relay: &Relay, path: &str) -> Option<Verdict> {
    let policy = text(relay, "/log/policy").await.unwrap();
    let policy = Policy::parse(policy.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{policy}"));
    let note = Note::parse(text(relay, path).await?.as_bytes()).unwrap();
    Some(policy.judge(&note).unwrap())
}

async fn witnessed_at_least(relay: &Relay, size: u64) {
    until("a quorum cosigned", async || {
        let verdict = judged(relay, "/log/checkpoint.witnessed").await;
        verdict.is_some_and(|verdict| verdict.quorum && verdict.checkpoint.size >= size)
    })
    .await;
}

async fn upload(relay: &Relay, seed: u64) -> u64 {
    let sent = relay.user().await.upload(&noise(seed, 300), json!({})).await;
    assert_eq!(sent.status(), StatusCode::OK);
    relay.running.app.core.log.head().size
}

fn verdict(relay: &Relay, witness: &FakeWitness) -> Option<WitnessVerdict> {
    relay.running.app.core.witnesses.verdicts().borrow().get(&witness.member().name).cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_cosigns_what_the_log_says_and_a_reader_with_the_policy_accepts_it() {
    let (one, two, away) =
        (FakeWitness::start(1).await, FakeWitness::start(2).await, FakeWitness::start(3).await);
    away.behave(Manner::Status(503));
    let relay = Relay::with(witnessed_by(2, &[&one, &two, &away])).await;
    witnessed_at_least(&relay, 1).await;
    let size = upload(&relay, 1).await;
    witnessed_at_least(&relay, size).await;
    let newest = judged(&relay, "/log/checkpoint").await.unwrap();
    assert_eq!(newest.cosigned.len(), 2, "the newest checkpoint shows its lines too");
    let shown = text(&relay, "/log/checkpoint").await.unwrap();
    let proof = text(&relay, "/log/proof/0").await.unwrap();
    assert_eq!(TlogProof::parse(&proof).unwrap().checkpoint, shown, "a proof carries the witnesses' lines");
    let page = text(&relay, "/ct").await.unwrap();
    let told = format!(
        "At least 2 of 3 <a href=\"/log/policy\">witnesses</a> have cosigned its first {size} entries"
    );
    assert!(page.contains(&told) && !page.contains("No witness"), "{page}");

    let report = relay.running.app.core.witnesses.report().unwrap();
    assert!(report.reached && report.size >= Some(size) && report.at.is_some(), "{report:?}");
    let states: Vec<_> = report.members.iter().map(|member| member.state).collect();
    assert_eq!(states, [WitnessState::Cosigning, WitnessState::Cosigning, WitnessState::Busy]);

    away.behave(Manner::Good);
    until("the third came back", async || {
        judged(&relay, "/log/checkpoint.witnessed").await.unwrap().cosigned.len() == 3
    })
    .await;
    let metrics = format!("http://{}/metrics", relay.running.addresses.probes);
    let metrics = relay.http.get(metrics).send().await.unwrap().text().await.unwrap();
    for series in [
        "paramant_witness_lag_entries{witness=\"witness.example-1\"} 0",
        "paramant_witness_pushes_total{outcome=\"later\",witness=\"witness.example-3\"}",
        &format!("paramant_log_witnessed_entries {}", newest.checkpoint.size),
    ] {
        assert!(metrics.contains(series), "{series}\n{metrics}");
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_leads_to_what_witnesses_saw_as_far_as_that_reaches() {
    let (one, two) = (FakeWitness::start(1).await, FakeWitness::start(2).await);
    let relay = Relay::with(witnessed_by(2, &[&one, &two])).await;
    let size = upload(&relay, 1).await;
    witnessed_at_least(&relay, size).await;
    // The log goes on while they are away: what they cosigned is what proofs lead to, as far as it reaches.
    for witness in [&one, &two] {
        witness.behave(Manner::Status(503));
    }
    let grown = upload(&relay, 2).await;
    until("the log went on", async || {
        judged(&relay, "/log/checkpoint").await.unwrap().checkpoint.size >= grown
    })
    .await;
    let proven = async |index: u64| {
        let proof = TlogProof::parse(&text(&relay, &format!("/log/proof/{index}")).await.unwrap()).unwrap();
        let note = Note::parse(proof.checkpoint.as_bytes()).unwrap();
        let checkpoint = Checkpoint::parse(&note.text).unwrap();
        let leaf = entry_leaf(&proof.extra.unwrap());
        verify::inclusion(Tree::Sha256, &leaf, index, checkpoint.size, &proof.path, &checkpoint.root)
            .unwrap();
        (checkpoint.size, note.signatures.len())
    };
    let (witnessed, lines) = proven(0).await;
    assert!(witnessed < grown && lines == 5, "{witnessed} {lines}");
    assert_eq!(proven(grown - 1).await, (grown, 3));
    // Keys that a reader learns now have not signed that checkpoint.
    let rotate = relay.admin(Method::POST, "/v2/admin/log/rotate").send().await.unwrap();
    assert_eq!(rotate.status(), StatusCode::OK);
    until("both pairs sign", async || proven(0).await.1 == 5 && proven(0).await.0 > grown).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_hostile_answer_is_named_and_delays_nobody_else() {
    let good = FakeWitness::start(1).await;
    let hostile = [
        Manner::Giant,
        Manner::Garbage,
        Manner::WrongKey,
        Manner::OtherText,
        Manner::Status(302),
        Manner::Silent,
    ];
    let mut others = Vec::new();
    for (number, manner) in (2..).zip(hostile) {
        let other = FakeWitness::start(number).await;
        other.behave(manner);
        others.push(other);
    }
    let mut all = vec![&good];
    all.extend(&others);
    let relay = Relay::with(witnessed_by(1, &all)).await;
    witnessed_at_least(&relay, 1).await;
    assert!(verdict(&relay, others.last().unwrap()).is_none(), "nobody waits for the silent one");
    for other in others.iter().take(5) {
        until("the answer was judged", async || verdict(&relay, other).is_some()).await;
        let verdict = verdict(&relay, other);
        assert!(matches!(&verdict, Some(WitnessVerdict::Misbehaved(_))), "{verdict:?}");
    }
    let silent = others.last().unwrap();
    until("patience ended", async || verdict(&relay, silent).is_some()).await;
    assert!(matches!(verdict(&relay, silent), Some(WitnessVerdict::Unreachable(_))));
    let verdict = judged(&relay, "/log/checkpoint.witnessed").await.unwrap();
    assert_eq!(verdict.cosigned.len(), 1, "no false line is ever shown");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_in_words_that_help() {
    let (stranger, other, forked) =
        (FakeWitness::start(1).await, FakeWitness::start(2).await, FakeWitness::start(3).await);
    stranger.behave(Manner::Status(404));
    other.behave(Manner::Status(403));
    forked.has_seen(Some(Checkpoint::new("x", 1, [9; 32])));
    let relay = Relay::with(witnessed_by(1, &[&stranger, &other, &forked])).await;
    for (witness, state, says) in [
        (&stranger, WitnessState::UnknownLog, "add the origin"),
        (&other, WitnessState::Untrusted, "other keys"),
        (&forked, WitnessState::Inconsistent, "no beginning of this log"),
    ] {
        let member = async || {
            let report = relay.running.app.core.witnesses.report().unwrap();
            report.members.into_iter().find(|member| member.name == witness.member().name).unwrap()
        };
        until("it was judged", async || member().await.state == state).await;
        assert!(member().await.message.unwrap().contains(says));
    }
    assert_eq!(text(&relay, "/log/checkpoint.witnessed").await, None);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_log_asks_nobody_and_sums_up_without_asking_again() {
    let witness = FakeWitness::start(1).await;
    let relay = Relay::with(witnessed_by(1, &[&witness])).await;
    witnessed_at_least(&relay, 1).await;
    let before = witness.asked().len();
    let size = upload(&relay, 1).await;
    witnessed_at_least(&relay, size).await;
    assert!(witness.asked().len() > before, "an upload is pushed, so a push would be seen");

    tokio::time::sleep(Duration::from_secs(2)).await;
    let quiet = witness.asked().len();
    relay.running.app.core.witnesses.settle_calls().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(witness.asked().len(), quiet, "neither time nor a summary is a reason to ask");
    let page: Value =
        relay.http.get(format!("{}/v2/ct", relay.url)).send().await.unwrap().json().await.unwrap();
    let entries = page["entries"].as_array().unwrap();
    let summaries = entries.iter().filter(|entry| entry["type"] == "outbound_call").count();
    assert_eq!(summaries, 1, "{entries:?}");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_each_witness_is_asked_from_where_it_was() {
    let witness = FakeWitness::start(1).await;
    let relay = Relay::with(witnessed_by(1, &[&witness])).await;
    let size = upload(&relay, 1).await;
    witnessed_at_least(&relay, size).await;
    let (kept, asked) = (witness.size(), witness.asked().len());
    let shown = text(&relay, "/log/checkpoint.witnessed").await;
    witness.behave(Manner::Status(503));
    let relay = Relay::over(relay.stop().await, witnessed_by(1, &[&witness])).await;
    assert_eq!(text(&relay, "/log/checkpoint.witnessed").await, shown, "a cosignature outlives the process");
    until("it is asked again", async || witness.asked().len() > asked).await;
    assert_eq!(witness.asked().get(asked).unwrap().old, kept);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_forgot_or_knows_more_is_believed_as_far_as_the_log_reaches() {
    let witness = FakeWitness::start(1).await;
    let relay = Relay::with(witnessed_by(1, &[&witness])).await;
    let size = upload(&relay, 1).await;
    witnessed_at_least(&relay, size).await;
    witness.has_seen(None);
    let size = upload(&relay, 2).await;
    witnessed_at_least(&relay, size).await;
    let asked = witness.asked();
    assert_eq!(asked.last().unwrap().old, 0, "{asked:?}");
    // It knows more than we remember: as if an answer had been lost.
    let log = relay.running.app.core.log.clone();
    let size = upload(&relay, 3).await;
    witness.has_seen(Some(Checkpoint::new("x", size, log.engine().root(Tree::Sha256, size).unwrap())));
    let size = upload(&relay, 4).await;
    witnessed_at_least(&relay, size).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_saw_more_than_there_is_speaks_of_a_rollback() {
    let witness = FakeWitness::start(1).await;
    witness.behave(Manner::Size(1_000_000));
    let relay = Relay::with(witnessed_by(1, &[&witness])).await;
    let mut verdicts = relay.running.app.core.witnesses.verdicts();
    let ahead = WitnessVerdict::Ahead { size: 1_000_000 };
    let heard = verdicts.wait_for(|all| all.values().any(|verdict| *verdict == ahead));
    tokio::time::timeout(Duration::from_secs(10), heard).await.unwrap().unwrap();
    let report = relay.running.app.core.witnesses.report().unwrap();
    assert_eq!(report.members.first().unwrap().state, WitnessState::Ahead);
    let asked = witness.asked().len();
    until("it is asked again, for it may have been wrong", async || witness.asked().len() > asked).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_witnesses_the_policy_says_what_that_means() {
    let relay = Relay::start().await;
    let policy = text(&relay, "/log/policy").await.unwrap();
    assert!(policy.starts_with("# No witness") && policy.contains("two different logs"), "{policy}");
    assert!(policy.ends_with("quorum none\n"), "{policy}");
    assert!(judged(&relay, "/log/checkpoint").await.unwrap().quorum);
    assert_eq!(text(&relay, "/log/checkpoint.witnessed").await, None);
    assert_eq!(relay.running.app.core.witnesses.report(), None);
    assert!(text(&relay, "/ct").await.unwrap().contains("No witness cosigns this log"));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_to_the_authority_that_was_named_and_to_no_other() {
    let (known, unknown) = (FakeWitness::start_tls(1).await, FakeWitness::start_tls(2).await);
    let mut wanted = settings(1, &[&known, &unknown]);
    wanted.ca_bundle.clone_from(&known.ca_pem);
    let relay = Relay::with(move |settings| settings.witnesses = Some(Arc::new(wanted))).await;
    witnessed_at_least(&relay, 1).await;
    until("the other was tried", async || verdict(&relay, &unknown).is_some()).await;
    let refused = verdict(&relay, &unknown).and_then(|verdict| verdict.sentence()).unwrap();
    assert!(refused.contains("TLS handshake"), "{refused}");
    assert!(unknown.asked().is_empty());
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_checkpoint_of_a_log_that_is_closed_is_cosigned_too() {
    let witness = FakeWitness::start(1).await;
    let relay = Relay::with(witnessed_by(1, &[&witness])).await;
    witnessed_at_least(&relay, 1).await;
    let core = relay.running.app.core.clone();
    let deleting = Directives { deleting: true, ..directives(1, spec(false)) };
    core.directives.take(deleting, |_| Ok(())).unwrap();
    let before = core.log.head().size;
    relay.stop().await;
    assert!(core.log.head().size > before);
    assert_eq!(witness.size(), core.log.head().size, "log_closed, and nothing after it");
}

mod litewitness {
    //! A witness written elsewhere, unchanged, judges the client. Runs when `PARAMANT_JUDGES` names the directory with
    //! `litewitness` and `witness` (or `judge-witness`); fails loudly when it is set and they are missing.

    use std::io::{BufRead as _, BufReader};
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};

    use paramant_relay::process::{Options, Running};
    use paramant_relay::settings::{Reach, SettingsHandle, WitnessMember, WitnessSettings};
    use tempfile::TempDir;

    use super::*;

    struct Lite {
        child: Child,
        member: WitnessMember,
    }

    impl Drop for Lite {
        fn drop(&mut self) {
            // Its standard input ends with this, and with that litewitness; the wait leaves no zombie.
            drop(self.child.stdin.take());
            let _ = self.child.wait();
        }
    }

    impl Lite {
        fn start(judges: &Path, dir: &Path, number: u8, port: u16, log: &[String]) -> Self {
            let prefixed = judges.join("judge-witness");
            let program = if prefixed.exists() { prefixed } else { judges.join("witness") };
            let name = format!("lite.example/{number}");
            let address = format!("127.0.0.1:{port}");
            let mut command = Command::new(program);
            command.arg("-litewitness").arg(judges.join("litewitness")).arg("-dir").arg(dir.join(&name));
            command.args(["-name", &name, "-listen", &address, "-origin", &log[0]]);
            log[1..].iter().for_each(|vkey| {
                command.args(["-vkey", vkey]);
            });
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
            let vkey = lines.next().and_then(|line| line.strip_prefix("vkey ").map(str::to_owned)).unwrap();
            assert_eq!(lines.next().as_deref(), Some("ready"));
            let url = format!("http://{address}").parse().unwrap();
            let member = WitnessMember { name: format!("lite-{number}"), key: vkey.parse().unwrap(), url };
            Self { child, member }
        }
    }

    fn free_port() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn two_of_them_make_a_quorum_one_is_stopped_and_comes_back() {
        let Some(judges) = std::env::var_os("PARAMANT_JUDGES").map(PathBuf::from) else {
            eprintln!("PARAMANT_JUDGES is not set: litewitness was not asked");
            return;
        };
        assert!(judges.join("litewitness").is_file(), "PARAMANT_JUDGES is set, but litewitness is not in it");
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = TempDir::new().unwrap();
        let (sender, handle) = SettingsHandle::changing(crate::relay::settings(dir.path()));
        let options = Options {
            data: dir.path().join("data"),
            settings: handle,
            public_tls: None,
            world: Default::default(),
        };
        let running = Running::start(options).await.unwrap();
        let url = format!("http://{}", running.addresses.public);
        let relay = Relay { running, url, http: reqwest::Client::new(), dir };

        // The log exists, so its keys are known; now the witnesses are told of it, and then the relay of them.
        let core = &relay.running.app.core;
        let ed25519 = core.log.verifiers().first().unwrap().to_string();
        let log = vec![core.log.origin().to_owned(), ed25519];
        let ports = [free_port(), free_port()];
        let start = |number: usize| {
            Lite::start(&judges, relay.dir.path(), u8::try_from(number).unwrap(), ports[number], &log)
        };
        let (one, two) = (start(0), start(1));
        let wanted = WitnessSettings {
            quorum: 2,
            members: vec![one.member.clone(), two.member.clone()],
            ca_bundle: None,
            every: Duration::from_millis(300),
            reach: Reach::Direct,
        };
        let mut settings = crate::relay::settings(relay.dir.path());
        settings.witnesses = Some(Arc::new(wanted));
        sender.send_replace(Arc::new(settings));
        let size = upload(&relay, 1).await;
        witnessed_at_least(&relay, size).await;

        drop(two);
        let size = upload(&relay, 2).await;
        until("the first goes on alone", async || {
            let shown = judged(&relay, "/log/checkpoint").await.unwrap();
            shown.checkpoint.size >= size && shown.cosigned.len() == 1
        })
        .await;
        let last = judged(&relay, "/log/checkpoint.witnessed").await.unwrap();
        assert!(last.quorum && last.checkpoint.size < size, "the last quorum stays on show");
        let two = start(1);
        witnessed_at_least(&relay, size).await;

        // A conflict: the relay forgets what the witnesses know.
        let dir = relay.stop().await;
        std::fs::remove_file(dir.path().join("data/witnesses.json")).unwrap();
        let wanted = WitnessSettings {
            quorum: 2,
            members: vec![one.member.clone(), two.member.clone()],
            ca_bundle: None,
            every: Duration::from_millis(300),
            reach: Reach::Direct,
        };
        let relay = Relay::over(dir, move |settings| settings.witnesses = Some(Arc::new(wanted))).await;
        let size = upload(&relay, 3).await;
        witnessed_at_least(&relay, size).await;
        drop((one, two));
        relay.stop().await;
    }
}

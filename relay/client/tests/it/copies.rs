//! Audits of copies: directories and zips, rotations, witnesses, and what a second run makes of the state of the first.

use std::path::{Path, PathBuf};
use std::time::Duration;

use paramant_client::archive;
use paramant_client::audit::{Baggage, Copy, Remembered, Report, audit};
use paramant_client::relay::Progress;
use paramant_client::{Category, ClientError};
use paramant_licensing::online::keys::LicensingKey;
use paramant_protocol::entry::Body;
use paramant_protocol::entry::body::{CloseCause, Document, LogClosed, Role, VendorRequest};
use paramant_tlog::Checkpoint;
use paramant_tlog::keys::{Ed25519Key, MlDsa65Key, Signer as _};
use paramant_tlog::note::Note;
use paramant_tlog::vkey::VerifierKey;

use crate::made_log::{AT, MadeLog, ORIGIN, cosign, seed};

pub(crate) async fn try_audit(
    paths: &[PathBuf],
    baggage: &Baggage,
) -> Result<(Report, Option<Remembered>), ClientError> {
    audit(&Copy::open(paths)?, baggage, &Progress::silent()).await
}

pub(crate) async fn audited(path: &Path, baggage: &Baggage) -> (Report, Option<Remembered>) {
    try_audit(&[path.to_owned()], baggage).await.unwrap()
}

#[track_caller]
pub(crate) fn holds(report: &Report) {
    assert!(report.holds(), "{report:#?}");
}

#[track_caller]
fn refused(report: &Report, name: &str, evidence: &str) {
    let failure = report.failure().unwrap_or_else(|| panic!("nothing was found: {report:#?}"));
    assert!(failure.name == name && failure.evidence.contains(evidence), "{failure:#?}");
}

/// A small log with everything in it: two anchors, heads between and after them.
pub(crate) fn busy() -> MadeLog {
    let mut made = MadeLog::new();
    made.transfers(300, "")
        .head()
        .transfers(40, "")
        .head()
        .anchor()
        .head()
        .transfers(700, "")
        .head()
        .anchor();
    made
}

#[tokio::test]
async fn a_copy_on_disk_holds_without_any_network() {
    let made = busy();
    let copy = made.copy();
    let (report, remembered) = audited(copy.path(), &Baggage::default()).await;
    holds(&report);
    assert_eq!(report.head.unwrap().size, made.log.head().size);
    assert_eq!(remembered.unwrap().heads(), 4);
    let evidence =
        |name: &str| report.checks.iter().find(|check| check.name == name).unwrap().evidence.clone();
    for name in ["json log", "sha3 root", "proofs"] {
        let check = report.checks.iter().find(|check| check.name == name).unwrap();
        assert!(!check.checked && check.evidence.contains("no JSON interface"), "{check:?}");
    }
    assert!(evidence("anchors").starts_with("2 anchors in line"), "{}", evidence("anchors"));
    assert!(
        evidence("tree heads").starts_with("signatures and roots of 4 tree heads"),
        "{}",
        evidence("tree heads")
    );
}

#[tokio::test]
async fn an_empty_directory_and_a_directory_without_keys_are_told_apart_from_a_bad_log() {
    let empty = tempfile::tempdir().unwrap();
    let error = try_audit(&[empty.path().to_owned()], &Baggage::default()).await.unwrap_err();
    assert_eq!(error.category(), Category::Usage, "{error}");
    assert!(error.to_string().contains("no copy of a log here"), "{error}");
    let made = MadeLog::new();
    let copy = made.copy();
    std::fs::remove_file(copy.path().join("vkeys")).unwrap();
    let error = try_audit(&[copy.path().to_owned()], &Baggage::default()).await.unwrap_err();
    assert!(error.category() == Category::Usage && error.to_string().contains("--vkey"), "{error}");
    let pinned = Baggage { pinned: made.keys.verifiers(), ..Baggage::default() };
    holds(&audited(copy.path(), &pinned).await.0);
    std::fs::remove_file(copy.path().join("checkpoint")).unwrap();
    refused(&audited(copy.path(), &pinned).await.0, "answers", "/log/checkpoint is not there");
}

#[tokio::test]
async fn a_zip_is_audited_as_the_directory_is() {
    let made = busy();
    let copy = made.copy();
    let zip = copy.path().with_extension("zip");
    archive::pack(copy.path(), &zip).unwrap();
    let (report, remembered) = audited(&zip, &Baggage::default()).await;
    holds(&report);
    assert_eq!(remembered, audited(copy.path(), &Baggage::default()).await.1);

    // Any flipped byte of a bundle, tile or head is found; the zip's own checksums are not needed for that.
    let bytes = std::fs::read(&zip).unwrap();
    for name in ["tile/entries/000", "tile/0/002", "tile/1/000.p/4", "sth.ndjson", "checkpoint"] {
        let mut bad = bytes.clone();
        let at =
            bad.windows(name.len()).position(|window| window == name.as_bytes()).unwrap() + name.len() + 90;
        bad[at] ^= 1;
        std::fs::write(&zip, bad).unwrap();
        let outcome = try_audit(std::slice::from_ref(&zip), &Baggage::default()).await;
        assert!(!outcome.is_ok_and(|(report, _)| report.holds()), "{name}");
    }
    std::fs::write(&zip, &bytes[..bytes.len() - 7]).unwrap();
    let error = try_audit(std::slice::from_ref(&zip), &Baggage::default()).await.unwrap_err();
    assert_eq!(error.category(), Category::Local, "{error}");
    std::fs::remove_file(&zip).unwrap();
}

#[tokio::test]
async fn a_compressed_zip_is_refused_with_advice() {
    use std::io::Write as _;
    // A member that says it is compressed: method 8 in local and central header.
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("checkpoint", options).unwrap();
    zip.write_all(b"x").unwrap();
    let mut bytes = zip.finish().unwrap().into_inner();
    bytes[8] = 8;
    let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    bytes[central + 10] = 8;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let error = Copy::open(&[file.path().to_owned()]).unwrap_err().to_string();
    assert!(error.contains("unpack it"), "{error}");
}

/// Splits a copy as archives of `first` and later entries are split.
fn split(copy: &Path, at: u64) -> [PathBuf; 2] {
    let [low, high] = ["low", "high"].map(|name| copy.with_extension(name));
    for (part, is_low) in [(&low, true), (&high, false)] {
        copy_tree(copy, part, &|name: &str| match paramant_tlog::tile::parse_path(name) {
            Some(paramant_tlog::tile::Resource::Bundle(index, _)) => (index * 256 < at) == is_low,
            // The right edge is in every part: the checkpoint's root is computed with it.
            Some(paramant_tlog::tile::Resource::Tile(place, 256)) if place.level == 0 => {
                (place.index * 256 < at) == is_low
            }
            _ => true,
        });
        let heads = std::fs::read_to_string(copy.join("sth.ndjson")).unwrap();
        let of_part = |line: &&str| {
            let size =
                serde_json::from_str::<serde_json::Value>(line).unwrap()["tree_size"].as_u64().unwrap();
            (size <= at) == is_low
        };
        let heads: String = heads.lines().filter(of_part).map(|line| format!("{line}\n")).collect();
        std::fs::write(part.join("sth.ndjson"), heads).unwrap();
    }
    [low, high].map(|part| {
        let zip = part.with_added_extension("zip");
        archive::pack(&part, &zip).unwrap();
        std::fs::remove_dir_all(part).unwrap();
        zip
    })
}

fn copy_tree(from: &Path, to: &Path, wanted: &dyn Fn(&str) -> bool) {
    fn walk(root: &Path, at: &Path, to: &Path, wanted: &dyn Fn(&str) -> bool) {
        for item in std::fs::read_dir(at).unwrap() {
            let path = item.unwrap().path();
            let name = path.strip_prefix(root).unwrap();
            if path.is_dir() {
                walk(root, &path, to, wanted);
            } else if wanted(name.to_str().unwrap()) {
                std::fs::create_dir_all(to.join(name).parent().unwrap()).unwrap();
                std::fs::copy(&path, to.join(name)).unwrap();
            }
        }
    }
    walk(from, from, to, wanted);
}

#[tokio::test]
async fn parts_of_a_log_are_audited_together_alone_and_one_after_the_other() {
    let made = busy();
    let copy = made.copy();
    let [low, high] = split(copy.path(), 512);
    let (whole, _) = audited(copy.path(), &Baggage::default()).await;

    let twice = Copy::open(&[low.clone(), high.clone(), low.clone()]).unwrap_err();
    assert_eq!(twice.category(), Category::Usage, "{twice}");
    assert!(twice.to_string().contains("name one copy of each part"), "{twice}");

    let (report, together) = try_audit(&[high.clone(), low.clone()], &Baggage::default()).await.unwrap();
    holds(&report);
    assert_eq!(report.head, whole.head);

    // The first part alone: the rest of the SHA-256 tree comes from its tiles.
    let (report, first) = audited(&low, &Baggage::default()).await;
    holds(&report);
    let text = format!("{report:?}");
    assert!(text.contains("by their tiles only") && report.timing.entries == 512, "{text}");

    // The second alone: entries and SHA-256 tree hold, the other tree cannot be known; nothing to go on from.
    let (report, remembered) = audited(&high, &Baggage::default()).await;
    holds(&report);
    assert!(remembered.is_none() && report.head.unwrap().sha3_root.is_none());

    // The second after the first: everything.
    let baggage = Baggage { remembered: first, ..Baggage::default() };
    let (report, second) = audited(&high, &baggage).await;
    holds(&report);
    assert_eq!(second, together);
    for zip in [low, high] {
        std::fs::remove_file(zip).unwrap();
    }
}

/// The vendor's next request, signed.
fn request(made: &MadeLog, before: &mut Vec<[u8; 32]>) -> Body {
    use paramant_licensing::actions::{Ask, Request, Why};
    #[derive(Debug)]
    struct Never;
    impl From<paramant_protocol::canonical::CanonicalError> for Never {
        fn from(_: paramant_protocol::canonical::CanonicalError) -> Self {
            Self
        }
    }
    let vendor = MlDsa65Key::from_seed("vendor", &seed(90)).unwrap();
    let at: jiff::Timestamp = "2026-01-02T03:00:00Z".parse().unwrap();
    let seq = before.len() as u64 + 1;
    let request = Request {
        relay_id: hex::encode(paramant_protocol::leaf::sha3(made.identity.verifier().public_key())),
        seq,
        prev: before.last().copied().unwrap_or_default(),
        id: format!("{seq:032x}"),
        role: Role::Support,
        why: Why::Maintenance,
        issued_at: at,
        expires_at: at + jiff::SignedDuration::from_hours(1),
        actor_commitment: [0; 32],
        ask: Ask::Drain { enabled: true, deadline_seconds: None },
    };
    let bytes = request.to_signed(|message| Ok::<_, Never>(vendor.sign_document(message).unwrap())).unwrap();
    before.push(paramant_protocol::leaf::sha256(&bytes));
    Body::VendorRequest(VendorRequest { request: Document::parse(&bytes).unwrap() })
}

#[tokio::test]
async fn remote_actions_of_a_part_are_told_with_those_that_were_remembered_or_alone() {
    let (mut made, mut chain) = (MadeLog::new(), Vec::new());
    let first = request(&made, &mut chain);
    made.body(first);
    made.transfers(600, "").head();
    let second = request(&made, &mut chain);
    made.body(second);
    made.head().anchor();
    let [low, high] = split(made.copy().path(), 512);
    let vendor = MlDsa65Key::from_seed("vendor", &seed(90)).unwrap();
    let key =
        LicensingKey { public: vendor.verifier().public_key().to_vec(), not_after: jiff::Timestamp::MAX };
    let with = |remembered| Baggage { actions: Some(vec![key.clone()]), remembered, ..Baggage::default() };
    let requests = |report: &Report| {
        let told = report.actions.as_ref().unwrap();
        let seqs: Vec<u64> = told.requests.iter().map(|row| row.asked.seq).collect();
        (seqs, told.rests_on.from, told.rests_on.to)
    };
    let evidence = |report: &Report| {
        report.checks.iter().find(|check| check.name == "actions").unwrap().evidence.clone()
    };

    let (report, _) = try_audit(&[low.clone(), high.clone()], &with(None)).await.unwrap();
    holds(&report);
    assert_eq!(requests(&report), (vec![1, 2], 0, 604));

    // What an earlier run read without a key is told, and that its signature was not checked.
    let (report, plain) = audited(&low, &Baggage::default()).await;
    holds(&report);
    assert!(report.actions.is_none());
    let (report, _) = audited(&high, &with(plain)).await;
    holds(&report);
    assert_eq!(requests(&report), (vec![1, 2], 0, 604));
    assert!(evidence(&report).contains("signatures of 1 were not checked"), "{report:#?}");
    let (_, checked) = audited(&low, &with(None)).await;
    let (report, _) = audited(&high, &with(checked)).await;
    assert!(evidence(&report).contains("each is signed by a licensing key"), "{report:#?}");

    // Alone, its chain begins where it begins.
    let (report, _) = audited(&high, &with(None)).await;
    holds(&report);
    assert_eq!(requests(&report), (vec![2], 512, 604));
    assert!(evidence(&report).contains("requests before number 2"), "{report:#?}");
    for zip in [low, high] {
        std::fs::remove_file(zip).unwrap();
    }
}

#[tokio::test]
async fn a_part_that_does_not_follow_the_last_one_is_not_taken() {
    let made = busy();
    let copy = made.copy();
    let [low, high] = split(copy.path(), 512);
    let mut small = MadeLog::new();
    small.transfers(50, "").head();
    let (_, remembered) = audited(small.copy().path(), &Baggage::default()).await;
    let baggage = Baggage { remembered, ..Baggage::default() };
    let error = try_audit(std::slice::from_ref(&high), &baggage).await.unwrap_err();
    assert!(error.to_string().contains("were not checked before"), "{error}");
    for zip in [low, high] {
        std::fs::remove_file(zip).unwrap();
    }
}

#[tokio::test]
async fn a_rotation_is_followed_with_the_state_of_before_during_and_after() {
    let mut made = MadeLog::new();
    made.transfers(20, "").head();
    let (_, before) = audited(made.copy().path(), &Baggage::default()).await;
    let old: VerifierKey = made.keys.verifiers()[0].clone();
    made.add_key(50);
    made.transfers(20, "");
    let during = made.copy();
    let with =
        |remembered: &Option<Remembered>| Baggage { remembered: remembered.clone(), ..Baggage::default() };
    let (report, overlap) = audited(during.path(), &with(&before)).await;
    holds(&report);
    assert_eq!(overlap.as_ref().unwrap().keys.len(), 4);
    made.retire_first_key();
    made.transfers(300, "");
    let after = made.copy();
    for state in [&None, &before, &overlap] {
        let (report, _) = audited(after.path(), &with(state)).await;
        holds(&report);
    }
    // A key given by hand that was retired: the other two keys given still sign, alone it signs nothing.
    let pins = |keys: Vec<VerifierKey>| Baggage { pinned: keys, ..Baggage::default() };
    let identity = made.keys.verifiers()[1].clone();
    holds(&audited(after.path(), &pins(vec![old.clone(), identity])).await.0);
    refused(&audited(after.path(), &pins(vec![old])).await.0, "keys", "none of the trusted keys");
}

#[tokio::test]
async fn keys_that_change_without_an_entry_are_found() {
    let mut made = MadeLog::new();
    made.transfers(20, "").head();
    let (_, before) = audited(made.copy().path(), &Baggage::default()).await;
    let with =
        |remembered: &Option<Remembered>| Baggage { remembered: remembered.clone(), ..Baggage::default() };
    made.swap_first_key(60);
    made.transfers(1, "");
    refused(&audited(made.copy().path(), &with(&before)).await.0, "keys", "no entry has added");

    // An entry that retires a key which goes on signing.
    let mut made = MadeLog::new();
    let kept = made.keys.verifiers()[0].to_string();
    made.body(Body::LogKeyRotated(paramant_protocol::entry::body::LogKeyRotated {
        added: None,
        retired: Some(kept),
    }));
    refused(&audited(made.copy().path(), &Baggage::default()).await.0, "keys", "still signs");
}

#[tokio::test]
async fn a_post_quantum_line_is_demanded_of_a_trusted_key() {
    let made = busy();
    let copy = made.copy();
    let [ed25519, ml_dsa, _] = made.keys.verifiers().try_into().unwrap();
    let demand =
        |pinned: &[VerifierKey]| Baggage { pinned: pinned.to_vec(), require_pq: true, ..Baggage::default() };
    holds(&audited(copy.path(), &demand(&[])).await.0);
    holds(&audited(copy.path(), &demand(&[ed25519.clone(), ml_dsa])).await.0);
    let (report, _) = audited(copy.path(), &demand(&[ed25519])).await;
    refused(&report, "keys", "no post-quantum line of a trusted key: it has those of ML-DSA-44");
}

#[tokio::test]
async fn a_pinned_policy_wants_a_quorum_that_is_not_too_old() {
    let made = busy();
    let copy = made.copy();
    let pinned = |limit: Option<u64>, at: u64| Baggage {
        policy: Some(made.policy()),
        max_witness_age: limit.map(Duration::from_secs),
        at: Some(at),
        ..Baggage::default()
    };
    refused(&audited(copy.path(), &pinned(None, AT)).await.0, "witnesses", "0 of 3");
    cosign(copy.path(), &[1], AT + 1);
    refused(&audited(copy.path(), &pinned(None, AT)).await.0, "witnesses", "no quorum: 1 of 3");
    cosign(copy.path(), &[0], AT + 2);
    holds(&audited(copy.path(), &pinned(None, AT)).await.0);
    // An idle log keeps its old quorum, unless a limit by the clock was set.
    holds(&audited(copy.path(), &pinned(None, AT + 1_000_000)).await.0);
    holds(&audited(copy.path(), &pinned(Some(100), AT + 90)).await.0);
    refused(&audited(copy.path(), &pinned(Some(100), AT + 1000)).await.0, "witnesses", "older than 100 s");
    refused(&audited(copy.path(), &pinned(None, AT - 1000)).await.0, "witnesses", "has not come yet");
    // Without a pinned policy the relay's own is shown, and proves nothing.
    let (report, _) = audited(copy.path(), &Baggage::default()).await;
    let check = report.checks.iter().find(|check| check.name == "witnesses").unwrap();
    assert!(!check.checked && check.evidence.contains("proves nothing"), "{check:?}");
}

#[tokio::test]
async fn a_log_that_grows_without_its_witnesses_is_found() {
    let mut made = busy();
    let copy = made.copy();
    cosign(copy.path(), &[0, 1], AT - 7200);
    let witnessed = std::fs::read(copy.path().join("checkpoint.witnessed")).unwrap();
    let pinned = Baggage { policy: Some(made.policy()), at: Some(AT), ..Baggage::default() };
    holds(&audited(copy.path(), &pinned).await.0);
    made.transfers(10, "");
    let grown = made.copy();
    std::fs::write(grown.path().join("checkpoint.witnessed"), witnessed).unwrap();
    refused(&audited(grown.path(), &pinned).await.0, "witnesses", "more than an hour later");
}

#[tokio::test]
async fn a_witnessed_checkpoint_of_another_history_is_found() {
    let mut other = MadeLog::new();
    other.transfers(100, "another");
    let copied = other.copy();
    cosign(copied.path(), &[0, 1], AT);
    let made = busy();
    let copy = made.copy();
    std::fs::copy(copied.path().join("checkpoint.witnessed"), copy.path().join("checkpoint.witnessed"))
        .unwrap();
    refused(&audited(copy.path(), &Baggage::default()).await.0, "continuity", "two histories");
    // Larger than the newest one: the newest was rolled back.
    let checkpoint = Checkpoint::new(ORIGIN, 5000, [7; 32]);
    let note: Note = made.keys.note(&checkpoint, AT);
    std::fs::write(copy.path().join("checkpoint.witnessed"), note.to_text()).unwrap();
    refused(&audited(copy.path(), &Baggage::default()).await.0, "continuity", "went back");
}

#[tokio::test]
async fn another_log_in_the_place_of_the_one_seen_before_is_told_as_that() {
    let made = busy();
    let copy = made.copy();
    let (_, remembered) = audited(copy.path(), &Baggage::default()).await;
    let mut state = serde_json::to_value(remembered.unwrap()).unwrap();
    state["origin"] = "relay.example/log/1".into();
    let remembered = Some(Remembered::parse(&serde_json::to_vec(&state).unwrap()).unwrap());
    let baggage = Baggage { remembered, ..Baggage::default() };
    refused(&audited(copy.path(), &baggage).await.0, "continuity", "with another state file");

    let stranger = Ed25519Key::from_seed("relay.example/log/1", &seed(1)).unwrap();
    let baggage = Baggage { pinned: vec![stranger.verifier().clone()], ..Baggage::default() };
    refused(&audited(copy.path(), &baggage).await.0, "keys", "are of relay.example/log/1: another log");
}

#[tokio::test]
async fn nothing_may_follow_the_end_of_a_log() {
    let mut made = busy();
    made.body(Body::LogClosed(LogClosed { cause: CloseCause::Deleted }));
    holds(&audited(made.copy().path(), &Baggage::default()).await.0);
    made.transfers(1, "");
    refused(&audited(made.copy().path(), &Baggage::default()).await.0, "rules", "closed the log");
}

//! A view is used once: whatever happens after that, what came is on the disk, and nothing else was lost for it.

use std::fs;
use std::path::{Path, PathBuf};

use paramant_client::envelope::{PreShared, seal};
use paramant_client::{Device, StateDir};
use paramant_protocol::id::BlobHash;
use paramant_protocol::pqhb::PadBlock;

use crate::fake_relay::{FakeRelay, Served};
use crate::{Said, run, signed_receipt};

const CONTENT: &[u8] = b"what was sent";

/// A machine with a device, and a relay that holds one blob for it.
struct Bench {
    home: tempfile::TempDir,
    relay: FakeRelay,
    hash: BlobHash,
    blob: Vec<u8>,
}

fn bench(pre_shared: Option<&PreShared>, views: usize) -> Bench {
    let home = tempfile::tempdir().unwrap();
    let state = StateDir::open(&home.path().join(".local/state/paramant")).unwrap();
    let device = state.device_or_new(&"desk".parse().unwrap()).unwrap();
    let sender = Device::generate("sender".parse().unwrap()).unwrap();
    let keys = device.public();
    let blob = seal(CONTENT.to_vec(), &keys.kem_pub, Some(&sender), pre_shared, PadBlock::K64).unwrap();
    let hash = BlobHash::of(&blob);
    let digest: [u8; 32] = hex::decode(hash.to_string()).unwrap().try_into().unwrap();
    let (receipt, identity) = signed_receipt(&digest);
    let relay = FakeRelay::start(Served {
        hash: hash.to_string(),
        blob: blob.clone(),
        views,
        receipt,
        identity: serde_json::to_string(&identity).unwrap(),
        ..Served::default()
    });
    fs::create_dir(home.path().join("in")).unwrap();
    Bench { home, relay, hash, blob }
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Receives into `in/file`.
    fn receive(&self, more: &[&str]) -> Said {
        let out = self.path("in/file").display().to_string();
        let hash = self.hash.to_string();
        let fixed =
            ["--json", "receive", &hash, "--out", &out, "--relay", &self.relay.url, "--device", "desk"];
        run(self.home.path(), &[&fixed[..], more].concat())
    }

    fn meanwhile(&self, action: impl FnMut() + Send + 'static) {
        self.relay.served.lock().unwrap().meanwhile = Some(Box::new(action));
    }

    fn kept(&self) -> PathBuf {
        self.path(&format!("in/{}.pqhb", self.hash))
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn content_and_receipt_arrive_and_a_second_try_finds_the_blob_gone() {
    let bench = bench(None, 1);
    let said = bench.receive(&[]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("\"receipt\":\"valid\""), "{}", said.out);
    assert_eq!(fs::read(bench.path("in/file")).unwrap(), CONTENT);
    assert_eq!(names(&bench.path("in")), ["file", "file.receipt.json"]);
    assert_eq!(bench.receive(&[]).code, 4);
}

#[test]
fn a_receipt_that_cannot_be_saved_does_not_take_the_content_away() {
    let bench = bench(None, 1);
    let elsewhere = bench.path("receipts");
    fs::create_dir(&elsewhere).unwrap();
    let receipt = elsewhere.join("r.json").display().to_string();
    bench.meanwhile(move || fs::remove_dir_all(&elsewhere).unwrap());
    let said = bench.receive(&["--receipt", &receipt]);
    assert_eq!(fs::read(bench.path("in/file")).unwrap(), CONTENT, "{}", said.err);
    assert_eq!(said.code, 7, "{}", said.err);
    assert!(said.out.contains("\"receipt\":\"valid\"") && said.out.contains("\"receipt_file\":null"));
    assert!(said.err.contains("r.json"), "{}", said.err);
}

#[test]
fn content_that_cannot_be_written_leaves_the_blob_somewhere() {
    let bench = bench(None, 1);
    let directory = bench.path("in");
    bench.meanwhile(move || fs::remove_dir_all(&directory).unwrap());
    let said = bench.receive(&[]);
    assert_eq!(said.code, 6, "{}", said.err);
    let kept = bench.path(&format!(".local/state/paramant/{}.pqhb", bench.hash));
    assert_eq!(fs::read(&kept).unwrap(), bench.blob);
    assert!(said.err.contains(kept.to_str().unwrap()), "{}", said.err);
}

#[test]
fn files_that_are_there_are_refused_before_a_view_is_used() {
    let bench = bench(None, 1);
    for name in ["file", "file.receipt.json"] {
        let path = bench.path("in").join(name);
        fs::write(&path, "mine").unwrap();
        let said = bench.receive(&[]);
        assert!(said.code == 2 && said.err.contains("--force"), "{name}: {} {}", said.code, said.err);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(bench.relay.views(), 1, "a view was used");
    fs::write(bench.path("in/file"), "mine").unwrap();
    assert_eq!(bench.receive(&["--force"]).code, 0);
    assert_eq!(fs::read(bench.path("in/file")).unwrap(), CONTENT);
}

#[test]
fn a_file_that_appears_during_the_download_is_not_replaced() {
    let bench = bench(None, 1);
    let path = bench.path("in/file");
    bench.meanwhile(move || fs::write(&path, "mine").unwrap());
    let said = bench.receive(&[]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(fs::read(bench.path("in/file")).unwrap(), b"mine");
    let other = bench.path(&format!("in/{}.content", bench.hash));
    assert_eq!(fs::read(&other).unwrap(), CONTENT);
    assert!(said.out.contains(other.to_str().unwrap()), "{}", said.out);
}

#[test]
fn a_blob_that_cannot_be_opened_is_kept_under_its_hash_and_never_over_another() {
    let bench = bench(Some(&PreShared::new("agreed")), 3);
    fs::write(bench.path("secret"), "agreed").unwrap();
    let said = bench.receive(&[]);
    assert!(
        said.code == 1 && said.err.contains(bench.kept().to_str().unwrap()),
        "{} {}",
        said.code,
        said.err
    );
    assert_eq!(fs::read(bench.kept()).unwrap(), bench.blob);
    assert!(bench.path("in/file.receipt.json").exists(), "the receipt of a used view is kept too");
    fs::remove_file(bench.path("in/file.receipt.json")).unwrap();

    // The same once more is not kept twice; something else under that name is not replaced.
    bench.receive(&["--force"]);
    assert_eq!(names(&bench.path("in")), [format!("{}.pqhb", bench.hash), "file.receipt.json".to_owned()]);
    fs::write(bench.kept(), "somebody else's").unwrap();
    bench.receive(&["--force"]);
    assert_eq!(fs::read(bench.kept()).unwrap(), b"somebody else's");
    let second = bench.kept().with_added_extension("1");
    assert_eq!(fs::read(&second).unwrap(), bench.blob);

    let (blob, out, secret) = (second, bench.path("in/opened"), bench.path("secret"));
    let decrypt = ["decrypt", blob.to_str().unwrap(), "--out", out.to_str().unwrap(), "--device", "desk"];
    let decrypt = [&decrypt[..], &["--pre-shared-file", secret.to_str().unwrap()]].concat();
    assert_eq!(run(bench.home.path(), &decrypt).code, 0);
    assert_eq!(fs::read(&out).unwrap(), CONTENT);
    let said = run(bench.home.path(), &decrypt);
    assert!(said.code == 2 && said.err.contains("--force"), "{}", said.err);
}

#[test]
fn a_relay_that_does_not_show_its_identity_now_costs_no_view() {
    let bench = bench(None, 1);
    for (status, code) in [(429, 5), (503, 5)] {
        bench.relay.served.lock().unwrap().identity_refused = Some(status);
        let said = bench.receive(&[]);
        assert_eq!((said.code, bench.relay.views()), (code, 1), "{status}: {}", said.err);
    }
    assert_eq!(names(&bench.path("in")).len(), 0, "a draft was left behind");
    // One that has no identity at all is another matter: the content comes, the receipt stays in doubt.
    bench.relay.served.lock().unwrap().identity_refused = Some(404);
    let said = bench.receive(&[]);
    assert_eq!(said.code, 7, "{}", said.err);
    assert_eq!(fs::read(bench.path("in/file")).unwrap(), CONTENT);
}

#[test]
fn a_receipt_for_something_else_is_said_to_be_wrong_beside_the_content() {
    let bench = bench(None, 1);
    bench.relay.served.lock().unwrap().receipt = signed_receipt(&[0xaa; 32]).0;
    let said = bench.receive(&[]);
    assert!(said.code == 1 && said.err.contains("receipt does not hold"), "{} {}", said.code, said.err);
    assert_eq!(fs::read(bench.path("in/file")).unwrap(), CONTENT);
}

//! Our envelope against `paramant-sdk` 3.0.0, unmodified: each opens what the other sealed.
//!
//! Runs when `PARAMANT_SDK_PYTHON` names a Python that has the SDK, and then fails loudly when that does not work.

use std::path::Path;
use std::process::Command;

use paramant_client::Device;
use paramant_client::envelope::{self, PreShared, Sender, SignatureForm};
use paramant_protocol::pqhb::PadBlock;

const SCRIPT: &str = r#"
import json, sys
import paramant_sdk
from paramant_sdk import GhostPipe
assert paramant_sdk.__version__ == "3.0.0", paramant_sdk.__version__
task, directory = sys.argv[1], sys.argv[2]
def read(name): return open(directory + "/" + name, "rb").read()
def write(name, data): open(directory + "/" + name, "wb").write(data)
pipe = GhostPipe("pgp_" + "0" * 32, "sdk-device", relay="http://127.0.0.1:1", negotiate_on_init=False)
keys = pipe._load_keypair()
if task == "keys":
    write("kem_pub", bytes.fromhex(keys["ml_kem_pub"]))
    write("dsa_pub", bytes.fromhex(keys["ml_dsa_pub"]))
    write("fingerprint", GhostPipe._compute_fingerprint(keys["ml_kem_pub"], keys["ecdh_pub"]).encode())
elif task == "seal":
    secret = read("pre_shared").decode()
    blob, digest = pipe._encrypt(read("content"), read("to"), pad_block=65536, pre_shared_secret=secret)
    write("blob", blob)
elif task == "open":
    write("content", pipe._decrypt(read("blob"), pre_shared_secret=read("pre_shared").decode()))
elif task == "canonical":
    write("canonical", json.dumps(json.loads(read("json")), sort_keys=True, separators=(",", ":")).encode())
else:
    raise SystemExit("unknown task " + task)
"#;

/// The Python, or `None` when the test is not asked for.
fn python() -> Option<String> {
    let python = std::env::var("PARAMANT_SDK_PYTHON").ok().filter(|python| !python.is_empty());
    if python.is_none() {
        eprintln!("skipped: PARAMANT_SDK_PYTHON is not set");
    }
    python
}

fn run(python: &str, task: &str, directory: &Path) {
    let output = Command::new(python)
        .args(["-c", SCRIPT, task])
        .arg(directory)
        .env("HOME", directory)
        .output()
        .unwrap_or_else(|error| panic!("PARAMANT_SDK_PYTHON={python} cannot be run: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the SDK failed at {task}:\n{said}");
}

#[test]
fn what_the_published_client_seals_is_opened_and_its_signature_named() {
    let Some(python) = python() else { return };
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(directory.path().join(name), bytes).unwrap();
    let read = |name: &str| std::fs::read(directory.path().join(name)).unwrap();
    let device = Device::generate("ours".parse().unwrap()).unwrap();
    run(&python, "keys", directory.path());
    write("to", &device.public().kem_pub);
    write("content", b"from the published client");
    for secret in ["", "correct horse"] {
        write("pre_shared", secret.as_bytes());
        run(&python, "seal", directory.path());
        let pre_shared = (!secret.is_empty()).then(|| PreShared::new(secret));
        let opened = envelope::open(&read("blob"), &device, pre_shared.as_ref()).unwrap();
        assert_eq!(opened.plaintext, b"from the published client");
        assert_eq!(opened.sender, Sender::Signed { key: read("dsa_pub"), form: SignatureForm::Hashed });
    }
}

#[test]
fn what_we_seal_is_opened_by_the_published_client() {
    let Some(python) = python() else { return };
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(directory.path().join(name), bytes).unwrap();
    let read = |name: &str| std::fs::read(directory.path().join(name)).unwrap();
    run(&python, "keys", directory.path());
    let device = Device::generate("ours".parse().unwrap()).unwrap();
    for (secret, sender) in [("", Some(&device)), ("", None), ("correct horse", Some(&device))] {
        let pre_shared = (!secret.is_empty()).then(|| PreShared::new(secret));
        let blob =
            envelope::seal(b"from us".to_vec(), &read("kem_pub"), sender, pre_shared.as_ref(), PadBlock::K64)
                .unwrap();
        write("blob", &blob);
        write("pre_shared", secret.as_bytes());
        run(&python, "open", directory.path());
        assert_eq!(read("content"), b"from us");
    }
}

#[test]
fn the_published_client_s_fingerprint_and_canonical_json_are_ours() {
    let Some(python) = python() else { return };
    let directory = tempfile::tempdir().unwrap();
    let read = |name: &str| std::fs::read(directory.path().join(name)).unwrap();
    run(&python, "keys", directory.path());
    let kem = read("kem_pub");
    let ours = paramant_protocol::fingerprint::fingerprint(&kem, &paramant_protocol::leaf::sha256(&kem));
    assert_eq!(read("fingerprint"), ours.as_bytes());
    let value = serde_json::json!({"z": [1, {"b": null, "a": true}], "a": "\"\\\u{8}\n\u{1f}~ /", "m": -9_007_199_254_740_991i64});
    std::fs::write(directory.path().join("json"), value.to_string()).unwrap();
    run(&python, "canonical", directory.path());
    assert_eq!(read("canonical"), paramant_protocol::canonical::to_vec(&value).unwrap());
}

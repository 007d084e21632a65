//! The published Python client, unmodified, against this relay. `PARAMANT_SDK_PYTHON` names a Python that has paramant-sdk 3.0.0.

use std::process::Command;

use crate::relay::Relay;

const SCRIPT: &str = r#"
import hashlib, os, re, sys, urllib.error
from paramant_sdk import GhostPipe, GhostPipeError
key, url = sys.argv[1], sys.argv[2]
pipe = GhostPipe(key, "device-one", relay=url)
pipe.receive_setup()
GhostPipe(key, "device-one", relay=url).receive_setup()
for size, block in ((1024, None), (1 << 20, None), (5236477, None), (10, 65536)):
    data = os.urandom(size)
    sent = pipe.send(data, ttl=300, **({} if block is None else {"pad_block": block}))
    name = sent[0] if isinstance(sent, tuple) else sent
    assert pipe.status(name)["available"] is True
    back, receipt = pipe.receive(name)
    assert back == data, size
    assert receipt and receipt["burn_confirmed"] is True, receipt
    verdict = pipe.verify_receipt(receipt)
    assert verdict["valid"] is True, verdict
    # The exact time has 39 random digits behind the millisecond, and the leaf opens with all of them.
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{42}Z", receipt["ts"]), receipt["ts"]
    sector = hashlib.sha3_256(receipt["sector"].encode()).digest()
    opened = b"\x02" + bytes.fromhex(receipt["blob_hash"]) + sector + receipt["ts"].encode()
    assert hashlib.sha3_256(opened).hexdigest() == receipt["inclusion_proof"]["leaf_hash"], receipt
    short = dict(receipt, ts=receipt["ts"][:23] + "Z")
    try:
        pipe.verify_receipt(short)
    except GhostPipeError:
        pass
    else:
        raise AssertionError("a receipt without its digits was accepted")
    try:
        pipe.receive(name)
    except GhostPipeError:
        pass
    else:
        raise AssertionError("a second read gave something")
print(pipe.fingerprint())
try:
    import mnemonic
except ImportError:
    print("drops not shown: this Python has no mnemonic package")
else:
    phrase = pipe.drop(b"left for whoever knows the words", ttl=60)
    assert GhostPipe(key, "another", relay=url).pickup(phrase) == b"left for whoever knows the words"
assert pipe.health()["ok"] is True

# Who listens gets what is sent under the same device name, in order, each once; a place that the SDK remembered on disk from
# another relay does not matter.
os.makedirs(os.path.expanduser("~/.paramant"), exist_ok=True)
open(os.path.expanduser("~/.paramant/device-one.sdk_seq"), "w").write("4711")
sent = [os.urandom(2000) for _ in range(3)]
for data in sent[:2]:
    pipe.send(data, ttl=300)
class Enough(BaseException):
    pass
heard = []
def on_receive(data, about):
    heard.append(data)
    if len(heard) == 2:
        GhostPipe(key, "device-one", relay=url).send(sent[2], ttl=300)
    if len(heard) == 3:
        raise Enough()
try:
    GhostPipe(key, "device-one", relay=url).listen(on_receive, interval=1)
except Enough:
    pass
assert heard == sent, [len(data) for data in heard]
entries = pipe.audit(limit=1000)
assert {"inbound", "outbound_burn"} <= {entry["event"] for entry in entries} and all(entry["ts"] for entry in entries)
assert len(pipe.audit(limit=2)) == 2
print("done")
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_published_python_client_sends_and_receives_unmodified() {
    let Ok(python) = std::env::var("PARAMANT_SDK_PYTHON") else {
        println!("skipped: PARAMANT_SDK_PYTHON does not name a Python with paramant-sdk 3.0.0");
        return;
    };
    let version = Command::new(&python)
        .args(["-c", "import importlib.metadata as m; print(m.version('paramant-sdk'))"])
        .output()
        .unwrap_or_else(|error| panic!("PARAMANT_SDK_PYTHON={python} does not run: {error}"));
    assert_eq!(
        String::from_utf8_lossy(&version.stdout).trim(),
        "3.0.0",
        "PARAMANT_SDK_PYTHON={python} must have paramant-sdk 3.0.0"
    );

    let relay = Relay::start().await;
    let user = relay.user().await;
    let home = tempfile::TempDir::new().unwrap();
    let url = relay.url.clone();
    let run = move || {
        Command::new(python).args(["-c", SCRIPT, &user.key, &url]).env("HOME", home.path()).output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("done"), "{out}\n{err}");
    println!("{out}");
    relay.all_burned().await;
}

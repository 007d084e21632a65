//! The published Python client, unmodified, against this relay: `e2e/sdk/tour.py` shows every public method it has.
//! `PARAMANT_SDK_PYTHON` names a Python that has paramant-sdk 3.0.0 and mnemonic.

use std::process::{Command, Output};
use std::sync::Arc;

use crate::relay::{Relay, until};
use crate::webhooks::{Receiver, python_says};

const TOUR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../e2e/sdk/tour.py");

/// The Python, or `None` when the test is not asked for.
fn python() -> Option<String> {
    let Ok(python) = std::env::var("PARAMANT_SDK_PYTHON") else {
        println!("skipped: PARAMANT_SDK_PYTHON does not name a Python with paramant-sdk 3.0.0 and mnemonic");
        return None;
    };
    let versions =
        "import importlib.metadata as m; print(m.version('paramant-sdk'), bool(m.version('mnemonic')))";
    let version = Command::new(&python)
        .args(["-c", versions])
        .output()
        .unwrap_or_else(|error| panic!("PARAMANT_SDK_PYTHON={python} does not run: {error}"));
    assert_eq!(
        String::from_utf8_lossy(&version.stdout).trim(),
        "3.0.0 True",
        "PARAMANT_SDK_PYTHON={python} must have paramant-sdk 3.0.0, and mnemonic for its drops: {}",
        String::from_utf8_lossy(&version.stderr)
    );
    Some(python)
}

/// A relay that lists a webhook receiver, and the tour on it by a fresh account.
struct Ground {
    python: String,
    receiver: Receiver,
    relay: Relay,
}

impl Ground {
    async fn new(python: String) -> Self {
        let receiver = Receiver::start().await;
        let hooks = Arc::new(receiver.settings());
        let relay = Relay::with(move |settings| settings.webhooks = Some(hooks)).await;
        Self { python, receiver, relay }
    }

    async fn tour(&self, arguments: &'static [&'static str]) -> Output {
        let (python, url, key) = (self.python.clone(), self.relay.url.clone(), self.relay.user().await.key);
        let hook = format!("https://{}/tour", self.receiver.address);
        let run = move || {
            let home = tempfile::TempDir::new().unwrap();
            let mut command = Command::new(python);
            command.arg(TOUR).args(arguments).env("HOME", home.path());
            command.envs([("PARAMANT_RELAY", &url), ("PARAMANT_API_KEY", &key), ("PARAMANT_HOOK", &hook)]);
            command.env("PARAMANT_HOOK_TOLD", "1").output().unwrap()
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_public_method_of_the_published_python_client_works_unmodified() {
    let Some(python) = python() else { return };
    let ground = Ground::new(python).await;
    let (code, out, err) = said(&ground.tour(&[]).await);
    assert!(code == Some(0) && out.contains("all 40 shown"), "{out}\n{err}");
    println!("{out}");
    until("the hook was told of the one upload", async || ground.receiver.calls().len() == 1).await;
    let call = &ground.receiver.calls()[0];
    assert!(python_says("topsecret", call) && !python_says("", call), "{call:?}");
    ground.relay.all_burned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_the_tour_does_not_show_fails_it_by_name() {
    let Some(python) = python() else { return };
    let ground = Ground::new(python).await;
    for (arguments, missing) in [
        (&["--leave-out", "GhostPipe.audit"] as &[_], "public and not shown: GhostPipe.audit\n"),
        (&["--plant", "GhostPipeCluster.teleport"], "public and not shown: GhostPipeCluster.teleport\n"),
    ] {
        let (code, out, err) = said(&ground.tour(arguments).await);
        assert_eq!((code, err.as_str()), (Some(3), missing), "{out}");
    }
}

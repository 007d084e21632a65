//! The few commands of WebDriver (W3C) and of Chromium's own that these tests need, over plain HTTP on loopback.

use std::io::{BufRead as _, BufReader, Lines};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

/// A browser takes a core for itself: several at once on a busy machine take minutes to start.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// How long a command may take. A start on a machine that compiles beside it has taken more than half a minute.
const PATIENCE: Duration = Duration::from_secs(180);

/// A chromedriver of this test's own, the only one that runs.
pub struct Driver {
    _turn: MutexGuard<'static, ()>,
    child: Child,
    url: String,
    http: Client,
    profile: TempDir,
    _out: Lines<BufReader<ChildStdout>>,
}

/// One window.
pub struct Browser {
    session: String,
    http: Client,
}

impl Driver {
    pub async fn start(program: &str) -> Self {
        let turn = ONE_AT_A_TIME.lock().await;
        let profile = TempDir::new().unwrap();
        let mut child = Command::new(program)
            .arg("--port=0")
            .env("HOME", profile.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // The browsers it starts belong to the group and end with it.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("PARAMANT_CHROMEDRIVER={program} does not run: {error}"));
        // Kept: a driver that cannot write to it any more would end.
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = out
            .by_ref()
            .map_while(Result::ok)
            .filter_map(|line| line.split("on port ").nth(1)?.trim_end_matches('.').parse::<u16>().ok())
            // Before it listens it says that it was asked for port 0.
            .find(|port| *port != 0)
            .expect("chromedriver says no port");
        let http = Client::builder().timeout(PATIENCE).no_proxy().build().unwrap();
        Self { _turn: turn, child, url: format!("http://127.0.0.1:{port}"), http, profile, _out: out }
    }

    pub async fn browser(&self) -> Browser {
        let profile = format!("--user-data-dir={}", self.profile.path().join("profile").display());
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            // Whatever a page asks for, no packet leaves this machine.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            profile.as_str(),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "timeouts": { "script": PATIENCE.as_millis() as u64, "pageLoad": PATIENCE.as_millis() as u64 },
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "performance": "ALL", "browser": "ALL" },
        } } });
        let made: Value = self
            .http
            .post(format!("{}/session", self.url))
            .json(&wanted)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let id = made["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}"));
        Browser { session: format!("{}/session/{id}", self.url), http: self.http.clone() }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

impl Browser {
    async fn command(&self, path: &str, body: Value) -> Value {
        let answer = self.http.post(format!("{}/{path}", self.session)).json(&body).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer["value"].clone()
    }

    async fn chromium(&self, command: &str, parameters: Value) -> Value {
        self.command("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    pub async fn go(&self, url: &str) {
        self.command("url", json!({ "url": url })).await;
    }

    /// Runs the body of an async function in the page.
    pub async fn run(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1]; (async () => {{ {script} }})().then(done, (error) => done(`failed: ${{error}}`));"
        );
        self.command("execute/async", json!({ "script": script, "args": [] })).await
    }

    /// Presses a key on whatever has the focus.
    pub async fn press(&self, key: &str) {
        let actions = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        self.command("actions", json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] }))
            .await;
    }

    /// A window of that width, for somebody who prefers that colour scheme.
    pub async fn look(&self, width: u32, scheme: &str) {
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.chromium("Emulation.setDeviceMetricsOverride", metrics).await;
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.chromium("Emulation.setEmulatedMedia", features).await;
    }

    /// Every address requested since the last question, with those that a policy or a missing name stopped.
    pub async fn requests(&self) -> Vec<String> {
        let message = |entry: &Value| serde_json::from_str::<Value>(entry["message"].as_str()?).ok();
        let sent = |message: Value| {
            let message = &message["message"];
            let url = message["params"]["request"]["url"].as_str()?;
            let counts = message["method"] == "Network.requestWillBeSent" && !url.starts_with("data:");
            counts.then(|| url.to_owned())
        };
        self.log("performance").await.iter().filter_map(message).filter_map(sent).collect()
    }

    /// What the browser complained of since the last question.
    pub async fn complaints(&self) -> Vec<String> {
        let line = |entry: &Value| entry["message"].as_str().map(str::to_owned);
        self.log("browser").await.iter().filter_map(line).collect()
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        self.command("se/log", json!({ "type": kind })).await.as_array().unwrap().clone()
    }

    /// Checks a receipt as a person would: text into the fields, and the button.
    pub async fn check(&self, receipt: &str, keys: &str) -> Value {
        let script = format!(
            r##"document.getElementById("receipt").value = {};
            document.getElementById("keys").value = {};
            const outcome = document.getElementById("outcome");
            document.getElementById("steps").replaceChildren();
            document.getElementById("verdict").textContent = "";
            document.querySelector("#check button").click();
            for (let n = 0; n < 6000 && !document.getElementById("verdict").textContent; n++) await new Promise((go) => setTimeout(go, 10));
            const focused = document.activeElement === outcome && outcome.checkVisibility();
            return {{ state: document.getElementById("verdict").className, text: outcome.textContent, focused }};"##,
            json!(receipt),
            json!(keys)
        );
        self.run(&script).await
    }

    /// Keeps a picture of the whole page where `PARAMANT_SCREENSHOTS` says, for people to look at.
    pub async fn picture(&self, name: &str) {
        let Ok(folder) = std::env::var("PARAMANT_SCREENSHOTS") else { return };
        let size = self.chromium("Page.getLayoutMetrics", json!({})).await["cssContentSize"].clone();
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
        let whole = json!({ "captureBeyondViewport": true, "clip": clip });
        let taken = self.chromium("Page.captureScreenshot", whole).await;
        let picture = BASE64_STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(format!("{folder}/{name}.png"), picture).unwrap();
    }
}

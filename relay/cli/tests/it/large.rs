//! Large files through the command, on a real relay and over lines that break.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::cutting_line::CuttingLine;
use crate::relay::{Relay, noise, until};

const BYTES: usize = 60_000_000;

struct Desk {
    dir: TempDir,
    key: String,
}

impl Desk {
    fn new(key: String) -> Self {
        Self { dir: TempDir::new().unwrap(), key }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn begin(&self, arguments: &[&str]) -> Child {
        Command::new(assert_cmd::cargo::cargo_bin("paramant"))
            .env_clear()
            .env("HOME", self.dir.path())
            .env("PARAMANT_API_KEY", &self.key)
            .args(arguments)
            .args(["--json", "--device", "desk"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs to the end, off the runtime's threads: the relay and the line run there.
    async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let child = self.begin(arguments);
        let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        assert!(!text(output.stderr.clone()).contains(&self.key));
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }

    fn kept_uploads(&self) -> usize {
        fs::read_dir(self.path(".local/state/paramant/uploads")).map_or(0, Iterator::count)
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn field(said: &str, name: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(said).unwrap();
    value[name].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_sent_and_received_over_lines_that_break_and_by_commands_that_are_stopped() {
    let relay = Relay::with(|settings| settings.limits.max_blob = 1 << 30).await;
    let desk = Desk::new(relay.user().await.key);
    let content = noise(1, BYTES);
    let (file, inbox) = (desk.path("file"), desk.path("in"));
    fs::write(&file, &content).unwrap();
    fs::create_dir(&inbox).unwrap();
    let out = inbox.join("out");
    let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());

    // kill -9 of the command in the middle; the next one goes on.
    let mut sending = desk.begin(&["send", file, "--ttl", "1h", "--relay", &relay.url]);
    // Four travel at once: with a fifth file at least one was acknowledged.
    until("some chunks are there", async || relay.payload_files() >= 5).await;
    sending.kill().unwrap();
    sending.wait().unwrap();
    assert_eq!(desk.kept_uploads(), 1);
    let line = CuttingLine::to(&relay.url, &[10_000_000, 10_000_000]).await;
    let (code, said, told) = desk.run(&["send", file, "--ttl", "1h", "--relay", &line.url]).await;
    assert_eq!(code, 0, "{told}");
    // Another address is another relay, as far as the command knows: it began anew, and the line broke twice.
    assert_eq!((line.cuts(), desk.kept_uploads()), (2, 1));
    let first = field(&said, "hash");
    let (code, said, told) = desk.run(&["send", file, "--ttl", "1h", "--relay", &relay.url]).await;
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("had been sent before"), "{told}");
    assert_eq!(desk.kept_uploads(), 0);
    let hash = field(&said, "hash");
    assert_ne!(hash, first, "each upload has a key of its own");

    // A receiver that is stopped leaves nothing, and the view stays.
    let slow = CuttingLine::to(&relay.url, &[]).await;
    let receiving = desk.begin(&["receive", &hash, "--out", out, "--relay", &slow.url]);
    let begun = async || {
        let parts = fs::read_dir(&inbox).unwrap().map(|entry| entry.unwrap());
        parts.filter_map(|entry| entry.metadata().ok()).any(|part| part.len() > 0)
    };
    until("something is being written", begun).await;
    let pid = rustix::process::Pid::from_child(&receiving);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = tokio::task::spawn_blocking(move || receiving.wait_with_output().unwrap()).await.unwrap();
    if ended.status.success() {
        assert_eq!(names(&inbox), ["out", "out.receipt.json"], "it was quicker than the signal");
        return;
    }
    assert_eq!(names(&inbox), Vec::<String>::new(), "half of a file was left");
    tokio::time::sleep(Duration::from_millis(200)).await;

    let line = CuttingLine::to(&relay.url, &[15_000_000, 20_000_000]).await;
    let (code, said, told) =
        desk.run(&["receive", &hash, "--out", out, "--sender", "desk", "--relay", &line.url]).await;
    assert_eq!(code, 0, "{told}");
    assert_eq!(line.cuts(), 2);
    assert_eq!(field(&said, "receipt"), "valid");
    assert_eq!(names(&inbox), ["out", "out.receipt.json"]);
    assert!(fs::read(out).unwrap() == content);
    let (code, ..) = desk.run(&["receive", &hash, "--out", "x", "--relay", &relay.url]).await;
    assert_eq!(code, 4, "it was read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_for_whatever_the_size_and_what_travelled_is_decrypted_from_a_file() {
    let relay = Relay::with(|settings| settings.limits.max_blob = 1 << 30).await;
    let desk = Desk::new(relay.user().await.key);
    let (password, wrong) = (desk.path("password"), desk.path("wrong"));
    fs::write(&password, "grün und lang\n").unwrap();
    fs::write(&wrong, "another").unwrap();
    let (password, wrong) = (password.to_str().unwrap(), wrong.to_str().unwrap());
    for (bytes, how) in [(1000, "--unsigned"), (9_000_000, "--chunked")] {
        let content = noise(bytes as u64, bytes);
        let (file, out) = (desk.path(&format!("file-{bytes}")), desk.path(&format!("out-{bytes}")));
        fs::write(&file, &content).unwrap();
        let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
        let send =
            ["send", file, how, "--max-views", "2", "--password-file", password, "--relay", &relay.url];
        let (code, said, told) = desk.run(&send).await;
        assert_eq!(code, 0, "{told}");
        let hash = field(&said, "hash");

        let receive = ["receive", &hash, "--out", out, "--relay", &relay.url];
        let (code, _, told) = desk.run(&receive).await;
        assert!(code == 5 && told.contains("--password-file"), "{code} {told}");
        let (code, _, told) = desk.run(&[&receive[..], &["--password-file", wrong]].concat()).await;
        assert!(code == 5 && told.contains("wrong"), "{code} {told}");
        let (code, said, told) = desk.run(&[&receive[..], &["--password-file", password]].concat()).await;
        assert_eq!(code, 0, "{told}");
        assert_eq!(field(&said, "receipt"), "valid");
        assert!(fs::read(out).unwrap() == content);

        let wire = relay.http.get(format!("{}/v2/outbound/{hash}", relay.url));
        let wire = wire.header("X-Api-Key", &desk.key).header("X-Blob-Password", "grün und lang".as_bytes());
        let wire = wire.send().await.unwrap().bytes().await.unwrap();
        let (blob, plain) = (desk.path(&format!("blob-{bytes}")), desk.path(&format!("plain-{bytes}")));
        let (blob, plain) = (blob.to_str().unwrap(), plain.to_str().unwrap());
        let mut altered = wire.to_vec();
        altered[600_000.min(bytes)] ^= 1;
        fs::write(blob, &altered).unwrap();
        let (code, ..) = desk.run(&["decrypt", blob, "--out", plain]).await;
        assert!(code != 0 && !Path::new(plain).exists());
        fs::write(blob, &wire).unwrap();
        let (code, _, told) = desk.run(&["decrypt", blob, "--out", plain]).await;
        assert_eq!(code, 0, "{told}");
        assert!(fs::read(plain).unwrap() == content);
    }
}

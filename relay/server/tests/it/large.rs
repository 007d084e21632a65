//! Large files through the client's own code, over lines that break and relays that are killed.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use paramant_client::envelope::Sender;
use paramant_client::large::receive::{self, Received, Request};
use paramant_client::large::send::{self, Sent, Terms};
use paramant_client::large::{CHUNK, CONTENT, wire_size};
use paramant_client::relay::{Progress, Step};
use paramant_client::retry::Patience;
use paramant_client::transfer::check_receipt;
use paramant_client::{ClientError, Device, RelayAddress, StateDir};
use paramant_protocol::id::BlobHash;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::cutting_line::CuttingLine;
use crate::relay::{ADMIN, Relay, keys_left, noise, payload_files, until};
use crate::spawned::Process;

/// Two people with a file to send.
struct People {
    dir: TempDir,
    relay: paramant_client::Relay,
    state: StateDir,
    alice: Device,
    bob: Device,
    content: Vec<u8>,
    file: PathBuf,
}

impl People {
    fn new(url: &str, key: &str, bytes: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        let device = |name: &str| state.device_or_new(&name.parse().unwrap()).unwrap();
        let (alice, bob) = (device("alice"), device("bob"));
        let (content, file) = (noise(bytes as u64, bytes), dir.path().join("file"));
        std::fs::write(&file, &content).unwrap();
        let address = RelayAddress::parse(url, false).unwrap();
        let relay = paramant_client::Relay::new(address, Some(key.parse().unwrap()), None).unwrap();
        Self { dir, relay, state, alice, bob, content, file }
    }

    async fn send_told(&self, progress: &Progress) -> Result<Sent, ClientError> {
        let terms = Terms {
            ttl_ms: Some(3_600_000),
            max_views: None,
            strict: false,
            pre_shared: None,
            password: None,
            sign: true,
            patience: Patience(Duration::from_secs(60)),
        };
        let to = self.bob.public();
        let sent =
            send::send(&self.relay, &self.file, &self.alice, &to, &terms, &self.state, progress).await?;
        Ok(sent.expect("the relay takes chunks"))
    }

    async fn send(&self) -> Result<Sent, ClientError> {
        self.send_told(&Progress::silent()).await
    }

    async fn receive(&self, hash: BlobHash, device: &Device) -> Result<Received, ClientError> {
        let out = Arc::new(File::create(self.out()).unwrap());
        let wire = self.relay.status(&hash).await?.bytes.unwrap_or_default();
        let patience = Patience(Duration::from_secs(60));
        let request =
            Request { relay: &self.relay, hash, wire, device, pre_shared: None, password: None, patience };
        let received = receive::receive(&request, &out, &Progress::silent()).await?;
        out.set_len(received.size).unwrap();
        Ok(received)
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn came_through(&self) -> bool {
        std::fs::read(self.out()).unwrap() == self.content
    }

    fn kept_uploads(&self) -> Vec<PathBuf> {
        let uploads = self.state.path().join("uploads");
        std::fs::read_dir(uploads).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

async fn large_relay() -> Relay {
    Relay::with(|settings| settings.limits.max_blob = 1 << 30).await
}

async fn key_at(url: &str) -> String {
    let made = Client::new().post(format!("{url}/v2/admin/keys")).header("X-Admin-Token", ADMIN);
    let made: Value = made.send().await.unwrap().json().await.unwrap();
    made["key"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_both_ways_signed_and_with_one_receipt() {
    let relay = large_relay().await;
    let key = relay.user().await.key;
    for bytes in [0, 1, CONTENT + 1, 40_000_000] {
        let people = People::new(&relay.url, &key, bytes);
        let sent = people.send().await.unwrap();
        assert_eq!((sent.size, sent.answer.size), (bytes as u64, wire_size(bytes as u64)));
        assert!(people.kept_uploads().is_empty(), "nothing is kept of an upload that is done");
        let hash = sent.answer.hash;
        if bytes > 30_000_000 {
            // A device that it is not for hangs up at the first chunk, and loses nobody's view.
            let other = people.receive(hash, &people.alice).await;
            assert!(matches!(other, Err(ClientError::Open(_))), "{other:?}");
            until("the view is back", async || people.relay.status(&hash).await.unwrap().available).await;
        }
        let received = people.receive(hash, &people.bob).await.unwrap();
        assert!(people.came_through());
        assert!(received.burned);
        assert!(matches!(received.sender, Sender::Signed { key, .. } if key == people.alice.signing_key()));
        let identity = people.relay.identity().await.unwrap();
        check_receipt(&received.receipt.unwrap().unwrap(), &hash, &identity).unwrap();
        assert!(matches!(people.relay.download_from(&hash, 0, None).await, Err(ClientError::Gone(_))));
        relay.all_burned().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_through_a_line_that_breaks_in_both_directions() {
    let relay = large_relay().await;
    let key = relay.user().await.key;
    // Six breaks on the way in. On the way out more than a view has leases, each further than the one before.
    let up =
        CuttingLine::to(&relay.url, &[1_000_000, 9_000_000, 100, 20_000_000, 5_000_000, 30_000_000]).await;
    let people = People::new(&up.url, &key, 150_000_000);
    let sent = people.send().await.unwrap();
    assert_eq!(up.cuts(), 6);
    let down = CuttingLine::to(&relay.url, &[22_000_000; 6]).await;
    let address = RelayAddress::parse(&down.url, false).unwrap();
    let relay_below = paramant_client::Relay::new(address, Some(key.parse().unwrap()), None).unwrap();
    let people = People { relay: relay_below, ..people };
    people.receive(sent.answer.hash, &people.bob).await.unwrap();
    assert_eq!(down.cuts(), 6);
    assert!(people.came_through());
    relay.all_burned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_was_stopped_goes_on_when_it_is_called_again() {
    let relay = large_relay().await;
    let key = relay.user().await.key;
    let people = People::new(&relay.url, &key, 10 * CONTENT);
    let (seen, mut sent) = tokio::sync::watch::channel(0);
    let progress = Progress::to(move |step| {
        if let Step::Advance(more) = step {
            seen.send_modify(|total| *total += more);
        }
    });
    tokio::select! {
        _ = people.send_told(&progress) => panic!("it was to be stopped"),
        _ = sent.wait_for(|total| *total >= 3 * CHUNK as u64) => {}
    }
    let kept = people.kept_uploads();
    assert_eq!(kept.len(), 1);
    assert_eq!(std::fs::metadata(&kept[0]).unwrap().permissions().mode() & 0o777, 0o600);
    let again = people.send().await.unwrap();
    assert!((3..10).contains(&again.earlier), "{} chunks had been sent", again.earlier);
    assert!(people.kept_uploads().is_empty());
    people.receive(again.answer.hash, &people.bob).await.unwrap();
    assert!(people.came_through());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_changed_is_another_upload_and_one_that_changes_is_not_sent() {
    let relay = large_relay().await;
    let key = relay.user().await.key;
    let mut people = People::new(&relay.url, &key, 5 * CONTENT);
    let line = CuttingLine::to(&relay.url, &[]).await;
    let address = RelayAddress::parse(&line.url, false).unwrap();
    people.relay = paramant_client::Relay::new(address, Some(key.parse().unwrap()), None).unwrap();
    let file = people.file.clone();
    let once = std::sync::Once::new();
    let progress = Progress::to(move |step| {
        if let Step::Advance(_) = step {
            once.call_once(|| append(&file));
        }
    });
    let Err(error) = people.send_told(&progress).await else { panic!("a mixture was sent") };
    assert!(error.to_string().contains("changed"), "{error}");
    assert!(people.kept_uploads().is_empty());
    relay.all_burned().await;
    people.content.push(b'!');
    let sent = people.send().await.unwrap();
    assert_eq!(sent.earlier, 0);
    people.receive(sent.answer.hash, &people.bob).await.unwrap();
    assert!(people.came_through());
}

fn append(file: &Path) {
    use std::io::Write as _;
    std::fs::OpenOptions::new().append(true).open(file).unwrap().write_all(b"!").unwrap();
}

/// kill -9 in the middle of both directions; the client is not told, and goes on with what comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_killed_on_the_way_delays_a_file_and_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let process = Process::with_limits(dir.path(), "maxBlob: 1Gi");
    let key = key_at(&process.url).await;
    let line = CuttingLine::to(&process.url, &[]).await;
    let people = Arc::new(People::new(&line.url, &key, 12 * CONTENT));
    let (seen, mut sent) = tokio::sync::watch::channel(0);
    let progress = Progress::to(move |step| {
        if let Step::Advance(more) = step {
            seen.send_modify(|total| *total += more);
        }
    });
    let sender = Arc::clone(&people);
    let sending = tokio::spawn(async move { sender.send_told(&progress).await });
    sent.wait_for(|total| *total >= 4 * CHUNK as u64).await.unwrap();
    line.leads_nowhere();
    process.kill();
    let process = Process::with_limits(dir.path(), "maxBlob: 1Gi");
    line.leads_to(&process.url);
    let sent = sending.await.unwrap().unwrap();
    assert_eq!(payload_files(dir.path()), 13, "a file for each chunk and the manifest, and none left over");

    let receiver = Arc::clone(&people);
    let hash = sent.answer.hash;
    let receiving = tokio::spawn(async move { receiver.receive(hash, &receiver.bob).await });
    let out = people.out();
    let some = async || std::fs::metadata(&out).is_ok_and(|out| out.len() >= 3 * CONTENT as u64);
    until("some of it was written", some).await;
    line.leads_nowhere();
    process.kill();
    let process = Process::with_limits(dir.path(), "maxBlob: 1Gi");
    line.leads_to(&process.url);
    receiving.await.unwrap().unwrap();
    assert!(people.came_through());
    until("nothing is left", async || payload_files(dir.path()) == 0 && !keys_left(dir.path())).await;
    let gone = people.relay.download_from(&hash, 0, None).await;
    assert!(matches!(gone, Err(ClientError::Gone(_))));
    assert_eq!(
        Client::new().get(format!("{}/health", process.url)).send().await.unwrap().status(),
        StatusCode::OK
    );
}
